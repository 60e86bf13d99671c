"""Classes of nuclei: labels matched to nuclei, a head on what the network saw, and slides that it serves."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

pytest.importorskip("torch")

from coverslip import Box, open_slide
from coverslip.core.errors import StoreError, UsageError
from coverslip.learn.nuclei.head import figures, fit_head
from coverslip.learn.nuclei.labelled import Given, Labelled, _matched
from coverslip.learn.task import load_task
from coverslip.models.folder import ModelFolder
from coverslip.models.nuclei.classes import NucleusClasses
from coverslip.models.nuclei.detector import SHIPPED, load_nuclei
from coverslip.phantom import CLASSES, PhantomSpec, make, write_slide
from coverslip.pipeline.stages.nuclei import KEY, NucleiStage
from coverslip.store import ObjectTable
from coverslip.tiles import GridSpec, lay
from coverslip.tissue import Tissue

WANTED = ("tumour", "lymphocyte", "stromal")
SIDE = 560
SEEDS = {"train": (11, 12, 13), "test": (14,)}
TILE = 512


def truth(seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """A phantom, and the nuclei of the wanted classes on its first tile: centres, and which class."""
    phantom = make(PhantomSpec(width=SIDE, height=SIDE, tissue_share=0.7, lymphocytes=2.0), seed)
    found = phantom.truth.nuclei_in(Box(0, 0, TILE, TILE))
    names = np.array(CLASSES)[found["kind"]]
    keep = np.isin(names, WANTED)
    return phantom, np.stack([found["x"], found["y"]], axis=1)[keep], names[keep]


def geojson(xy: np.ndarray, names: np.ndarray) -> str:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": point},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for point, name in zip(xy.tolist(), names.tolist(), strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms with a point in every nucleus of three classes, as QuPath writes them, and the task."""
    folder = tmp_path_factory.mktemp("classes")
    rows = []
    for part, seeds in SEEDS.items():
        for seed in seeds:
            phantom, xy, names = truth(seed)
            write_slide(phantom, folder / f"p{seed}.svs")
            (folder / f"p{seed}.geojson").write_text(geojson(xy, names))
            rows.append([f"p{seed}", f"p{seed}.svs", f"case-{seed}", f"p{seed}.geojson", part])
    with (folder / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["slide", "path", "patient", "annotations", "split"], *rows])
    (folder / "task.yaml").write_text(
        f"task: nuclei-classes\ncohort: cohort.csv\nclasses: [{', '.join(WANTED)}]\nthreads: 1\n"
    )
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, Any]:
    made = load_task(folder / "task.yaml").train(folder / "run")
    return dict(made.summary["nuclei-classes"])


def test_the_plan_counts_slides_and_labels(folder: Path) -> None:
    plan = load_task(folder / "task.yaml").plan()
    assert plan.facts["slides"] == "3 train, 1 test"
    counts = [np.bincount([WANTED.index(n) for n in truth(s)[2]], minlength=3) for s in (11, 12, 13, 14)]
    assert list(plan.values["labels"].values()) == np.sum(counts, axis=0).tolist()


def test_classes_of_a_patient_held_back_are_told(trained: dict[str, Any], folder: Path) -> None:
    assert trained["accuracy"] > 0.9
    assert trained["balanced_accuracy"] > 0.85
    said = json.loads((folder / "run/evaluation/nuclei-classes.json").read_text())
    assert np.sum(said["confusion"]) == said["nuclei_test"]
    card = ModelFolder.load(folder / "run/models/nuclei-classes").card
    assert card.classes == WANTED
    assert card.preprocessing["network"] == ModelFolder.load(SHIPPED).digest
    assert len(card.preprocessing["features"]) == len(
        ModelFolder.load(folder / "run/models/nuclei-classes").state()["mean"]
    )


def test_slides_get_the_classes(trained: dict[str, Any], folder: Path) -> None:
    model = str(folder / "run/models/nuclei-classes")
    with open_slide(folder / "p14.svs") as slide:
        tiles = lay(slide, GridSpec(mpp=0.5, size=TILE, edge="pad")).take(np.arange(1))
        inputs = {"tiles": tiles, "tissue": Tissue.from_polygons([], slide.size, 10)}
        stage = NucleiStage(classifier=model)
        found = stage.run(slide, inputs)[KEY].collect()
        plain = NucleiStage().run(slide, inputs)[KEY].collect()
    assert stage.classes() == found.classes == WANTED
    assert shapely.equals_exact(found.polygons, plain.polygons).all()
    np.testing.assert_array_equal(found["score"], plain["score"])
    assert (found["class_probability"] > 1 / 3).all()
    _, xy, names = truth(14)
    far, which = cKDTree(found.xy).query(xy)
    near = far < 4
    assert (found["class"][which[near]] == names[near]).mean() > 0.88


def test_a_classifier_belongs_to_its_network(trained: dict[str, Any], folder: Path) -> None:
    model = folder / "run/models/nuclei-classes"
    with pytest.raises(StoreError, match="reads what the nuclei network"):
        NucleusClasses.load(model, network="sha256:0")
    with pytest.raises(StoreError, match="the recipe names"):
        NucleiStage(classifier=str(model), classifier_digest="sha256:0")
    with pytest.raises(UsageError, match="not for classes of nuclei"):
        NucleiStage(classifier=str(SHIPPED))
    with pytest.raises(UsageError, match="another's"):
        NucleiStage(model=f"cellpose:{SHIPPED}", options={"mpp": 0.5}, classifier=str(model))


