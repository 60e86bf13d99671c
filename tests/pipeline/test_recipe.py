"""Recipes: read from YAML, checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import acting
import pytest

from coverslip.core.errors import RecipeError, UnknownNameError
from coverslip.pipeline import Recipe
from coverslip.pipeline.parameters import parse_setting
from coverslip.pipeline.recipe import built_in
from coverslip.pipeline.stages import TilesStage, TissueStage


def recipe(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return Recipe.load(path)


def test_every_built_in_recipe_loads() -> None:
    assert "survey" in built_in()
    for name in built_in():
        loaded = Recipe.load(name)
        assert loaded.name == name
        assert loaded.description
        assert Recipe.from_dict(loaded.to_dict()) == loaded


def test_yaml_becomes_stages(tmp_path: Path) -> None:
    made = recipe(tmp_path, "stages:\n  - tissue\n  - tiles: {mpp: 20x, size: 512, quality: false}\n")
    assert made.name == "mine"
    assert made.stages == (TissueStage(), TilesStage(mpp=0.5, size=512, quality=False))


def test_what_it_prints_it_reads(tmp_path: Path) -> None:
    made = Recipe.load("survey").with_parameters({"tiles.size": 512, "tissue.faintest": 0.01})
    assert recipe(tmp_path, made.to_yaml()) == made


WRONG = {
    "stages: [tisue]": "there is no stage 'tisue'; to mend: did you mean 'tissue'",
    "stages: [tissue, {tiles: {sise: 5, quality: false}}]": r"no parameter 'sise'.*did you mean 'size'",
    "stages: [tissue]\nnmae: x": "there is no key 'nmae'; to mend: did you mean 'name'",
    "stages: [tissue, {tiles: {size: big, quality: false}}]": r"size is 'big', expected int.*default is 256",
    "stages: [tissue, {tiles: {size: true, quality: false}}]": "size is True, expected int",
    "stages: [tissue, {tiles: {size: 1.5, quality: false}}]": "size is 1.5, expected int",
    "stages: [tissue, {tiles: {size: 0, quality: false}}]": "size 0 and stride None make no grid",
    "stages: [tissue, {tiles: {mpp: 900, quality: false}}]": "mpp 900.* is implausible",
    "stages: [tissue, {tiles: {mpp: fine, quality: false}}]": "cannot read 'fine' as a resolution",
    "stages: [tissue, {tiles: {edge: cut, quality: false}}]": "edge is 'cut', expected Literal",
    "stages: [tissue, {tiles: 512}]": "is no stage; to mend: write a name",
    "stages: [tissue, tissue]": "stage 'tissue' is there twice",
    "stages: [tiles]": "stage 'tiles' needs 'tissue'.*add stage 'tissue' before it",
    "stages: [{tiles: {quality: false}}, tissue]": "put stage 'tissue' before it",
    "stages: []": "lists no stages",
    "name: x": "lists no stages",
    "- tissue": "holds no recipe",
    "stages: [": "is not YAML",
    "": "holds no recipe",
}


def test_another_model_brings_its_own_digest(tmp_path: Path) -> None:
    """What was filled in for the first model is not held against the second."""
    first = Recipe.load("ki67")
    nuclei = next(stage for stage in first.stages if stage.name == "nuclei")
    second = first.with_parameters({"nuclei.model": "phantom-nuclei"})
    other = next(stage for stage in second.stages if stage.name == "nuclei")
    assert nuclei.weights_digest != other.weights_digest
    assert recipe(tmp_path, second.to_yaml()) == second
    # a digest that is given is held against the model, and stays when other things change
    with pytest.raises(RecipeError, match="but the recipe names sha256:00"):
        first.with_parameters({"nuclei.model": "phantom-nuclei", "nuclei.weights_digest": "sha256:00"})
    assert (
        second.with_parameters({"nuclei.precision": "f32"}).stages[3].weights_digest == other.weights_digest
    )


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_what_cannot_run_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(tmp_path, text)


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'survey'"):
        Recipe.load("survy")
    with pytest.raises(UnknownNameError, match="there is no recipe file"):
        Recipe.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load(tmp_path / "binary.yaml")


def test_settings_change_parameters() -> None:
    changed = Recipe.load("survey").with_parameters(
        dict(map(parse_setting, ["tiles.size=512", "tiles.mpp=20x"]))
    )
    tiles = next(stage for stage in changed.stages if stage.name == "tiles")
    assert (tiles.size, tiles.mpp) == (512, 0.5)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tiels.size=1", "did you mean 'tiles'"),
        ("tiles.sise=1", "did you mean 'size'"),
        ("size=1", "names no parameter"),
        ("tiles.size", "sets nothing"),
        ("tiles.size=[", "cannot be read as YAML"),
        ("tiles.size=big", "expected int"),
    ],
)
def test_settings_that_cannot_be(setting: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recipe.load("survey").with_parameters(dict([parse_setting(setting)]))


def test_two_stages_must_not_write_the_same() -> None:
    class Other(acting.Brightness):
        name = "other"

    with pytest.raises(RecipeError, match="stages 'brightness' and 'other' both write"):
        Recipe("r", (acting.Brightness(), Other()))


def test_a_key_without_a_place_is_refused() -> None:
    class Odd(acting.Liar):
        def writes(self) -> tuple[str, ...]:
            return ("picture",)

    with pytest.raises(UnknownNameError, match="there is no artefact 'picture'"):
        Recipe("r", (Odd(),))
