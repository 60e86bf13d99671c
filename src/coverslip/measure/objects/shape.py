"""Size and shape of objects from their polygons: exact integrals over the outline, all objects at once.

Nothing is rasterised, so the values do not depend on a pixel grid. ``docs/reference/measurements.md`` states
every definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.core.units import as_mpp
from coverslip.measure.objects.feret import ferets
from coverslip.measure.objects.fourier import curvatures, descriptors, harmonics_of
from coverslip.measure.objects.rings import Floats, Rings

HARMONICS = 8
"""Fourier descriptors that are given."""

AT_ONCE = 4_000
"""Objects worked on together; bounds the memory."""

Columns = dict[str, NDArray[np.float32]]
"""Measurements by name, each float32 of shape (n,)."""

SHAPES = (
    "area_um2",
    "perimeter_um",
    "major_um",
    "minor_um",
    "eccentricity",
    "orientation",
    "solidity",
    "convexity",
    "circularity",
    "extent",
    "feret_max_um",
    "feret_min_um",
    "curvature_mean",
    "curvature_sd",
    "concavity",
    *(f"fourier_{k}" for k in range(1, HARMONICS + 1)),
)
"""What `shapes` measures, in this order."""


def shapes(polygons: Any, mpp: float) -> Columns:
    """Measure the size and shape of objects.

    Parameters
    ----------
    polygons
        shapely Polygons or MultiPolygons in level-0 pixels, shape (n,).
    mpp
        Microns per pixel of level 0.

    Returns
    -------
    dict
        float32, shape (n,), for each name of `SHAPES`; NaN where a value does not exist, as of an object
        without area.

    Notes
    -----
    Areas, centroids and second moments by Green's theorem; minor and major axis are those of the ellipse with
    the same second moments, as scikit-image gives them; `orientation` is the angle of the major axis from x
    towards y (clockwise on the screen) in radians, −π/2 … π/2. Holes count for area and moments, not for the
    outline: perimeter, circularity (of the filled area), convexity and all that follows.

    Examples
    --------
    >>> from shapely import box
    >>> found = shapes([box(0, 0, 40, 20)], mpp=0.5)
    >>> {name: round(float(found[name][0]), 3) for name in ("area_um2", "perimeter_um", "feret_min_um")}
    {'area_um2': 200.0, 'perimeter_um': 60.0, 'feret_min_um': 10.0}
    """
    array = np.asarray(polygons, object)
    if array.ndim != 1:
        raise UsageError(f"polygons of shape {array.shape}: expected (n,)")
    scale = float(as_mpp(mpp))
    parts = [_measured(array[i : i + AT_ONCE], scale) for i in range(0, len(array), AT_ONCE)]
    empty = np.empty(0, np.float32)
    return {name: np.concatenate([part[name] for part in parts] or [empty]) for name in SHAPES}


def _measured(polygons: NDArray[Any], mpp: float) -> Columns:
    import shapely

    rings = Rings.of(polygons)
    hulls = shapely.convex_hull(polygons)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = _integrals(rings, mpp) | _outlines(rings, polygons, hulls, mpp)
        widest, narrowest = ferets(hulls)
        found |= {"feret_max_um": widest * mpp, "feret_min_um": narrowest * mpp}
        found |= _waves(rings.largest(), mpp)
    return {name: np.asarray(found[name], np.float32) for name in SHAPES}


def _integrals(rings: Rings, mpp: float) -> dict[str, Floats]:
    """Return area, axes, eccentricity and orientation."""
    area, xx, yy, xy = moments(rings)
    middle, swing = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    long, short = middle + swing, np.maximum(middle - swing, 0)
    flat = area <= 0
    return {
        "area_um2": area * mpp**2,
        "major_um": np.where(flat, np.nan, 4 * np.sqrt(long) * mpp),
        "minor_um": np.where(flat, np.nan, 4 * np.sqrt(short) * mpp),
        "eccentricity": np.where(flat, np.nan, np.sqrt(1 - short / long)),
        "orientation": np.where(flat, np.nan, 0.5 * np.arctan2(2 * xy, xx - yy)),
    }


def moments(rings: Rings) -> tuple[Floats, Floats, Floats, Floats]:
    """Return area and central second moments xx, yy, xy per area, in pixels, each of shape (n,)."""
    (x, y), (u, v) = rings.xy.T, rings.following.T
    cross = x * v - u * y
    terms = np.stack(
        [
            cross / 2,
            (x + u) * cross / 6,
            (y + v) * cross / 6,
            (x * x + x * u + u * u) * cross / 12,
            (y * y + y * v + v * v) * cross / 12,
            (x * v + 2 * x * y + 2 * u * v + u * y) * cross / 24,
        ],
        axis=1,
    )
    sums = rings.by_ring(terms)
    turned = np.sign(sums[:, 0]) * np.where(rings.holes, -1, 1)
    area, mx, my, mxx, myy, mxy = rings.by_object(sums * turned[:, None]).T
    mx, my = mx / area, my / area
    return area, mxx / area - mx * mx, myy / area - my * my, mxy / area - mx * my


def _outlines(rings: Rings, polygons: NDArray[Any], hulls: NDArray[Any], mpp: float) -> dict[str, Floats]:
    """Return what compares an object with its hull, its bounds and a circle."""
    import shapely

    area = shapely.area(polygons)
    steps = rings.following - rings.xy
    lengths = rings.by_ring(np.hypot(steps[:, 0], steps[:, 1]))
    perimeter = rings.by_object(np.where(rings.holes, 0, lengths))
    filled = rings.by_object(np.where(rings.holes, 0, np.abs(rings.areas())))
    left, top, right, bottom = shapely.bounds(polygons).T
    return {
        "perimeter_um": perimeter * mpp,
        "solidity": area / shapely.area(hulls),
        "convexity": shapely.length(hulls) / perimeter,
        "circularity": 4 * np.pi * filled / perimeter**2,
        "extent": area / ((right - left) * (bottom - top)),
    }


def _waves(outlines: Rings, mpp: float) -> dict[str, Floats]:
    """Return Fourier descriptors and curvature of one outline per object."""
    forward, backward = harmonics_of(outlines, HARMONICS)
    found = {f"fourier_{k + 1}": value for k, value in enumerate(descriptors(forward, backward))}
    mean, spread, concave = curvatures(forward, backward)
    return found | {"curvature_mean": mean / mpp, "curvature_sd": spread / mpp, "concavity": concave}
