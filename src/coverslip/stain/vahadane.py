"""Vahadane et al., Structure-preserving color normalization and sparse stain separation, IEEE TMI 35 (2016).

Densities are amounts × vectors, none negative, and most pixels hold mostly one stain: a sparse non-negative
factorisation, solved by coordinate descent in closed form (two stains, three channels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.stain.density import WHITE, Background
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix
from coverslip.stain.sample import as_he, directions, stained

SPARSITY = 0.02
"""Weight of the amounts' sum, in decades; the authors' 0.1 in nepers is 0.043, which turns eosin inwards."""

MARGIN = np.radians(1.0)
"""How far beyond the usual colours a pixel may lie."""

ROUNDS = 300
"""At most; most slides settle in under 100."""

SETTLED = 1e-5
"""Change of the vectors in a round under which the fit ends."""


def fit_vahadane(
    pixels: NDArray[np.uint8], background: Background = WHITE, *, sparsity: float = SPARSITY
) -> StainMatrix:
    """Find haematoxylin and eosin in pixels of a slide.

    Parameters
    ----------
    pixels
        uint8 (…, 3) from the tissue of the whole slide; glass is dropped.
    background
        Intensity of empty glass.
    sparsity
        Weight of the sum of all amounts against half the squared error, in decades.

    Raises
    ------
    StainError
        When there is too little stain, one stain only, or a brown one.
    """
    od = stained(pixels, background)
    return as_he(_factorise(_usual(od), sparsity), od, background)


def _usual(od: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return about 20,000 densities, without colours outside what 98 % have: dark ink weighs too much."""
    _, angles = directions(od)
    low, high = np.percentile(angles, [1, 99])
    od = od[(angles >= low - MARGIN) & (angles <= high + MARGIN)]
    return od[:: max(1, len(od) // 20_000)].astype(np.float64)


def _factorise(od: NDArray[np.float64], sparsity: float) -> NDArray[np.float64]:
    """Minimise ½‖od − amounts · vectors‖² + sparsity · Σ amounts over amounts ≥ 0 and unit vectors ≥ 0."""
    vectors = RUIFROK_JOHNSTON["H&E"].array
    amounts = np.clip(od @ np.linalg.pinv(vectors), 0, None)
    for _ in range(ROUNDS):
        before = vectors.copy()
        _update_amounts(od, vectors, amounts, sparsity)
        _update_vectors(od, vectors, amounts)
        if np.abs(vectors - before).max() < SETTLED:
            break
    return vectors


def _update_amounts(
    od: NDArray[np.float64], vectors: NDArray[np.float64], amounts: NDArray[np.float64], sparsity: float
) -> None:
    drive, cosine = od @ vectors.T - sparsity, vectors[0] @ vectors[1]
    for _ in range(3):
        for stain in (0, 1):
            amounts[:, stain] = np.maximum(drive[:, stain] - cosine * amounts[:, 1 - stain], 0)


def _update_vectors(
    od: NDArray[np.float64], vectors: NDArray[np.float64], amounts: NDArray[np.float64]
) -> None:
    drive, square = amounts.T @ od, amounts.T @ amounts
    for stain in (0, 1):
        rest = drive[stain] - square[stain, 1 - stain] * vectors[1 - stain]
        row = np.maximum(rest, 0)
        length = np.linalg.norm(row)
        if length > 0:
            vectors[stain] = row / length
