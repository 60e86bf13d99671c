"""Tile sets: trained from the command line, resumed, refused where they leak, applied to plain pictures."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')
from click.testing import CliRunner

from coverslip.cli import main
from coverslip.core.errors import CoverslipError
from coverslip.learn import load_task
from coverslip.models.folder import ModelFolder
from coverslip.store import RunFolder

VALUES = {
    "method": "tiles",
    "target": "label",
    "size": 32,
    "network": {"parameters": {"width": 8, "depths": [0, 1]}},
    "split": {"how": "folds", "folds": 2, "val": 0.2, "look": False},
    "fit": {"epochs": 12, "threads": 1, "batch_size": 8, "ema": 0.8, "lr": 0.005},
    "augment": {"rotate": 0, "hed": 0, "hue": 0, "blur": 0},
}


def coverslip(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command line on a small tile set."""
    import yaml

    from .conftest import paint_tiles

    folder = tmp_path_factory.mktemp("trained")
    paint_tiles(folder)
    task = {"task": "classify", "cohort": "tiles.csv", **VALUES}
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    result = coverslip("train", folder / "task.yaml", "-o", folder / "run", "--json")
    assert result.exit_code == 0, result.stderr
    (folder / "said.json").write_text(result.stdout)
    assert "fold 1 of 2: epochs 12/12" in result.stderr
    return folder


