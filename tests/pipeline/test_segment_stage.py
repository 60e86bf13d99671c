"""The stages of segmenters and detectors: stitched as in one pass, resumed, refused where they cannot run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("segmentation_models_pytorch")
import torch

from coverslip import open_slide
from coverslip.core import Box
from coverslip.core.errors import GeometryError, RecipeError, StoreError, UsageError
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.segmenters import SegmenterSpec, build_segmenter
from coverslip.models.segmenters_run import Segmenter
from coverslip.pipeline.model_recipes import recipe_of_model
from coverslip.pipeline.stages.detect import DetectStage
from coverslip.pipeline.stages.segment import RegionsStage, SegmentStage
from coverslip.pipeline.step import Step
from coverslip.slides import Slide
from coverslip.store import Provenance, RunFolder
from coverslip.testing import check_stage
from coverslip.tiles import GridSpec, lay

MARGIN = 88
"""No path through the test's network is longer."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small U-Net whose batch normalisation has seen noise, saved as training would."""
    torch.manual_seed(3)
    network = build_segmenter(SegmenterSpec(classes=("stroma", "tumour"), depth=3, width=4)).train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(2, 3, 64, 64))
    card = FolderCard(
        id="noise",
        task="segment",
        architecture="unet",
        parameters={"encoder": "small", "depth": 3, "width": 4},
        classes=("stroma", "tumour"),
        mpp=1.0,
        tile_px=64,
        preprocessing={"margin_px": MARGIN, "background": None},
    )
    folder = tmp_path_factory.mktemp("model") / "noise"
    ModelFolder.save(folder, network.state_dict(), card)
    return str(folder)


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[Slide]:
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (45, 40, 3)).astype(np.uint8), (320, 360))
    cv2.imwrite(str(tmp_path / "noise.png"), picture)
    with open_slide(tmp_path / "noise.png", mpp=1.0) as opened:
        yield opened


GRID = GridSpec(mpp=1.0, size=128, stride=96, edge="pad", min_tissue=0)


def put(run: RunFolder, stage: Any, outputs: Any) -> None:
    """Write what a stage gives, as the runner does."""
    made = Provenance.make(stage.name, stage.version, parameters={}, inputs={}, slide=None)
    streamed, derived, objects = stage.writes()
    run.put("noise", streamed, outputs[streamed], provenance=made)
    done = {streamed: run.get("noise", streamed)}
    for key in (derived, objects):
        run.put("noise", key, outputs[key].make(done), provenance=made)


def test_stitched_tiles_equal_one_pass_and_labels_equal_regions(
    tmp_path: Path, slide: Slide, model: str
) -> None:
    stage = SegmentStage(model=model, threads=1)
    outputs = stage.run(slide, {"tiles": lay(slide, GRID)})
    run = RunFolder.create(tmp_path / "run")
    put(run, stage, outputs)
    stitched = run.get("noise", "maps/noise").read()
    once = Segmenter.load(model, threads=1).probabilities(slide.read_at(Box(0, 0, 320, 360), 1.0)[None])[0]
    inside = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert np.abs(stitched - once)[inside].max() <= 0.5 / 255 + 1e-5  # maps are stored in steps of 1 / 255
    labels = run.get("noise", "maps/noise-labels").read()
    np.testing.assert_array_equal(labels, stitched.argmax(axis=0) + 1)
    objects = run.get("noise", "objects/noise").read()
    assert sum(objects["area_um2"]) == pytest.approx(320 * 360)
    assert objects.classes == ("stroma", "tumour")


def test_without_a_margin_tiles_do_not_equal_one_pass(slide: Slide, model: str) -> None:
    tiles = lay(slide, GRID)
    maps = [
        SegmentStage(model=model, threads=1, margin=margin)
        .run(slide, {"tiles": tiles})["maps/noise"]
        .collect()
        for margin in (0, MARGIN)
    ]
    assert np.abs(maps[0].read() - maps[1].read()).max() > 0.01


def test_no_tiles_are_a_result(tmp_path: Path, slide: Slide, model: str) -> None:
    stage = SegmentStage(model=model, threads=1)
    run = RunFolder.create(tmp_path / "run")
    put(run, stage, stage.run(slide, {"tiles": lay(slide, GRID).take(np.empty(0, int))}))
    assert not run.get("noise", "maps/noise-labels").read().any()
    assert len(run.get("noise", "objects/noise")) == 0


def test_regions_are_made_anew_of_a_map(slide: Slide, model: str) -> None:
    tiles = lay(slide, GRID)
    map_ = SegmentStage(model=model, threads=1).run(slide, {"tiles": tiles})["maps/noise"].collect()
    stage = RegionsStage(of="noise", without=("stroma",), smallest_um2=500, fill_um2=500, tolerance_um=2)
    made = stage.run(slide, {"maps/noise": map_, "tiles": tiles})
    objects = made["objects/noise-regions"]
    assert objects.classes == ("tumour",)
    assert not len(objects) or objects["area_um2"].min() > 400
    check_stage(stage, slide, {"maps/noise": map_, "tiles": tiles})


def test_what_cannot_run_is_refused_plainly(slide: Slide, model: str) -> None:
    with pytest.raises(RecipeError, match=r"names no model; to mend: give the folder: --set STEP\.model="):
        SegmentStage().run(slide, {"tiles": lay(slide, GRID)})
    with pytest.raises(RecipeError, match=r"trained at 1 µm per pixel, these tiles have 2"):
        SegmentStage(model=model).run(slide, {"tiles": lay(slide, GridSpec(mpp=2.0, size=128, edge="pad"))})
    with pytest.raises(GeometryError, match="stride 100 of the tiles: expected multiples of 8"):
        SegmentStage(model=model).run(
            slide, {"tiles": lay(slide, GridSpec(size=128, stride=100, edge="pad"))}
        )
    with pytest.raises(StoreError, match="but the recipe names sha256:0"):
        SegmentStage(model=model, model_digest="sha256:0")
    with pytest.raises(UsageError, match="is for 'segment', not for 'detect'"):
        DetectStage(model=model).run(slide, {"tiles": lay(slide, GRID)})


def test_under_a_name_of_its_own_its_results_have_that_name(model: str) -> None:
    stage = SegmentStage(model=model)
    assert stage.writes() == ("maps/noise", "maps/noise-labels", "objects/noise")
    assert Step(stage, name="fine").writes() == ("maps/fine", "maps/fine-labels", "objects/fine")


def test_a_model_folder_becomes_a_recipe(model: str) -> None:
    recipe = recipe_of_model(model)
    assert [stage.name for stage in recipe.stages] == ["tissue", "tiles", "segment"]
    assert recipe.stages[1].mpp == 1.0
    assert recipe.stages[1].size % 8 == recipe.stages[1].step % 8 == 0
