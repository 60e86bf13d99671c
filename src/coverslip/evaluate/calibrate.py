"""Make probabilities say how often they are right: temperature scaling, fitted on validation rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError
from coverslip.evaluate import check

Floats = NDArray[np.float64]

LOW, HIGH = 0.05, 20.0
SMALL = 1e-7
"""Probabilities are kept this far from 0, whose logarithm is infinite."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """One number that log-probabilities are divided by; above 1 makes a model less sure.

    Which class is likeliest does not change (Guo et al., ICML 2017). Fit it on rows that chose nothing about
    the test rows: those of the validation part of the fold.
    """

    value: float

    @classmethod
    def fit(cls, truth: ArrayLike, probability: ArrayLike) -> Self:
        """Find the temperature of least log loss.

        Parameters
        ----------
        truth
            Shape (n,): positions of the true classes.
        probability
            Shape (n, k), or (n,) of the second of two classes; of validation rows.

        Raises
        ------
        UsageError
            When the input cannot be evaluated (one class only, no probabilities), or the rows are all right,
            so that no temperature is best.
        """
        from scipy.optimize import minimize_scalar

        given = np.asarray(probability, np.float64)
        names = tuple(map(str, range(2 if given.ndim == 1 else given.shape[1])))
        codes = check.positions(np.asarray(truth), names)
        logs = _logs(check.probabilities(given, len(codes), names))

        def loss(log_temperature: float) -> float:
            scaled = _softmax(logs / np.exp(log_temperature))
            return float(-np.log(scaled[np.arange(len(codes)), codes] + 1e-300).mean())

        found = minimize_scalar(loss, bounds=(np.log(LOW), np.log(HIGH)), method="bounded")
        value = float(np.exp(found.x))
        if value < 1.05 * LOW:
            raise UsageError(
                f"all {len(codes)} rows are right, so the surer the better: no temperature can be fitted",
                mend="fit it on more validation rows, of which some are wrong",
            )
        return cls(value)

    def apply(self, probability: ArrayLike) -> Floats:
        """Return probabilities (n, k) at this temperature; of (n,), those of the second class."""
        given = np.asarray(probability, np.float64)
        table = np.stack([1 - given, given], axis=1) if given.ndim == 1 else given
        check.in_range(table)
        scaled = _softmax(_logs(table) / self.value)
        return scaled[:, 1] if given.ndim == 1 else scaled


def _logs(probability: Floats) -> Floats:
    return np.log(np.clip(probability, SMALL, 1))


def _softmax(scores: Floats) -> Floats:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
