"""The stage stain knows which target it was given, and which slides it must refuse."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from coverslip.core import Box
from coverslip.core.errors import StainError
from coverslip.phantom import Phantom, PhantomSpec, make, write_slide
from coverslip.pipeline import Execution, Recipe, run_recipe
from coverslip.pipeline.sources import sources_of
from coverslip.pipeline.stages import StainStage, TilesStage
from coverslip.pipeline.stages.stain import PINKEST, hues, require_haematoxylin, require_stain_of
from coverslip.slides import open_slide
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, estimate_background, load_target, recombine
from coverslip.tiles import lay


def test_a_changed_target_changes_the_parameters(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    load_target("cmu-1").save(path)
    first = StainStage(target=str(path))
    assert str(first.target_digest).startswith("sha256:")
    assert StainStage(target=str(path)) == first
    load_target("nct-crc").save(path)
    assert asdict(StainStage(target=str(path))) != asdict(first)
    with pytest.raises(StainError, match="the recipe names"):
        StainStage(target=str(path), target_digest=first.target_digest)


def test_a_built_in_target_needs_no_digest() -> None:
    assert StainStage().target_digest is None
    with pytest.raises(StainError, match="the recipe names"):
        StainStage(target_digest="sha256:00")


# ------------------------------------------------------------------ slides of another stain
SIZE = {"width": 600, "height": 500, "tissue_share": 0.6, "holes": 0.0}


def phantom(stain: str, seed: int, **options: object) -> Phantom:
    return make(PhantomSpec(**SIZE, stain=stain, **options), seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stains")
    write_slide(phantom("he", 1), made / "he.svs")
    write_slide(phantom("ihc", 2, positive_share=0.6, tumour_share=0.6), made / "ihc.svs")
    return made


@pytest.mark.parametrize("seed", range(4))
def test_eosin_is_pink_and_dab_brown(seed: int) -> None:
    def seen(made: Phantom) -> tuple[float, float]:
        pixels = made.render(Box(0, 0, *made.size), 2)
        return hues(pixels.reshape(-1, 3), estimate_background(pixels))

    pink, brown = seen(phantom("he", seed))
    assert pink > 3 * PINKEST
    assert brown < 0.01
    pink, brown = seen(phantom("ihc", seed, positive_share=0.6))
    assert pink < PINKEST / 10
    assert brown > 0.01
    assert seen(phantom("ihc", seed, positive_share=0.0))[0] < PINKEST / 10


def test_a_real_slide_of_dab_has_no_pink() -> None:
    """Colon, FHL2: the picture of immunohistochemistry that comes with scikit-image."""
    import skimage.data

    pixels = skimage.data.immunohistochemistry()
    pink, brown = hues(pixels.reshape(-1, 3), estimate_background(pixels))
    assert pink < PINKEST / 10
    assert brown > 0.01


@pytest.mark.parametrize("name", ["ki67", "er-pr", "her2-membrane"])
def test_a_slide_of_eosin_is_refused_before_anything_long_and_the_other_goes_on(
    name: str, folder: Path, tmp_path: Path
) -> None:
    recipe = Recipe.load(name)
    first = replace(recipe, stages=recipe.stages[:3])  # tissue, tiles, stain
    assert first.stages[-1].name == "stain"
    sources = sources_of([str(folder)])
    done = run_recipe(first, sources, tmp_path / "run", execution=Execution(workers=0))
    assert [outcome.slide for outcome in done.outcomes if outcome.status == "done"] == ["ihc"]
    (failed,) = done.failed
    assert (failed.slide, failed.failure.stage, failed.failure.error) == ("he", "stain", "StainError")
    assert "are pink, as eosin is: expected haematoxylin and DAB" in failed.failure.message
    assert "recipe for H&E" in str(failed.failure.mend)


def test_dab_without_haematoxylin_is_refused(folder: Path) -> None:
    with open_slide(folder / "ihc.svs") as slide:
        from coverslip.pipeline.opening import thumbnail_of

        plain = RUIFROK_JOHNSTON["H-DAB"]
        thumbnail = thumbnail_of(slide).pixels
        fixed = StainMatrix(plain.names, plain.vectors, (1.0, 1.0), estimate_background(thumbnail))
        amounts = np.zeros((128, 128, 2), np.float32)
        amounts[32:96, 32:96, 1] = 0.6
        brown = recombine(amounts, fixed)
        alone = StainStage(method="H-DAB")._fit(brown.reshape(-1, 3), fixed.background)
        with pytest.raises(StainError, match="shows no haematoxylin"):
            require_haematoxylin(slide, alone)


def test_a_model_of_one_stain_refuses_a_slide_of_the_other(folder: Path) -> None:
    for name, own, other in (("he", "H&E", "H-DAB"), ("ihc", "H-DAB", "H&E")):
        with open_slide(folder / f"{name}.svs") as slide:
            tiles = lay(slide, TilesStage(size=128, quality=False, min_tissue=0))
            for stain in (own, None, "Giemsa"):
                require_stain_of("mine", stain, slide, tiles)
            with pytest.raises(
                StainError, match=f"looks stained as {own}, and the model 'mine' learned from"
            ):
                require_stain_of("mine", other, slide, tiles)
