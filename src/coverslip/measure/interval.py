"""Counts and shares with intervals, each saying what it allows for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, the ends of its interval, and how they were found.

    Attributes
    ----------
    value, low, high
        NaN where there is nothing to tell from.
    method
        In words, for reports.
    level
        Of confidence.
    """

    value: float
    low: float
    high: float
    method: str
    level: float = LEVEL

    def __str__(self) -> str:
        """Write it as people read it.

        Examples
        --------
        >>> str(Interval(12.0, 6.2, 20.96, "Poisson, exact"))
        '12 (6.2 to 21)'
        """
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def scaled(self, factor: float) -> Interval:
        """Return the interval times a number, as per area."""
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.method, self.level)


def count_interval(count: int, area: float = 1.0, *, level: float = LEVEL) -> Interval:
    """Return a count per area with its exact Poisson interval (Garwood 1936).

    It allows for the chance of what falls into the area examined, as if objects lay independently; not for
    mistakes of the model, and clustered objects scatter more: see `cluster_interval`.

    Examples
    --------
    >>> str(count_interval(10)), str(count_interval(0, 2.0))
    ('10 (4.8 to 18.4)', '0 (0 to 1.84)')
    """
    from scipy.stats import chi2

    _check(level, good=count >= 0 and area > 0, what=f"a count of {count} in {area}")
    tail = (1 - level) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    high = float(chi2.ppf(1 - tail, 2 * count + 2)) / 2
    return Interval(count / area, low / area, high / area, "Poisson, exact", level)


def share_interval(part: int, whole: int, *, level: float = LEVEL) -> Interval:
    """Return a share with its Wilson score interval (1927).

    It allows for the chance of which objects were examined, as if they were independent.

    Examples
    --------
    >>> str(share_interval(8, 10))
    '0.8 (0.49 to 0.943)'
    """
    from scipy.stats import norm

    _check(level, good=0 <= part <= whole, what=f"{part} of {whole}")
    if whole == 0:
        return Interval(np.nan, np.nan, np.nan, "Wilson score", level)
    z, p = norm.ppf(1 - (1 - level) / 2), part / whole
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * np.sqrt(p * (1 - p) / whole + z * z / (4 * whole**2))
    low, high = (float(middle - half) if part else 0.0), (float(middle + half) if part < whole else 1.0)
    return Interval(p, low, high, "Wilson score", level)


def cluster_interval(
    parts: Sequence[float] | NDArray[np.float64],
    wholes: Sequence[float] | NDArray[np.float64],
    *,
    level: float = LEVEL,
    repeats: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a ratio of sums over tiles, with the interval of a bootstrap that draws whole tiles.

    Objects of one tile resemble each other, so that intervals which take each for itself are too narrow;
    this one allows for it, at the scale of the tiles.

    Parameters
    ----------
    parts, wholes
        Per tile: positive and all nuclei for a share, count and area for a density, …, shape (tiles,).
    repeats, seed
        Of the bootstrap; the same seed gives the same interval.

    Examples
    --------
    >>> str(cluster_interval([5, 5, 0, 0], [10, 10, 10, 10]))
    '0.25 (0 to 0.5)'
    """
    top, bottom = np.asarray(parts, float), np.asarray(wholes, float)
    _check(level, good=top.shape == bottom.shape and top.ndim == 1, what=f"{top.shape} of {bottom.shape}")
    method = f"bootstrap of {len(top)} tiles, {repeats} times"
    if not bottom.sum() > 0:
        return Interval(np.nan, np.nan, np.nan, method, level)
    weights = np.random.default_rng(seed).multinomial(len(top), np.full(len(top), 1 / len(top)), repeats)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (weights @ top) / (weights @ bottom)
    low, high = np.nanquantile(ratios, [(1 - level) / 2, 1 - (1 - level) / 2])
    return Interval(float(top.sum() / bottom.sum()), float(low), float(high), method, level)


def _check(level: float, *, good: bool, what: str) -> None:
    if not 0 < level < 1:
        raise UsageError(f"a level of {level}: expected between 0 and 1, as 0.95")
    if not good:
        raise UsageError(f"{what} has no interval: expected counts that fit together")
