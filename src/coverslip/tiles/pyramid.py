"""Halve maps: the mean of probabilities, the most frequent label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def halve(values: NDArray[Any], *, labels: bool) -> NDArray[Any]:
    """Return a map (…, h, w) at half the size, rounded up; at an odd edge the last pixels count twice.

    Examples
    --------
    >>> halve(np.array([[1, 2, 9], [3, 4, 9]], np.uint8), labels=False).tolist()
    [[3, 9]]
    >>> halve(np.array([[1, 2], [0, 2]], np.uint8), labels=True).tolist()
    [[2]]
    """
    odd = [(0, side % 2) for side in values.shape[-2:]]
    if odd != [(0, 0), (0, 0)]:
        values = np.pad(values, [(0, 0)] * (values.ndim - 2) + odd, mode="edge")
    quarters = [values[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return most_frequent(quarters) if labels else mean(quarters)


def mean(quarters: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the mean of four arrays in their dtype, integers rounded half up."""
    if np.issubdtype(quarters[0].dtype, np.integer):
        total = np.full(quarters[0].shape, 2, np.uint16)
        for quarter in quarters:
            total += quarter
        return (total >> 2).astype(quarters[0].dtype)
    total = quarters[0].astype(np.float32)
    for quarter in quarters[1:]:
        total = total + quarter
    return (total * np.float32(0.25)).astype(quarters[0].dtype)


def most_frequent(quarters: list[NDArray[Any]]) -> NDArray[Any]:
    """Return for each pixel the value that most of four arrays have; of equally frequent ones the largest.

    So a label wins over 0, which says that nothing was predicted.
    """
    best = quarters[0].copy()
    votes = np.zeros(best.shape, np.uint8)
    for candidate in quarters:
        count = np.zeros(best.shape, np.uint8)
        for quarter in quarters:
            count += quarter == candidate
        wins = (count > votes) | ((count == votes) & (candidate > best))
        np.copyto(best, candidate, where=wins)
        np.copyto(votes, count, where=wins)
    return best
