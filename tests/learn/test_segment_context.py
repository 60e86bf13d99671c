"""A task that only the surroundings decide: regions that are alike, told apart by a ring far around them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("segmentation_models_pytorch")
pytest.importorskip("lightning")

from coverslip import open_slide
from coverslip.annotations import Annotations, Shape
from coverslip.core.errors import UsageError
from coverslip.learn.segment.infer import segmented
from coverslip.learn.segment.task import Context, SegmentTask
from coverslip.learn.task import load_task
from coverslip.models.folder import ModelFolder
from coverslip.models.segmenters_run import Segmenter
from coverslip.pipeline.stages.segment import SegmentStage
from coverslip.tiles import GridSpec, lay

CELL, CLASSES = 320, ("calm", "stirred")

TASK = """
task: segment
cohort: slides.csv
classes: [calm, stirred]
mpp: 1
tile: 64
tiles_per_epoch: 64
network: {depth: 4, width: 4}
context: {mpp: 4}
augment: {stain: 0, light: 0}
fit: {epochs: 6, batch_size: 8, lr: 0.01, threads: 1, precision: f32}
"""


def paint(folder: Path, name: str, seed: int) -> None:
    """Four cells with a region of 64 pixels each; a ring of 85 to 105 pixels around it says its class."""
    rng = np.random.default_rng(seed)
    picture = rng.normal(200, 12, (2 * CELL, 2 * CELL, 3))
    y, x = np.mgrid[0 : 2 * CELL, 0 : 2 * CELL]
    shapes = []
    for number in range(4):
        kind = (number + seed) % 2
        left, top = (CELL * (number % 2), CELL * (number // 2))
        far = np.hypot(x - left - CELL / 2, y - top - CELL / 2)
        picture[(far > 85) & (far < 105)] += (0, -60, 0) if kind else (-60, 0, 0)
        corner = np.array([left, top]) + 128
        outline = corner + np.array([(0, 0), (64, 0), (64, 64), (0, 64)])
        shapes.append(Shape(str(number), "polygon", polygon(outline), CLASSES[kind]))
    cv2.imwrite(str(folder / f"{name}.png"), np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1])
    Annotations(tuple(shapes)).write(folder / f"{name}.geojson", "geojson")


def polygon(outline: Any) -> Any:
    import shapely

    return shapely.Polygon(outline)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rings")
    rows = ["slide,path,annotations,mpp,split"]
    for seed, part in enumerate(("train", "train", "train", "val", "test")):
        paint(folder, f"r{seed}", seed)
        rows.append(f"r{seed},r{seed}.png,r{seed}.geojson,1,{part}")
    (folder / "slides.csv").write_text("\n".join(rows))
    (folder / "task.yaml").write_text(TASK)
    return folder


def dice(run: Path) -> float:
    return float(json.loads((run / "evaluation/segment.json").read_text())["pooled"]["mean_dice"])


def test_only_with_context_the_regions_can_be_told_apart(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # how wide a margin must be is measured elsewhere, and takes as long as all the rest here
    monkeypatch.setattr("coverslip.learn.segment.training.measured_margin", lambda *_: 64)
    task = load_task(work / "task.yaml")
    assert isinstance(task, SegmentTask)
    task.train(work / "with")
    replace(task, context=Context()).train(work / "without")
    assert dice(work / "with") > 0.95
    assert dice(work / "without") < 0.8
    card = ModelFolder.load(work / "with/models/segment").card
    assert (card.parameters["context"], card.parameters["around"]) == (4, 24)
    check_stitching(work)


def check_stitching(work: Path) -> None:
    """A tile with its view equals the same pixels of one pass over all, and the stage goes that way."""
    model = ModelFolder.load(work / "with/models/segment")
    segmenter = Segmenter.load(model, threads=1)
    middle = np.s_[:, 256:384, 256:384]
    with open_slide(work / "r4.png", mpp=1.0) as slide:
        once = next(segmented(segmenter, slide, lay(slide, GridSpec(mpp=1, size=640)), margin=0))
        tiles = lay(slide, GridSpec(mpp=1.0, size=128, edge="pad"))
        tile = tiles.take(np.flatnonzero((tiles.xy == 256).all(axis=1)))
        alone = next(segmented(segmenter, slide, tile, margin=192))
        stage = SegmentStage(model=str(model.path), threads=1, margin=192)
        stored = stage.run(slide, {"tiles": tile})["maps/segment"].collect().read()
    whole = once.probabilities[0][middle]
    assert np.abs(alone.probabilities[0] - whole).max() < 1e-4
    assert np.abs(stored[middle] - whole).max() <= 0.5 / 255 + 1e-4  # maps are stored in steps of 1 / 255


def test_a_context_that_is_no_power_of_two_coarser_is_refused(work: Path) -> None:
    task = load_task(work / "task.yaml")
    assert isinstance(task, SegmentTask)
    for mpp, said in ((0.5, "0.5 times mpp 1"), (3.0, "3 times as coarse"), (2.5, "2.5 times mpp 1")):
        with pytest.raises(UsageError, match=said):
            replace(task, context=Context(mpp=mpp))
    wide = replace(task, context=Context(mpp=8, around_um=500)).spec()
    assert (wide.context, wide.around) == (8, 64)
