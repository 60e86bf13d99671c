"""A tile made ready for measuring: at one scale, separated into stains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import ImplausibleMppError, UsageError
from coverslip.core.units import as_mpp
from coverslip.stain.density import check_rgb, od_table
from coverslip.stain.matrices import StainMatrix
from coverslip.stain.separation import unmixing

WORK_MPP = 0.5
"""All tiles are measured at this scale: texture and nuclei mean the same on every slide."""

CLOSE = 0.05
"""An mpp within this share of `WORK_MPP` is taken as it is."""

COARSEST = 1.05
"""Microns per pixel over which a nucleus is too few pixels to be measured."""

STEP = 0.01
"""Decades per level of the 8-bit planes: 0 … 2.55."""

TISSUE = 0.05
"""Decades of grey density over which a pixel shows tissue."""

SMALLEST = 16
"""Sides of a tile, in pixels at `WORK_MPP`."""


@dataclass(frozen=True)
class Planes:
    """One tile at `WORK_MPP`.

    Attributes
    ----------
    rgb
        uint8 (h, w, 3).
    mpp
        Of these pixels.
    haematoxylin, second, residual
        float32 (h, w), decades; negative amounts of the two stains are 0.
    strength
        Of haematoxylin and the second stain on the slide (99th percentile).
    """

    rgb: NDArray[np.uint8]
    mpp: float
    haematoxylin: NDArray[np.float32]
    second: NDArray[np.float32]
    residual: NDArray[np.float32]
    strength: tuple[float, float]

    def pixels(self, microns: float) -> int:
        """Return a length in whole pixels, at least 1."""
        return max(1, round(microns / self.mpp))

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """Luminance, uint8 (h, w)."""
        import cv2

        return np.asarray(cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY), np.uint8)

    @cached_property
    def density(self) -> NDArray[np.uint8]:
        """Optical density of the luminance, in `STEP`."""
        import cv2

        return np.asarray(cv2.LUT(self.grey, _grey_table()), np.uint8)

    @cached_property
    def tissue(self) -> NDArray[np.uint8]:
        """255 where there is tissue, else 0."""
        import cv2

        return np.asarray(cv2.compare(self.density, TISSUE / STEP, cv2.CMP_GT), np.uint8)

    @cached_property
    def haematoxylin8(self) -> NDArray[np.uint8]:
        """Haematoxylin in `STEP`."""
        return eight_bits(self.haematoxylin)

    @cached_property
    def second8(self) -> NDArray[np.uint8]:
        """The second stain in `STEP`."""
        return eight_bits(self.second)

    @property
    def area_mm2(self) -> float:
        """Of the tile."""
        return self.grey.size * (self.mpp / 1000) ** 2

    @cached_property
    def tissue_share(self) -> float:
        """Share of the tile that is tissue."""
        import cv2

        return cv2.countNonZero(self.tissue) / self.tissue.size


def eight_bits(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return decades as levels of `STEP`, cut off at 0 and 255."""
    import cv2

    return np.asarray(cv2.convertScaleAbs(plane, alpha=1 / STEP), np.uint8)


def prepare(rgb: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> Planes:
    """Bring a tile to `WORK_MPP` and separate its stains.

    Raises
    ------
    UsageError
        When `rgb` is not uint8 (h, w, 3), or smaller than 16 pixels at `WORK_MPP`.
    ImplausibleMppError
        When `mpp` is none, or so coarse that nuclei cannot be seen.
    """
    import cv2

    check_rgb(rgb)
    check_mpp(mpp)
    height, width = _work_size(rgb.shape, mpp)
    if min(height, width) < SMALLEST or rgb.ndim != 3:
        raise UsageError(
            f"a tile of {rgb.shape} pixels at {mpp:g} mpp: expected (h, w, 3), at least 8 µm a side"
        )
    actual = mpp
    if (height, width) != rgb.shape[:2]:
        way = cv2.INTER_AREA if mpp < WORK_MPP else cv2.INTER_LINEAR
        actual = mpp * rgb.shape[1] / width
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=way), np.uint8)
    od = cv2.LUT(np.ascontiguousarray(rgb), od_table(stains.background))
    first, second, third = cv2.split(cv2.transform(od, _unmix(stains)))
    zero = np.float32(0)
    haematoxylin, eosin = np.maximum(first, zero, out=first), np.maximum(second, zero, out=second)
    strength = stains.max_concentrations[:2]
    return Planes(rgb, actual, haematoxylin, eosin, third, (strength[0], strength[1]))


def check_mpp(mpp: float) -> None:
    """Refuse a scale at which nuclei cannot be measured; raises `ImplausibleMppError`."""
    if as_mpp(mpp) > COARSEST:
        raise ImplausibleMppError(
            f"{mpp:g} microns per pixel is too coarse to measure nuclei: expected at most {COARSEST:g}",
            mend="lay tiles of 0.5 mpp",
        )


def _work_size(shape: tuple[int, ...], mpp: float) -> tuple[int, int]:
    if abs(mpp / WORK_MPP - 1) <= CLOSE:
        return shape[0], shape[1]
    return round(shape[0] * mpp / WORK_MPP), round(shape[1] * mpp / WORK_MPP)


@lru_cache(maxsize=8)
def _unmix(stains: StainMatrix) -> NDArray[np.float32]:
    return np.ascontiguousarray(unmixing(stains.complete()).T)


@lru_cache(maxsize=1)
def _grey_table() -> NDArray[np.uint8]:
    return np.clip(np.rint(od_table() / STEP), 0, 255).astype(np.uint8)
