"""From what a classifier says of tiles to what it says of the slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError

Chances = NDArray[np.floating[Any]]

BINS = 10
"""Of the histogram of a class' probabilities."""

LEARNED = ("histogram", "lstm")
"""Rules that are fitted on slides."""

NEAR_ONE = 1 - 1e-6


def mean(chances: Chances, _top: int) -> Chances:
    """Average over the tiles."""
    return chances.mean(axis=0)


def largest(chances: Chances, _top: int) -> Chances:
    """Take the tile that speaks most for each class."""
    return _shared(chances.max(axis=0))


def top_k(chances: Chances, top: int) -> Chances:
    """Average the `top` tiles that speak most for each class."""
    kept = min(top, len(chances))
    return _shared(np.partition(chances, len(chances) - kept, axis=0)[-kept:].mean(axis=0))


def majority(chances: Chances, _top: int) -> Chances:
    """Let each tile vote for its likeliest class; return the shares of the votes."""
    return np.bincount(chances.argmax(axis=1), minlength=chances.shape[1]) / len(chances)


def noisy_or(chances: Chances, _top: int) -> Chances:
    """Return the chance that at least one tile is of the class, were tiles independent."""
    none = np.log1p(-np.minimum(chances.astype(np.float64), NEAR_ONE)).sum(axis=0)
    return _shared(-np.expm1(none))


RULES: dict[str, Callable[[Chances, int], Chances]] = {
    "mean": mean,
    "max": largest,
    "top-k": top_k,
    "majority": majority,
    "noisy-or": noisy_or,
}


def voted(chances: Chances, rule: str, *, top: int = 10) -> NDArray[np.float64]:
    """Return probabilities of a slide (k,), summing to 1, of those of its tiles (n, k).

    Of two classes the second is the positive one: ``max``, ``top-k`` and ``noisy-or`` look for it, and the
    first is what remains. Of more classes each is looked for, and the results share 1.

    Parameters
    ----------
    chances
        Rows that sum to 1; rows of NaN, tiles that could not be read, are left out.
    rule
        A name of `RULES`.
    top
        Tiles that ``top-k`` averages.

    Raises
    ------
    UsageError
        When there is no tile.
    UnknownNameError
        When there is no such rule.

    Examples
    --------
    >>> tiles = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> voted(tiles, "max").round(3).tolist(), voted(tiles, "mean").round(3).tolist()
    ([0.3, 0.7], [0.667, 0.333])
    """
    if rule not in RULES:
        raise unknown("rule of aggregation", rule, (*RULES, *LEARNED))
    known = readable(chances)
    found = np.asarray(RULES[rule](known, top), np.float64)
    return found / found.sum()


def readable(chances: Chances) -> Chances:
    """Return the rows that are numbers.

    Raises
    ------
    UsageError
        When there is none.
    """
    known = chances[np.isfinite(chances).all(axis=1)] if chances.ndim == 2 else chances
    if known.ndim != 2 or not len(known):
        raise UsageError(
            f"probabilities of shape {np.shape(chances)} hold no tile that could be judged",
            mend="look at the slide: no tissue, or tiles that cannot be read",
        )
    return known


def histogram(chances: Chances) -> NDArray[np.float64]:
    """Return the shares of tiles in ten bins of each class' probability, (k · 10,).

    Examples
    --------
    >>> histogram(np.array([[0.95, 0.05], [0.5, 0.5]])).reshape(2, 10)[1].tolist()
    [0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    """
    known = readable(chances)
    bins = np.minimum((known * BINS).astype(np.int64), BINS - 1)
    counts = [np.bincount(bins[:, c], minlength=BINS) / len(known) for c in range(known.shape[1])]
    return np.concatenate(counts)


def head_says(head: Mapping[str, Any], features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities (k,) of a learned linear head: ``weight`` (k, d) and ``bias`` (k,)."""
    scores = np.asarray(head["weight"]) @ features + np.asarray(head["bias"])
    chances = np.exp(scores - scores.max())
    return np.asarray(chances / chances.sum(), np.float64)


def _shared(each: Chances) -> Chances:
    """Turn what is found for each class into shares of 1; of two classes the second decides."""
    if len(each) == 2:
        return np.array([1 - each[1], each[1]])
    return each / max(float(each.sum()), np.finfo(np.float64).tiny)
