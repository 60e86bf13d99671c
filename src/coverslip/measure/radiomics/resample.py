"""Volumes on another grid, as the initiative lays it: the middles of both grids coincide (IBSI 2.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError


def resample(
    image: ArrayLike,
    mask: ArrayLike,
    *,
    spacing: Sequence[float],
    to: Sequence[float],
    order: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a picture and its mask with pixels of another size.

    Parameters
    ----------
    image, mask
        (h, w) or (d, h, w), both the same.
    spacing, to
        Side of a pixel in mm along each axis: now, and wanted. An axis where both are the same is left alone.
    order
        Of the interpolation of the picture: 1 is linear, 3 cubic splines. Round the picture afterwards if its
        values are whole by nature, such as Hounsfield units.

    Returns
    -------
    tuple
        The picture, float64, and the mask, bool: where at least half of the linear interpolation is inside.

    Raises
    ------
    UsageError
        Shapes or sides that do not go together.

    Examples
    --------
    >>> resample([[0, 2, 4, 6]], [[1, 1, 1, 0]], spacing=(1, 1), to=(1, 2))[0]
    array([[1., 5.]])
    """
    pixels, inside = np.asarray(image, np.float64), np.asarray(mask).astype(bool)
    if not (pixels.shape == inside.shape and len(spacing) == len(to) == pixels.ndim):
        raise UsageError(
            f"picture {pixels.shape}, mask {inside.shape}, {len(spacing)} sides now, {len(to)} wanted; "
            "expected the same shape, and one side of each for every axis"
        )
    if not (np.asarray([*spacing, *to], np.float64) > 0).all():
        raise UsageError(f"sides {tuple(spacing)} and {tuple(to)}; expected mm > 0")
    points = _points(pixels.shape, spacing, to)
    share = _interpolate(inside.astype(np.float64), points, 1)
    return _interpolate(pixels, points, order), share >= 0.5 - 1e-9


def _points(
    shape: tuple[int, ...], spacing: Sequence[float], to: Sequence[float]
) -> list[NDArray[np.float64]]:
    axes = []
    for count, now, wanted in zip(shape, spacing, to, strict=True):
        new = int(np.ceil(round(count * now / wanted, 9)))
        axes.append((np.arange(new) - (new - 1) / 2) * (wanted / now) + (count - 1) / 2)
    return list(np.meshgrid(*axes, indexing="ij"))


def _interpolate(
    volume: NDArray[np.float64], points: list[NDArray[np.float64]], order: int
) -> NDArray[np.float64]:
    from scipy.ndimage import map_coordinates

    result: NDArray[np.float64] = map_coordinates(volume, points, order=order, mode="nearest")
    return result
