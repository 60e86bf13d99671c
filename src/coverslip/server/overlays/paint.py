"""Numbers and labels to colours: scales that people with any colour vision can read."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown

SCALES = ("viridis", "cividis", "magma", "inferno", "plasma")
"""Scales whose lightness grows evenly (van der Walt and Smith 2015; Nuñez, Anderton and Renslow 2018)."""

CLASSES = (
    "0072B2", "E69F00", "009E73", "CC79A7", "56B4E9", "D55E00", "F0E442", "999999", "332288", "882255",
)  # fmt: skip
"""Colours of classes: Okabe and Ito 2008, then two of Tol 2021; told apart with any colour vision."""

LEVELS = 256


@cache
def scale(name: str) -> NDArray[np.uint8]:
    """Return a scale as 256 colours, shape (256, 3).

    Raises
    ------
    UnknownNameError
        With the nearest name.
    """
    import cv2

    if name not in SCALES:
        raise unknown("colour scale", name, SCALES)
    ramp = np.arange(LEVELS, dtype=np.uint8)[:, None]
    bgr = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    colours: NDArray[np.uint8] = np.ascontiguousarray(bgr[:, 0, ::-1])
    return colours


def class_colour(index: int) -> str:
    """Return the colour of a class as six hexadecimal digits.

    Examples
    --------
    >>> class_colour(0), class_colour(10) == class_colour(0)
    ('0072B2', True)
    """
    return CLASSES[index % len(CLASSES)]


@cache
def class_table() -> NDArray[np.uint8]:
    """Return the colours of labels 0 to 255, shape (256, 4); label 0 is clear."""
    table = np.zeros((LEVELS, 4), np.uint8)
    for label in range(1, LEVELS):
        table[label] = (*bytes.fromhex(class_colour(label - 1)), 255)
    return table


def painted(values: NDArray[np.float32], name: str, low: float, high: float) -> NDArray[np.uint8]:
    """Colour numbers (h, w) by a scale as RGBA; below `low` and where nothing is known it is clear.

    Examples
    --------
    >>> painted(np.array([[0.0, 0.5, np.nan]], np.float32), "viridis", 0.2, 1.0)[0, :, 3].tolist()
    [0, 255, 0]
    """
    span = max(high - low, 1e-9)
    known = np.isfinite(values)
    place = np.where(known, (values - low) / span, 0).clip(0, 1)
    rgba = np.empty((*values.shape, 4), np.uint8)
    rgba[..., :3] = scale(name)[np.rint(place * (LEVELS - 1)).astype(np.uint8)]
    rgba[..., 3] = np.where(known & (values >= low), 255, 0)
    return rgba


def png(rgba: NDArray[np.uint8]) -> bytes:
    """Encode a picture with transparency; fast rather than small."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(rgba), level=1))
