"""Sums, histograms and co-occurrence of objects, gathered from one or many pieces of the slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.objects.haralick import HARALICK, LEVELS, cooccurrence, haralick, quantised

Floats = NDArray[np.float64]

BIN = 0.01
"""Decades per bin of the histograms that percentiles are taken from."""

BINS = 256
"""0 … 2.55 decades; the last bin holds all above."""

PERCENTILES = (10, 50, 90)

PLACES = ("", "ring_", "cell_")
"""Prefixes: in the object, around it, and both."""


def amount_names(stains: Sequence[str]) -> tuple[str, ...]:
    """Return the names that `Amounts.densities` gives for stains.

    Examples
    --------
    >>> amount_names(["dab"])[:6]
    ('dab_mean', 'dab_sd', 'dab_p10', 'dab_p50', 'dab_p90', 'ring_dab_mean')
    """
    told = ("mean", "sd", *(f"p{p}" for p in PERCENTILES))
    return tuple(f"{place}{stain}_{what}" for stain in stains for place in PLACES for what in told)


@dataclass(frozen=True, eq=False)
class Piece:
    """What is seen of a group of objects in one piece of the slide.

    Attributes
    ----------
    planes
        float32 (stains, h, w): densities in decades.
    inside, ring
        Pairs of object and flat pixel.
    own
        bool (h · w,): pixels that are this piece's to count; the others are there as their neighbours.
    """

    planes: NDArray[np.float32]
    inside: tuple[NDArray[np.intp], NDArray[np.intp]]
    ring: tuple[NDArray[np.intp], NDArray[np.intp]]
    own: NDArray[np.bool_]


class Amounts:
    """Running sums of n objects."""

    def __init__(self, n: int, stains: Sequence[str], *, texture: bool) -> None:
        self._n, self._stains = n, tuple(stains)
        self._counts = np.zeros((2, n))
        self._sums = np.zeros((len(stains), 2, n))
        self._squares = np.zeros_like(self._sums)
        self._bins = np.zeros((len(stains), 2, n, BINS), np.int64)
        self._pairs = np.zeros((n, LEVELS, LEVELS), np.int64) if texture else None

    def add(self, piece: Piece) -> None:
        """Add what is seen in a piece; no pixel may come twice."""
        flat = piece.planes.reshape(len(self._stains), -1)
        for place, (rows, places) in enumerate((piece.inside, piece.ring)):
            objects, pixels = rows[piece.own[places]], places[piece.own[places]]
            self._counts[place] += np.bincount(objects, minlength=self._n)
            for stain in range(len(self._stains)):
                values = flat[stain, pixels].astype(np.float64)
                self._sums[stain, place] += np.bincount(objects, values, self._n)
                self._squares[stain, place] += np.bincount(objects, values * values, self._n)
                key = objects * BINS + np.minimum(values / BIN, BINS - 1).astype(np.intp)
                self._bins[stain, place] += np.bincount(key, minlength=self._n * BINS).reshape(-1, BINS)
        if self._pairs is not None:
            self._pairs += cooccurrence(piece.inside, quantised(piece.planes[0]), self._n, first=piece.own)

    def densities(self) -> dict[str, Floats]:
        """Return `amount_names`; NaN where there is no pixel."""
        found: dict[str, Floats] = {}
        counts = np.concatenate([self._counts, self._counts.sum(0, keepdims=True)])
        gathered = zip(self._stains, self._sums, self._squares, self._bins, strict=True)
        for name, sums, squares, bins in gathered:
            whole = [np.concatenate([part, part.sum(0, keepdims=True)]) for part in (sums, squares, bins)]
            for place, count, total, square, hist in zip(PLACES, counts, *whole, strict=True):
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = total / count
                    found[f"{place}{name}_mean"] = mean
                    found[f"{place}{name}_sd"] = np.sqrt(np.maximum(square / count - mean**2, 0))
                for p, value in zip(PERCENTILES, percentiles(hist, PERCENTILES), strict=True):
                    found[f"{place}{name}_p{p}"] = value
        return found

    def texture(self) -> dict[str, Floats]:
        """Return Haralick's measures of the first stain, by name."""
        if self._pairs is None:
            return {}
        return {f"haralick_{name}": value for name, value in haralick(self._pairs).items()}


TEXTURES = tuple(f"haralick_{name}" for name in HARALICK)


def percentiles(hist: NDArray[np.int64], shares: Sequence[float]) -> list[Floats]:
    """Return percentiles of histograms (n, bins), to about a bin: values lie evenly in theirs."""
    reached = np.cumsum(hist, axis=1)
    total = reached[:, -1]
    found = []
    for share in shares:
        wanted = total * (share / 100)
        at = np.argmax(reached >= np.maximum(wanted, 1e-9)[:, None], axis=1)
        rows = np.arange(len(hist))
        before = reached[rows, at] - hist[rows, at]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (at + (wanted - before) / hist[rows, at]) * BIN
        found.append(np.where(total > 0, value, np.nan))
    return found
