"""Objects of a slide, tile by tile: each is owned by the tile on which the middle of its box lies.

As with nuclei (`coverslip.models.nuclei.slide`): tiles are read with a margin, so that an object on an edge
is seen whole by every tile that sees its middle, and only the tile that owns the middle keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coverslip.learn.detect.objects import Found, polygons
from coverslip.learn.detect.sources import WINDOW
from coverslip.learn.segment.infer import widened
from coverslip.models.detectors_light import light_of, stretched
from coverslip.models.detectors_run import Detector, Raw
from coverslip.models.nuclei.slide import Plots
from coverslip.slides import Slide
from coverslip.store import ObjectTable
from coverslip.tiles import Tiles, stream

PART = 8
"""Tiles whose objects are written together."""

MEASUREMENTS = ("area_um2", "left", "top", "width", "height")
"""The box in level-0 pixels goes with the outline: detectors of boxes are judged by it."""


def parts_of(tiles: Tiles) -> int:
    """Return in how many parts the objects of `tiles` come."""
    return -(-len(tiles) // PART)


def objects_of_slide(
    detector: Detector,
    slide: Slide,
    tiles: Tiles,
    *,
    margin: int,
    start: int = 0,
    batch: int = 2,
    notes: list[str] | None = None,
) -> Iterator[ObjectTable]:
    """Yield the objects of every `PART` tiles, from part `start` on.

    The light of a slide is set as that of pictures where the detector wants it; its scale is the tiles'.

    Parameters
    ----------
    margin
        Pixels read around each tile: at least half the width of the largest object.
    notes
        Gets what could not be read.
    """
    said = [] if notes is None else notes
    plots, first = Plots.of(tiles), start * PART
    light = light_of(slide.thumbnail(WINDOW)) if detector.sight.stretch else None
    rest = np.arange(first, len(tiles))
    wide = widened(slide, tiles.take(rest), margin)
    waiting: list[ObjectTable] = []
    unread = 0
    for found in stream(slide, wide, batch_size=batch, threads=1):
        unread += int(found.missing.sum())
        said.extend(error for error in found.errors if error not in said)
        pixels = found.pixels if light is None else stretched(found.pixels, light)
        for index, raw, missing in zip(found.index, detector.found(pixels), found.missing, strict=True):
            tile = int(rest[index])
            corner = wide.xy[index].astype(np.float64)
            table = _owned(
                raw, plots, tile, corner, (tiles.downsample, slide.require_mpp(), detector.classes)
            )
            waiting.append(table.take(slice(0, 0)) if missing else table)
            if len(waiting) == PART or tile == len(tiles) - 1:
                yield _together(waiting)
                waiting = []
    if unread:
        said.insert(0, f"{unread} of {len(rest)} tiles could not be read and have no objects")


def _owned(
    raw: Raw,
    plots: Plots,
    tile: int,
    corner: np.ndarray[tuple[int], np.dtype[np.float64]],
    scale: tuple[float, float, tuple[str, ...]],
) -> ObjectTable:
    """Return what a tile found and owns, in level-0 pixels."""
    import shapely

    downsample, mpp, classes = scale
    whole = Found(*raw)
    mine = whole.take(np.flatnonzero(plots.own(tile, whole.centres * downsample + corner)))
    outlines = shapely.transform(
        np.array(polygons(mine), object), lambda points: points * downsample + corner
    ) if len(mine) else np.empty(0, object)  # fmt: skip
    boxes = mine.boxes.astype(np.float64) * downsample + np.tile(corner, 2)
    measured = {
        "area_um2": shapely.area(outlines) * mpp**2,
        "left": boxes[:, 0],
        "top": boxes[:, 1],
        "width": boxes[:, 2] - boxes[:, 0],
        "height": boxes[:, 3] - boxes[:, 1],
    }
    return ObjectTable(
        outlines,
        classes=classes,
        labels=mine.labels,
        scores=mine.scores,
        measurements={name: np.asarray(value, np.float32) for name, value in measured.items()},
        mpp=mpp,
    )


def _together(tables: list[ObjectTable]) -> ObjectTable:
    from coverslip.store.objects import joined

    first = tables[0]
    return joined(tables, classes=first.classes, mpp=first.mpp, names=MEASUREMENTS)
