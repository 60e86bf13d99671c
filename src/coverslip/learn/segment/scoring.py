"""How well a segmenter does on whole slides that did not train it, along the path that runs take."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import IGNORE
from coverslip.evaluate.masks import MaskScores, boundary_f1, confusion_of, hausdorff
from coverslip.learn.segment.drawn import DrawnSlide
from coverslip.learn.segment.infer import segmented, suggested_grid
from coverslip.learn.segment.masks import Masks
from coverslip.learn.told import Listen, Told, silent
from coverslip.models.segmenters_run import Segmenter
from coverslip.slides import Slide, open_slide
from coverslip.tiles import Canvas, MapSpec, Tiles, lay

BORDERS_PX = 25_000_000
"""Borders are measured on slides of at most so many pixels that are annotated all over."""


def score_slides(
    segmenter: Segmenter,
    slides: Sequence[DrawnSlide],
    masks: Sequence[Masks],
    *,
    margin: int,
    listen: Listen = silent,
) -> dict[str, Any]:
    """Segment slides and hold the labels against the masks; JSON values, by slide and pooled."""
    per: dict[str, Any] = {}
    pooled = np.zeros((len(segmenter.classes),) * 2, np.int64)
    for number, (slide, mask) in enumerate(zip(slides, masks, strict=True)):
        counts, borders = _of_slide(segmenter, slide, mask, margin=margin)
        pooled += counts
        per[slide.source.id] = {**MaskScores(segmenter.classes, counts).to_dict(), **borders}
        listen(Told("scoring slides held back", number + 1, len(slides)))
    return {"pooled": _finite(MaskScores(segmenter.classes, pooled).to_dict()), "slides": _finite(per)}


def _of_slide(
    segmenter: Segmenter, drawn: DrawnSlide, mask: Masks, *, margin: int
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    mpp = mask.downsample * drawn.mpp
    with (
        open_slide(drawn.source.path, mpp=drawn.source.mpp) as slide,
        tempfile.TemporaryDirectory() as folder,
    ):
        tiles = _annotated(lay(slide, suggested_grid(mpp, segmenter.multiple)), mask)
        labels = _labels(segmenter, slide, tiles, Path(folder), margin=margin)
        counts = np.zeros((len(segmenter.classes),) * 2, np.int64)
        size = tiles.spec.step
        for y in range(0, mask.size.height, size):
            width = mask.size.width
            truth = mask.window(0, y, width, min(size, mask.size.height - y))
            found = labels[y : y + len(truth)]
            counts += confusion_of(np.where(found == IGNORE, IGNORE, truth), found, len(segmenter.classes))
        return counts, _borders(segmenter.classes, mask, labels, mpp)


def _annotated(tiles: Tiles, mask: Masks) -> Tiles:
    """Return the tiles that hold annotated pixels."""
    size = tiles.spec.size
    corners = np.round(tiles.xy / tiles.downsample).astype(int).tolist()
    keep = [bool((mask.window(x, y, size, size) != IGNORE).any()) for x, y in corners]
    return tiles.take(np.array(keep, bool))


def _labels(
    segmenter: Segmenter, slide: Slide, tiles: Tiles, folder: Path, *, margin: int
) -> NDArray[np.uint8]:
    """Return the class of every pixel, stitched; `IGNORE` where no tile lies."""
    import zarr

    spec = MapSpec(segmenter.classes)
    with Canvas(folder / "scored.ome.zarr", slide, tiles, spec) as canvas:
        for part in segmented(segmenter, slide, tiles, margin=margin):
            canvas.add(part.index, part.probabilities, missing=part.missing)
    array: Any = zarr.open_group(str(folder / "scored.ome.zarr"), mode="r")["0"]
    labels = np.empty(array.shape[1:], np.uint8)
    for y in range(0, len(labels), 1024):
        values = np.asarray(array[:, y : y + 1024])
        labels[y : y + 1024] = np.where(values.any(axis=0), values.argmax(axis=0), IGNORE)
    return labels


def _borders(
    classes: tuple[str, ...], mask: Masks, labels: NDArray[np.uint8], mpp: float
) -> dict[str, dict[str, float]]:
    """Return distances of borders by class, of slides whose every pixel has a class."""
    width, height = mask.size
    if width * height > BORDERS_PX:
        return {}
    truth = mask.window(0, 0, width, height)
    if (truth == IGNORE).any() or labels.shape != truth.shape:
        return {}
    return {
        "hausdorff95_um": {
            name: hausdorff(truth == i, labels == i, spacing=mpp) for i, name in enumerate(classes)
        },
        "boundary_f1": {name: boundary_f1(truth == i, labels == i) for i, name in enumerate(classes)},
    }


def _finite(values: Any) -> Any:
    """Turn NaN and infinity, which JSON has not, into None."""
    if isinstance(values, dict):
        return {name: _finite(value) for name, value in values.items()}
    return None if isinstance(values, float) and not np.isfinite(values) else values
