"""Ripley's K and L: how many others lie within a distance, beside what chance would give in this tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.spatial.window import Floats, Window

Edge = Literal["translation", "border"]

MOST_PAIRS = 50_000_000
"""Pairs that the translation correction weighs; memory bounds it."""

RASTER = 512
"""Pixels along the longer side of the tissue in which its overlap with itself is taken."""


@dataclass(frozen=True, eq=False)
class Ripley:
    """K and L at radii, and the envelope of as many random patterns of as many points.

    Attributes
    ----------
    radii_um
        Shape (r,).
    k_um2
        K, µm²: π·radius² where points lie at random. NaN where no point is that far from the edge.
    low, high
        Pointwise least and greatest K of the random patterns; None without simulations.
    p
        Share of patterns, this one among them, whose L differs at least as much from the mean of all at its
        worst radius (maximum absolute deviation; Ripley 1981, Baddeley 2014); None without simulations.
    edge
        The correction.
    """

    radii_um: Floats
    k_um2: Floats
    edge: Edge
    low: Floats | None = None
    high: Floats | None = None
    p: float | None = None

    @property
    def l_um(self) -> Floats:
        """L = √(K/π), µm: the radius itself where points lie at random, more where they cluster."""
        return np.sqrt(self.k_um2 / np.pi)


def ripley(
    xy: Floats,
    window: Window,
    radii_um: Floats,
    *,
    others: Floats | None = None,
    edge: Edge = "translation",
    simulations: int = 0,
    seed: int = 0,
) -> Ripley:
    """Return Ripley's K of points, or of `others` around points.

    Parameters
    ----------
    xy
        Points in level-0 pixels, (n, 2), inside the window.
    radii_um
        Ascending.
    others
        For the cross-K: how many of these lie around each of `xy`. Under chance they, not `xy`, are thrown
        anew.
    edge
        How it is made up for that others beyond the tissue's edge are not seen. ``"translation"`` weighs each
        pair by the share of the tissue in which it could lie (Ohser 1983); ``"border"`` leaves out, at each
        radius, points nearer to the edge than that: it scatters more and serves any number of points.
    simulations
        Random patterns for the envelope, e.g. 99.

    Raises
    ------
    UsageError
        When points lie outside, or are too few, or too many for ``"translation"``.

    Examples
    --------
    >>> from shapely import box
    >>> window = Window(box(0, 0, 4000, 4000), 0.25)
    >>> points = window.random(400, np.random.default_rng(0))
    >>> found = ripley(points, window, np.array([20.0, 40.0]))
    >>> [round(float(value), 1) for value in found.l_um]
    [21.3, 41.0]
    """
    radii = np.asarray(radii_um, float)
    _check(xy, others, window, radii)
    measure: Callable[[Floats, Floats | None], Floats] = (
        _Translation(window, radii) if edge == "translation" else _Border(window, radii)
    )
    found = measure(xy, others)
    if not simulations:
        return Ripley(radii, found, edge)
    rng = np.random.default_rng(seed)
    patterns = [found]
    for _ in range(simulations):
        thrown = window.random(len(xy) if others is None else len(others), rng)
        patterns.append(measure(thrown, None) if others is None else measure(xy, thrown))
    every = np.stack(patterns)
    low, high = every[1:].min(0), every[1:].max(0)
    return Ripley(radii, found, edge, low, high, _deviation(np.sqrt(every / np.pi)))


def _deviation(every: Floats) -> float:
    """Return the p value of the first row against all, by the maximum absolute deviation."""
    usable = np.isfinite(every).all(0)
    worst = np.abs(every[:, usable] - every[:, usable].mean(0)).max(1, initial=0)
    return float((worst >= worst[0]).mean())


class _Translation:
    """Pairs weighed by the area of the window's overlap with itself, shifted by the pair."""

    def __init__(self, window: Window, radii: Floats) -> None:
        self._window, self._radii = window, radii
        self._overlap, self._cell = _covariance(window)

    def __call__(self, xy: Floats, others: Floats | None) -> Floats:
        from scipy.spatial import cKDTree

        around = xy if others is None else others
        reach = self._radii[-1] / self._window.mpp
        tree, near = cKDTree(xy), cKDTree(around)
        pairs = int(tree.count_neighbors(near, reach))
        if pairs > MOST_PAIRS:
            raise UsageError(
                f"{pairs} pairs within {self._radii[-1]:g} µm are too many for edge='translation'",
                mend="edge='border', or smaller radii",
            )
        found = tree.sparse_distance_matrix(near, reach, output_type="coo_matrix")
        own = found.row != found.col if others is None else np.ones(len(found.row), bool)
        first, second, apart = found.row[own], found.col[own], found.data[own]
        weight = 1 / self._overlaps((around[second] - xy[first]) / self._cell)
        area = self._window.area_um2
        numbers = len(xy) * (len(xy) - 1) if others is None else len(xy) * len(others)
        within = np.searchsorted(self._radii, apart * self._window.mpp)
        sums = np.bincount(within, weight, len(self._radii) + 1)[: len(self._radii)]
        return np.asarray(area**2 / numbers * np.cumsum(sums), np.float64)

    def _overlaps(self, shift: Floats) -> Floats:
        """Return the overlap in µm² at shifts (n, 2) in cells, between those of whole cells."""
        from scipy.ndimage import map_coordinates

        middle = (np.array(self._overlap.shape) - 1) / 2
        return np.asarray(map_coordinates(self._overlap, shift[:, ::-1].T + middle[:, None], order=1))


