"""How much each pixel of a tile's result counts where tiles overlap: less towards the edge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown

LEAST = 1e-3
"""No pixel counts less than this share of the middle one, so that single tiles survive the division."""


def uniform(size: int) -> NDArray[np.float64]:
    """Count every pixel the same."""
    return np.ones(size)


def ramp(size: int) -> NDArray[np.float64]:
    """Count from the edge to the middle in equal steps."""
    place = np.arange(size)
    return np.minimum(place + 1, size - place) / ((size + 1) // 2)


def gaussian(size: int) -> NDArray[np.float64]:
    """Count as a bell of standard deviation size / 8, as nnU-Net does (Isensee et al., Nat. Methods 2021)."""
    place = (np.arange(size) - (size - 1) / 2) / (size / 8)
    bell: NDArray[np.float64] = np.maximum(np.exp(-0.5 * place**2), LEAST**0.5)
    return bell


WEIGHTS: dict[str, Callable[[int], NDArray[np.float64]]] = {
    "gaussian": gaussian,
    "ramp": ramp,
    "uniform": uniform,
}


def weights(name: str, size: int) -> NDArray[np.float32]:
    """Return the weights (size, size) of a tile's pixels, the largest of which is about 1.

    Raises
    ------
    UnknownNameError
        For a name that is not in `WEIGHTS`.

    Examples
    --------
    >>> weights("ramp", 3).tolist()
    [[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]
    """
    if name not in WEIGHTS:
        raise unknown("weight", name, WEIGHTS)
    line = WEIGHTS[name](size)
    return np.outer(line, line).astype(np.float32)
