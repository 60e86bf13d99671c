"""What a QuPath user does: export GeoJSON, train with one command, run over a new slide, open the result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("lightning")

from shapely.geometry import shape as as_shape

from coverslip import open_slide
from coverslip.annotations import Annotations, Grid, rasterise
from coverslip.evaluate.masks import mask_scores
from coverslip.models.folder import ModelFolder
from coverslip.phantom import PhantomSpec, make, write_slide
from coverslip.store import RunFolder

TASK = """
task: segment
cohort: slides.csv
name: tissue-regions
classes: [Tissue, Glass]
background: Glass
leave_out: [tumour, fat, gland]
rename: {tissue: Tissue}
mpp: 8
tile: 32
tiles_per_epoch: 48
network: {depth: 3, width: 4}
augment: {stain: 0.02}
loss: {dice: 1, cross-entropy: 1}
fit: {epochs: 5, batch_size: 8, lr: 0.01, threads: 1, precision: f32, monitor: -val_dice}
"""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three slides with what QuPath would export of them, a new slide, and the task."""
    folder = tmp_path_factory.mktemp("qupath")
    rows = ["slide,path,annotations,split"]
    for seed, part in enumerate(("train", "train", "val", "test")):
        spec = PhantomSpec(width=1400, height=1100, mpp=1.0, tissue_share=0.4, glandular=0.0)
        phantom = make(spec, 20 + seed)
        write_slide(phantom, folder / f"s{seed}.svs")
        phantom.truth.save(folder / f"s{seed}.geojson")
        rows.append(f"s{seed},s{seed}.svs,s{seed}.geojson,{part}")
    (folder / "slides.csv").write_text("\n".join(rows))
    (folder / "task.yaml").write_text(TASK)
    return folder


@pytest.fixture(scope="session")
def model(work: Path) -> Path:
    """The model that one command makes."""
    from click.testing import CliRunner

    from coverslip.cli import main

    words = ["train", str(work / "task.yaml"), "-o", str(work / "run"), "--quiet"]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return work / "run" / "models" / "tissue-regions"


def test_a_model_is_trained_with_one_command(work: Path, model: Path) -> None:
    card = ModelFolder.load(model).card
    assert (card.task, card.architecture, card.classes, card.mpp) == (
        "segment",
        "unet",
        ("Tissue", "Glass"),
        8,
    )
    assert card.preprocessing["background"] == "Glass"
    assert card.preprocessing["margin_px"] % 8 == 0
    scores = json.loads((work / "run" / "evaluation" / "tissue-regions.json").read_text())
    assert list(scores["slides"]) == ["s3"]
    assert scores["pooled"]["mean_dice"] > 0.9
    assert (work / "run" / "splits.json").exists()
    assert json.loads((work / "run" / "annotations.json").read_text())["s0"]["shapes"] >= 1


def test_it_runs_over_a_new_slide_and_qupath_opens_the_regions(
    work: Path, model: Path, tmp_path: Path, coverslip: Callable[..., Any]
) -> None:
    said = coverslip("run", model, work / "s3.svs", "-o", tmp_path / "out", "--set", "segment.threads=1")
    assert said.code == 0, said.err
    run = RunFolder(tmp_path / "out")
    labels = run.get("s3", "maps/tissue-regions-labels").read()
    probabilities = run.get("s3", "maps/tissue-regions")
    assert probabilities.classes == ("Tissue", "Glass")
    regions = run.get("s3", "objects/tissue-regions").read()
    assert regions.classes == ("Tissue",)
    np.testing.assert_allclose(
        regions["area_um2"], [p.area for p in regions.polygons], rtol=1e-5
    )  # 1 µm per px
    with open_slide(work / "s3.svs") as slide:
        drawn = Annotations.read(work / "s3.geojson", slide=slide)
        truth = rasterise(drawn, Grid.of_slide(slide, 8.0), classes=["tissue"])
    known = labels[: truth.shape[0], : truth.shape[1]] > 0
    found = np.where(labels[: truth.shape[0], : truth.shape[1]] == 1, 0, 1)
    scores = mask_scores(np.where(known, np.where(truth == 0, 0, 1), 255), found, ("Tissue", "Glass"))
    assert scores.dice[0] > 0.9

    exported = coverslip(
        "export", tmp_path / "out", "--to", "geojson", "--as", "annotation", "-o", tmp_path / "q"
    )
    assert exported.code == 0, exported.err
    (file,) = (tmp_path / "q").rglob("*.geojson")
    features = json.loads(file.read_text())["features"]
    assert {f["properties"]["classification"]["name"] for f in features} == {"Tissue"}
    assert {f["properties"]["objectType"] for f in features} == {"annotation"}
    area = sum(as_shape(f["geometry"]).area for f in features)
    assert area == pytest.approx(float(np.sum(regions["area_um2"])), rel=0.01)
    with open_slide(work / "s3.svs") as slide:
        back = Annotations.read(file, slide=slide).checked(slide=slide, classes=["Tissue"])
    assert back.area_px("Tissue") == pytest.approx(area, rel=1e-6)


