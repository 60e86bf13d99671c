"""Copies of a picture at any angle, mirrored, and enlarged up to 1.8 times about its middle.

Augmented sets hold such copies, which no hash of a square grid recognises. A picture is sampled on rings
whose radii grow by a constant factor: turning it shifts every ring, enlarging it shifts the rings. Each
ring is kept as its first Fourier harmonics along the angle (a Fourier-Mellin picture; Reddy and Chatterji,
1996). Magnitudes of harmonics and ring colours, which no turn or mirror changes, name a few candidates for
each picture; of these, the normalised correlation over all angles, both mirrorings and all enlargements
decides.

Harmonics are weighted by order to the power 0.75: a picture's energy falls about so, and unweighted, two
white gaps of like shape would correlate. The constants were chosen on the training tiles of LC25000 lung,
and measured on others: see the page on cohorts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Pixels of the square picture that is sampled."""

RINGS, ANGLES, HARMONICS = 32, 64, 11
INNER = 0.15
"""Radius of the innermost ring, as a share of the outermost."""

WHITENING = 0.75

FURTHEST = 10
"""Rings by which an enlarged copy may be shifted: a factor of 1.8."""

PER_RING = 0.01
"""Taken off the correlation per ring of shift, since fewer rings are left to agree."""

PROBES = (0, 3, 5, 8, 10)
"""Shifts at which candidates are looked for."""

MAGNITUDES = 4
"""Harmonics whose magnitudes name candidates."""

CANDIDATES = 8
"""Looked at per picture."""

BLOCK, PAIRS = 1024, 512
"""Pictures compared, and pairs correlated, at once."""


@dataclass(frozen=True)
class Rings:
    """Ring pictures.

    Attributes
    ----------
    harmonics
        complex64 (n, RINGS, HARMONICS), weighted.
    traits
        float32 (n, RINGS, MAGNITUDES + 3): magnitudes of the lowest harmonics, and the ring's mean colour.
    """

    harmonics: NDArray[np.complex64]
    traits: NDArray[np.float32]


def ring_pictures(rgb: NDArray[np.uint8]) -> Rings:
    """Sample pictures, uint8 (n, 64, 64, 3), on rings."""
    radius = _radii()[:, None]
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    x, y = (SIDE - 1) / 2 + radius * np.cos(angle), (SIDE - 1) / 2 + radius * np.sin(angle)
    colour = _sampled(rgb.astype(np.float32), x, y)
    grey = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    waves = np.fft.rfft(grey, axis=2)[:, :, 1 : HARMONICS + 1] * (math.sqrt(2) / ANGLES)
    magnitudes = np.abs(waves[:, :, :MAGNITUDES])
    traits = np.concatenate([magnitudes, colour.mean(axis=2) / math.sqrt(2)], axis=2)
    weights = np.arange(1, HARMONICS + 1) ** WHITENING * np.sqrt(
        radius
    )  # area of a ring grows with its radius
    return Rings((waves * weights).astype(np.complex64), traits.astype(np.float32))


def _radii() -> NDArray[np.float64]:
    outer = SIDE / 2 - 1
    return np.asarray(np.geomspace(SIDE / 2 * INNER, outer, RINGS))


def _sampled(
    pictures: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Interpolate linearly at points (rings, angles), as (n, rings, angles, 3)."""
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, low = (x - left).astype(np.float32)[..., None], (y - top).astype(np.float32)[..., None]
    upper = pictures[:, top, left] * (1 - right) + pictures[:, top, left + 1] * right
    lower = pictures[:, top + 1, left] * (1 - right) + pictures[:, top + 1, left + 1] * right
    return np.asarray(upper * (1 - low) + lower * low, np.float32)


def turned_copies(rings: Rings, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find pictures that are copies of one another, turned, mirrored or enlarged.

    Parameters
    ----------
    rings
        From `ring_pictures`.
    threshold
        Least correlation, after what the enlargement takes off.

    Returns
    -------
    pairs
        int64 (m, 2), the smaller row first. Only each picture's 8 likeliest partners are looked at: of many
        copies of one picture all are linked, but not each to each.
    correlation
        float32 (m,).
    """
    pairs = candidates(rings)
    found = [correlations(rings, pairs[start : start + PAIRS]) for start in range(0, len(pairs), PAIRS)]
    values = np.concatenate([np.zeros(0, np.float32), *found])
    keep = values >= threshold
    return pairs[keep], values[keep]


def candidates(rings: Rings) -> NDArray[np.int64]:
    """Return for each picture the pairs with its likeliest partners, (m, 2), each pair once."""
    count = len(rings.traits)
    kept = min(CANDIDATES, count - 1)
    if kept < 1:
        return np.zeros((0, 2), np.int64)
    base = rings.traits[:, FURTHEST:].reshape(count, -1)
    lengths = (base**2).sum(axis=1)
    partners = np.empty((count, kept), np.int64)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        nearest = np.full((len(rows), count), np.inf, np.float32)
        for shift in PROBES:
            asked = rings.traits[rows, FURTHEST - shift : RINGS - shift].reshape(len(rows), -1)
            apart = (asked**2).sum(axis=1)[:, None] + lengths - 2 * (asked @ base.T)
            np.minimum(nearest, apart, out=nearest)
        nearest[np.arange(len(rows)), rows] = np.inf
        partners[rows] = np.argpartition(nearest, kept - 1, axis=1)[:, :kept]
    pairs = np.stack([np.repeat(np.arange(count), kept), partners.ravel()], axis=1)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def correlations(rings: Rings, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the best correlation of each pair, (m,), over angles, mirrorings and enlargements."""
    one, other = rings.harmonics[pairs[:, 0]], rings.harmonics[pairs[:, 1]]
    energies = [np.cumsum((np.abs(each) ** 2).sum(axis=2), axis=1) for each in (one, other)]
    best = np.full(len(pairs), -1.0, np.float32)
    for shift in range(-FURTHEST, FURTHEST + 1):
        left = slice(max(0, shift), RINGS + min(0, shift))
        right = slice(max(0, -shift), RINGS - max(0, shift))
        scale = np.sqrt(_between(energies[0], left) * _between(energies[1], right)) + 1e-6
        for partner in (other[:, right].conj(), other[:, right]):
            waves = np.einsum("prk,prk->pk", one[:, left], partner)
            full = np.zeros((len(pairs), ANGLES // 2 + 1), np.complex64)
            full[:, 1 : HARMONICS + 1] = waves
            peak = np.fft.irfft(full, ANGLES, axis=1).max(axis=1) * (ANGLES / 2)
            np.maximum(best, (peak / scale - PER_RING * abs(shift)).astype(np.float32), out=best)
    return best


def _between(cumulated: NDArray[np.float32], rings: slice) -> NDArray[np.float32]:
    energy = cumulated[:, rings.stop - 1].copy()
    if rings.start:
        energy -= cumulated[:, rings.start - 1]
    return energy
