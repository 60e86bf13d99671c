"""What `coverslip plan` says of a tree, and what is made of cases."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import levels
import numpy as np
import pytest

from coverslip.cli.planned import show_left, show_tree
from coverslip.pipeline import Execution, Recipe, Step, run_recipe
from coverslip.pipeline.planning import drawn, left_to_do, plan_of
from coverslip.pipeline.sources import sources_of
from coverslip.pipeline.stages import TilesStage
from coverslip.store import RunFolder

HERE = Execution(workers=0)


def grey(folder: Path, *names: str, side: int = 512) -> Path:
    import tifffile

    folder.mkdir(exist_ok=True)
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", np.full((side, side, 3), 120, np.uint8), photometric="rgb")
    return folder


def recipe(factor: float = 1.0, least: float | None = None) -> Recipe:
    where = {"halves": "left"} | ({} if least is None else {"at_least": least})
    stages = (
        levels.Ground(),
        TilesStage(size=64, quality=False, min_tissue=0),
        levels.Halves(),
        Step(levels.Blobs(), where=where),
        Step(levels.Counted(factor=factor), where={"blobs": "big"}),
        Step(levels.Depths(), within={"blobs": "big"}),
    )
    return Recipe("three levels", stages)


def test_the_tree_follows_the_limits() -> None:
    steps = plan_of(recipe()).steps
    assert [(s.name, s.depth, s.above) for s in steps] == [
        ("ground", 0, None),
        ("tiles", 0, None),
        ("halves", 0, None),
        ("blobs", 1, "halves"),
        ("counted", 2, "blobs"),
        ("depths", 2, "blobs"),
    ]
    assert drawn((s.name, s.depth) for s in steps)[3:] == ["└─ blobs", "   ├─ counted", "   └─ depths"]


def test_a_step_stands_below_what_it_works_on() -> None:
    stages = (
        levels.Ground(),
        TilesStage(size=64, quality=False, min_tissue=0),
        levels.Halves(),
        Step(TilesStage(size=32, quality=False, min_tissue=0), name="fine", where={"halves": "left"}),
        Step(levels.Blobs(), name="found", using={"tiles": "fine"}),
        Step(levels.Counted(of="found")),
        levels.Depths(),
    )
    steps = plan_of(Recipe("lines", stages)).steps
    lines = drawn((step.name, step.depth) for step in steps)
    assert lines[2:] == ["halves", "└─ fine", "   └─ found", "      └─ counted", "depths"]


def test_plan_says_what_is_cached_stale_and_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = grey(tmp_path / "slides", "a")
    first = sources_of([str(folder)], mpp=0.5)
    before = {s.name: s for s in plan_of(recipe(), first, tmp_path / "run").steps}
    assert (before["halves"].to_do, before["halves"].tiles, before["halves"].at_most) == (1, 64, True)
    assert before["halves"].seconds is None
    assert run_recipe(recipe(), first, tmp_path / "run", execution=HERE).ok
    grey(folder, "b")
    plan = plan_of(recipe(factor=2), sources_of([str(folder)], mpp=0.5), tmp_path / "run")
    found = {s.name: (s.cached, s.stale, s.to_do, s.tiles, s.at_most) for s in plan.steps}
    assert found["halves"] == (1, 0, 1, 64, False)
    assert found["blobs"] == (1, 0, 1, 32, False)
    assert found["counted"] == (0, 1, 1, 32, False)
    assert found["ground"][:3] == (1, 0, 1)
    assert plan.left["a"] == ("counted",)
    assert plan.seconds is not None
    show_tree(recipe(factor=2), plan)
    show_left(plan)
    said = capsys.readouterr().out
    assert "   └─ depths   within blobs: big" in said
    assert re.search(r"1 stale, 1 to do +about 32", said)
    assert left_to_do(recipe(factor=2), first, tmp_path / "run") == {"a": ("counted",)}
    assert json.dumps([s.to_dict() for s in plan.steps])


# ------------------------------------------------------------------ cases
def cases(tmp_path: Path, *rows: str) -> list:
    table = tmp_path / "cohort.csv"
    table.write_text("slide,path,mpp,case\n" + "\n".join(rows) + "\n")
    return sources_of([str(table)])


def test_slides_of_a_case_flow_into_one_row(tmp_path: Path) -> None:
    grey(tmp_path, "a", "b")
    grey(tmp_path, "c", side=256)
    rows = [f"{name},{name}.tif,0.5,{case}" for name, case in (("a", "one"), ("b", "one"), ("c", ""))]
    sources = cases(tmp_path, *rows)
    whole = replace(recipe(), stages=(*recipe().stages, levels.PerCase()))
    assert run_recipe(whole, sources, tmp_path / "run", execution=HERE).ok
    run = RunFolder(tmp_path / "run")
    table = run.get(None, "predictions/per-case")
    assert table["case"].tolist() == ["one", "c"]
    assert table["slides"].tolist() == [2, 1]
    assert table["objects"].tolist() == [32, 4]
    mark = run.fingerprint(None, "predictions/per-case")
    assert run_recipe(whole, sources, tmp_path / "run", execution=HERE).ok
    assert run.fingerprint(None, "predictions/per-case") == mark
    again = cases(tmp_path, *rows[:2], "c,c.tif,0.5,one")  # only the cohort changed
    assert run_recipe(whole, again, tmp_path / "run", execution=HERE).ok
    assert RunFolder(tmp_path / "run").get(None, "predictions/per-case")["objects"].tolist() == [36]


def test_a_case_tells_of_slides_that_failed(tmp_path: Path) -> None:
    grey(tmp_path, "a", "b")
    (tmp_path / "bad.tif").write_bytes(b"")
    sources = cases(tmp_path, "a,a.tif,0.5,one", "bad,bad.tif,0.5,one", "worse,bad.tif,0.5,two")
    whole = replace(recipe(), stages=(*recipe().stages, levels.PerCase()))
    done = run_recipe(whole, sources, tmp_path / "run", execution=HERE)
    assert {o.slide for o in done.failed} == {"bad"} or len(done.failed) == 2
    table = RunFolder(tmp_path / "run").get(None, "predictions/per-case")
    assert table["missing"].tolist()[0] == 1
    assert table["objects"].tolist()[0] == 16