def test_a_second_run_does_nothing_and_other_settings_keep_the_map(
    work: Path, model: Path, tmp_path: Path, coverslip: Callable[..., Any]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "name: r\nstages:\n  - tissue\n"
        "  - tiles: {mpp: 8, size: 64, stride: 48, edge: pad, min_tissue: 0.01, quality: false}\n"
        f"  - segment: {{model: {model}, threads: 1}}\n"
        "  - regions: {of: tissue-regions, without: [Glass], smallest_um2: 100000, fill_um2: 100000}\n"
    )
    assert coverslip("run", recipe, work / "s3.svs", "-o", tmp_path / "out").code == 0
    run = RunFolder(tmp_path / "out")
    plain, clean = (run.get("s3", f"objects/tissue-regions{end}").read() for end in ("", "-regions"))
    assert len(clean) <= len(plain)
    assert min(clean["area_um2"]) >= 100000
    again = coverslip("run", recipe, work / "s3.svs", "-o", tmp_path / "out", "--set", "regions.smooth_um=20")
    events = [e for e in run.events() if e.status == "done"]
    assert again.code == 0
    assert [e.stage for e in events].count("segment") == 1
    assert [e.stage for e in events].count("regions") == 2


def test_plain_pictures_get_masks(
    work: Path, model: Path, tmp_path: Path, coverslip: Callable[..., Any]
) -> None:
    with open_slide(work / "s3.svs") as slide:
        picture = slide.thumbnail(175)
    cv2.imwrite(str(tmp_path / "s3.png"), picture[..., ::-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    words = (
        "predict",
        model,
        tmp_path / "s3.png",
        tmp_path / "broken.png",
        "-o",
        tmp_path / "masks",
        "--json",
    )
    said = coverslip(*words)
    assert said.code == 1
    assert "broken.png" in said.err
    mask = cv2.imread(str(tmp_path / "masks" / "s3.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == picture.shape[:2]
    assert set(np.unique(mask)) == {1, 2}
    dark = picture.min(axis=2) < 200
    assert (mask[dark] == 1).mean() > 0.85
    assert json.loads((tmp_path / "masks" / "classes.json").read_text())["classes"] == {
        "Tissue": 1,
        "Glass": 2,
    }


def test_everything_wrong_with_annotations_is_said_at_once(
    work: Path, tmp_path: Path, coverslip: Callable[..., Any]
) -> None:
    crossing = [[0, 0], [400, 400], [400, 0], [0, 400], [0, 0]]
    outside = [[5000, 0], [5100, 0], [5100, 100], [5000, 0]]
    features = [
        {"type": "Feature", "id": str(i), "geometry": {"type": "Polygon", "coordinates": [ring]},
         "properties": {"objectType": "annotation", "classification": {"name": name}}}
        for i, (ring, name) in enumerate([(crossing, "tissue"), (outside, "tissue"), (outside, "Tumr")])
    ]  # fmt: skip
    (tmp_path / "bad.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rows = ["slide,path,annotations,split"]
    rows += [f"s0,{work / 's0.svs'},bad.geojson,train", f"s1,{work / 's1.svs'},none.geojson,train"]
    rows += [f"s3,{work / 's3.svs'},{work / 's3.geojson'},test"]
    (tmp_path / "slides.csv").write_text("\n".join(rows))
    (tmp_path / "task.yaml").write_text(TASK)
    said = coverslip("plan", tmp_path / "task.yaml")
    assert said.code == 2
    for text in (
        "2 of 3 slides",
        "shape 0",
        "crosses or touches itself",
        "outside the slide",
        "'Tumr'",
        "none.geojson",
    ):
        assert text in said.err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("clases: [a, b]", "did you mean 'classes'"),
        ("classes: [Tissue, Glass, Necrosis]", "no slide has a region of Necrosis"),
        ("network: {architecture: unnet}", "did you mean 'unet'"),
        ("loss: {dyce: 1}", "did you mean 'dice'"),
        ("tile: 30", "multiple of 8"),
        ("mpp: 0.5", "which is finer"),
        ("background: Tissu", "did you mean 'Tissue'"),
    ],
)
def test_a_task_that_cannot_be_is_refused_before_training(
    work: Path, coverslip: Callable[..., Any], change: str, text: str
) -> None:
    key = change.partition(":")[0]
    lines = [line for line in TASK.strip().splitlines() if not line.startswith(f"{key}:")]
    file = work / "changed.yaml"
    network = ["network: {depth: 3, width: 4, architecture: unnet}"] if key == "network" else [change]
    file.write_text("\n".join(lines + network))
    command = ("train", file, "-o", work / "never", "--quiet") if key == "mpp" else ("plan", file)
    said = coverslip(*command)
    assert said.code == 2
    assert text in said.err
