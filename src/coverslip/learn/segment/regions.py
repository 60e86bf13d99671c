"""From a stitched map to regions: outlines with area and perimeter, specks and holes dealt with.

The map is traced block by block, so memory grows with the regions' outlines, not with the slide. Pieces meet
exactly along the blocks' borders, where they are joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import vectorise
from coverslip.core.errors import UsageError
from coverslip.store import ObjectTable, StitchedMap

BLOCK = 1024
"""Map pixels of a block's side."""

TRUNCATE = 4.0
"""Standard deviations after which a bell is cut off."""


@dataclass(frozen=True, kw_only=True)
class RegionSpec:
    """What is done to a map on its way to regions.

    Parameters
    ----------
    smallest_um2
        Smaller regions are left out.
    fill_um2
        Smaller holes are filled.
    smooth_um
        Standard deviation of the bell by which probabilities are smoothed first; 0 for none.
    tolerance_um
        How coarsely outlines are simplified; neighbours keep one common border. 0 keeps pixels' corners.
    at_least
        Least probability of a pixel's class; else it has none.

    Raises
    ------
    UsageError
        When a value is below 0.
    """

    smallest_um2: float = 0.0
    fill_um2: float = 0.0
    smooth_um: float = 0.0
    tolerance_um: float = 0.0
    at_least: float = 0.0

    def __post_init__(self) -> None:
        for name in ("smallest_um2", "fill_um2", "smooth_um", "tolerance_um", "at_least"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UsageError(f"{name} {value!r} cannot be: expected 0 or more")


@dataclass(frozen=True, eq=False)
class Regions:
    """Polygons of a slide.

    Attributes
    ----------
    polygons
        shapely Polygons in level-0 pixels, (n,).
    labels
        Index into `classes`, (n,).
    classes
        Of the map.
    mpp
        Microns per pixel of level 0.
    """

    polygons: NDArray[Any]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    mpp: float

    def table(self, *, without: Sequence[str] = (), notes: Mapping[str, Any] | None = None) -> ObjectTable:
        """Return them as objects with area and perimeter, but for some classes."""
        import shapely

        kept = [i for i, name in enumerate(self.classes) if name not in without]
        rows = np.isin(self.labels, kept)
        polygons = self.polygons[rows]
        number = {old: new for new, old in enumerate(kept)}
        labels = np.array([number[int(label)] for label in self.labels[rows]], np.int32)
        return ObjectTable(
            polygons,
            classes=tuple(self.classes[i] for i in kept),
            labels=labels,
            measurements={
                "area_um2": shapely.area(polygons) * self.mpp**2,
                "perimeter_um": shapely.length(polygons) * self.mpp,
            },
            mpp=self.mpp,
            notes=dict(notes or {}),
        )


def regions_of(stored: StitchedMap, spec: RegionSpec | None = None) -> Regions:
    """Outline the regions of a map of probabilities: each pixel has its likeliest class.

    Raises
    ------
    UsageError
        When the map holds labels.
    """
    import shapely

    wanted = spec or RegionSpec()
    if stored.kind != "probabilities":
        raise UsageError(f"{stored.path} holds {stored.kind}: regions are made of probabilities")
    by_class: list[list[Any]] = [[] for _ in stored.classes]
    for block in _blocks(stored, wanted):
        for label, pieces in enumerate(block):
            by_class[label] += pieces
    pixel = stored.mpp**2
    joined = [_joined(pieces) for pieces in by_class]
    kept = [part[shapely.area(part) * pixel >= wanted.smallest_um2] for part in joined]
    filled = _filled(kept, wanted.fill_um2 / pixel)
    polygons = np.concatenate([np.empty(0, object), *filled])
    labels = np.repeat(np.arange(len(filled), dtype=np.int32), [len(part) for part in filled])
    if wanted.tolerance_um and len(polygons):
        polygons = shapely.coverage_simplify(polygons, wanted.tolerance_um / stored.mpp)
    whole = shapely.transform(polygons, lambda points: points * stored.downsample)
    return Regions(whole, labels, stored.classes, stored.mpp / stored.downsample)


def _blocks(stored: StitchedMap, spec: RegionSpec) -> Iterator[list[list[Any]]]:
    """Yield the polygons of each block by class, in pixels of the map."""
    width, height = stored.size
    for y in range(0, height, BLOCK):
        for x in range(0, width, BLOCK):
            size = (min(BLOCK, width - x), min(BLOCK, height - y))
            labels = labels_in(stored, (x, y), size, spec)
            classes = {str(i): i + 1 for i in range(len(stored.classes))}
            if labels.any():
                drawn = vectorise(labels, 1.0, classes=classes, origin=(x, y))
                yield [
                    [shape.geometry for shape in drawn.shapes if shape.class_name == name] for name in classes
                ]


def labels_in(
    stored: StitchedMap, corner: tuple[int, int], size: tuple[int, int], spec: RegionSpec
) -> NDArray[np.uint8]:
    """Return the likeliest class of each pixel of a window from 1 on, 0 for none; (h, w).

    Smoothing looks beyond the window, so windows meet without a seam. It leaves alone where nothing was
    predicted.
    """
    import cv2

    sigma = spec.smooth_um / stored.mpp
    halo = math.ceil(TRUNCATE * sigma)
    (x, y), (width, height) = corner, size
    found = stored.window(x - halo, y - halo, (width + 2 * halo, height + 2 * halo))
    predicted = found.any(axis=0)
    if halo:
        side = (2 * halo + 1, 2 * halo + 1)
        blur = [cv2.GaussianBlur(p, side, sigma, borderType=cv2.BORDER_CONSTANT) for p in found]
        share = cv2.GaussianBlur(predicted.astype(np.float32), side, sigma, borderType=cv2.BORDER_CONSTANT)
        found = np.stack(blur) / np.maximum(share, 1e-6)
    best = found.argmax(axis=0)
    sure = predicted & (found.max(axis=0) >= spec.at_least)
    labels = np.where(sure, best + 1, 0).astype(np.uint8)
    return labels[halo : halo + height, halo : halo + width]


def _joined(pieces: list[Any]) -> NDArray[Any]:
    """Join pieces along the borders of blocks; those that touch none stay as they are."""
    import shapely

    polygons = np.array(pieces, object)
    if not len(polygons):
        return polygons
    bounds = shapely.bounds(polygons)
    on_border = (bounds % BLOCK == 0).any(axis=1)
    whole = shapely.get_parts(shapely.union_all(polygons[on_border]))
    return np.concatenate([polygons[~on_border], whole[shapely.area(whole) > 0]])


def _filled(parts: list[NDArray[Any]], least: float) -> list[NDArray[Any]]:
    """Fill holes of less than `least` pixels, but not what other regions cover."""
    import shapely

    if least <= 0:
        return parts
    everything = np.concatenate([np.empty(0, object), *parts])
    tree = shapely.STRtree(everything)
    return [np.array([_without_small_holes(p, tree, least) for p in part], object) for part in parts]


def _without_small_holes(polygon: Any, tree: Any, least: float) -> Any:
    import shapely

    large = [hole for hole in polygon.interiors if shapely.Polygon(hole).area >= least]
    if len(large) == len(polygon.interiors):
        return polygon
    filled = shapely.Polygon(polygon.exterior, large)
    near = [tree.geometries[i] for i in tree.query(filled, predicate="intersects")]
    others = [other for other in near if other is not polygon and filled.relate_pattern(other, "T********")]
    return shapely.difference(filled, shapely.union_all(others)) if others else filled
