"""Local intensity: the mean around the brightest place (IBSI 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.region import Region

RADIUS = (3 / (4 * np.pi)) ** (1 / 3) * 10
"""mm: of the ball of 1 cm³, about 6.2."""

LOCAL = (
    Feature(
        "local",
        "Local intensity peak",
        "VJGA",
        "intensity",
        "mean in a ball of 1 cm³ around the brightest pixel of the region; the highest of several",
    ),
    Feature(
        "local",
        "Global intensity peak",
        "0F91",
        "intensity",
        "highest mean in a ball of 1 cm³ around any pixel of the region",
    ),
)
"""The family ``local``."""


def local_intensity(region: Region) -> Values:
    """Return the local and the global intensity peak.

    The ball takes in pixels outside the region, but none that are NaN. In a 2D picture it is a disc.
    """
    means = _ball_means(region)[region.mask]
    brightest = region.values == region.values.max()
    numbers = (float(means[brightest].max()), float(means.max()))
    return {(f.name, ""): v for f, v in zip(LOCAL, numbers, strict=True)}


def _ball_means(region: Region) -> NDArray[np.float64]:
    """Return the mean within `RADIUS` around each pixel, float64 (d, h, w)."""
    known = np.isfinite(region.image)
    filled = np.where(known, region.image, 0.0)
    corner = [(n - 1) * side for n, side in zip(known.shape, region.spacing, strict=True)]
    if np.hypot.reduce(corner) <= RADIUS:  # the ball holds the whole picture
        return np.full(known.shape, filled.sum() / known.sum())
    level = filled[known].mean()  # small numbers keep the digits through the transform
    sums = _convolve(np.where(known, region.image - level, 0.0), ball := _ball(region))
    means: NDArray[np.float64] = level + sums / np.maximum(
        np.rint(_convolve(known.astype(np.float64), ball)), 1
    )
    return means


def _ball(region: Region) -> NDArray[np.float64]:
    reach = [
        min(int(RADIUS / side), n - 1) for n, side in zip(region.image.shape, region.spacing, strict=True)
    ]
    axes = np.meshgrid(
        *(np.arange(-r, r + 1) * side for r, side in zip(reach, region.spacing, strict=True)), indexing="ij"
    )
    return np.asarray(sum(axis**2 for axis in axes) <= RADIUS**2, np.float64)


def _convolve(volume: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.signal import convolve

    result: NDArray[np.float64] = convolve(volume, kernel, mode="same")
    return result
