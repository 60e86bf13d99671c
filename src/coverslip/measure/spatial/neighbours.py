"""Nearest neighbours beside chance, and graphs of who lies next to whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.core.units import as_mpp
from coverslip.measure.spatial.distance import nearest
from coverslip.measure.spatial.window import Floats, Window

Edges = NDArray[np.intp]
"""Pairs of objects (m, 2), each once, the lower number first."""


@dataclass(frozen=True, slots=True)
class NearestNeighbour:
    """The mean distance to the nearest neighbour, and what points thrown into the same tissue give.

    Attributes
    ----------
    mean_um
        Of these points.
    expected_um, low_um, high_um
        Mean, least and greatest of the random patterns.
    ratio
        ``mean_um / expected_um``: below 1 clustered, above 1 regular (Clark & Evans 1954, with the tissue's
        edges accounted for because the random patterns have them too).
    p
        Two-sided, from the rank among the random patterns; never below 2 / (simulations + 1).
    """

    mean_um: float
    expected_um: float
    low_um: float
    high_um: float
    ratio: float
    p: float


def nearest_neighbour(
    xy: Floats, window: Window, *, simulations: int = 99, seed: int = 0
) -> NearestNeighbour:
    """Compare the nearest neighbours of points (n, 2) with complete spatial randomness inside the tissue.

    Raises
    ------
    UsageError
        When there are fewer than 2 points, or no simulations.

    Examples
    --------
    >>> from shapely import box
    >>> y, x = np.mgrid[5:100:10, 5:100:10]
    >>> lattice = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    >>> found = nearest_neighbour(lattice, Window(box(0, 0, 100, 100), 0.5))
    >>> found.mean_um, found.ratio > 1.7, found.p
    (5.0, True, 0.02)
    """
    if len(xy) < 2 or simulations < 1:
        raise UsageError(f"{len(xy)} points and {simulations} simulations: expected 2 and 1 or more")
    rng = np.random.default_rng(seed)
    own = _means(xy, window.mpp)
    thrown = np.array([_means(window.random(len(xy), rng), window.mpp) for _ in range(simulations)])
    tail = min((thrown <= own).sum(), (thrown >= own).sum())
    p = min(1.0, 2 * (int(tail) + 1) / (simulations + 1))
    expected = float(thrown.mean())
    return NearestNeighbour(own, expected, float(thrown.min()), float(thrown.max()), own / expected, p)


def _means(xy: Floats, mpp: float) -> float:
    return float(nearest(xy, xy, mpp, rank=2).mean())


# ------------------------------------------------------------------ graphs
def delaunay(xy: Floats, mpp: float, *, longest_um: float = np.inf) -> Edges:
    """Return the edges of the Delaunay triangulation of points (n, 2) that are not longer than `longest_um`.

    Examples
    --------
    >>> delaunay(np.array([[0.0, 0], [10, 0], [0, 10], [500, 500]]), 0.5, longest_um=100).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    from scipy.spatial import Delaunay, QhullError

    scale = as_mpp(mpp)
    if len(xy) < 4:
        pairs = np.array([(i, j) for i in range(len(xy)) for j in range(i + 1, len(xy))], np.intp)
    else:
        try:
            corners = Delaunay(xy).simplices
        except QhullError as error:
            raise UsageError("the points lie on one line and have no triangulation") from error
        pairs = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]])
    return _within(xy, pairs.reshape(-1, 2), longest_um / scale)


def k_nearest(xy: Floats, mpp: float, *, k: int = 6, longest_um: float = np.inf) -> Edges:
    """Return an edge between points (n, 2) of which one is among the k nearest of the other."""
    from scipy.spatial import cKDTree

    scale = as_mpp(mpp)
    if k < 1:
        raise UsageError(f"k {k}: expected 1 or more neighbours")
    k = min(k, len(xy) - 1)
    if k < 1:
        return np.empty((0, 2), np.intp)
    _, found = cKDTree(xy).query(xy, k=k + 1)
    first = np.repeat(np.arange(len(xy)), k + 1)
    pairs = np.stack([first, found.ravel()], axis=1)
    return _within(xy, pairs[pairs[:, 0] != pairs[:, 1]], longest_um / scale)


def within_reach(xy: Floats, mpp: float, reach_um: float) -> Edges:
    """Return an edge between all points (n, 2) that lie within `reach_um` of each other."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(xy).query_pairs(reach_um / as_mpp(mpp), output_type="ndarray")
    return _within(xy, pairs, np.inf)


def _within(xy: Floats, pairs: NDArray[np.integer], longest: float) -> Edges:
    pairs = np.unique(np.sort(pairs, axis=1), axis=0).astype(np.intp)
    lengths = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T)
    return np.asarray(pairs[lengths <= longest], np.intp)


def degrees(edges: Edges, n: int) -> NDArray[np.intp]:
    """Return how many neighbours each of n objects has."""
    return np.bincount(edges.ravel(), minlength=n)


@dataclass(frozen=True, eq=False)
class Enrichment:
    """How often classes are neighbours, beside chance.

    Attributes
    ----------
    counts
        Edges between classes, (c, c), symmetric; an edge within a class counts once.
    expected, sd
        Of the permutations.
    z
        ``(counts - expected) / sd``; NaN where sd is 0.
    """

    counts: NDArray[np.int64]
    expected: Floats
    sd: Floats
    z: Floats


def enrichment(
    edges: Edges, codes: NDArray[np.integer], classes: int, *, permutations: int = 999, seed: int = 0
) -> Enrichment:
    """Compare how often classes are neighbours with labels dealt anew over the same places.

    Parameters
    ----------
    edges
        Of `delaunay`, `k_nearest` or `within_reach`.
    codes
        Class of each object, 0 … classes − 1, shape (n,); −1 belongs to none and keeps its place.

    Examples
    --------
    >>> edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]])
    >>> found = enrichment(edges, np.array([0, 0, 0, 1, 1, 1]), 2)
    >>> found.counts.tolist(), bool(found.z[0, 0] > 0 > found.z[0, 1])
    ([[2, 1], [1, 2]], True)
    """
    labels = np.asarray(codes, np.intp)
    if len(labels) and not -1 <= labels.min() <= labels.max() < classes:
        raise UsageError(f"codes {labels.min()} … {labels.max()} do not fit {classes} classes")
    rng = np.random.default_rng(seed)
    counts = _joined(edges, labels, classes)
    known = np.flatnonzero(labels >= 0)
    total, squares = np.zeros(counts.shape), np.zeros(counts.shape)
    dealt = labels.copy()
    for _ in range(permutations):
        dealt[known] = rng.permutation(labels[known])
        found = _joined(edges, dealt, classes)
        total += found
        squares += found.astype(float) ** 2
    expected = total / permutations
    sd = np.sqrt(np.maximum(squares / permutations - expected**2, 0))
    z = np.divide(counts - expected, sd, out=np.full(sd.shape, np.nan), where=sd > 0)
    return Enrichment(counts, expected, sd, z)


def _joined(edges: Edges, labels: NDArray[np.intp], classes: int) -> NDArray[np.int64]:
    first, second = labels[edges[:, 0]], labels[edges[:, 1]]
    both = (first >= 0) & (second >= 0)
    table = np.bincount(first[both] * classes + second[both], minlength=classes**2)
    table = table.reshape(classes, classes)
    return table + table.T - np.diag(np.diag(table))
