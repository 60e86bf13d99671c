"""Evaluate predicted numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError
from coverslip.evaluate import check, weighted
from coverslip.evaluate.classification import N_BOOT, OVERALL, Columns, by_fold, named
from coverslip.evaluate.resample import LEVEL, Bootstrap, Weights, estimates, mean, notes_on
from coverslip.store import Evaluation

Floats = NDArray[np.float64]


def regression(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Evaluation:
    """Evaluate predicted numbers.

    Parameters
    ----------
    truth, predicted
        Shape (n,), finite, in one unit.
    groups, folds, seed, n_boot
        See `coverslip.evaluate.classification`.

    Returns
    -------
    Evaluation
        ``mae`` and ``rmse`` in the unit of the truth, ``bias`` (mean of predicted less true), ``r2`` (share
        of the variance explained; below 0 is worse than the mean), ``pearson``, and ``concordance`` (share
        of pairs of unequal truth that are in the right order).

    Raises
    ------
    UsageError
        When a value is no number, or the truth is the same everywhere.

    Examples
    --------
    >>> found = regression([1, 2, 3], [1, 2, 4], n_boot=0)
    >>> round(found["mae"].value, 3), found["r2"].value, found["concordance"].value
    (0.333, 0.5, 1.0)
    """
    true = check.numbers(truth, "truth")
    said = check.numbers(predicted, "predictions", len(true))
    if true.min() == true.max():
        raise UsageError(
            f"the truth is {true[0]:g} in all {len(true)} rows: nothing can be told apart",
            mend="evaluate on rows of different truth",
        )
    bootstrap = Bootstrap.of(groups, len(true), seed=seed, n_boot=n_boot)
    measure = Numbers(true, said)
    return Evaluation(
        kind="regression",
        rows=len(true),
        groups=None if groups is None else bootstrap.n,
        metrics=named(estimates(measure, bootstrap), OVERALL),
        folds=by_fold(check.folds_of(folds, len(true)), bootstrap, measure.take),
        level=LEVEL,
        n_boot=n_boot,
        seed=seed,
        notes=tuple(notes_on(bootstrap, groups is not None)),
    )


class Numbers:
    """Metrics of predicted numbers as a function of row weights."""

    def __init__(self, truth: Floats, said: Floats) -> None:
        self.truth, self.said = truth, said

    def __call__(self, weights: Weights) -> Columns:
        """Return metrics (b,) by ``("", name)``."""
        off = self.said - self.truth
        square = mean(weights, off**2)
        found = {
            "mae": mean(weights, np.abs(off)),
            "rmse": np.sqrt(square),
            "bias": mean(weights, off),
            "r2": 1 - weighted.quotient(square, _covariance(weights, self.truth, self.truth)),
            "pearson": self._pearson(weights),
            "concordance": weighted.concordance(self.truth, self.said, weights),
        }
        return {(OVERALL, name): values for name, values in found.items()}

    def _pearson(self, weights: Weights) -> Floats:
        spread = _covariance(weights, self.truth, self.truth) * _covariance(weights, self.said, self.said)
        return weighted.quotient(_covariance(weights, self.truth, self.said), np.sqrt(spread.clip(min=0)))

    def take(self, rows: NDArray[np.bool_]) -> Numbers:
        """Return the same for some rows."""
        return Numbers(self.truth[rows], self.said[rows])


def _covariance(weights: Weights, one: Floats, other: Floats) -> Floats:
    # about the means of all rows first: sums of squares of large numbers would lose their digits
    a, b = one - one.mean(), other - other.mean()
    return mean(weights, a * b) - mean(weights, a) * mean(weights, b)
