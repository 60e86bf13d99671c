"""The embed stage: features in tile order, resumed mid-slide, with unreadable tiles said."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "coverslip[torch]"')
timm = pytest.importorskip("timm", reason='timm is not installed: pip install "coverslip[torch]"')

from coverslip import open_slide  # noqa: E402
from coverslip.core.errors import StoreError, UnknownNameError, UsageError  # noqa: E402
from coverslip.models import load_encoder  # noqa: E402
from coverslip.phantom import PhantomSpec, damage_tile, make, write_slide  # noqa: E402
from coverslip.pipeline import Execution, Recipe, run_recipe  # noqa: E402
from coverslip.pipeline.stages import EmbedStage  # noqa: E402
from coverslip.slides import find_slides  # noqa: E402
from coverslip.store import Resume  # noqa: E402
from coverslip.tiles import GridSpec, lay, stream  # noqa: E402
from coverslip.tissue import find_tissue  # noqa: E402


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    phantom = make(PhantomSpec(width=1800, height=1500, tissue_share=0.5), seed=3)
    return write_slide(phantom, tmp_path_factory.mktemp("slides") / "one.svs")


def test_a_recipe_embeds_a_slide_and_a_second_run_does_nothing(
    slide_path: Path, weights: str, tmp_path: Path
) -> None:
    recipe = Recipe.load("embed").with_parameters({"embed.weights": weights, "embed.batch": 8})
    run = tmp_path / "run"
    assert run_recipe(recipe, find_slides([str(slide_path)]), run, execution=Execution(workers=0)).ok
    path = run / "slides" / "one" / "features" / "resnet18.h5"
    with h5py.File(path) as file:
        features, coords = file["features"][:], file["coords"][:]
        assert features.dtype == np.float16
    with open_slide(slide_path) as slide:
        tiles = [slide.read_at(_box(x, y), 1.0) for x, y in coords[:5]]
    expected = load_encoder("resnet18", weights=weights).encode(np.stack(tiles))
    np.testing.assert_allclose(features[:5], expected, rtol=2e-2, atol=2e-2)
    before = path.stat().st_mtime_ns
    assert run_recipe(recipe, find_slides([str(slide_path)]), run, execution=Execution(workers=0)).ok
    assert path.stat().st_mtime_ns == before


def _box(x: int, y: int):
    from coverslip import Box

    return Box(int(x), int(y), 224, 224)


def test_it_goes_on_mid_slide(slide_path: Path, weights: str) -> None:
    stage = EmbedStage(weights=weights, batch=4)
    with open_slide(slide_path) as slide:
        tiles = lay(slide, GridSpec(size=224, min_tissue=0)).take(np.arange(10))
        whole = _drain(stage.run(slide, {"tiles": tiles}))
        rest = _drain(stage.run(slide, {"tiles": tiles, "resume": Resume({"features/resnet18": 7})}))
    np.testing.assert_array_equal(rest[1], whole[1][7:])
    np.testing.assert_allclose(rest[0], whole[0][7:], atol=1e-3)


def _drain(outputs):
    rows = list(outputs["features/resnet18"].batches)
    return np.concatenate([x for x, _ in rows]), np.concatenate([c for _, c in rows])


def test_only_the_tiles_on_a_damaged_block_are_missing(
    slide_path: Path, weights: str, tmp_path: Path
) -> None:
    import shutil

    path = Path(shutil.copy(slide_path, tmp_path / "hurt.svs"))
    damage_tile(path, 0, 2, 2)
    with open_slide(path) as slide:
        tiles = lay(slide, GridSpec(size=224, min_tissue=0))
        missing = np.concatenate([batch.missing for batch in stream(slide, tiles)])
        outputs = EmbedStage(weights=weights).run(slide, {"tiles": tiles})
        features, _ = _drain(outputs)
    assert 0 < missing.sum() < 10
    np.testing.assert_array_equal(np.isnan(features).all(axis=1), missing)
    assert not np.isnan(features[~missing]).any()
    assert "could not be read" in outputs["notes"][0]


def test_a_damaged_block_has_a_row_in_the_log_and_stops_nothing(
    slide_path: Path, weights: str, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "slides"
    folder.mkdir()
    hurt = Path(shutil.copy(slide_path, folder / "hurt.svs"))
    shutil.copy(slide_path, folder / "whole.svs")
    with open_slide(hurt) as slide:
        corners = lay(slide, GridSpec(size=224), find_tissue(slide)).xy
        block = slide.reader.block_size(0)
    column, row = (corners[len(corners) // 2] + 112) // np.array(block)
    damage_tile(hurt, 0, int(column), int(row))
    recipe = Recipe.load("embed").with_parameters({"embed.weights": weights, "embed.batch": 8})
    done = run_recipe(recipe, find_slides([str(folder)]), tmp_path / "run", execution=Execution(workers=0))
    assert done.ok
    rows = {e.slide: e.note for e in done.run.events() if e.stage == "embed" and e.status == "done"}
    assert rows["whole"] is None
    assert "tiles could not be read and have no features" in rows["hurt"][0]
    assert f"block ({column}, {row}) of level 0" in rows["hurt"][1]
    with h5py.File(done.run.path_of("hurt", "features/resnet18")) as file:
        lost = np.isnan(file["features"][:]).all(axis=1)
    assert 0 < lost.sum() < len(lost) / 2


def test_features_that_are_no_numbers_are_refused(slide_path: Path, weights: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    state["bn1.weight"] = torch.full_like(state["bn1.weight"], float("nan"))
    save_file(state, tmp_path / "nan.safetensors")
    with open_slide(slide_path) as slide:
        tiles = lay(slide, GridSpec(size=224, min_tissue=0)).take(np.arange(2))
        outputs = EmbedStage(weights=str(tmp_path / "nan.safetensors")).run(slide, {"tiles": tiles})
        with pytest.raises(UsageError, match="no numbers"):
            _drain(outputs)


def test_wrong_parameters_are_refused_before_work_begins(weights: str, slide_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="resnet50"):
        EmbedStage(encoder="resnet51")
    with pytest.raises(StoreError, match="no weights"):
        EmbedStage(weights="nowhere.safetensors")
    with pytest.raises(StoreError, match="recipe names"):
        EmbedStage(weights=weights, weights_digest="sha256:0")
    assert EmbedStage(weights=weights).weights_digest == EmbedStage(weights=weights).weights_digest
    with open_slide(slide_path) as slide, pytest.raises(UsageError, match=r"tiles\.size=224"):
        EmbedStage(encoder="vit-small").run(slide, {"tiles": lay(slide, GridSpec(size=256))})
