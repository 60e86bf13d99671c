"""Neighbourhood grey tone difference: how far a pixel is from the mean of its neighbours (IBSI 3.10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.neighbours import DIMENSIONS, Numbers, strides, without_direction
from coverslip.measure.radiomics.statistics import ratio

_WHERE = "s(i) sums |i − mean of its neighbours| over pixels of level i, p(i) is their share"

NGTDM = (
    Feature("ngtdm", "Coarseness", "QCDE", "", f"1 / Σ p(i) s(i), 10⁶ where that is 0; {_WHERE}"),
    Feature(
        "ngtdm",
        "Contrast",
        "65HE",
        "",
        f"Σᵢⱼ p(i) p(j) (i − j)² / (N (N − 1)) × Σ s(i) / pixels, N levels present; {_WHERE}",
    ),
    Feature("ngtdm", "Busyness", "NQ30", "", f"Σ p(i) s(i) / Σᵢⱼ |i p(i) − j p(j)|; {_WHERE}"),
    Feature(
        "ngtdm",
        "Complexity",
        "HDEZ",
        "",
        f"Σᵢⱼ |i − j| (p(i) s(i) + p(j) s(j)) / (p(i) + p(j)) / pixels; {_WHERE}",
    ),
    Feature(
        "ngtdm", "Strength", "1X9X", "", f"Σᵢⱼ (p(i) + p(j)) (i − j)² / Σ s(i), 0 where that is 0; {_WHERE}"
    ),
)
"""The family ``ngtdm``."""

MOST_COARSE = 1e6
"""Coarseness of a region where no pixel differs from its neighbours."""


def ngtdm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of grey tone difference at distance 1; pixels without a neighbour are left out."""
    return without_direction(levels, dimensions, differences, features_of, NGTDM)


def differences(levels: Levels, deep: bool) -> NDArray[np.float64]:
    """Return pixels and summed difference of each level: (slices, n, 2), or (1, n, 2) over slices."""
    flat = levels.grid.ravel()
    total, count = np.zeros(flat.size, np.int64), np.zeros(flat.size, np.int64)
    inside = flat > 0
    for step in strides(levels, deep=deep):
        total[:-step] += flat[step:]
        total[step:] += flat[:-step]
        count[:-step] += inside[step:]
        count[step:] += inside[:-step]
    used = np.flatnonzero(inside & (count > 0))
    level = flat[used]
    away = np.abs(level - total[used] / count[used])
    slices = 1 if deep else levels.grid.shape[0]
    place = level - 1 + (0 if deep else used // levels.grid[0].size * levels.count)
    size = slices * levels.count
    columns = [np.bincount(place, minlength=size), np.bincount(place, away, minlength=size)]
    return np.stack(columns, axis=-1).reshape(slices, levels.count, 2).astype(np.float64)


def features_of(table: NDArray[np.float64]) -> Numbers:
    """Return the features of one table of (pixels, summed difference) by level."""
    i = np.flatnonzero(table[:, 0]) + 1.0
    count, away = table[table[:, 0] > 0].T
    pixels, present = count.sum(), len(i)
    p = count / pixels
    rough, total = float(p @ away), float(away.sum())
    gap = np.abs(i[:, None] - i)
    share = p[:, None] + p
    weighed = (p * away)[:, None] + p * away
    contrast = ratio((np.outer(p, p) * gap**2).sum(), present * (present - 1)) * total / pixels
    numbers = [
        min(ratio(1, rough), MOST_COARSE) if rough else MOST_COARSE,
        contrast if present > 1 else 0.0,
        ratio(rough, np.abs((i * p)[:, None] - i * p).sum()) if present > 1 else 0.0,
        float((gap * weighed / share).sum() / pixels),
        float((share * gap**2).sum() / total) if total else 0.0,
    ]
    return {f.name: float(v) for f, v in zip(NGTDM, numbers, strict=True)}
