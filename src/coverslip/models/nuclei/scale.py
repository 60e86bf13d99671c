"""How large the nuclei of a picture are, when nobody says at what scale it was taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.detector import Detector
from coverslip.models.nuclei.intensity import levels
from coverslip.models.nuclei.reading import Found

SMALLEST, LARGEST = 0.2, 4.0
"""Bounds of the factor by which a picture is resized."""

LOOKS = 3
"""How often a picture is looked at before its size is believed."""

SURE = 0.12
"""A change of scale below this share is not worth another look."""

AREA = 1024 * 1024
"""Pixels of a picture that are looked at: of a larger one, its middle."""


def resized(pixels: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Return a picture (h, w, 3) with `scale` times as many pixels a side, at least 8."""
    import cv2

    height, width = pixels.shape[:2]
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    if size == (width, height):
        return pixels
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, size, interpolation=flags), np.float32)


def scale_of(detector: Detector, pixels: NDArray[np.float32]) -> float:
    """Return by what factor a picture is to be resized so that its nuclei have the detector's size.

    The picture is looked at as it is, then at the scale that the sizes found suggest, until that changes
    little. Where nothing is found at first, half and twice the size are tried. 1 where nothing is found.

    Parameters
    ----------
    pixels
        float32 (h, w, 3).
    """
    middle = _middle(pixels)
    between = levels(pixels)
    tried = [(_look(detector, middle, between, scale), scale) for scale in (1.0,)]
    if tried[0][0] is None:
        tried += [(_look(detector, middle, between, scale), scale) for scale in (0.5, 2.0)]
    seen = [(found, scale) for found, scale in tried if found is not None]
    if not seen:
        return 1.0
    diameter, scale = max(seen, key=lambda one: one[0][1])[0][0], max(seen, key=lambda one: one[0][1])[1]
    for _ in range(LOOKS - 1):
        wanted = float(np.clip(scale * detector.diameter / diameter, SMALLEST, LARGEST))
        if abs(np.log(wanted / scale)) < SURE:
            return wanted
        again = _look(detector, middle, between, wanted)
        if again is None:
            return wanted
        scale, diameter = wanted, again[0]
    return float(np.clip(scale * detector.diameter / diameter, SMALLEST, LARGEST))


def _middle(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = pixels.shape[:2]
    if height * width <= AREA:
        return pixels
    side = int(AREA**0.5)
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[top : top + side, left : left + side]


def _look(
    detector: Detector, pixels: NDArray[np.float32], between: tuple[float, float], scale: float
) -> tuple[float, float] | None:
    """Return the median diameter at `scale`, and how sure the nuclei are in all; None when there are none."""
    found = detector.find(resized(pixels, scale), between)
    if not len(found):
        return None
    return typical(found), float(found.scores.sum())


def typical(found: Found) -> float:
    """Return the median diameter of nuclei, those of better score counting more."""
    order = np.argsort(found.diameters, kind="stable")
    weight = np.cumsum(found.scores[order])
    return float(found.diameters[order][np.searchsorted(weight, weight[-1] / 2)])
