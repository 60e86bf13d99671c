"""How bags are described and compared without a network: statistics, kernels and distances between sets.

A bag is an array (n, d) of any float dtype. All functions are pure and know nothing of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Bag = NDArray[np.floating]
Matrix = NDArray[np.float64]

CONSTANT = 1e-9
"""Columns that vary less are the same everywhere, and left as they are."""


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and spread of columns, as the rows that taught it had them.

    Examples
    --------
    >>> Scaler.of(np.array([[0.0, 7.0], [2.0, 7.0]]))(np.array([[4.0, 9.0]])).tolist()
    [[3.0, 2.0]]
    """

    mean: Matrix
    spread: Matrix

    @classmethod
    def of(cls, rows: Bag) -> Self:
        """Learn from rows (n, d)."""
        spread = rows.std(axis=0, dtype=np.float64)
        return cls(rows.mean(axis=0, dtype=np.float64), np.where(spread > CONSTANT, spread, 1.0))

    def __call__(self, rows: Bag) -> Matrix:
        """Return rows (n, d) with mean 0 and spread 1, as far as they are like those that taught it."""
        return (rows - self.mean) / self.spread


def statistics(bags: Sequence[Bag]) -> Matrix:
    """Describe each bag by the mean, the largest and the smallest value of each feature: (b, 3 d).

    Gärtner et al.: Multi-instance kernels, ICML 2002 (the statistic kernel), with the mean beside.

    Examples
    --------
    >>> statistics([np.array([[1.0, 5.0], [3.0, 4.0]])]).tolist()
    [[2.0, 4.5, 3.0, 5.0, 1.0, 4.0]]
    """
    return np.array([np.concatenate([b.mean(axis=0), b.max(axis=0), b.min(axis=0)]) for b in bags])


def rows_within(sizes: Sequence[int], most: int) -> int:
    """Return how many rows a bag may keep so that all together keep `most` at the highest, one at the least.

    Examples
    --------
    >>> rows_within([3, 10, 100], 33), rows_within([3, 10], 33)
    (20, 10)
    """
    low, high = 1, max(sizes)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(n, middle) for n in sizes) <= most else (low, middle - 1)
    return low


def thinned(bags: Sequence[Bag], most: int, seed: int) -> list[Bag]:
    """Return bags of `most` rows at the highest, drawn at random where there are more."""
    rng = np.random.default_rng(seed)
    return [
        bag if len(bag) <= most else bag[np.sort(rng.choice(len(bag), most, replace=False))] for bag in bags
    ]


def squared_distances(rows: Bag, others: Bag) -> NDArray[np.float32]:
    """Return the squared distance of each of `rows` (n, d) from each of `others` (m, d), (n, m)."""
    rows, others = np.asarray(rows, np.float32), np.asarray(others, np.float32)
    squares = (rows * rows).sum(axis=1)[:, None] + (others * others).sum(axis=1)
    squares -= 2 * rows @ others.T
    return np.maximum(squares, 0, out=squares)


def mean_nearest(bags: Sequence[Bag], others: Sequence[Bag]) -> Matrix:
    """Return how far bags lie from others, there and back, (b, 2 o).

    The first o columns are the mean distance of a bag's rows to the other bag's nearest row, the last o that
    of the other's rows to the bag's. Cheplygina, Tax and Loog: Multiple instance learning with bag
    dissimilarities, Pattern Recognition 2015 (d_meanmin, extended by its other direction).

    Examples
    --------
    >>> mean_nearest([np.array([[0.0], [1.0]])], [np.array([[1.0], [4.0]])]).tolist()
    [[0.5, 1.5]]
    """
    starts, other_starts = _starts(bags), _starts(others)
    far = np.sqrt(squared_distances(np.concatenate(bags), np.concatenate(others)))
    there = np.minimum.reduceat(far, other_starts, axis=1)
    back = np.minimum.reduceat(far, starts, axis=0)
    to = np.add.reduceat(there, starts, axis=0) / _sizes(bags)[:, None]
    fro = np.add.reduceat(back, other_starts, axis=1) / _sizes(others)
    return np.concatenate([to, fro], axis=1).astype(np.float64)


def typical(squared: NDArray[np.floating]) -> float:
    """Return the median of squared distances that are not 0; 1 when all are."""
    apart = squared[squared > CONSTANT]
    return float(np.median(apart)) if apart.size else 1.0


def _sizes(bags: Sequence[Bag]) -> NDArray[np.int64]:
    return np.array([len(bag) for bag in bags])


def _starts(bags: Sequence[Bag]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(_sizes(bags))[:-1]])