# ------------------------------------------------------------------ labels
def given(shapes: list[Any], classes: tuple[str, ...]) -> Given:
    column = np.empty(len(shapes), object)
    column[:] = shapes
    return Given(column, classes)


def test_labels_find_their_nuclei() -> None:
    nuclei = shapely.box(np.array([0, 20, 40, 60]), 0, np.array([10, 30, 50, 70]), 10)
    labels = given(
        [shapely.Point(2, 2), shapely.box(18, -5, 52, 20), shapely.Point(45, 5), shapely.Point(99, 99)],
        ("tumour", "stromal", "tumour", "tumour"),
    )
    number, met, unsure = _matched(nuclei, labels, WANTED)
    assert number.tolist() == [0, 2, -1, -1]  # the third is said to be both, of the fourth nobody spoke
    assert met.tolist() == [True, True, True, False]
    assert unsure == 1


def test_objects_of_a_run_are_labels_too(folder: Path) -> None:
    from coverslip.store import Provenance, RunFolder

    boxes = shapely.box(np.array([100, 200]), 100, np.array([130, 230]), 130)
    table = ObjectTable(boxes, classes=WANTED, labels=np.array([0, 2], np.int32), mpp=0.5)
    run = RunFolder.create(folder / "labels-run")
    made = Provenance.make("test", 1, parameters={}, inputs={}, slide=None)
    run.put("p11", "objects/given", table, provenance=made)
    file = next((folder / "labels-run").rglob("given.parquet"))
    (folder / "objects.csv").write_text(f"slide,path,patient,annotations\np11,p11.svs,a,{file}\n")
    values = "task: nuclei-classes\ncohort: objects.csv\ntest: 0\n"
    (folder / "objects.yaml").write_text(values + "classes: [tumour, stromal]\n")
    assert load_task(folder / "objects.yaml").plan().values["labels"] == {"tumour": 1, "stromal": 1}
    (folder / "objects.yaml").write_text(values + "classes: [tumour, fat]\nrename: {stromal: gland}\n")
    with pytest.raises(UsageError, match="has classes gland: expected tumour, fat"):
        load_task(folder / "objects.yaml").plan()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("classes: [tumour, tumour]", "expected two or more different names"),
        ("classes: [tumour, stromal, lymphocyte, fat]", "no slide that trains has a label of fat"),
        ("classes: [tumour, stromal]", "lymphocyte"),
        ("classes: [tumour, stromal, lymphocyte]\nfolds: 1", "folds 1 are too few"),
    ],
)
def test_what_cannot_be_learned_is_refused(folder: Path, change: str, said: str) -> None:
    (folder / "wrong.yaml").write_text(f"task: nuclei-classes\ncohort: cohort.csv\n{change}\n")
    with pytest.raises(UsageError, match=said):
        load_task(folder / "wrong.yaml").plan()


# ------------------------------------------------------------------ the head
def clouds(count: int, classes: int, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    features = rng.normal(0, 1, (count, 20)).astype(np.float32) * 3 + 7
    features[:, 0] += 12 * labels
    return Labelled(features, labels, rng.integers(0, 5, count))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_tells_clouds_apart_and_survives_its_folder(classes: int, tmp_path: Path) -> None:
    names = WANTED[:classes]
    head, _ = fit_head(clouds(240, classes), names, "sha256:1", folds=4)
    other = clouds(120, classes, seed=1)
    said = head.probabilities(other.features)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    found = figures(other.labels, said, names)
    assert found["accuracy"] > 0.9
    assert found["balanced_accuracy"] == pytest.approx(found["accuracy"], abs=0.02)
    assert len(head.probabilities(other.features[:0])) == 0
    assert figures(other.labels[:0], said[:0], names) == {}


def test_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 1])
    said = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]], np.float32)
    found = figures(labels, said, ("a", "b"))
    assert found["confusion"] == [[2, 1], [0, 1]]
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert (found["f1_a"], found["f1_b"]) == (pytest.approx(0.8), pytest.approx(2 / 3))


def test_features_are_the_same_at_any_place(folder: Path) -> None:
    """A nucleus away from the edge is described alike wherever the picture begins (by whole strides)."""
    detector = replace(load_nuclei(precision="f32"), describes=True)
    with open_slide(folder / "p11.svs") as slide:
        pixels = slide.read_at(Box(40, 40, 512, 512), 1.0).astype(np.float32) / 255
    one, other = detector.find(pixels, (0, 1)), detector.find(np.ascontiguousarray(pixels[64:, 32:]), (0, 1))
    assert one.features is not None
    assert other.features is not None
    widths = detector.network.widths
    assert one.features.shape == (len(one), widths[1] + widths[3] + 8)
    far, which = cKDTree(other.centres + np.array([32, 64])).query(one.centres)
    inside = (far < 0.1) & ((one.centres > 200) & (one.centres < 380)).all(axis=1)
    assert inside.sum() > 5
    np.testing.assert_allclose(one.features[inside], other.features[which[inside]], atol=0.05, rtol=0.05)
