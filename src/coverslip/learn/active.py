"""Which tiles to label next: those of which a model is least sure, and that are unlike each other.

Uncertainty alone asks for many copies of one hard place. So the least sure tiles are gathered first, a few
times as many as are wanted, and of these the one farthest from all that were taken before is taken each time
(farthest-first traversal, Gonzalez 1985, as Sener and Savarese 2018 use it), its distance weighted by how
unsure the model is of it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError

How = Literal["entropy", "margin"]

POOL = 8
"""Tiles that are gathered for each that is wanted."""


def uncertainty(chances: NDArray[np.floating], how: How = "margin") -> NDArray[np.float64]:
    """Return how unsure a model is of each tile: 0 sure, 1 knows nothing.

    Parameters
    ----------
    chances
        Probabilities, shape (n, classes); rows need not sum to 1. A row that is not finite is -1.
    how
        ``"entropy"`` over its greatest value (Shannon 1948); ``"margin"``, 1 less the distance between the
        two likeliest classes (Scheffer, Decomain and Wrobel 2001).

    Returns
    -------
    numpy.ndarray
        Shape (n,).

    Raises
    ------
    UsageError
        When there are fewer than two classes.
    UnknownNameError
        When there is no such measure.

    Examples
    --------
    >>> uncertainty(np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])).tolist()
    [1.0, 0.0, 0.5]
    """
    if how not in get_args(How):
        raise unknown("measure of uncertainty", how, get_args(How))
    if chances.ndim != 2 or chances.shape[1] < 2:
        raise UsageError(
            f"chances of shape {chances.shape} say nothing of doubt", mend="give two classes or more"
        )
    known = np.isfinite(chances).all(axis=1)
    whole = np.where(known[:, None], chances, 1.0).astype(np.float64)
    whole /= np.maximum(whole.sum(axis=1, keepdims=True), 1e-12)
    if how == "margin":
        best = np.sort(whole, axis=1)
        found = 1 - (best[:, -1] - best[:, -2])
    else:
        terms = np.where(whole > 0, whole * np.log(np.maximum(whole, 1e-300)), 0.0)
        found = -terms.sum(axis=1) / np.log(whole.shape[1])
    return np.where(known, found, -1.0)


def next_to_label(
    doubt: NDArray[np.float64],
    features: NDArray[np.floating] | None,
    labelled: NDArray[np.bool_],
    *,
    count: int,
    pool: int = POOL,
) -> NDArray[np.intp]:
    """Return rows to label next, the most telling first.

    Parameters
    ----------
    doubt
        `uncertainty` of each tile, shape (n,).
    features
        What tells tiles apart, shape (n, d): features of an encoder, or places. None ranks by doubt alone.
    labelled
        Tiles that have a label, shape (n,); they are not asked for again, and what is like them comes late.
    count
        How many.
    pool
        How many times `count` of the least sure tiles are chosen from.

    Returns
    -------
    numpy.ndarray
        Rows, shape (at most count,).

    Examples
    --------
    >>> doubt = np.array([0.9, 0.9, 0.8, 0.1])
    >>> places = np.array([[0.0], [0.1], [5.0], [9.0]])
    >>> next_to_label(doubt, places, np.zeros(4, bool), count=2, pool=2).tolist()
    [0, 2]
    """
    if not len(doubt) == len(labelled) or (features is not None and len(features) != len(doubt)):
        raise UsageError("doubt, features and labelled must have a row per tile")
    open_rows = np.flatnonzero(~labelled & (doubt >= 0))
    order = open_rows[np.argsort(-doubt[open_rows], kind="stable")]
    if features is None or len(order) <= 1:
        return order[:count]
    pooled = order[: count * pool]
    scaled = _scaled(features)
    return _spread(pooled, doubt, scaled, taken=np.flatnonzero(labelled), count=count)


def _scaled(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return features with mean 0 and deviation 1; those that never change are 0."""
    whole = np.nan_to_num(np.asarray(features, np.float64))
    deviation = whole.std(axis=0)
    scaled: NDArray[np.float64] = (whole - whole.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _spread(
    rows: NDArray[np.intp], doubt: NDArray[np.float64], features: NDArray[np.float64], *,
    taken: NDArray[np.intp], count: int,
) -> NDArray[np.intp]:  # fmt: skip
    """Take `count` of `rows` so that each is unsure and far from all before it, and from what was `taken`."""
    here = features[rows]
    distance = np.full(len(rows), np.inf)
    for row in taken:
        distance = np.minimum(distance, np.linalg.norm(here - features[row], axis=1))
    weight = np.maximum(doubt[rows], 1e-6)
    left = np.ones(len(rows), bool)
    found = []
    for _ in range(min(count, len(rows))):
        gain = np.where(left, weight if np.isinf(distance).all() else weight * distance, -1.0)
        best = int(gain.argmax())
        found.append(best)
        left[best] = False
        distance = np.minimum(distance, np.linalg.norm(here - here[best], axis=1))
    return rows[found]
