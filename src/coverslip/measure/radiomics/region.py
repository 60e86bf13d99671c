"""The region that is measured: a picture in 2D or 3D, and which of its pixels count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import GeometryError, UsageError


@dataclass(frozen=True, eq=False)
class Region:
    """A checked region of interest; make it with `Region.of`.

    Attributes
    ----------
    image
        Intensities, float64 (d, h, w); NaN only outside `mask`.
    mask
        The intensity mask, bool (d, h, w): the pixels that are measured.
    shape
        The morphological mask, bool (d, h, w): the form; the same as `mask` unless intensities were excluded.
    spacing
        Side of a pixel in mm along z, y and x.
    planar
        The picture is 2D (d is 1).
    whole
        The picture held whole numbers by its type.
    within
        The limits that intensities were held to, if any.
    """

    image: NDArray[np.float64]
    mask: NDArray[np.bool_]
    shape: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    planar: bool
    whole: bool
    within: tuple[float, float] | None = None

    @classmethod
    def of(
        cls,
        image: ArrayLike,
        mask: ArrayLike,
        *,
        spacing: float | Sequence[float],
        within: tuple[float, float] | None = None,
        sigmas: float | None = None,
    ) -> Region:
        """Check and make a region.

        Parameters
        ----------
        image
            (h, w) or (d, h, w), any real type.
        mask
            The same shape; what is not 0 belongs to the region.
        spacing
            Side of a pixel in mm: one number, or one per axis in the order of the axes.
        within
            Only intensities from the first to the second number, both included, are measured (the manual's
            range re-segmentation); the form stays that of `mask`.
        sigmas
            Of these, only intensities at most so many standard deviations from the mean are measured (the
            manual's outlier filtering; it uses 3).

        Raises
        ------
        UsageError
            Pictures of other than 2 or 3 axes, shapes that differ, spacings that cannot be, NaN or infinity
            within the region, a region of one intensity.
        GeometryError
            An empty region.

        Examples
        --------
        >>> Region.of([[1, 2], [3, 4]], [[1, 1], [0, 1]], spacing=0.5).values
        array([1., 2., 4.])
        """
        pixels, inside = _checked(np.asarray(image), np.asarray(mask))
        planar = pixels.ndim == 2
        sides = _sides(spacing, pixels.ndim)
        whole = bool(np.issubdtype(pixels.dtype, np.integer))
        volume = pixels.astype(np.float64).reshape((-1, *pixels.shape[-2:]))
        shape = inside.reshape(volume.shape)
        return cls(volume, _measured(volume, shape, within, sigmas), shape, sides, planar, whole, within)

    @property
    def values(self) -> NDArray[np.float64]:
        """The intensities of the region, (n,)."""
        return self.image[self.mask]


def _checked(image: NDArray[Any], mask: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if image.ndim not in {2, 3}:
        raise UsageError(
            f"the picture has {image.ndim} axes; expected (h, w) or (d, h, w)",
            mend="measure one channel of a colour picture, or one stain",
        )
    if image.dtype.kind not in "biuf":
        raise UsageError(f"the picture is of type {image.dtype}; expected real numbers")
    if mask.shape != image.shape:
        raise UsageError(
            f"the mask has shape {mask.shape}, the picture {image.shape}; expected the same",
            mend="measure a colour picture by channel or stain" if image.shape[:2] == mask.shape else None,
        )
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise UsageError("the mask holds NaN or infinity; expected 0 outside and another number inside")
    inside = mask.astype(bool)
    if not inside.any():
        raise GeometryError("the mask is empty: no pixel to measure", mend="leave the region out")
    return image, inside


def _sides(spacing: float | Sequence[float], axes: int) -> tuple[float, float, float]:
    sides = np.atleast_1d(np.asarray(spacing, np.float64))
    if sides.shape not in {(1,), (axes,)} or not (np.isfinite(sides).all() and (sides > 0).all()):
        raise UsageError(f"spacing is {spacing}; expected one side in mm > 0, or one for each of {axes} axes")
    full = np.broadcast_to(sides, axes).tolist()
    return tuple([full[-1]] * (3 - axes) + full)


def _measured(
    volume: NDArray[np.float64],
    shape: NDArray[np.bool_],
    within: tuple[float, float] | None,
    sigmas: float | None,
) -> NDArray[np.bool_]:
    bad = np.count_nonzero(~np.isfinite(volume[shape]))
    if bad:
        raise UsageError(f"{bad} pixels of the region are NaN or infinite", mend="leave them out of the mask")
    mask = shape if within is None else shape & (volume >= within[0]) & (volume <= within[1])
    if not mask.any():
        raise GeometryError(f"no intensity of the region lies within {within}")
    if sigmas is not None:
        values = volume[mask]
        mask = mask & (np.abs(volume - values.mean()) <= sigmas * values.std())
    values = volume[mask]
    if not values.size:
        raise GeometryError(f"no intensity of the region lies within {sigmas} standard deviations")
    if values.min() == values.max():
        raise UsageError(
            f"the region has one intensity, {values[0]:g}: its features are not defined",
            mend="leave the region out",
        )
    return mask
