"""Nuclei of a slide, tile by tile: each is owned by the tile on which its centre lies.

A tile is read with a margin around it, so that what lies on its edge is judged as what lies inside; the
nucleus is then the same to all tiles that see it, and only its owner keeps it. Nothing is compared
afterwards, so memory does not grow with the slide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.nuclei.classes import NucleusClasses
from coverslip.models.nuclei.detector import Detector
from coverslip.models.nuclei.intensity import levels
from coverslip.models.nuclei.reading import Found
from coverslip.slides import Slide
from coverslip.store import ObjectTable
from coverslip.tiles import Batch, GridSpec, Tiles, place, stream

CLASSES = ("nucleus",)
MEASUREMENTS = ("area_um2",)

SURENESS = "class_probability"
"""Measurement that nuclei with classes have besides; their score says how sure it is that they are nuclei."""

PART = 4
"""Tiles whose nuclei are written together."""

SAMPLE = 16
"""Tiles, evenly chosen, that tell the levels of a slide."""

FINENESS = 0.2
"""Pixels by which an outline may be simplified."""

MPP_TOLERANCE = 0.05
"""Share by which the mpp of tiles may differ from the model's."""


@dataclass(frozen=True)
class Plots:
    """What each tile owns, in level-0 pixels: left and top belong to it, right and bottom to the next.

    Attributes
    ----------
    low, high
        (n, 2) as (x, y).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, tiles: Tiles) -> Plots:
        """Divide the slide among tiles: up to where the next begins, even where they overlap or part."""
        low = tiles.xy.astype(np.float64)
        ends = []
        for axis, places in enumerate((tiles.columns, tiles.rows)):
            start = dict(zip(places.tolist(), low[:, axis].tolist(), strict=True))
            near = zip(places.tolist(), low[:, axis].tolist(), strict=True)
            ends.append([start.get(place + 1, at + tiles.side_px) for place, at in near])
        return cls(low, np.array(ends, np.float64).reshape(2, -1).T)

    def own(self, tile: int, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which of the points (n, 2) belong to a tile."""
        return np.asarray(((xy >= self.low[tile]) & (xy < self.high[tile])).all(axis=1))


def parts_of(tiles: Tiles) -> int:
    """Return in how many parts the nuclei of `tiles` come."""
    return -(-len(tiles) // PART)


def slide_levels(slide: Slide, tiles: Tiles) -> tuple[float, float]:
    """Return the intensities that count as 0 and 1 on a slide, judged on a sample of its tiles."""
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(SAMPLE, len(tiles))).round().astype(int))
    seen = [
        batch.pixels[~batch.missing][:, ::4, ::4].reshape(-1, 1, 3)
        for batch in stream(slide, tiles.take(chosen), batch_size=4, threads=1)
    ]
    pixels = np.concatenate(seen) if seen else np.empty((0, 1, 3), np.uint8)
    return levels(pixels.astype(np.float32) / np.float32(255)) if len(pixels) else (0.0, 1.0)


class OfTile(NamedTuple):
    """The nuclei that a tile owns, in the pixels of the tile with its margin.

    Attributes
    ----------
    found
        The nuclei.
    corner
        Level-0 position (x, y) of that tile's first pixel.
    downsample
        Level-0 pixels per pixel.
    """

    found: Found
    corner: NDArray[np.int32]
    downsample: float


def nuclei_of_slide(
    detector: Detector,
    slide: Slide,
    tiles: Tiles,
    *,
    start: int = 0,
    notes: list[str] | None = None,
    head: NucleusClasses | None = None,
) -> Iterator[ObjectTable]:
    """Find the nuclei of tiles, part after part of `PART` tiles.

    Parameters
    ----------
    tiles
        At the detector's mpp.
    start
        Parts that are there already.
    notes
        Receives a sentence per thing that went wrong.
    head
        Gives each its class; the detector must describe nuclei.

    Raises
    ------
    UsageError
        When the tiles have another mpp.
    """
    for part in found_on_slide(detector, slide, tiles, start=start, notes=notes):
        yield _joined([_table(own, slide, head) for own in part], slide, head)


