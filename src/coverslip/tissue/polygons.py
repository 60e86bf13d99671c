"""From masks to polygons and back, without the half pixel that contours usually lose.

A mask's pixel ``(column, row)`` covers ``[column, column + 1) × [row, row + 1)`` times the downsample.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import Polygon

GRID = 1.0
"""Vertices lie on whole level-0 pixels, so that a polygon reads back from text exactly as it was."""


THREADS = 2
"""Threads that work on pieces; the result does not depend on it."""

SQUARE = 1.42
"""Mitre limit that keeps right angles and cuts sharper ones."""


def polygons_of(mask: NDArray[np.bool_], downsample: float, tolerance: float = 0.0) -> tuple[Polygon, ...]:
    """Outline a mask with polygons that have holes.

    Borders are traced with the method of Suzuki and Abe (1985), moved from pixel centres to pixel edges, and
    simplified after Douglas and Peucker (1973).

    Parameters
    ----------
    mask
        Array (h, w).
    downsample
        Level-0 pixels per mask pixel.
    tolerance
        How far, in level-0 pixels, a simplified outline may lie from the traced one.

    Returns
    -------
    Valid polygons in level-0 pixels, largest first.

    Examples
    --------
    >>> mask = np.zeros((6, 6), bool)
    >>> mask[1:5, 1:5] = True
    >>> [polygon.bounds for polygon in polygons_of(mask, 10.0)]
    [(10.0, 10.0, 50.0, 50.0)]
    """
    import shapely

    traced = _traced(mask)

    def outline(shapes: NDArray[Any]) -> list[Polygon]:
        # a bridge one pixel wide is traced as a line: widening by half a pixel gives it back its area
        wide = shapely.buffer(shapes, 0.5, cap_style="square", join_style="mitre", mitre_limit=SQUARE)
        scaled = shapely.transform(wide, lambda points: (points + 0.5) * downsample)
        return _snapped(shapely.simplify(scaled, tolerance) if tolerance else scaled)

    shapes = _thin_mended(traced)
    shapes = shapes[np.argsort(-shapely.get_num_coordinates(shapes), kind="stable")]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(outline, [shapes[first::THREADS] for first in range(THREADS)])
        return _ordered([part for parts in found for part in parts])


def tidy(shapes: Sequence[Any] | NDArray[Any]) -> tuple[Polygon, ...]:
    """Merge what overlaps, snap to whole level-0 pixels, and return valid polygons, largest first."""
    import shapely

    return _ordered(_snapped(shapely.union_all(shapely.make_valid(np.asarray(shapes, object)))))


def _snapped(shapes: Any) -> list[Polygon]:
    """Snap shapes that do not overlap."""
    import shapely

    given = shapely.get_parts(shapes)
    parts = shapely.transform(given, lambda points: np.rint(points / GRID) * GRID)
    folded = ~shapely.is_valid(parts)
    parts[folded] = shapely.set_precision(given[folded], GRID)
    return [part for part in shapely.get_parts(parts) if part.geom_type == "Polygon" and not part.is_empty]


def _ordered(parts: Sequence[Polygon]) -> tuple[Polygon, ...]:
    import shapely

    return tuple(sorted(shapely.normalize(parts), key=lambda part: (-part.area, part.bounds)))


def _thin_mended(shapes: Sequence[Any]) -> NDArray[Any]:
    """Turn shapes without area into lines. Others that touch themselves are mended by being widened."""
    import shapely

    given = np.asarray(shapes, object)
    thin = shapely.area(given) == 0
    given[thin] = shapely.make_valid(given[thin], method="structure", keep_collapsed=True)
    return given


def _traced(mask: NDArray[np.bool_]) -> list[Any]:
    """Outline through the centres of border pixels; may touch itself."""
    import shapely

    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if tree is None:
        return []
    holes: dict[int, list[Any]] = {}
    for contour, (_, _, _, parent) in zip(contours, tree[0], strict=True):
        if parent >= 0:
            holes.setdefault(parent, []).append(_ring(contour))
    return [
        shapely.Polygon(_ring(contour), holes.get(index))
        for index, (contour, (_, _, _, parent)) in enumerate(zip(contours, tree[0], strict=True))
        if parent < 0
    ]


def _ring(contour: NDArray[Any]) -> NDArray[Any]:
    """Close a contour of one or two points into a degenerate ring."""
    points = contour[:, 0]
    return points if len(points) > 2 else np.resize(points, (3, 2))


def rasterise(polygons: Sequence[Polygon], shape: tuple[int, int], downsample: float) -> NDArray[np.bool_]:
    """Return the mask (h, w) of the pixels whose centres lie in the polygons (even–odd rule, by scan lines).

    OpenCV's and Pillow's fills also paint every pixel that a border crosses, half a pixel too much all round.

    Parameters
    ----------
    polygons
        Disjoint polygons in level-0 pixels, with holes.
    shape
        Height and width of the mask.
    downsample
        Level-0 pixels per mask pixel.

    Examples
    --------
    >>> from shapely import box
    >>> rasterise([box(10, 0, 30, 10)], (2, 4), 10.0).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = shape
    flips = np.zeros((height + 1, width), np.uint8)
    columns, crossings = _crossings(_edges(polygons) / downsample, width)
    rows = np.clip(np.ceil(crossings - 0.5), 0, height).astype(np.intp)
    np.bitwise_xor.at(flips.reshape(-1), rows * width + columns, 1)
    # row by row is four times as fast as ufunc.accumulate, which goes pixel by pixel
    for above, row in pairwise(flips):
        np.bitwise_xor(above, row, out=row)
    return flips[:-1].view(bool)


def _edges(polygons: Sequence[Polygon]) -> NDArray[np.float64]:
    """Return the segments (n, 2 ends, 2) of all rings."""
    import shapely

    rings = shapely.get_rings(np.asarray(polygons, object)) if len(polygons) else np.empty(0, object)
    points, owner = shapely.get_coordinates(rings, return_index=True)
    same = owner[1:] == owner[:-1]
    return np.stack([points[:-1][same], points[1:][same]], axis=1)


def _crossings(edges: NDArray[np.float64], width: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return column and y of each crossing of an edge with a column's centre line."""
    ordered = np.where((edges[:, :1, 0] > edges[:, 1:, 0])[..., None], edges[:, ::-1], edges)
    (x0, y0), (x1, y1) = ordered[:, 0].T, ordered[:, 1].T
    first = np.clip(np.ceil(x0 - 0.5), 0, width).astype(np.intp)
    count = np.clip(np.ceil(x1 - 0.5), 0, width).astype(np.intp) - first
    edge = np.repeat(np.arange(len(edges)), count)
    columns = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (columns + 0.5 - x0[edge]) / (x1 - x0)[edge]
    return columns, y0[edge] + share * (y1 - y0)[edge]
