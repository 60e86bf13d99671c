"""Size, shape and stain of labelled objects, all at once: sums by label instead of a loop over objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.planes import Planes

COLUMNS = (
    "x",
    "y",
    "area_um2",
    "major_um",
    "minor_um",
    "eccentricity",
    "orientation",
    "solidity",
    "circularity",
    "haematoxylin",
    "haematoxylin_sd",
    "whole",
)
"""Per object: centre; area; axes of the ellipse of the same second moments, its eccentricity and the angle of
its major axis (radians from x towards y, −π/2 … π/2); area over that of the hull; 4π · area / perimeter²;
mean and standard deviation of haematoxylin in decades; 1 where the object does not touch the tile's edge."""

Table = dict[str, NDArray[np.float32]]


def describe(
    labels: NDArray[np.int32], planes: Planes, areas_um2: tuple[float, float]
) -> tuple[NDArray[np.int32], Table]:
    """Drop objects outside the bounds of area, number the rest from 1, and measure them.

    Parameters
    ----------
    labels
        int32 (h, w), 0 outside.
    planes
        The tile.
    areas_um2
        Smallest and largest area kept.

    Returns
    -------
    labels, table
        New labels; label i is row i − 1 of the table.
    """
    area = np.bincount(labels.ravel()) * planes.mpp**2
    keep = (area >= areas_um2[0]) & (area <= areas_um2[1])
    keep[0] = False
    number = (np.cumsum(keep) * keep).astype(np.int32)
    labels = number[labels]
    count = int(keep.sum())
    if count == 0:
        return labels, {name: np.zeros(0, np.float32) for name in COLUMNS}
    sums = _Sums(labels, planes.haematoxylin, count)
    solidity, circularity = _outlines(labels, count)
    values = (*sums.ellipses(planes.mpp), solidity, circularity, *sums.intensity(), _whole(labels, count))
    return labels, {name: np.asarray(value, np.float32) for name, value in zip(COLUMNS, values, strict=True)}


class _Sums:
    """Sums over the pixels of each object."""

    def __init__(self, labels: NDArray[np.int32], plane: NDArray[np.float32], count: int) -> None:
        where = np.flatnonzero(labels)
        self._row = labels.ravel()[where] - 1
        y, x = np.divmod(where, labels.shape[1])
        self._x, self._y, self._value = x + 0.5, y + 0.5, plane.ravel()[where]
        self._count = count
        self._area = self._sum(None)

    def _sum(self, weights: NDArray[np.floating] | None) -> NDArray[np.float64]:
        return np.bincount(self._row, weights, self._count).astype(np.float64)

    def ellipses(self, mpp: float) -> tuple[NDArray[np.float64], ...]:
        """Return x, y, area, major and minor axis, eccentricity, orientation."""
        area, x, y = self._area, self._sum(self._x) / self._area, self._sum(self._y) / self._area
        dx, dy = self._x - x[self._row], self._y - y[self._row]
        xx, yy, xy = (self._sum(product) / area for product in (dx * dx, dy * dy, dx * dy))
        middle, swing = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        long, short = middle + swing, np.maximum(middle - swing, 0)
        eccentricity = np.sqrt(1 - np.divide(short, long, out=np.ones_like(long), where=long > 0))
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)
        major, minor = 4 * np.sqrt(long) * mpp, 4 * np.sqrt(short) * mpp
        return x, y, area * mpp**2, major, minor, eccentricity, angle

    def intensity(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of the plane."""
        mean = self._sum(self._value) / self._area
        off = self._value - mean[self._row]
        return mean, np.sqrt(self._sum(off * off) / self._area)


def _outlines(labels: NDArray[np.int32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return solidity and circularity, from the polygon through the centres of the outermost pixels."""
    import cv2

    solidity, circularity = np.ones(count), np.ones(count)
    outlines, _ = cv2.findContours(_apart(labels), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return solidity, circularity
    corners = np.array([outline[0, 0] for outline in outlines])
    rows = labels[corners[:, 1], corners[:, 0]] - 1
    area, perimeter = _area_perimeter(outlines)
    hull = np.array([cv2.contourArea(cv2.convexHull(outline)) for outline in outlines])
    order = np.argsort(area, kind="stable")  # an object in two pieces is described by the larger, the last
    order = order[area[order] > 0]
    rows, area, perimeter, hull = rows[order], area[order], perimeter[order], hull[order]
    solidity[rows] = area / hull
    circularity[rows] = np.minimum(4 * np.pi * area / perimeter**2, 1)
    return solidity, circularity


def _area_perimeter(outlines: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return area and perimeter of closed polygons (m, 1, 2), all at once."""
    points = np.concatenate(outlines)[:, 0].astype(np.float64)
    lengths = np.array([len(outline) for outline in outlines])
    starts = np.cumsum(lengths) - lengths
    following = np.arange(1, len(points) + 1)
    following[starts + lengths - 1] = starts
    step = points[following] - points
    cross = points[:, 0] * step[:, 1] - points[:, 1] * step[:, 0]
    area = np.abs(np.add.reduceat(cross, starts)) / 2
    return area, np.add.reduceat(np.hypot(step[:, 0], step[:, 1]), starts)


def _apart(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the mask of the objects, without pixels that touch an object of a higher number."""
    import cv2

    exact = labels.astype(np.float32)
    highest = cv2.dilate(exact, np.ones((3, 3), np.uint8))
    return np.asarray(
        cv2.bitwise_and(cv2.compare(highest, exact, cv2.CMP_EQ), cv2.compare(exact, 0, cv2.CMP_GT)), np.uint8
    )


def _whole(labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    whole = np.ones(count + 1)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        whole[edge] = 0
    return whole[1:]
