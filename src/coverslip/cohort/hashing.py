"""Perceptual hashes: 64 bits that survive recompression and resizing, and every quarter turn and mirror.

The signs of the lowest 8 × 8 coefficients of the cosine transform of a small grey picture (after Zauner,
2010, "Implementation and benchmarking of perceptual image hash functions", with signs in place of the
comparison with the median: mirroring a picture then only changes the signs of odd coefficients, and turning
it swaps the axes, so that all eight hashes come from one transform). Pairs are found by multi-index hashing
(Norouzi, Punjani and Fleet, 2012): of 64 bits in four bands, a pair at most 7 apart agrees in one band but
for one bit.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

SIDE = 32
"""Pixels of the grey picture that is transformed."""

BANDS, BITS = 4, 16
FURTHEST = 2 * BANDS - 1
"""Largest distance for which the index finds every pair."""

Codes = NDArray[np.uint64]


def hashes(grey: NDArray[np.floating]) -> Codes:
    """Hash pictures.

    Parameters
    ----------
    grey
        (n, s, s), s a multiple of 32.

    Returns
    -------
    uint64 (n, 8): of each picture as it is, then of its turns and mirrors.
    """
    n, side = grey.shape[:2]
    if side % SIDE or grey.shape[2] != side:
        raise UsageError(
            f"pictures of {grey.shape[1:]} cannot be hashed: expected squares of a multiple of {SIDE}"
        )
    step = side // SIDE
    small = grey.reshape(n, SIDE, step, SIDE, step).mean(axis=(2, 4))
    waves = _waves()
    lowest = np.einsum("uy,nyx,vx->nuv", waves, small, waves, optimize=True)
    odd = np.where(np.arange(8) % 2, -1.0, 1.0)
    variants = []
    for turned in (lowest, lowest.transpose(0, 2, 1)):
        for down in (1.0, odd[:, None]):
            variants += [_packed(turned * down * across) for across in (1.0, odd)]
    return np.stack(variants, axis=1)


@cache
def _waves() -> NDArray[np.float64]:
    places = (np.arange(SIDE) + 0.5) / SIDE
    waves: NDArray[np.float64] = np.cos(np.pi * np.arange(8)[:, None] * places)
    return waves


def _packed(coefficients: NDArray[np.floating]) -> Codes:
    bits = coefficients.reshape(len(coefficients), 64) > 0
    bits[:, 0] = False  # the mean says nothing
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def near(codes: Codes, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find pictures that are alike up to turns and mirrors.

    Parameters
    ----------
    codes
        (n, 8), from `hashes`.
    distance
        Most bits in which two differ, 0 … 7.

    Returns
    -------
    pairs
        int64 (m, 2), the smaller row first. Of rows with the same hash, each is paired with the first only.
    bits
        int64 (m,): how many bits differ.
    """
    if not 0 <= distance <= FURTHEST:
        raise UsageError(f"distance {distance} is out of reach: expected 0 to {FURTHEST} bits")
    canonical = codes.min(axis=1)
    _, first, inverse = np.unique(canonical, return_index=True, return_inverse=True)
    rows = np.arange(len(codes))
    same = np.column_stack([first[inverse], rows])[first[inverse] != rows]
    pairs, bits = _near_unique(codes[first], distance)
    pairs = np.concatenate([same, np.sort(first[pairs], axis=1)]).astype(np.int64)
    return pairs, np.concatenate([np.zeros(len(same), np.int64), bits])


def _near_unique(codes: Codes, distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    base = codes[:, 0]
    found = [np.zeros((0, 3), np.int64)]
    for band in range(BANDS):
        keys = _band(base, band)
        order = np.argsort(keys, kind="stable")
        index = keys[order], order
        found += [_probed(base, variant, index, band, distance) for variant in codes.T]
    every = np.concatenate(found)
    every = every[np.lexsort((every[:, 2], every[:, 1], every[:, 0]))]
    keep = np.ones(len(every), bool)
    keep[1:] = (every[1:, :2] != every[:-1, :2]).any(axis=1)  # the least distance of each pair
    return every[keep, :2], every[keep, 2]


def _band(codes: Codes, band: int) -> NDArray[np.int64]:
    return ((codes >> np.uint64(BITS * band)) & np.uint64((1 << BITS) - 1)).astype(np.int64)


def _probed(
    base: Codes, asked: Codes, index: tuple[NDArray[np.int64], NDArray[np.intp]], band: int, distance: int
) -> NDArray[np.int64]:
    """Return (row, row, bits) of pairs that agree in this band but for one bit."""
    keys, order = index
    wanted = _band(asked, band)
    found = []
    for flip in (0, *(1 << bit for bit in range(BITS))):
        low = np.searchsorted(keys, wanted ^ flip, side="left")
        count = np.searchsorted(keys, wanted ^ flip, side="right") - low
        ours = np.repeat(np.arange(len(asked)), count)
        within = np.arange(len(ours)) - np.repeat(np.cumsum(count) - count, count)
        theirs = order[np.repeat(low, count) + within]
        bits = np.bitwise_count(asked[ours] ^ base[theirs]).astype(np.int64)
        keep = (bits <= distance) & (ours != theirs)
        pairs = np.sort(np.column_stack([ours[keep], theirs[keep]]), axis=1)
        found.append(np.column_stack([pairs, bits[keep]]))
    return np.concatenate(found)
