"""One scale of intensity for every picture: fluorescence, bright field, any depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 0.5, 99.8
"""Percentiles of all channels together that become 0 and 1."""

SPAN = 8.0 / 255
"""The least distance of the two, as a share of full scale: noise of an empty picture is not stretched."""


def levels(picture: NDArray[np.float32]) -> tuple[float, float]:
    """Return the intensities that become 0 and 1.

    Parameters
    ----------
    picture
        float32 (h, w, 3) on the scale 0 to 1 of its own depth; NaN is left out.

    Examples
    --------
    >>> low, high = levels(np.linspace(0, 1, 3000, dtype=np.float32).reshape(10, 100, 3))
    >>> round(low, 3), round(high, 3)
    (0.005, 0.998)
    """
    low, high = (
        float(v) for v in np.nanpercentile(picture[:: _step(picture), :: _step(picture)], (LOW, HIGH))
    )
    return low, max(high, low + SPAN)


def scaled(picture: NDArray[np.float32], between: tuple[float, float]) -> NDArray[np.float32]:
    """Return `picture` with the levels `between` at 0 and 1, cut at -0.5 and 1.5."""
    low, high = between
    shifted = (picture - np.float32(low)) * np.float32(1 / (high - low))
    return np.asarray(np.clip(shifted, -0.5, 1.5), np.float32)


def resized(pixels: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Return a picture (h, w, 3) with `scale` times as many pixels a side, at least 8."""
    import cv2

    height, width = pixels.shape[:2]
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    if size == (width, height):
        return pixels
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=flags), np.float32)


def _step(picture: NDArray[np.float32]) -> int:
    """Return every how many pixels are enough: about a million of any picture."""
    return max(1, int(np.sqrt(picture.shape[0] * picture.shape[1] / 1e6)))
