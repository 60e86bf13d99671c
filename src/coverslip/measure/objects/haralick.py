"""Haralick's texture of many objects at once, from co-occurrence tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = 16
"""Grey levels."""

STEP = 0.1
"""Decades per grey level: the same on all slides, so that texture compares; the last holds all above."""

HARALICK = (
    "asm",
    "contrast",
    "correlation",
    "variance",
    "homogeneity",
    "sum_average",
    "sum_variance",
    "sum_entropy",
    "entropy",
    "difference_variance",
    "difference_entropy",
    "information_1",
    "information_2",
)
"""The thirteen of Haralick, Shanmugam & Dinstein (1973), in their order, as IBSI reads them: levels count
from 1, entropies are in bits."""

_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def quantised(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the grey level, 0 … 15, of each density."""
    return np.asarray(np.clip(plane / np.float32(STEP), 0, LEVELS - 1), np.uint8)


def cooccurrence(
    inside: tuple[NDArray[np.intp], NDArray[np.intp]],
    levels: NDArray[np.uint8],
    count: int,
    *,
    first: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Count pairs of levels of pixels that touch, in all eight directions, inside one object.

    Parameters
    ----------
    inside
        Object and flat pixel of each pixel that lies in an object, as
        `coverslip.measure.objects.scan.pixels_in` gives them.
    levels
        uint8 (h, w), below `LEVELS`.
    count
        Number of objects.
    first
        Which of the pixels count as the first of a pair; None for all.

    Returns
    -------
    numpy.ndarray
        int64 (count, LEVELS, LEVELS), symmetric.
    """
    height, width = levels.shape
    key = inside[0] * levels.size + inside[1]
    if np.any(key[1:] < key[:-1]):
        key = np.sort(key)
    objects, pixels = np.divmod(key, levels.size)
    grey = levels.ravel()[pixels].astype(np.intp)
    starts = np.ones(len(key), bool) if first is None else first[pixels]
    column = pixels % width
    found = np.zeros(count * LEVELS**2, np.int64)
    for down, across in _NEIGHBOURS:
        here = np.flatnonzero(starts & (column + across >= 0) & (column + across < width))
        wanted = key[here] + down * width + across
        there = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        pair = (key[there] == wanted) & (pixels[here] // width + down < height)
        here, there = here[pair], there[pair]
        code = (objects[here] * LEVELS + grey[here]) * LEVELS + grey[there]
        found += np.bincount(code, minlength=len(found))
    table = found.reshape(count, LEVELS, LEVELS)
    return table + table.transpose(0, 2, 1)


def haralick(tables: NDArray[np.int64]) -> dict[str, Floats]:
    """Return the thirteen measures of symmetric tables (n, g, g); NaN for an object of a single pixel.

    Correlation and the information measures of an object of one level are 1 and 0, as in IBSI.
    """
    n, g = tables.shape[:2]
    pairs = tables.sum((1, 2)).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = tables / pairs[:, None, None]
    i, j = np.meshgrid(np.arange(1.0, g + 1), np.arange(1.0, g + 1), indexing="ij")
    px = p.sum(2)
    sums = _gathered(p, (i + j - 2).astype(np.intp), 2 * g - 1)
    gaps = _gathered(p, np.abs(i - j).astype(np.intp), g)
    mean = px @ np.arange(1.0, g + 1)
    variance = ((np.arange(1.0, g + 1) - mean[:, None]) ** 2 * px).sum(1)
    covariance = np.einsum("nij,ij->n", p, i * j) - mean**2
    correlation = np.divide(covariance, variance, out=np.ones(n), where=variance > 1e-12)
    k, gap = np.arange(2.0, 2 * g + 1), np.arange(float(g))
    sum_average, gap_average = sums @ k, gaps @ gap
    found = (
        np.einsum("nij,nij->n", p, p),
        gaps @ gap**2,
        np.where(np.isnan(mean), np.nan, correlation),
        variance,
        np.einsum("nij,ij->n", p, 1 / (1 + (i - j) ** 2)),
        sum_average,
        ((k - sum_average[:, None]) ** 2 * sums).sum(1),
        _entropy(sums),
        _entropy(p.reshape(n, -1)),
        ((gap - gap_average[:, None]) ** 2 * gaps).sum(1),
        _entropy(gaps),
        *_information(p, px),
    )
    return dict(zip(HARALICK, found, strict=True))


def _gathered(p: Floats, key: NDArray[np.intp], size: int) -> Floats:
    """Sum p (n, g, g) over the entries of equal key: (n, size)."""
    one_hot = np.zeros((key.size, size))
    one_hot[np.arange(key.size), key.ravel()] = 1
    return np.asarray(p.reshape(len(p), -1) @ one_hot)


def _entropy(p: Floats) -> Floats:
    return np.asarray(-(p * np.log2(np.where(p > 0, p, 1))).sum(-1))


def _information(p: Floats, px: Floats) -> tuple[Floats, Floats]:
    """Return Haralick's two information measures of correlation."""
    joint, alone = _entropy(p.reshape(len(p), -1)), _entropy(px)
    # for a symmetric table both HXY1 and HXY2 are twice the entropy of the margin
    gain = np.divide(joint - 2 * alone, alone, out=np.zeros(len(p)), where=alone > 1e-12)
    second = np.sqrt(np.maximum(1 - np.exp(-2 * (2 * alone - joint)), 0))
    return np.where(np.isnan(alone), np.nan, gain), second
