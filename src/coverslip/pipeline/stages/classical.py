"""Nuclei without a learned model: for haematoxylin with eosin, or with DAB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.measure import Nuclei, detect_nuclei
from coverslip.pipeline.stage import NOTES, RESUME, chosen
from coverslip.pipeline.stages.stain import require_haematoxylin
from coverslip.slides import Slide
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, recombine, separate
from coverslip.store import ObjectStream, ObjectTable, Resume
from coverslip.tiles import Batch, GridSpec, Tiles, stream

KEY = "objects/classical-nuclei"

MARGIN_UM = 12.0
"""Tiles are read so much wider on all sides, so that no nucleus is cut by a tile's edge."""

BATCH = 8
"""Tiles that make one part of the stream."""

TABLE = ("area_um2", "major_um", "minor_um", "eccentricity", "solidity", "circularity")
"""Measurements of `coverslip.measure.shapes` that are kept."""


@dataclass(frozen=True)
class ClassicalNucleiStage:
    """Find nuclei with the classical detector of `coverslip.measure.detect_nuclei`; it needs no model.

    On slides with haematoxylin and DAB the sum of both stains is searched, so that positive nuclei count like
    negative ones. A nucleus belongs to the tile in which its centre lies; tiles that do not overlap count
    each once. Measurements: area, axes, eccentricity, solidity, circularity, and the mean amount of each
    stain within the nucleus, in decades. Stage ``nuclei`` tells touching nuclei apart better.

    Parameters
    ----------
    smallest_um2, largest_um2
        Bounds of a nucleus's area.
    """

    name: ClassVar[str] = "classical-nuclei"
    version: ClassVar[int] = 1

    smallest_um2: float = 9.0
    largest_um2: float = 400.0

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tiles and stains."""
        return ("tiles", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the nuclei."""
        return (KEY,)

    def classes(self) -> tuple[str, ...]:
        """Return the one class there is."""
        return ("nucleus",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Find the nuclei, part by part.

        Raises
        ------
        StainError
            When the slide shows no haematoxylin.
        """
        tiles, stain = chosen(inputs, "tiles"), chosen(inputs, "stain")
        require_haematoxylin(slide, stain.stains)
        start = inputs.get(RESUME, Resume()).parts(KEY)
        notes: list[str] = []
        found = ObjectStream(
            self._parts(slide, tiles, stain.stains, (start, notes)),
            n=-(-len(tiles) // BATCH),
            classes=("nucleus",),
            mpp=slide.mpp,
            measurements=(*TABLE, *amount_names(stain.stains)),
        )
        return {KEY: found, NOTES: notes}

    def _parts(
        self, slide: Slide, tiles: Tiles, stains: StainMatrix, after: tuple[int, list[str]]
    ) -> Iterator[ObjectTable]:
        start, notes = after
        if start * BATCH >= len(tiles):
            return
        rest = tiles.take(np.arange(start * BATCH, len(tiles)))
        margin = round(MARGIN_UM / tiles.mpp)
        for batch in stream(slide, widened(rest, margin), batch_size=BATCH):
            notes += (error for error in batch.errors if error not in notes)
            yield self._part(batch, rest, stains, (margin, slide.mpp))

    def _part(
        self, batch: Batch, tiles: Tiles, stains: StainMatrix, scale: tuple[int, float | None]
    ) -> ObjectTable:
        margin, mpp = scale
        shapes: list[Any] = []
        columns: dict[str, list[Any]] = {name: [] for name in (*TABLE, *amount_names(stains))}
        for rgb, index, missing in zip(batch.pixels, batch.index, batch.missing, strict=True):
            if missing:
                continue
            nuclei, amounts = found_in(rgb, tiles.mpp, stains)
            kept = self._kept(nuclei, tiles.spec.size, margin)
            corner = tiles.xy[index] - margin * tiles.downsample
            polygons, rows = outlined(nuclei, kept, corner, tiles.downsample)
            shapes += polygons
            for name in TABLE:
                columns[name].append(nuclei.table[name][rows])
            for name, plane in zip(amount_names(stains), np.moveaxis(amounts, -1, 0), strict=True):
                columns[name].append(means(plane, nuclei)[rows])
        measured: dict[str, NDArray[Any]] = {
            name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()
        }
        found = np.array([*shapes, None], object)[:-1]
        return ObjectTable(found, classes=("nucleus",), measurements=measured, mpp=mpp)

    def _kept(self, nuclei: Nuclei, size: int, margin: int) -> NDArray[np.bool_]:
        """Say which nuclei have their centre in the tile itself, and a nucleus's area."""
        x, y, area = nuclei.table["x"], nuclei.table["y"], nuclei.table["area_um2"]
        kept = (area >= self.smallest_um2) & (area <= self.largest_um2)
        for centre in (x, y):
            kept &= (centre >= margin) & (centre < margin + size)
        return np.asarray(kept)


def amount_names(stains: StainMatrix) -> tuple[str, ...]:
    """Return what the mean amounts of the first two stains are called."""
    return tuple(f"{name}_mean" for name in stains.names[:2])


def widened(tiles: Tiles, margin: int) -> Tiles:
    """Return tiles that reach `margin` of their pixels further on all sides."""
    spec = GridSpec(mpp=tiles.spec.mpp, size=tiles.spec.size + 2 * margin, stride=tiles.spec.step)
    xy = tiles.xy - round(margin * tiles.downsample)
    return Tiles(xy, spec, tiles.mpp, tiles.downsample, tiles.tissue, tiles.columns, tiles.rows)


def found_in(rgb: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> tuple[Nuclei, NDArray[np.float32]]:
    """Return the nuclei of a picture, and the amounts (h, w, 2) of the first two stains.

    Where the second stain is DAB, nuclei are what is dark in either stain.
    """
    amounts = separate(rgb, stains)[..., :2]
    if stains.names[1] != "dab":
        return detect_nuclei(rgb, mpp, stains), amounts
    both = np.maximum(amounts, 0).sum(axis=-1)
    plain = RUIFROK_JOHNSTON["H&E"]
    alone = np.stack([both, np.zeros_like(both)], axis=-1)
    strength = float(max(stains.max_concentrations[:2]))
    matrix = StainMatrix(plain.names, plain.vectors, (strength, strength))
    return detect_nuclei(recombine(alone, matrix), mpp, matrix), amounts


def means(plane: NDArray[np.float32], nuclei: Nuclei) -> NDArray[np.float32]:
    """Return the mean of a plane within each nucleus."""
    flat = nuclei.labels.ravel()
    count = np.bincount(flat, minlength=len(nuclei) + 1)
    total = np.bincount(flat, weights=plane.ravel(), minlength=len(nuclei) + 1)
    return (total[1:] / np.maximum(count[1:], 1)).astype(np.float32)


def outlined(
    nuclei: Nuclei, kept: NDArray[np.bool_], corner: NDArray[Any], downsample: float
) -> tuple[list[Any], NDArray[np.intp]]:
    """Return the outlines of the nuclei that are kept in level-0 pixels, and their rows.

    Parameters
    ----------
    corner
        Level-0 position (x, y) of the picture's corner.
    """
    import cv2
    import shapely
    from scipy.ndimage import find_objects

    shapes, rows = [], []
    places = find_objects(nuclei.labels, max_label=len(nuclei)) if len(nuclei) else []
    for row in np.flatnonzero(kept):
        down, across = places[row]
        mask = (nuclei.labels[down, across] == row + 1).view(np.uint8)
        rings, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        ring = max(rings, key=len, default=None)
        if ring is None or len(ring) < 3:
            continue
        # contours join the middles of pixels: half a pixel more is the edge
        points = corner + (ring[:, 0] + (across.start + 0.5, down.start + 0.5)) * downsample
        shape = shapely.Polygon(points).buffer(0.5 * downsample, quad_segs=2)
        if shape.geom_type == "Polygon" and not shape.is_empty:
            shapes.append(shape)
            rows.append(row)
    return shapes, np.array(rows, np.intp)
