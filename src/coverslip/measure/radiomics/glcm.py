"""Grey level co-occurrence: which levels lie side by side (IBSI 3.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.neighbours import DIMENSIONS, Numbers, strides, with_direction
from coverslip.measure.radiomics.statistics import ratio

_ROWS = (
    ("Joint maximum", "GYBY", "", "highest p(i, j)"),
    ("Joint average", "60VM", "level", "μ = Σ i p(i, j)"),
    ("Joint variance", "UR99", "level²", "Σ (i − μ)² p(i, j)"),
    ("Joint entropy", "TU9B", "bit", "−Σ p(i, j) log₂ p(i, j)"),
    ("Difference average", "TF7R", "level", "Σ k d(k), d the share of pairs with |i − j| = k"),
    ("Difference variance", "D3YU", "level²", "variance of k under d"),
    ("Difference entropy", "NTRS", "bit", "−Σ d(k) log₂ d(k)"),
    ("Sum average", "ZGXS", "level", "Σ k s(k), s the share of pairs with i + j = k"),
    ("Sum variance", "OEEB", "level²", "variance of k under s"),
    ("Sum entropy", "P6QZ", "bit", "−Σ s(k) log₂ s(k)"),
    ("Angular second moment", "8ZQL", "", "Σ p(i, j)²"),
    ("Contrast", "ACUI", "level²", "Σ (i − j)² p(i, j)"),
    ("Dissimilarity", "8S9J", "level", "Σ |i − j| p(i, j)"),
    ("Inverse difference", "IB1Z", "", "Σ p(i, j) / (1 + |i − j|)"),
    ("Normalised inverse difference", "NDRX", "", "Σ p(i, j) / (1 + |i − j| / N_g)"),
    ("Inverse difference moment", "WF0Z", "", "Σ p(i, j) / (1 + (i − j)²)"),
    ("Normalised inverse difference moment", "1QCO", "", "Σ p(i, j) / (1 + (i − j)² / N_g²)"),
    ("Inverse variance", "E8JP", "", "Σ p(i, j) / (i − j)² over i ≠ j"),
    (
        "Correlation",
        "NI2N",
        "",
        "(Σ i j p(i, j) − μ²) / joint variance; left out of the mean where that is 0",
    ),
    ("Autocorrelation", "QWB0", "level²", "Σ i j p(i, j)"),
    ("Cluster tendency", "DG8W", "level²", "Σ (i + j − 2μ)² p(i, j)"),
    ("Cluster shade", "7NFM", "level³", "Σ (i + j − 2μ)³ p(i, j)"),
    ("Cluster prominence", "AE86", "level⁴", "Σ (i + j − 2μ)⁴ p(i, j)"),
    (
        "Information correlation 1",
        "R8DG",
        "",
        "(HXY − HXY1) / HX: joint entropy, cross entropy with independence, entropy of i",
    ),
    (
        "Information correlation 2",
        "JN9H",
        "",
        "√(1 − exp(−2 (HXY2 − HXY))): HXY2 the joint entropy under independence",
    ),
)

GLCM = tuple(Feature("glcm", *row) for row in _ROWS)
"""The family ``glcm``."""


def glcm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of grey level co-occurrence at distance 1, of symmetric matrices.

    Slices without a pair are left out of means.
    """
    return with_direction(levels, dimensions, co_occurrence, features_of, GLCM)


def co_occurrence(levels: Levels, deep: bool) -> NDArray[np.int64]:
    """Count pairs: (slices, 4, n, n), or (1, 13, n, n) over slices; each pair once in its direction."""
    n = levels.count
    flat = levels.grid.ravel()
    slices = 1 if deep else levels.grid.shape[0]
    size = levels.grid[0].size
    steps = strides(levels, deep=deep)
    counts = np.empty((slices, len(steps), n, n), np.int64)
    for k, step in enumerate(steps):
        one, other = flat[:-step], flat[step:]
        both = np.flatnonzero((one > 0) & (other > 0))
        code = (one[both] - 1) * n + (other[both] - 1)
        if not deep:
            code = code + (both // size) * (n * n)
        counts[:, k] = np.bincount(code, minlength=slices * n * n).reshape(slices, n, n)
    return counts


def features_of(pairs: NDArray[np.int64]) -> Numbers:
    """Return the features of one matrix of pairs, (n, n), which is made symmetric first."""
    both = pairs + pairs.T
    p = both / both.sum()
    n = len(p)
    i = np.arange(1.0, n + 1)
    marginal = p.sum(axis=0)
    mean = float(marginal @ i)
    variance = float(marginal @ (i - mean) ** 2)
    joint = _entropy(p.ravel())
    product = float(i @ p @ i)
    apart, numbers_apart = _apart(p)
    numbers = [
        p.max(),
        mean,
        variance,
        joint,
        *numbers_apart,
        *_together(p, mean)[:3],
        (p**2).sum(),
        *_differences(apart, n),
        ratio(product - mean**2, variance),
        product,
        *_together(p, mean)[3:],
        *_information(marginal, joint),
    ]
    return {row[0]: float(v) for row, v in zip(_ROWS, numbers, strict=True)}


def _apart(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[float]]:
    """Return the share of pairs |i − j| apart, and mean, variance and entropy of that."""
    n = len(p)
    i = np.arange(n)
    share = np.bincount(np.abs(i[:, None] - i).ravel(), p.ravel(), minlength=n).astype(np.float64)
    mean = float(share @ i)
    return share, [mean, float(share @ (i - mean) ** 2), _entropy(share)]


def _together(p: NDArray[np.float64], mean: float) -> list[float]:
    """Return mean, variance, entropy, tendency, shade and prominence of i + j."""
    i = np.arange(1, len(p) + 1)
    share = np.bincount((i[:, None] + i).ravel(), p.ravel()).astype(np.float64)
    away = np.arange(len(share)) - 2 * mean
    moments = [float(share @ away**power) for power in (2, 3, 4)]
    return [2 * mean, moments[0], _entropy(share), *moments]


def _differences(share: NDArray[np.float64], n: int) -> list[float]:
    k = np.arange(len(share), dtype=np.float64)
    return [
        float(share @ weight)
        for weight in (
            k**2,
            k,
            1 / (1 + k),
            1 / (1 + k / n),
            1 / (1 + k**2),
            1 / (1 + (k / n) ** 2),
            np.divide(1.0, k**2, out=np.zeros_like(k), where=k > 0),
        )
    ]


def _information(marginal: NDArray[np.float64], joint: float) -> list[float]:
    single = _entropy(marginal)
    independent = (
        2 * single
    )  # HXY1 and HXY2: p is symmetric, so that both are sums of its marginals' entropies
    return [ratio(joint - independent, single), max(0.0, 1 - np.exp(-2 * (independent - joint))) ** 0.5]


def _entropy(share: NDArray[np.float64]) -> float:
    used = share[share > 0]
    return float(-(used @ np.log2(used)))
