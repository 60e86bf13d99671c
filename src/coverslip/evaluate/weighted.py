"""Metrics as functions of row weights (b, n), for all resamples at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.evaluate.resample import Weights

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


def quotient(above: Floats, below: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


class Ranking:
    """Rows in order of falling score, ready to be counted for any weights.

    Parameters
    ----------
    positive
        bool (n,).
    score
        float (n,): the higher, the more positive. Equal scores are one threshold.
    """

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self.order = np.argsort(-score, kind="stable")
        falling = score[self.order]
        self.positive = positive[self.order].astype(np.float64)
        self.starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
        self.thresholds: Floats = falling[self.starts]

    def counts(self, weights: Weights) -> tuple[Floats, Floats]:
        """Return true and false positives (b, t + 1) as the threshold falls, from none to all."""
        sorted_ = weights[:, self.order]
        hits = np.add.reduceat(sorted_ * self.positive, self.starts, axis=1)
        both = np.add.reduceat(sorted_, self.starts, axis=1)
        zero = np.zeros((len(weights), 1))
        true = np.concatenate([zero, np.cumsum(hits, axis=1)], axis=1)
        false = np.concatenate([zero, np.cumsum(both - hits, axis=1)], axis=1)
        return true, false


def auroc(true: Floats, false: Floats) -> Floats:
    """Return the area under the ROC curve, ties counting half, of `Ranking.counts`; (b,).

    The chance that a positive row scores above a negative one (Hanley and McNeil, Radiology 1982).
    """
    area = (np.diff(false) * (true[:, 1:] + true[:, :-1]) / 2).sum(axis=1)
    return quotient(area, true[:, -1] * false[:, -1])


def average_precision(true: Floats, false: Floats) -> Floats:
    """Return the area under the precision-recall curve as a sum of steps, never interpolated; (b,).

    Linear interpolation between points is too kind (Davis and Goadrich, ICML 2006).
    """
    called = true[:, 1:] + false[:, 1:]
    precision = np.where(called > 0, true[:, 1:] / np.maximum(called, 1e-300), 0)
    return quotient((np.diff(true) * precision).sum(axis=1), true[:, -1])


def confusion(truth: Positions, said: Positions, k: int, weights: Weights) -> Floats:
    """Return confusions (b, k, k): rows the truth, columns what was said."""
    cell = np.zeros((len(truth), k * k))
    cell[np.arange(len(truth)), truth * k + said] = 1
    return np.asarray((weights @ cell).reshape(-1, k, k))


def kappa(table: Floats, power: int = 0) -> Floats:
    """Return Cohen's kappa of confusions (b, k, k); `power` 2 weighs errors by their squared distance.

    Cohen, Educ Psychol Meas 1960, and Psychol Bull 1968 for the weighted one.
    """
    k = table.shape[1]
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(np.float64)
    cost = (apart > 0).astype(np.float64) if power == 0 else apart**power
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
    total = table.sum(axis=(1, 2))
    return 1 - quotient((table * cost).sum(axis=(1, 2)) * total, (expected * cost).sum(axis=(1, 2)))


def by_class(table: Floats) -> dict[str, Floats]:
    """Return sensitivity, specificity, precision and F1 of each class against the rest; (b, k) each."""
    hit = np.diagonal(table, axis1=1, axis2=2)
    there, said = table.sum(axis=2), table.sum(axis=1)
    total = table.sum(axis=(1, 2))[:, None]
    return {
        "sensitivity": quotient(hit, there),
        "specificity": quotient(total - there - said + hit, total - there),
        "precision": quotient(hit, said),
        "f1": quotient(2 * hit, there + said),
    }


def matthews(table: Floats) -> Floats:
    """Return the Matthews correlation of confusions (b, k, k) (Gorodkin, Comput Biol Chem 2004)."""
    hit = np.trace(table, axis1=1, axis2=2)
    there, said, total = table.sum(axis=2), table.sum(axis=1), table.sum(axis=(1, 2))
    spread = (total**2 - (there**2).sum(axis=1)) * (total**2 - (said**2).sum(axis=1))
    return quotient(hit * total - (there * said).sum(axis=1), np.sqrt(spread))


def calibration_error(bins: Positions, sure: Floats, right: Floats, weights: Weights) -> Floats:
    """Return the expected calibration error (b,): the gap between chance and outcome, averaged over bins.

    Parameters
    ----------
    bins, sure, right
        Of each row: its bin, the probability stated, and whether it came true (0 or 1).

    Notes
    -----
    Guo et al., ICML 2017.
    """
    which = np.zeros((len(bins), int(bins.max()) + 1))
    which[np.arange(len(bins)), bins] = 1
    gap = np.abs(weights @ (which * (right - sure)[:, None]))
    return np.asarray(gap.sum(axis=1) / weights.sum(axis=1))


def bin_of(probability: Floats, bins: int) -> Positions:
    """Return the bin of equal width that each probability falls into; 1 falls into the last."""
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def concordance(truth: Floats, score: Floats, weights: Weights) -> Floats:
    """Return the share of pairs of rows of unequal truth that the scores put in the same order; (b,).

    Equal scores count half: Harrell's C without censoring (JAMA 1982).
    """
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    step = max(1, (1 << 22) // len(truth))
    for start in range(0, len(truth), step):
        rows = slice(start, start + step)
        above = truth[rows, None] > truth
        order = (score[rows, None] > score) + 0.5 * (score[rows, None] == score)
        right += ((weights[:, rows] @ (above * order)) * weights).sum(axis=1)
        pairs += ((weights[:, rows] @ above.astype(np.float64)) * weights).sum(axis=1)
    return quotient(right, pairs)
