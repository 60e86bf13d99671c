"""Intervals by resampling patients: every metric is a function of row weights, so resamples are one matrix.

Slides of one patient are alike, so rows are not drawn one by one: a resample draws as many patients as there
are, with replacement, and a row weighs as often as its patient was drawn (cluster bootstrap: Field and Welsh,
J R Stat Soc B 2007). Intervals are percentiles of the metric over the resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError
from coverslip.store import Estimate

Weights = NDArray[np.float64]
"""Shape (b, n): in each of b resamples, how often each of n rows counts."""

Measure = Callable[[Weights], Mapping[Hashable, NDArray[np.float64]]]
"""From weights (b, n) to metrics (b,) by name; NaN where a metric is not defined."""

LEVEL = 0.95
FEW_GROUPS = 10
CELLS = 1 << 21
"""Weights in memory at once: 16 MiB."""

LEAST_DEFINED = 0.5
"""Share of resamples in which a metric must be defined, or there is no interval."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made.

    Attributes
    ----------
    codes
        int64 (n,): the patient of each row, from 0.
    n
        How many patients.
    n_boot, seed
        How many resamples, and what they are drawn with.
    """

    codes: NDArray[np.int64]
    n: int
    n_boot: int
    seed: int

    @classmethod
    def of(cls, groups: ArrayLike | None, rows: int, *, seed: int, n_boot: int) -> Bootstrap:
        """Give the patients of `rows` rows numbers; without `groups` each row is its own.

        Raises
        ------
        UsageError
            When `groups` is of another length, one is missing, or `n_boot` is negative.
        """
        if n_boot < 0:
            raise UsageError(f"n_boot {n_boot} cannot be: expected 0 (no intervals) or more")
        if groups is None:
            return cls(np.arange(rows), rows, n_boot, seed)
        names = np.asarray(groups)
        if names.shape != (rows,):
            raise UsageError(
                f"groups of shape {names.shape} for {rows} rows", mend="give the patient of every row"
            )
        text = names.astype(str)
        empty = np.flatnonzero(np.isin(text, ("", "None", "nan", "<NA>")))
        if len(empty):
            raise UsageError(
                f"{len(empty)} of {rows} rows name no patient, the first is row {empty[0] + 1}",
                mend="name each row's patient; a row without one may carry its slide's name",
            )
        unique, codes = np.unique(text, return_inverse=True)
        return cls(codes.astype(np.int64), len(unique), n_boot, seed)

    def within(self, rows: NDArray[np.bool_], number: int) -> Bootstrap:
        """Return the bootstrap of some rows, e.g. of fold `number`, with resamples of its own."""
        unique, codes = np.unique(self.codes[rows], return_inverse=True)
        seed = int(np.random.SeedSequence([self.seed, number + 1]).generate_state(1)[0])
        return Bootstrap(codes.astype(np.int64), len(unique), self.n_boot, seed)

    def weights(self) -> Iterator[Weights]:
        """Yield weights (b, n) of all resamples, a part at a time."""
        if self.n < 2:
            return
        random = np.random.default_rng(self.seed)
        step = max(1, CELLS // max(1, len(self.codes)))
        for start in range(0, self.n_boot, step):
            count = min(step, self.n_boot - start)
            drawn = random.integers(0, self.n, (count, self.n))
            drawn += self.n * np.arange(count)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=count * self.n).reshape(count, self.n)
            yield counts[:, self.codes].astype(np.float64)


def estimates(measure: Measure, bootstrap: Bootstrap, level: float = LEVEL) -> dict[Hashable, Estimate]:
    """Measure all rows once, then every resample, and put the interval beside each value."""
    whole = measure(np.ones((1, len(bootstrap.codes))))
    parts = [measure(weights) for weights in bootstrap.weights()]
    found: dict[Hashable, Estimate] = {}
    for name, value in whole.items():
        samples = np.concatenate([part[name] for part in parts]) if parts else np.empty(0)
        low, high = interval(samples, level)
        known = bool(np.isfinite(value[0]))
        found[name] = Estimate(float(value[0]), low, high) if known else Estimate(None)
    return found


def interval(samples: NDArray[np.float64], level: float = LEVEL) -> tuple[float | None, float | None]:
    """Return the percentiles that enclose `level` of the samples; None where too few are defined.

    Examples
    --------
    >>> interval(np.arange(1001.0), 0.5)
    (250.0, 750.0)
    """
    defined = samples[np.isfinite(samples)]
    if not len(samples) or len(defined) < LEAST_DEFINED * len(samples):
        return None, None
    low, high = np.percentile(defined, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


def band(samples: NDArray[np.float64], level: float = LEVEL) -> tuple[list[float | None], list[float | None]]:
    """Return the interval at each point of curves of shape (resamples, points)."""
    ends = [interval(column, level) for column in samples.T]
    return [low for low, _ in ends], [high for _, high in ends]


def notes_on(bootstrap: Bootstrap, by_patient: bool) -> list[str]:
    """Say what the intervals rest on, where it is less than a reader would think."""
    if not bootstrap.n_boot:
        return ["No intervals were asked for."]
    if not by_patient:
        return ["No patients were given: intervals are by row, too narrow where a patient has several rows."]
    if bootstrap.n < 2:
        return ["All rows are of one patient: there are no intervals."]
    if bootstrap.n < FEW_GROUPS:
        return [f"Intervals rest on only {bootstrap.n} patients; below {FEW_GROUPS} they are unreliable."]
    return []


def mean(weights: Weights, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted mean of values (n,) in each resample."""
    return np.asarray(weights @ values / weights.sum(axis=1))


def average(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average metrics (b,) of several classes, leaving out those that are not defined."""
    stacked = np.stack(columns)
    known = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, stacked, 0).sum(axis=0) / known.sum(axis=0))
