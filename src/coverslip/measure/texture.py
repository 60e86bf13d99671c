"""Texture: how stain and lightness vary from a pixel to its neighbours, and at which sizes."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.amounts import entropy, histogram
from coverslip.measure.measurement import Measurement
from coverslip.measure.planes import STEP, Planes

LEVELS = 16
"""Grey levels of the co-occurrence matrix: 0.1 decades each."""

DISTANCE = 1.0
"""µm between the two pixels of a pair."""

OPENINGS = (1.0, 2.0, 4.0, 8.0)
"""µm: half the sides of the squares of the granulometry."""

_HARALICK = "Haralick, Shanmugam & Dinstein 1973"
_OJALA = "Ojala, Pietikäinen & Mäenpää 2002"


def _co_occurrence(plane: str) -> tuple[Measurement, ...]:
    of = f"of the co-occurrence matrix of {plane} (16 levels of 0.1 decades, 1 µm, mean of 4 directions)"
    return (
        Measurement(f"{plane}_contrast", "", f"contrast {of}", _HARALICK),
        Measurement(f"{plane}_dissimilarity", "", f"dissimilarity {of}", _HARALICK),
        Measurement(f"{plane}_homogeneity", "", f"homogeneity {of}", _HARALICK),
        Measurement(f"{plane}_uniformity", "", f"angular second moment {of}", _HARALICK),
        Measurement(f"{plane}_correlation", "", f"correlation {of}; 0 on a flat tile", _HARALICK),
        Measurement(f"{plane}_glcm_entropy", "", f"entropy in bits {of}", _HARALICK),
    )


MEASUREMENTS = (
    *_co_occurrence("haematoxylin"),
    *_co_occurrence("density"),
    *(
        Measurement(
            f"lbp_{bits}", "share", f"uniform local binary patterns with {bits} of 8 bits set", _OJALA
        )
        for bits in range(9)
    ),
    Measurement("lbp_mixed", "share", "local binary patterns that are not uniform", _OJALA),
    *(
        Measurement(
            f"granularity_{size:g}um",
            "share",
            f"haematoxylin that an opening by a square of {2 * size:g} µm takes away beyond the one before",
            "Matheron 1975",
        )
        for size in OPENINGS
    ),
    Measurement("haematoxylin_gradient", "decades/µm", "mean length of the gradient of haematoxylin"),
    Measurement("density_gradient", "decades/µm", "mean length of the gradient of the grey density"),
    Measurement(
        "focus", "decades²", "variance of the Laplacian of the grey density", "Pech-Pacheco et al. 2000"
    ),
    Measurement("density_entropy", "", "entropy in bits of the 0.01-decade histogram of the grey density"),
)


def measure(planes: Planes) -> list[float]:
    """Return the values of `MEASUREMENTS`."""
    import cv2

    shift = planes.pixels(DISTANCE)
    first = haralick(co_occurrence(quantise(planes.haematoxylin8), shift))
    grey = haralick(co_occurrence(quantise(planes.density), shift))
    density = planes.density.astype(np.float32) * np.float32(STEP)
    focus = float(cv2.meanStdDev(cv2.Laplacian(density, cv2.CV_32F))[1][0, 0]) ** 2
    gradients = [_gradient(planes.haematoxylin, planes.mpp), _gradient(density, planes.mpp)]
    return [
        *first,
        *grey,
        *local_patterns(cv2.GaussianBlur(planes.density, (0, 0), 0.5 / planes.mpp)),
        *_granularity(planes),
        *gradients,
        focus,
        entropy(histogram(planes.density)),
    ]


def quantise(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return levels of 0.01 decades as `LEVELS` of 0.1."""
    import cv2

    return np.asarray(
        cv2.LUT(levels, np.minimum(np.arange(256) // 10, LEVELS - 1).astype(np.uint8)), np.uint8
    )


def co_occurrence(levels: NDArray[np.uint8], shift: int) -> NDArray[np.float64]:
    """Return the co-occurrence matrices (4, 16, 16) at `shift` pixels: →, ↘, ↓, ↙; symmetric, of sum 1."""
    import cv2

    high = levels << 4
    pairs = (
        (high[:, :-shift], levels[:, shift:]),
        (high[:-shift, :-shift], levels[shift:, shift:]),
        (high[:-shift], levels[shift:]),
        (high[:-shift, shift:], levels[shift:, :-shift]),
    )
    counts = np.stack([histogram(cv2.bitwise_or(a, b)).reshape(LEVELS, LEVELS) for a, b in pairs])
    counts += counts.transpose(0, 2, 1)
    return counts / counts.sum(axis=(1, 2), keepdims=True)


def haralick(matrices: NDArray[np.float64]) -> list[float]:
    """Return contrast, dissimilarity, homogeneity, uniformity, correlation, entropy; means over matrices."""
    weights = _weights()
    contrast, dissimilarity, homogeneity = np.tensordot(weights, matrices, ([1, 2], [1, 2])).mean(axis=1)
    uniformity = (matrices**2).sum(axis=(1, 2)).mean()
    values = [contrast, dissimilarity, homogeneity, uniformity, _correlation(matrices).mean()]
    logs = np.log2(matrices, out=np.zeros_like(matrices), where=matrices > 0)
    return [*map(float, values), float(-(matrices * logs).sum(axis=(1, 2)).mean())]


def _correlation(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    level = np.arange(LEVELS)
    side = matrices.sum(axis=1)
    mean = side @ level
    variance = side @ level**2 - mean**2
    product = level @ matrices @ level - mean**2
    return np.divide(product, variance, out=np.zeros_like(product), where=variance > 1e-9)


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.float64]:
    apart = np.abs(np.subtract.outer(np.arange(LEVELS), np.arange(LEVELS))).astype(np.float64)
    return np.stack([apart**2, apart, 1 / (1 + apart**2)])


def local_patterns(levels: NDArray[np.uint8]) -> list[float]:
    """Return the shares of the 10 rotation-invariant uniform patterns of the 8 neighbours."""
    import cv2

    middle = levels[1:-1, 1:-1]
    height, width = levels.shape
    code = np.zeros_like(middle)
    for bit, (down, across) in enumerate(_RING):
        neighbour = levels[1 + down : height - 1 + down, 1 + across : width - 1 + across]
        cv2.bitwise_or(code, cv2.bitwise_and(cv2.compare(neighbour, middle, cv2.CMP_GE), 1 << bit), code)
    counts = histogram(code)
    return (np.bincount(_pattern_classes(), counts, 10) / counts.sum()).tolist()


_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


@lru_cache(maxsize=1)
def _pattern_classes() -> NDArray[np.int64]:
    """Return the class of each of 256 codes: bits set when they lie in one run, else 9."""
    codes = np.arange(256)
    bits = (codes[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9)


def _granularity(planes: Planes) -> list[float]:
    import cv2

    levels = planes.haematoxylin8
    total = float(cv2.sumElems(levels)[0])
    if total == 0:
        return [0.0] * len(OPENINGS)
    left = [1.0]
    for size in OPENINGS:
        side = 2 * planes.pixels(size) + 1
        opened = cv2.morphologyEx(levels, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
        left.append(float(cv2.sumElems(opened)[0]) / total)
    return [max(0.0, before - after) for before, after in pairwise(left)]


def _gradient(plane: NDArray[np.float32], mpp: float) -> float:
    import cv2

    across, down = cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    return float(cv2.mean(cv2.magnitude(across, down))[0]) / 8 / mpp