def found_on_slide(
    detector: Detector, slide: Slide, tiles: Tiles, *, start: int = 0, notes: list[str] | None = None
) -> Iterator[list[OfTile]]:
    """Find the nuclei of tiles, part after part; parameters and errors as of `nuclei_of_slide`."""
    if not len(tiles):
        return
    _check_mpp(detector, tiles)
    plots, between = Plots.of(tiles), slide_levels(slide, tiles)
    rest = tiles.take(np.arange(start * PART, len(tiles)))
    seen = widened(slide, rest, detector.margin)
    for batch in stream(slide, seen, batch_size=PART, threads=1, depth=1):
        _note(batch, notes if notes is not None else [])
        part = []
        for row, pixels, missing in zip(batch.index, batch.pixels, batch.missing, strict=True):
            if missing:
                continue
            found = detector.find(pixels.astype(np.float32) / np.float32(255), between)
            xy = found.centres * seen.downsample + seen.xy[row]
            own = found.take(plots.own(start * PART + int(row), xy))
            part.append(OfTile(own, seen.xy[row], seen.downsample))
        yield part


def widened(slide: Slide, tiles: Tiles, margin: int) -> Tiles:
    """Return the tiles with `margin` pixels more on each side, in the same order."""
    side = tiles.spec.size + 2 * margin
    corners = tiles.xy - np.round(margin * tiles.downsample).astype(np.int32)
    return place(slide, corners, GridSpec(mpp=tiles.mpp, size=side))


def _check_mpp(detector: Detector, tiles: Tiles) -> None:
    if abs(tiles.mpp / detector.mpp - 1) > MPP_TOLERANCE:
        raise UsageError(
            f"the nuclei model takes tiles at mpp {detector.mpp:g}, these have {tiles.mpp:g}",
            mend=f"lay the tiles anew: --set tiles.mpp={detector.mpp:g}",
        )


def _note(batch: Batch, notes: list[str]) -> None:
    lost = int(batch.missing.sum())
    said = [f"{lost} tile(s) touch pixels that cannot be read; their nuclei are missing"] if lost else []
    notes.extend(error for error in (*said, *batch.errors) if error not in notes)


def placed(own: OfTile) -> NDArray[Any]:
    """Return the outlines of nuclei as polygons in level-0 pixels, (n,)."""
    import shapely

    moved = shapely.transform(own.found.polygons(), lambda points: points * own.downsample + own.corner)
    return np.asarray(shapely.simplify(moved, FINENESS * own.downsample), object)


def _table(own: OfTile, slide: Slide, head: NucleusClasses | None) -> ObjectTable:
    area = own.found.areas * (own.downsample * slide.require_mpp()) ** 2
    columns = {"area_um2": area.astype(np.float32)}
    classes, labels = CLASSES, None
    if head is not None and own.found.features is not None:
        said = head.probabilities(own.found.features)
        classes, labels = head.classes, said.argmax(axis=1).astype(np.int32)
        columns[SURENESS] = said.max(axis=1, initial=0)
    return ObjectTable(
        placed(own),
        classes=classes,
        labels=labels,
        scores=own.found.scores,
        measurements=columns,
        mpp=slide.mpp,
    )


def _joined(tables: list[ObjectTable], slide: Slide, head: NucleusClasses | None) -> ObjectTable:
    from coverslip.store.objects import joined

    classes, names = described(head)
    return joined(tables, classes=classes, mpp=slide.mpp, names=names)


def described(head: NucleusClasses | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes and the measurements that nuclei of slides have."""
    return (CLASSES, MEASUREMENTS) if head is None else (head.classes, (*MEASUREMENTS, SURENESS))
