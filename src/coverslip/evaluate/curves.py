"""ROC, precision-recall and calibration curves with bootstrap bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coverslip.evaluate.resample import Bootstrap, Weights, band
from coverslip.evaluate.weighted import Ranking, bin_of, quotient

Floats = NDArray[np.float64]
Series = dict[str, tuple[float | None, ...]]

POINTS, GRID, BINS = 300, 41, 10
"""Most vertices of a curve that are kept, places at which its band is given, bins of a calibration."""

BAND_DRAWS = 400
"""Most resamples that a band is made of: a picture needs fewer than a printed figure."""


def curves_of(positive: NDArray[np.bool_], probability: Floats, bootstrap: Bootstrap) -> Series:
    """Return the series of one class, as `coverslip.store.Evaluation` names them.

    Parameters
    ----------
    positive
        bool (n,): whether the row is of the class.
    probability
        Shape (n,): what was said of that.
    """
    ranking = Ranking(positive, probability)
    grid = np.linspace(0, 1, GRID)
    recalls = grid[1:]  # at no recall there is no precision
    bins = np.zeros((len(positive), BINS))
    bins[np.arange(len(positive)), bin_of(probability, BINS)] = 1
    drawn = Bootstrap(bootstrap.codes, bootstrap.n, min(bootstrap.n_boot, BAND_DRAWS), bootstrap.seed)
    parts: list[tuple[Floats, Floats, Floats]] = []
    for weights in drawn.weights():
        true, false = ranking.counts(weights)
        parts.append(
            (_roc_at(true, false, grid), _pr_at(true, false, recalls), _rates(weights, bins, positive))
        )
    true, false = ranking.counts(np.ones((1, len(positive))))
    found = _roc(true[0], false[0]) | _pr(true[0], false[0])
    found |= _calibration(bins, positive, probability)
    for place, name in enumerate(("roc", "pr", "calibration")):
        samples = [part[place] for part in parts]
        low, high = band(np.concatenate(samples)) if samples else ([], [])
        found |= {f"{name}_low": tuple(low), f"{name}_high": tuple(high)}
    return found | {"roc_grid": _kept(grid), "pr_grid": _kept(recalls)}


def _roc(true: Floats, false: Floats) -> Series:
    x, y = false / false[-1], true / true[-1]
    keep = _corners(x, y)
    return {"roc_x": _kept(x[keep]), "roc_y": _kept(y[keep])}


def _pr(true: Floats, false: Floats) -> Series:
    recall, precision = true[1:] / true[-1], true[1:] / (true[1:] + false[1:])
    keep = _thinned(np.arange(len(recall)))
    return {"pr_x": _kept(recall[keep]), "pr_y": _kept(precision[keep])}


def _calibration(bins: Floats, positive: NDArray[np.bool_], probability: Floats) -> Series:
    rows = bins.sum(axis=0)
    predicted = quotient(bins.T @ probability, rows)
    observed = quotient(bins.T @ positive.astype(np.float64), rows)
    return {
        "calibration_predicted": _kept(predicted),
        "calibration_observed": _kept(observed),
        "calibration_rows": tuple(int(count) for count in rows),
    }


def _rates(weights: Weights, bins: Floats, positive: NDArray[np.bool_]) -> Floats:
    return quotient(weights @ (bins * positive[:, None]), weights @ bins)


def _roc_at(true: Floats, false: Floats, grid: Floats) -> Floats:
    """Return the sensitivity of each resample at given shares of false alarms; NaN where it has none."""
    return _each(true, false, lambda hit, alarm: np.interp(grid, alarm / alarm[-1], hit / hit[-1]), len(grid))


def _pr_at(true: Floats, false: Floats, grid: Floats) -> Floats:
    """Return the precision of each resample at the first threshold that reaches a given recall."""

    def at(hit: Floats, alarm: Floats) -> Floats:
        place = np.searchsorted(hit[1:] / hit[-1], grid - 1e-12).clip(max=len(hit) - 2) + 1
        return np.asarray(hit[place] / np.maximum(hit[place] + alarm[place], 1e-300))

    return _each(true, false, at, len(grid))


def _each(true: Floats, false: Floats, curve: Callable[[Floats, Floats], Floats], points: int) -> Floats:
    rows = np.full((len(true), points), np.nan)
    for row, (hit, alarm) in enumerate(zip(true, false, strict=True)):
        if hit[-1] and alarm[-1]:
            rows[row] = curve(hit, alarm)
    return rows


def _corners(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Return where a rising curve turns: points on a straight line between others are left out."""
    dx, dy = np.diff(x), np.diff(y)
    turns = np.flatnonzero(np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-15) + 1
    return _thinned(np.r_[0, turns, len(x) - 1])


def _thinned(places: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(places) <= POINTS:
        return places
    return places[np.linspace(0, len(places) - 1, POINTS).round().astype(np.int64)]


def _kept(values: Floats) -> tuple[float | None, ...]:
    return tuple(round(value, 6) if np.isfinite(value) else None for value in values.tolist())