class _Border:
    """Neighbours of points that lie at least the radius away from the edge."""

    def __init__(self, window: Window, radii: Floats) -> None:
        self._window, self._radii = window, radii

    def __call__(self, xy: Floats, others: Floats | None) -> Floats:
        from scipy.spatial import cKDTree

        around = xy if others is None else others
        tree, inside = cKDTree(around), self._window.edge_distance(xy)
        density = len(around) / self._window.area_um2
        found = np.full(len(self._radii), np.nan)
        for i, radius in enumerate(self._radii):
            deep = xy[inside >= radius]
            if len(deep):
                near = int(cKDTree(deep).count_neighbors(tree, radius / self._window.mpp))
                found[i] = (near - len(deep) * (others is None)) / len(deep) / density
        return found


def _covariance(window: Window) -> tuple[Floats, float]:
    """Return the area in µm² that the window shares with itself when shifted, and the step of the shifts.

    The shift of nothing is in the middle of the array.
    """
    from scipy.signal import fftconvolve

    left, top, right, bottom = window.shape.bounds
    cell = max(right - left, bottom - top) / RASTER
    columns, rows = int(np.ceil((right - left) / cell)), int(np.ceil((bottom - top) / cell))
    x, y = np.meshgrid(left + (np.arange(columns) + 0.5) * cell, top + (np.arange(rows) + 0.5) * cell)
    mask = window.contains(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(rows, columns).astype(float)
    shared = np.maximum(fftconvolve(mask, mask[::-1, ::-1]), 0.5)
    return shared * (window.area_um2 / mask.sum()), cell


def _check(xy: Floats, others: Floats | None, window: Window, radii: NDArray[np.float64]) -> None:
    if radii.ndim != 1 or not len(radii) or np.any(np.diff(radii) <= 0) or radii[0] <= 0:
        raise UsageError(f"radii {radii.tolist()}: expected ascending lengths in µm")
    for name, points in (("points", xy), ("others", others)):
        if points is None:
            continue
        if len(points) < 2:
            raise UsageError(f"{len(points)} {name} form no pattern: expected 2 or more")
        outside = int((~window.contains(points)).sum())
        if outside:
            raise UsageError(
                f"{outside} of {len(points)} {name} lie outside the tissue", mend="leave those out"
            )
