"""The built-in recipes, each run end to end on a phantom slide and held against its truth."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from coverslip.core.errors import CoverslipError, RecipeError, StainError
from coverslip.phantom import PhantomSpec, make, write_slide
from coverslip.pipeline import Execution, Pipeline, Recipe, run_recipe
from coverslip.pipeline.recipe import built_in
from coverslip.pipeline.sources import sources_of
from coverslip.pipeline.stages import StainStage, TilesStage, TissueStage
from coverslip.pipeline.stages.classical import ClassicalNucleiStage
from coverslip.slides import open_slide

HERE = Execution(workers=0)
SMALL = {"width": 1000, "height": 900, "tissue_share": 0.6, "holes": 0.0}


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    """The benchmark, which knows each recipe's phantom and truth."""
    import sys

    path = Path(__file__).parents[2] / "benchmarks" / "recipes.py"
    spec = importlib.util.spec_from_file_location("recipe_figures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe_figures"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ki67", "necrosis", "gland-grade"])
def test_recipes_find_what_the_phantom_knows(name: str, figures: ModuleType, tmp_path: Path) -> None:
    figures.SIZE.update(SMALL)
    missed = [row for row in figures.run(name, 52, tmp_path) if not row.ok]
    assert missed == []


@pytest.mark.parametrize("name", ["til", "tumour-cellularity", "mitosis", "her2-membrane"])
def test_deep_recipes_run_with_a_page_of_levels(name: str, figures: ModuleType, tmp_path: Path) -> None:
    figures.SIZE.update(SMALL)
    spec, settings, compare = figures.RECIPES[name]
    phantom = make(spec(53), 53)
    path = write_slide(phantom, tmp_path / "a.svs")
    recipe = Recipe.load(name).with_parameters(settings)
    done = run_recipe(recipe, sources_of([str(path)]), tmp_path / "run", execution=HERE)
    assert done.ok, done.outcomes
    keys = [key for stage in recipe.stages for key in stage.writes()]
    found = {key: done.run.get("a", key) for key in keys if key != "page"}
    rows = list(compare(phantom, found))  # which of them are within bounds, the benchmark says
    assert rows
    assert all(np.isfinite(row.found) and row.found >= 0 for row in rows)
    page = done.run.get("a", "page")
    for stage in recipe.stages[:-1]:
        assert f"<h2>{stage.name}</h2>" in page
    assert "Only wh" in page or "Only within" in page
    assert done.run.path_of(None, "report").exists()


def test_every_recipe_loads_and_says_what_it_is() -> None:
    names = {
        "survey",
        "ki67",
        "er-pr",
        "her2-membrane",
        "tumour-cellularity",
        "til",
        "mitosis",
        "gland-grade",
    }
    assert names | {"necrosis", "fibrosis"} <= set(built_in())
    for name in built_in():
        recipe = Recipe.load(name)
        assert Recipe.from_dict(recipe.to_dict()) == recipe


# ------------------------------------------------------------------ bad input
@pytest.fixture(scope="module")
def stained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stained")
    size = {"width": 600, "height": 500, "tissue_share": 0.6, "holes": 0.0}
    write_slide(make(PhantomSpec(**size), 1), folder / "he.svs")
    brown = PhantomSpec(**SMALL, stain="ihc", positive_share=0.6, tumour_share=0.6)
    write_slide(make(brown, 2), folder / "ihc.svs")
    return folder


def test_a_model_of_another_stain_is_refused_and_others_go_on(stained: Path, tmp_path: Path) -> None:
    settings = {"tissue-types.model": "phantom-tissue", "stain.method": "H-DAB"}
    recipe = Recipe.load("necrosis").with_parameters(settings)
    done = run_recipe(recipe, sources_of([str(stained)]), tmp_path / "run", execution=HERE)
    said = {outcome.slide: outcome.failure for outcome in done.failed}
    assert set(said) == {"he", "ihc"}
    assert said["he"].stage == "stain"
    assert (said["ihc"].stage, said["ihc"].error) == ("tissue-types", "StainError")
    assert "looks stained as H-DAB, and the model 'phantom-tissue' learned from H&E" in said["ihc"].message
    plain = recipe.with_parameters({"stain.method": "macenko"})
    done = run_recipe(plain, sources_of([str(stained)]), tmp_path / "other", execution=HERE)
    assert [outcome.slide for outcome in done.outcomes if outcome.status == "done"] == ["he"]


def test_a_pixel_classifier_of_another_stain_is_refused(stained: Path, tmp_path: Path) -> None:
    stages: list[object] = ["tissue", {"tiles": {"size": 256, "quality": False, "min_tissue": 0.1}}]
    stages += [{"stain": {"method": "H-DAB"}}, {"pixels": {"model": "phantom-pixels"}}]
    recipe = Recipe.from_dict({"stages": stages})
    done = run_recipe(recipe, sources_of([str(stained / "ihc.svs")]), tmp_path / "run", execution=HERE)
    (failed,) = done.failed
    assert "is stained with haematoxylin and dab, and the model 'phantom-pixels'" in failed.failure.message


def test_a_recipe_without_its_model_says_which_parameter(stained: Path, tmp_path: Path) -> None:
    done = run_recipe(
        Recipe.load("fibrosis"), sources_of([str(stained / "he.svs")]), tmp_path / "run", execution=HERE
    )
    assert "names no model" in done.failed[0].failure.message
    with pytest.raises(CoverslipError, match="did you mean 'phantom-tissue'"):
        Recipe.load("fibrosis").with_parameters({"tissue-types.model": "phantom-tisue"})


def test_nuclei_without_haematoxylin_are_refused(stained: Path) -> None:
    from dataclasses import replace

    with open_slide(stained / "he.svs") as slide:
        found = Pipeline([TissueStage(), TilesStage(quality=False), StainStage()]).run(slide)
        stain = found["stain"]
        pale = replace(stain, stains=replace(stain.stains, max_concentrations=(0.05, 0.8)))
        with pytest.raises(StainError, match="shows no haematoxylin"):
            ClassicalNucleiStage().run(slide, {"tiles": found["tiles"], "stain": pale})


def test_a_model_of_a_finer_mpp_than_the_slide_is_refused(stained: Path, tmp_path: Path) -> None:
    recipe = Recipe.load("tumour-cellularity").with_parameters({"tumour.model": "phantom-tissue"})
    source = sources_of([str(stained / "he.svs")], mpp=4.0)
    done = run_recipe(recipe, source, tmp_path / "run", execution=HERE)
    assert "finer" in done.failed[0].failure.message


def test_limits_of_unknown_classes_are_refused_before_anything_runs() -> None:
    stages = Recipe.load("gland-grade").to_dict()["stages"]
    stages[3]["model"], stages[4]["where"] = "phantom-tissue", {"tissue-types": "glnd"}
    with pytest.raises(RecipeError, match="did you mean 'gland'"):
        Recipe.from_dict({"stages": stages})