def test_each_tile_is_predicted_by_a_model_that_never_saw_its_source(trained: Path) -> None:
    run = RunFolder(trained / "run")
    said = run.get(None, "predictions/label")
    assert len(said) == 80
    assert sorted(said["tile"]) == sorted(f"tiles/{i:03}.png" for i in range(80))
    splits = json.loads((trained / "run" / "splits.json").read_text())
    for fold in splits["folds"]:
        sources = {part: {row // 4 for row in fold[part]} for part in ("train", "val", "test")}
        assert not sources["test"] & (sources["train"] | sources["val"])
    assert json.loads((trained / "said.json").read_text())["summary"]["label"]["accuracy"] >= 0.9
    assert run.has(None, "evaluation/label")


def test_the_command_goes_on_where_it_stopped(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    first = RunFolder(copy / "run").get(None, "predictions/label")["probability_tumour"]
    (copy / "run" / "predictions" / "label.parquet").unlink()
    shutil.rmtree(copy / "run" / "models" / "label" / "fold1")
    assert coverslip("train", copy / "task.yaml", "-o", copy / "run", "--quiet").exit_code == 0
    again = RunFolder(copy / "run").get(None, "predictions/label")["probability_tumour"]
    np.testing.assert_array_equal(first, again)


def test_another_task_is_refused_in_the_same_run(trained: Path, tmp_path: Path) -> None:
    text = (trained / "task.yaml").read_text().replace("epochs: 12", "epochs: 4")
    (trained / "other.yaml").write_text(text)
    result = coverslip("train", trained / "other.yaml", "-o", trained / "run")
    assert (result.exit_code, "another task" in result.stderr) == (2, True)


def test_a_tile_set_from_scratch_keeps_all_folds_as_a_committee_and_holds_nothing_back_in_vain(
    trained: Path, task_file
) -> None:
    from coverslip.learn.classify.tile_set import TileSet

    card = ModelFolder.load(trained / "run/models/label").card
    assert card.parameters["members"] == 2
    split = {"how": "folds", "folds": 2, "look": False}
    cohort = str(trained / "tiles.csv")
    idle = load_task(task_file(cohort=cohort, **(VALUES | {"split": split})))
    assert all(len(fold.val) == 0 for fold in TileSet.read(idle).splits.folds)
    early = load_task(task_file(cohort=cohort, **(VALUES | {"split": split, "fit": {"patience": 3}})))
    assert all(len(fold.val) for fold in TileSet.read(early).splits.folds)
    transfer = {"network": {"name": "resnet18", "transfer": "frozen"}}
    one = {"split": {"how": "holdout", "look": False}}
    for other in (transfer, one):
        assert load_task(task_file(cohort=cohort, **(VALUES | other))).kept == "refit"


def test_predicts_plain_pictures(trained: Path, tmp_path: Path) -> None:
    model, out = trained / "run" / "models" / "label", tmp_path / "out.csv"
    result = coverslip("predict", model, trained / "tiles", "-o", out)
    assert result.exit_code == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    truth = ["tumour" if (i // 4) % 2 else "normal" for i in range(80)]
    assert np.mean([row["label"] == t for row, t in zip(rows, truth, strict=True)]) >= 0.9
    total = [float(row["probability_normal"]) + float(row["probability_tumour"]) for row in rows]
    np.testing.assert_allclose(total, 1, atol=1e-5)
    table = coverslip("predict", model, trained / "tiles.csv", "-o", tmp_path / "table.csv", "--json")
    assert json.loads(table.stdout)["pictures"] == 80


def test_pictures_that_cannot_be_read_are_named(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((20, 60, 3), 200, np.uint8))
    model = trained / "run" / "models" / "label"
    result = coverslip("predict", model, tmp_path, "-o", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "bad.png is no picture" in result.stderr
    assert "1 pictures" in result.stdout
    assert coverslip("predict", model, tmp_path / "nothing", "-o", tmp_path / "x.csv").exit_code == 2
    assert coverslip("predict", tmp_path, trained / "tiles", "-o", tmp_path / "x.csv").exit_code == 2


def test_plan_checks_and_trains_nothing(trained: Path) -> None:
    before = set(trained.rglob("*"))
    result = coverslip("plan", trained / "task.yaml")
    assert result.exit_code == 0
    assert "80 of 20 sources" in result.stdout
    assert set(trained.rglob("*")) == before
    assert coverslip("plan", trained / "task.yaml", "a.svs").exit_code == 2


def test_copies_across_the_split_are_refused(tmp_path: Path, task_file) -> None:
    """Eight turned and mirrored copies of each picture, of which nobody says that they belong together."""
    from .conftest import paint

    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for source in range(12):
        picture = paint(rng, 64, dots=True)
        for turn in range(4):
            name = f"{source}-{turn}.png"
            cv2.imwrite(str(tmp_path / name), np.rot90(picture, turn))
            rows.append(f"{name},{'ab'[source % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    split = {"how": "folds", "folds": 2, "val": 0.2}
    task = load_task(task_file(cohort=str(tmp_path / "t.csv"), **(VALUES | {"split": split})))
    with pytest.raises(CoverslipError, match="near-duplicate"):
        task.plan()
    with pytest.raises(CoverslipError, match="near-duplicate"):
        task.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_random_split_of_the_lung_tiles_is_refused(test_data: Path, tmp_path: Path, task_file) -> None:
    import zipfile

    with zipfile.ZipFile(test_data / "tiles" / "lc25000_lung_val.zip") as archive:
        archive.extractall(tmp_path / "lung")
    split = {"how": "folds", "folds": 5}
    task = load_task(task_file(cohort=str(tmp_path / "lung"), **(VALUES | {"split": split})))
    with pytest.raises(CoverslipError, match="near-duplicate"):
        task.plan()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a.png,x", "b.png,x"], "one class only"),
        (["a.png,x", "b.png,y"], "class"),
        (["a.png,x", "gone.png,y"], "there is no file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, task_file, lines: list[str], said: str) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((32, 32, 3), 200, np.uint8))
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines]))
    with pytest.raises(CoverslipError, match=said):
        load_task(task_file(cohort=str(tmp_path / "t.csv"), **VALUES)).plan()


def test_a_label_that_is_none_of_the_classes_is_refused(trained: Path, task_file) -> None:
    target = {"column": "label", "classes": ["normal", "tumor"]}
    changed = VALUES | {"target": target}
    with pytest.raises(CoverslipError, match="tumour"):
        load_task(task_file(cohort=str(trained / "tiles.csv"), **changed)).plan()


def test_pickled_weights_to_begin_with_are_refused(trained: Path, task_file, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"anything")
    network = {**VALUES["network"], "transfer": "full", "weights": str(tmp_path / "weights.pth")}
    with pytest.raises(CoverslipError, match="pickled"):
        load_task(task_file(cohort=str(trained / "tiles.csv"), **(VALUES | {"network": network}))).plan()


@pytest.mark.parametrize("name", ["small-cnn", "resnet18"])
def test_each_group_of_layers_learns_slower_than_the_one_after(name: str) -> None:
    from coverslip.learn.classify.module import Classifying, LossSpec
    from coverslip.models.classifiers import build_classifier

    scale = ((0.5,) * 3, (0.2,) * 3)
    network = build_classifier(name, 2, {"width": 8} if name == "small-cnn" else {})
    module = Classifying(network, scale=scale, loss=LossSpec(), transfer="full", decay=0.5)
    groups = module.parameter_groups(0.1)
    rates = [group["lr"] for group in groups]
    assert rates == pytest.approx([0.1 * 0.5**k for k in reversed(range(len(groups)))])
    learned = [id(p) for group in groups for p in group["params"]]
    assert sorted(learned) == sorted(map(id, network.parameters()))  # each once
    head = network.get_classifier() if name == "resnet18" else network.head
    assert {id(p) for p in groups[-1]["params"]} == {id(p) for p in head.parameters()}


def test_weights_that_do_not_match_are_refused(trained: Path, task_file) -> None:
    network = {"name": "resnet18", "transfer": "full", "weights": str(trained / "run/models/label")}
    changed = VALUES | {"network": network}
    with pytest.raises(CoverslipError, match="does not hold weights of resnet18"):
        load_task(task_file(cohort=str(trained / "tiles.csv"), **changed)).plan()


def test_transfer_learns_only_what_it_should(trained: Path, task_file, tmp_path: Path) -> None:
    start = ModelFolder.load(trained / "run/models/label")
    network = {**VALUES["network"], "transfer": "frozen", "weights": str(start.path)}
    split = {"how": "holdout", "test": 0.3, "val": 0.2, "look": False}
    changed = VALUES | {
        "network": network,
        "split": split,
        "final": "first",
        "fit": VALUES["fit"] | {"epochs": 1},
    }
    task = load_task(task_file(cohort=str(trained / "tiles.csv"), **changed))
    assert task.plan().values["learned"] == 2 * (2 * 16) + 2
    task.train(tmp_path / "run")
    after = ModelFolder.load(tmp_path / "run/models/label").state()
    first = "members.0."  # of a committee, where the first member's weights begin
    members = {n.removeprefix(first): v for n, v in start.state().items() if n.startswith(first)}
    assert members.keys() == after.keys()
    for name, value in members.items():
        if name.startswith("network."):  # texture is learned anew from these rows
            same = bool((after[name] == value).all())
            assert same == (not name.startswith("network.head.")), name


def test_a_committee_says_what_its_members_say_on_average(trained: Path, task_file, tmp_path: Path) -> None:
    from coverslip.learn.classify.tile_set import committee
    from coverslip.models.picture_classifier import PictureClassifier

    models = tmp_path / "models"
    for number in (0, 1):
        shutil.copytree(trained / f"run/models/label/fold{number}", models / f"fold{number}")
    committee(models, 2, {})
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    each = [PictureClassifier.load(models / f"fold{number}") for number in (0, 1)]
    views = int(each[0].card.preprocessing["views"])
    assert views == 8
    whole = PictureClassifier.load(models)
    mean = np.mean([one.probabilities(pixels) for one in each], axis=0)
    np.testing.assert_allclose(whole.probabilities(pixels), mean, atol=1e-5)
    assert whole.features(pixels).shape == (5, 2 * each[0].features(pixels).shape[1])
    changed = VALUES | {"network": {"parameters": {"members": 2}}}
    with pytest.raises(CoverslipError, match="committee"):
        load_task(task_file(cohort=str(trained / "tiles.csv"), **changed))


def test_crops_are_learned_from_and_whole_pictures_judged(trained: Path, task_file, tmp_path: Path) -> None:
    from coverslip.learn.classify.augment import AugmentSpec, augmented

    picture = np.arange(32 * 32 * 3, dtype=np.uint16).reshape(32, 32, 3).astype(np.uint8)
    plain = {"rotate": 0, "hed": 0, "hue": 0, "light": 0, "blur": 0, "flips": False}
    corners = {
        tuple(np.argwhere((picture == cut[0, 0]).all(axis=2))[0])
        for cut in (
            augmented(picture, AugmentSpec(**plain, crop=0.75), np.random.default_rng(i)) for i in range(40)
        )
        if cut.shape == (24, 24, 3)
        and any((picture[y : y + 24, x : x + 24] == cut).all() for y in range(9) for x in range(9))
    }
    assert len(corners) > 20
    cohort = str(trained / "tiles.csv")
    values = VALUES | {
        "augment": {**VALUES["augment"], "crop": 0.75},
        "split": {"how": "holdout", "look": False},
    }
    made = load_task(task_file(cohort=cohort, **values)).train(tmp_path / "run")
    assert made.summary["label"]["accuracy"] >= 0.9
    assert ModelFolder.load(tmp_path / "run" / "models" / "label").card.tile_px == 32


def test_crops_are_refused_by_networks_of_one_size(trained: Path, task_file) -> None:
    values = VALUES | {"size": 224, "network": {"name": "vit_tiny_patch16_224"}, "augment": {"crop": 0.5}}
    with pytest.raises(CoverslipError, match=r"one size alone, and augment\.crop"):
        load_task(task_file(cohort=str(trained / "tiles.csv"), **values)).plan()


def test_colour_and_texture_judge_beside_the_small_network_of_a_tile_set(
    trained: Path, task_file, tmp_path: Path
) -> None:
    card = ModelFolder.load(trained / "run/models/label").card
    assert card.parameters["texture"] is True
    cohort, split = str(trained / "tiles.csv"), {"how": "holdout", "look": False}
    # a network that cannot learn in one step leaves the colours to the texture
    slow = {"split": split, "fit": {**VALUES["fit"], "epochs": 1, "lr": 1e-6}}
    made = load_task(task_file(cohort=cohort, **(VALUES | slow))).train(tmp_path / "with")
    assert made.summary["label"]["accuracy"] >= 0.9
    without = VALUES | slow | {"network": {**VALUES["network"], "texture": False}}
    made = load_task(task_file(cohort=cohort, **without)).train(tmp_path / "without")
    assert made.summary["label"]["accuracy"] < 0.9
    assert "texture" not in ModelFolder.load(tmp_path / "without/models/label").card.parameters


def test_texture_is_no_argument_of_a_network(task_file) -> None:
    with pytest.raises(CoverslipError, match="texture is no argument"):
        load_task(task_file(**(VALUES | {"network": {"parameters": {"texture": True}}})))
