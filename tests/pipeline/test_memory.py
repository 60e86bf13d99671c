"""Stages in memory, for notebooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import acting
import pytest

from coverslip.core.errors import RecipeError, UnknownNameError, UsageError
from coverslip.pipeline import Execution, Pipeline, Recipe, run_recipe
from coverslip.pipeline.planning import left_to_do
from coverslip.pipeline.sources import sources_of
from coverslip.slides import find_slides, open_slide


def test_stages_run_in_memory(slides: Callable[..., Path]) -> None:
    stages = [acting.Brightness(), acting.Doubled(), acting.Counting()]
    with open_slide(slides("a") / "a.tif") as slide:
        results = Pipeline(stages).run(slide)
    assert results["tables/doubled"]["value"].tolist() == [200]
    assert results["features/counting"].X[:, 0].tolist() == list(range(20))
    assert results["tables/sum"]["sum"] == [190]
    assert "thumbnail" in results
    with pytest.raises(UnknownNameError, match="did you mean 'tables/doubled'"):
        _ = results["tables/double"]


def test_results_that_are_given_are_not_made_again(slides: Callable[..., Path]) -> None:
    given = {"tables/brightness": {"value": 7}}
    with open_slide(slides("a") / "a.tif") as slide:
        results = Pipeline([acting.Brightness(), acting.Doubled()]).run(slide, given)
    assert results["tables/doubled"] == {"value": 14}


def test_a_stage_alone_needs_its_input() -> None:
    with pytest.raises(RecipeError, match="needs 'tables/brightness'"):
        Pipeline([acting.Doubled()])


def test_left_to_do(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = slides("a", "b"), tmp_path / "run"
    recipe = Recipe("r", (acting.Brightness(), acting.Doubled()))
    everything = ("open", "brightness", "doubled")
    assert left_to_do(recipe, find_slides([folder]), out) == {"a": everything, "b": everything}
    run_recipe(recipe, find_slides([folder / "a.tif"]), out, execution=Execution(workers=0))
    assert left_to_do(recipe, find_slides([folder]), out) == {"a": (), "b": everything}
    other = Recipe("r", (acting.Brightness(), acting.Doubled(diary="x")))
    assert left_to_do(other, find_slides([folder]), out)["a"] == ("doubled",)


def test_what_the_user_says_of_the_scale(slides: Callable[..., Path], tmp_path: Path) -> None:
    folder, table, cohort = slides("a", "b", "c"), tmp_path / "mpp.csv", tmp_path / "cohort.csv"
    table.write_text("slide,mpp\na,0.25\nother,1\n")
    rows = "".join(f"{name},{folder / name}.tif,{mpp}\n" for name, mpp in (("a", "1"), ("b", "2"), ("c", "")))
    cohort.write_text("slide,path,mpp\n" + rows)
    said = {source.id: source.mpp for source in sources_of([str(cohort)], mpp=0.5, mpp_csv=table)}
    assert said == {"a": 0.25, "b": 2.0, "c": 0.5}
    assert {s.mpp for s in sources_of([str(folder)])} == {None}
    table.write_text("slide,mpp\nother,1\n")
    with pytest.raises(
        UsageError, match=r"names none of the slides: it has other and the slides are a, b, c"
    ):
        sources_of([str(folder)], mpp_csv=table)
