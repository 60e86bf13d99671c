"""One scale of intensity for pictures that a detector sees: dark fluorescence and bright field alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.intensity import levels


@dataclass(frozen=True)
class Sight:
    """How plain pictures are shown to a detector.

    Attributes
    ----------
    object_px
        They are resized until their objects have about this size; None leaves their size.
    stretch
        Black and white are set by the darkest and the brightest pixels of each.
    """

    object_px: float | None = None
    stretch: bool = False


Light = tuple[float, float]
"""The intensities, from 0 to 1, that become black and white."""


def light_of(pixels: NDArray[np.uint8]) -> Light:
    """Return the intensities of a picture (h, w, 3) that become black and white."""
    return levels(pixels.astype(np.float32) / np.float32(255))


def stretched(pixels: NDArray[np.uint8], between: Light) -> NDArray[np.uint8]:
    """Return pixels with the intensities `between` at 0 and 255.

    Examples
    --------
    >>> stretched(np.array([[[51, 102, 153]]], np.uint8), (0.2, 0.6)).tolist()
    [[[0, 127, 255]]]
    """
    low, high = between
    table = np.clip((np.arange(256) / 255 - low) / (high - low), 0, 1)
    found: NDArray[np.uint8] = (table * 255 + 1e-6).astype(np.uint8)[pixels]
    return found
