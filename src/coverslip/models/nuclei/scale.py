"""How large the nuclei of a picture are, when nobody says at what scale it was taken."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.intensity import levels

SMALLEST, LARGEST = 0.2, 4.0
"""Bounds of the factor by which a picture is resized."""

LOOKS = 3
"""How often a picture is looked at before its size is believed."""

SURE = 0.12
"""A change of scale below this share is not worth another look."""

AREA = 1024 * 1024
"""Pixels of a picture that are looked at: of a larger one, its middle."""


class Sizes(Protocol):
    """Objects found, by size and score, (n,) each."""

    @property
    def diameters(self) -> NDArray[np.floating[Any]]: ...  # noqa: D102 - told above
    @property
    def scores(self) -> NDArray[np.floating[Any]]: ...  # noqa: D102
    def __len__(self) -> int: ...


class Looks(Protocol):
    """Finds objects, in the pixels given; see `coverslip.models.nuclei.detector.Detector`."""

    @property
    def diameter(self) -> float: ...  # noqa: D102 - in pixels of its own
    def find(  # noqa: D102 - told above
        self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0
    ) -> Sizes: ...


def scale_of(detector: Looks, pixels: NDArray[np.float32]) -> float:
    """Return by what factor a picture is to be resized so that its nuclei have the detector's size.

    The picture is looked at as it is, then at the scale that the sizes found suggest, until that changes
    little. Where nothing is found at first, half and twice the size are tried. 1 where nothing is found.

    Parameters
    ----------
    pixels
        float32 (h, w, 3).
    """
    middle, between = _middle(pixels), levels(pixels)
    first = detector.find(middle, between)
    if not len(first):
        others = [detector.find(middle, between, scale) for scale in (0.5, 2.0)]
        first = max(others, key=lambda found: float(found.scores.sum()))
    if not len(first):
        return 1.0
    scale, found = 1.0, first
    for _ in range(LOOKS):
        before, scale = scale, _wanted(detector, found)
        if abs(np.log(scale / before)) < SURE:
            break
        found = detector.find(middle, between, scale)
        if not len(found):
            break
    return scale


def _wanted(detector: Looks, found: Sizes) -> float:
    return float(np.clip(detector.diameter / typical(found), SMALLEST, LARGEST))


def _middle(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = pixels.shape[:2]
    if height * width <= AREA:
        return pixels
    side = int(AREA**0.5)
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return pixels[top : top + side, left : left + side]


def typical(found: Sizes) -> float:
    """Return the median diameter of nuclei in pixels, those of better score counting more."""
    order = np.argsort(found.diameters, kind="stable")
    weight = np.cumsum(found.scores[order])
    return float(found.diameters[order][np.searchsorted(weight, weight[-1] / 2)])
