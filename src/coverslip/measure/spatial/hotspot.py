"""Where there is most: Getis–Ord statistics, and the circle of a stated area that holds most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.core.units import as_mpp
from coverslip.measure.interval import Interval, count_interval
from coverslip.measure.spatial.window import Floats, Window

MOST_PAIRS = 20_000_000
"""Pairs of points, near enough to share a circle, that the exact search goes through."""


def getis_ord(values: Floats, xy: Floats, mpp: float, *, reach_um: float) -> Floats:
    """Return Gi* of each point: the z-score of the sum of values within reach, its own included.

    Parameters
    ----------
    values
        Shape (n,).
    xy
        Points in level-0 pixels, (n, 2): objects, or middles of tiles.
    reach_um
        Distance up to which a point belongs to the neighbourhood; all weigh the same.

    Returns
    -------
    numpy.ndarray
        Shape (n,); above 1.96 a hot spot at the level of 5 %, before any correction for looking in many
        places. NaN where values do not differ.

    Notes
    -----
    Getis & Ord 1992, Ord & Getis 1995, with binary weights.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> values = np.where(x > 15, 10.0, 1.0)
    >>> hot = getis_ord(values, np.stack([x, 0 * x], axis=1), 1.0, reach_um=1.5)
    >>> int(hot.argmax()) > 15, bool(hot[5] < 0)
    (True, True)
    """
    from scipy.spatial import cKDTree

    numbers = np.asarray(values, float)
    n = len(numbers)
    if n < 2:
        return np.full(n, np.nan)
    pairs = cKDTree(xy).query_pairs(reach_um / as_mpp(mpp), output_type="ndarray")
    sums, weights = numbers.copy(), np.ones(n)
    for one, other in (pairs.T, pairs[:, ::-1].T):
        sums += np.bincount(one, numbers[other], n)
        weights += np.bincount(one, minlength=n)
    mean, sd = numbers.mean(), numbers.std()
    spread = sd * np.sqrt(np.maximum(n * weights - weights**2, 0) / (n - 1))
    z: Floats = np.divide(sums - mean * weights, spread, out=np.full(n, np.nan), where=spread > 0)
    return z


@dataclass(frozen=True, slots=True)
class HotSpot:
    """The circle that holds most.

    Attributes
    ----------
    x, y, radius
        In level-0 pixels.
    count
        Points inside.
    per_mm2
        With its exact Poisson interval, of a circle chosen beforehand; the circle that holds most was not, so
        the interval says how sharply its own density is known, not how it compares with others.
    """

    x: float
    y: float
    radius: float
    count: int
    per_mm2: Interval

    def polygon(self, quarter: int = 32) -> object:
        """Return the circle as a shapely polygon in level-0 pixels."""
        import shapely

        return shapely.Point(self.x, self.y).buffer(self.radius, quad_segs=quarter)


def hottest_circle(
    xy: Floats, area_mm2: float, mpp: float, *, within: Window | None = None, step_um: float | None = None
) -> HotSpot:
    """Find the circle of a stated area that holds most points, e.g. 2 mm² with most mitoses.

    Parameters
    ----------
    xy
        Points in level-0 pixels, (n, 2).
    within
        Where the middle of the circle must lie, e.g. in the tumour; None for anywhere.
    step_um
        None finds the best circle of all exactly; it goes through all pairs of points that fit in one circle.
        A number tries middles on a lattice of that step instead, for a great many points.

    Raises
    ------
    UsageError
        Without points, or when there are too many for the exact search, or no middle lies within.

    Notes
    -----
    A best circle can be moved until a point lies on its edge. Around each point the middles of such circles
    form a circle themselves, on which every other point covers an arc; where most arcs overlap, the middle
    lies. Ties go to the first point. With `within`, the middle of each best arc is tried.

    Examples
    --------
    >>> points = np.array([[0.0, 0], [100, 0], [0, 100], [9000, 9000]])
    >>> spot = hottest_circle(points, 0.01, 0.5)
    >>> spot.count, round(spot.radius, 1)
    (3, 112.8)
    """
    scale = as_mpp(mpp)
    if not len(xy) or not area_mm2 > 0:
        raise UsageError(f"{len(xy)} points and a circle of {area_mm2} mm²: expected some of both")
    radius = float(np.sqrt(area_mm2 * 1e6 / np.pi)) / scale
    centres = _exact(xy, radius, within) if step_um is None else _lattice(xy, radius, step_um / scale, within)
    if not len(centres):
        raise UsageError("no circle has its middle within the regions given", mend="leave out within=")
    counts = counts_around(centres, xy, radius * (1 + 1e-9))
    best = int(counts.argmax())
    density = count_interval(int(counts[best]), area_mm2)
    return HotSpot(float(centres[best, 0]), float(centres[best, 1]), radius, int(counts[best]), density)


def counts_around(centres: Floats, xy: Floats, radius: float) -> NDArray[np.intp]:
    """Return how many points lie within `radius` of each centre, all in level-0 pixels."""
    from scipy.spatial import cKDTree

    if not len(centres):
        return np.empty(0, np.intp)
    return np.asarray(cKDTree(xy).query_ball_point(centres, radius, return_length=True), np.intp)


def _exact(xy: Floats, radius: float, within: Window | None) -> Floats:
    """Return, for each point, the middle of the best circle that has it on its edge, and the points."""
    from scipy.spatial import cKDTree

    tree = cKDTree(xy)
    if tree.count_neighbors(tree, 2 * radius) > MOST_PAIRS:
        raise UsageError(
            f"{len(xy)} points are too many for the exact search", mend="step_um=50 tries a lattice"
        )
    found = [xy]
    for start in range(0, len(xy), 512):
        near = tree.query_ball_point(xy[start : start + 512], 2 * radius)
        found += [_middles(xy[i], xy[some], radius) for i, some in enumerate(near, start)]
    centres = np.concatenate(found)
    return centres if within is None else centres[within.contains(centres)]


def _middles(point: Floats, near: Floats, radius: float) -> Floats:
    """Return the middles of circles through `point` at the angles where most arcs of `near` overlap."""
    away = near - point
    apart = np.hypot(away[:, 0], away[:, 1])
    away, apart = away[apart > 0], apart[apart > 0]
    if not len(away):
        return np.empty((0, 2))
    angle = np.arctan2(away[:, 1], away[:, 0])
    half = np.arccos(np.clip(apart / (2 * radius), -1, 1))
    begin, end = np.mod(angle - half, 2 * np.pi), np.mod(angle + half, 2 * np.pi)
    places = np.concatenate([begin, end])
    change = np.concatenate([np.ones(len(begin)), -np.ones(len(end))])
    order = np.lexsort((-change, places))
    overlap = np.cumsum(change[order]) + (begin > end).sum()
    best = np.flatnonzero(overlap == overlap.max())
    following = np.append(places[order][1:], places[order][0] + 2 * np.pi)
    turn = (places[order][best] + following[best]) / 2
    return point + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _lattice(xy: Floats, radius: float, step: float, within: Window | None) -> Floats:
    low, high = xy.min(0) - radius / 2, xy.max(0) + radius / 2
    x, y = np.meshgrid(np.arange(low[0], high[0] + step, step), np.arange(low[1], high[1] + step, step))
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    return centres if within is None else centres[within.contains(centres)]
