"""Tiles of slides: learned, aggregated, mapped, cross-validated by patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning", reason='lightning is not installed: pip install "coverslip[train]"')

from coverslip.core.errors import CoverslipError, UsageError
from coverslip.learn import load_task
from coverslip.learn.classify.cut import covered, some
from coverslip.models.folder import ModelFolder
from coverslip.store import RunFolder

FIT = {"epochs": 6, "threads": 1, "batch_size": 16, "ema": 0.8, "lr": 0.005}


def values(cohort: Path, **changes: object) -> dict:
    base = {
        "method": "tiles",
        "cohort": str(cohort),
        "target": "label",
        "size": 32,
        "mpp": 1.0,
        "network": {"parameters": {"width": 8, "depths": [0, 1], "dropout": 0.0}},
        "tiles": {"learn_from": "both", "outside": "normal", "most": 20},
        "split": {"how": "folds", "folds": 2, "val": 0.2, "look": False},
        "fit": FIT,
        "augment": {"rotate": 0, "hed": 0, "hue": 0, "blur": 0},
    }
    return base | changes


@pytest.fixture(scope="module")
def trained(slide_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import yaml

    folder = tmp_path_factory.mktemp("trained")
    votes = {"votes": {"rule": "top-k", "top": 4, "also": ["mean", "majority"]}}
    (folder / "task.yaml").write_text(yaml.safe_dump({"task": "classify", **values(slide_cohort, **votes)}))
    load_task(folder / "task.yaml").train(folder / "run")
    return folder / "run"


def test_slides_are_told_apart(trained: Path) -> None:
    run = RunFolder(trained)
    said = run.get(None, "predictions/label")
    assert sorted(said["slide"]) == sorted(f"s{i}" for i in range(12))
    right = said["truth"] == np.where(said["probability_tumour"] > 0.5, "tumour", "normal")
    assert right.mean() >= 0.9
    assert {"predictions/label", "predictions/label.mean", "predictions/label.majority"} <= set(
        run.keys(None)
    )


def test_the_map_shows_where(trained: Path) -> None:
    run = RunFolder(trained)
    found = run.get("s1", "maps/label")
    tiles, table = run.get("s1", "tiles"), run.get("s1", "predictions/label")
    assert len(table) == len(tiles)
    best = int(np.argmax(table["probability_tumour"]))
    x, y = ((tiles.xy[best] + tiles.side_px / 2) / found.downsample).astype(int).tolist()
    assert found.window(x, y, (1, 1))[1, 0, 0] == pytest.approx(table["probability_tumour"][best], abs=0.01)
    assert run.provenance("s1", "maps/label").stage == "train"


def test_model_folders_say_what_they_are(trained: Path) -> None:
    for name in (".", "fold0", "fold1"):
        card = ModelFolder.load(trained / "models" / "label" / name).card
        assert (card.task, card.mpp, card.tile_px, card.classes) == (
            "classify/tiles",
            1.0,
            32,
            ("normal", "tumour"),
        )
        assert card.preprocessing["votes"]["rule"] == "top-k"
        assert card.splits["digest"].startswith("sha256:")
    assert card.splits["rows"]["test"] == 6


def test_the_same_command_again_changes_nothing(trained: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in trained.rglob("*.safetensors")}
    first = RunFolder(trained).get(None, "predictions/label")["probability_tumour"].tolist()
    load_task(trained.parent / "task.yaml").train(trained)
    assert {p: p.stat().st_mtime_ns for p in before if "fold" in str(p)} == {
        p: t for p, t in before.items() if "fold" in str(p)
    }
    assert RunFolder(trained).get(None, "predictions/label")["probability_tumour"].tolist() == first


@pytest.mark.parametrize("rule", ["histogram", "lstm"])
def test_learned_aggregation(slide_cohort: Path, tmp_path: Path, task_file, rule: str) -> None:
    split = {"how": "holdout", "test": 0.4, "val": 0.4, "look": False}
    task = load_task(task_file(**values(slide_cohort, votes={"rule": rule}, split=split)))
    task.train(tmp_path / "run")
    said = RunFolder(tmp_path / "run").get(None, "predictions/label")
    tumour = said["truth"] == "tumour"
    assert said["probability_tumour"][tumour].min() > said["probability_tumour"][~tumour].max()
    assert ModelFolder.load(tmp_path / "run" / "models" / "label").card.preprocessing["votes"]["fitted"]


def test_plan_says_what_would_be_done(slide_cohort: Path, task_file) -> None:
    plan = load_task(task_file(**values(slide_cohort))).plan()
    assert plan.facts["slides"] == "12 of 12 patients"
    assert plan.values["classes"] == ["normal", "tumour"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mpp": 0.25}, "finer"),
        ({"mpp": None}, "need an mpp"),
        ({"target": "grade"}, "grade"),
        ({"tiles": {"learn_from": "regions"}}, "no region of class normal"),
        ({"tiles": {"learn_from": "both", "outside": "stroma"}}, "stroma"),
        ({"split": {"how": "folds", "folds": 9, "look": False}}, "class"),
        ({"votes": {"rule": "mean", "also": ["lstm"]}}, "lstm"),
        ({"network": {"name": "resnet81"}}, "resnet81"),
        ({"network": {"name": "small-cnn", "transfer": "full"}}, "no published weights"),
        ({"fit": {"epochs": 0}}, "epochs"),
        ({"fitt": {}}, "did you mean 'fit'"),
        ({"method": "tile"}, "did you mean 'tiles'"),
    ],
)
def test_bad_input_is_refused_by_the_plan(slide_cohort: Path, task_file, changes: dict, said: str) -> None:
    with pytest.raises(CoverslipError, match=said):
        load_task(task_file(**values(slide_cohort, **changes))).plan()


def test_drawings_that_cannot_be_read_are_named(slide_cohort: Path, tmp_path: Path, task_file) -> None:
    text = slide_cohort.read_text().replace("s1.geojson", "gone.geojson")
    table = tmp_path / "cohort.csv"
    table.write_text(text.replace(",s", f",{slide_cohort.parent}/s").replace("gone", str(tmp_path / "gone")))
    with pytest.raises(UsageError, match=r"gone\.geojson are not there"):
        load_task(task_file(**values(table))).plan()


def test_share_of_tiles_under_regions(slide_cohort: Path) -> None:
    from coverslip.annotations import Annotations
    from coverslip.slides import open_slide
    from coverslip.tiles import GridSpec, lay

    with open_slide(slide_cohort.parent / "s1.tif", mpp=1.0) as slide:
        tiles = lay(slide, GridSpec(mpp=1.0, size=48))
        drawn = Annotations.read(slide_cohort.parent / "s1.geojson", slide=slide)
        share = covered(tiles, drawn, "tumour")
        assert (share * 48 * 48).sum() == pytest.approx(160 * 128)
        assert covered(tiles, drawn, "other").sum() == 0


def test_some_draws_at_most_so_many_of_each_class() -> None:
    codes = np.array([0] * 50 + [-1] * 10 + [1] * 3)
    chosen = some(codes, 5, np.random.default_rng(0))
    assert np.bincount(codes[chosen]).tolist() == [5, 3]
