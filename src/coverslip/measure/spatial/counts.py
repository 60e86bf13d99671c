"""How many and how much: counts and densities of classes in regions, and shares of area."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.interval import Interval, count_interval, share_interval
from coverslip.measure.spatial.window import Floats, Window


def densities(
    xy: Floats, codes: NDArray[np.integer], classes: tuple[str, ...], window: Window
) -> dict[str, Interval]:
    """Return the objects of each class per mm² of the window, with their exact Poisson intervals.

    Parameters
    ----------
    xy, codes
        Middles in level-0 pixels (n, 2), and classes (n,); those outside the window do not count.

    Examples
    --------
    >>> from shapely import box
    >>> window = Window(box(0, 0, 2000, 2000), 0.5)
    >>> found = densities(np.full((7, 2), 50.0), np.zeros(7, int), ("tumour", "stroma"), window)
    >>> found["tumour"].value, found["stroma"].value
    (7.0, 0.0)
    """
    inside = window.contains(xy)
    counts = np.bincount(np.asarray(codes)[inside & (codes >= 0)], minlength=len(classes))
    area = window.area_mm2
    return {name: count_interval(int(count), area) for name, count in zip(classes, counts, strict=True)}


def shares(codes: NDArray[np.integer], classes: tuple[str, ...]) -> dict[str, Interval]:
    """Return the share of each class among the objects that have one, with Wilson intervals."""
    counts = np.bincount(np.asarray(codes)[codes >= 0], minlength=len(classes))
    whole = int(counts.sum())
    return {name: share_interval(int(count), whole) for name, count in zip(classes, counts, strict=True)}


def area_shares(regions: Mapping[str, Any], window: Window) -> dict[str, float]:
    """Return the share of the window's area that the regions of each class cover.

    Regions of one class that lie over each other count once. There is no interval: the whole area was
    examined, nothing was sampled, and how far the model errs, only its evaluation can tell.

    Parameters
    ----------
    regions
        Polygons in level-0 pixels by class.

    Examples
    --------
    >>> from shapely import box
    >>> window = Window(box(0, 0, 100, 100), 0.5)
    >>> area_shares({"tumour": [box(0, 0, 50, 50), box(0, 0, 50, 60), box(90, 0, 190, 100)]}, window)
    {'tumour': 0.4}
    """
    import shapely

    found = {}
    for name, polygons in regions.items():
        parts = np.asarray(polygons, object)
        if parts.ndim != 1:
            raise UsageError(f"regions of {name} have shape {parts.shape}: expected (n,)")
        whole = shapely.union_all(shapely.make_valid(parts)) if len(parts) else shapely.Polygon()
        found[name] = float(whole.intersection(window.shape).area / window.shape.area)
    return found
