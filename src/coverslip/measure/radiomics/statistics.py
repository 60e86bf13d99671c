"""First-order features: of the intensities as they are, and of their grey levels (IBSI 3.3 and 3.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.feature import Feature, Values
from coverslip.measure.radiomics.region import Region

_ROBUST = "mean absolute deviation from the mean, both over values from the 10th to the 90th percentile"

_ROWS = (
    # intensity's name, code, levels' name, code, unit, definition
    ("Mean intensity", "Q4LE", "Mean discretised intensity", "X6K6", "u", "mean"),
    (
        "Intensity variance",
        "ECT3",
        "Discretised intensity variance",
        "CH89",
        "u²",
        "mean squared distance to the mean",
    ),
    (
        "Intensity skewness",
        "KE2A",
        "Discretised intensity skewness",
        "88K1",
        "",
        "third central moment / variance^1.5",
    ),
    (
        "(Excess) intensity kurtosis",
        "IPH6",
        "(Excess) discretised intensity kurtosis",
        "C3I7",
        "",
        "fourth central moment / variance² − 3",
    ),
    ("Median intensity", "Y12H", "Median discretised intensity", "WIFQ", "u", "median"),
    ("Minimum intensity", "1GSF", "Minimum discretised intensity", "1PR8", "u", "lowest value"),
    (
        "10th intensity percentile",
        "QG58",
        "10th discretised intensity percentile",
        "GPMT",
        "u",
        "10th percentile, interpolated",
    ),
    (
        "90th intensity percentile",
        "8DWT",
        "90th discretised intensity percentile",
        "OZ0C",
        "u",
        "90th percentile, interpolated",
    ),
    ("Maximum intensity", "84IY", "Maximum discretised intensity", "3NCY", "u", "highest value"),
    (
        "Intensity interquartile range",
        "SALO",
        "Discretised intensity interquartile range",
        "WR0O",
        "u",
        "75th − 25th percentile",
    ),
    ("Intensity range", "2OJQ", "Discretised intensity range", "5Z3W", "u", "highest − lowest value"),
    (
        "Intensity-based mean absolute deviation",
        "4FUA",
        "Intensity histogram mean absolute deviation",
        "D2ZX",
        "u",
        "mean distance to the mean",
    ),
    (
        "Intensity-based robust mean absolute deviation",
        "1128",
        "Intensity histogram robust mean absolute deviation",
        "WRZB",
        "u",
        _ROBUST,
    ),
    (
        "Intensity-based median absolute deviation",
        "N72L",
        "Intensity histogram median absolute deviation",
        "4RNL",
        "u",
        "mean distance to the median",
    ),
    (
        "Intensity-based coefficient of variation",
        "7TET",
        "Intensity histogram coefficient of variation",
        "CWYJ",
        "",
        "standard deviation / mean",
    ),
    (
        "Intensity-based quartile coefficient of dispersion",
        "9S40",
        "Intensity histogram quartile coefficient of dispersion",
        "SLWD",
        "",
        "(75th − 25th) / (75th + 25th percentile)",
    ),
)

STATISTICS = (
    *(
        Feature("statistics", name, code, unit.replace("u", "intensity"), text)
        for name, code, _, _, unit, text in _ROWS
    ),
    Feature("statistics", "Intensity-based energy", "N8CA", "intensity²", "sum of squares"),
    Feature("statistics", "Root mean square intensity", "5ZWQ", "intensity", "root of the mean square"),
)
"""The family ``statistics``."""

HISTOGRAM = (
    *(
        Feature("histogram", name, code, unit.replace("u", "level"), text)
        for _, _, name, code, unit, text in _ROWS
    ),
    Feature(
        "histogram",
        "Intensity histogram mode",
        "AMMC",
        "level",
        "most frequent level; of several the nearest to the mean, then the lower",
    ),
    Feature("histogram", "Discretised intensity entropy", "TLU2", "bit", "−Σ p log₂ p over levels"),
    Feature("histogram", "Discretised intensity uniformity", "BJ5W", "", "Σ p² over levels"),
    Feature(
        "histogram",
        "Maximum histogram gradient",
        "12CE",
        "pixels",
        "highest central difference of the counts (one-sided at the ends)",
    ),
    Feature("histogram", "Maximum histogram gradient intensity", "8E6O", "level", "the level where that is"),
    Feature(
        "histogram",
        "Minimum histogram gradient",
        "VQB3",
        "pixels",
        "lowest central difference of the counts (one-sided at the ends)",
    ),
    Feature("histogram", "Minimum histogram gradient intensity", "RHQZ", "level", "the level where that is"),
)
"""The family ``histogram``."""


def statistics(region: Region) -> Values:
    """Return the first-order features of a region's intensities.

    Ratios whose divisor is 0 are NaN.

    Examples
    --------
    >>> region = Region.of([[1, 2], [3, 6]], [[1, 1], [1, 1]], spacing=1)
    >>> statistics(region)["Mean intensity", ""]
    3.0
    """
    values = region.values
    energy = float((values**2).sum())
    numbers = [*_moments(values), energy, (energy / values.size) ** 0.5]
    return {(f.name, ""): v for f, v in zip(STATISTICS, numbers, strict=True)}


def histogram(levels: Levels) -> Values:
    """Return the first-order features of a region's grey levels."""
    values = levels.values
    counts = np.bincount(values, minlength=levels.count + 1)[1:]
    share = counts[counts > 0] / values.size
    top = np.flatnonzero(counts == counts.max()) + 1
    mode = top[np.argmin(np.abs(top - values.mean()))]
    slope = np.gradient(counts.astype(np.float64))
    numbers = [
        *_moments(values.astype(np.float64)),
        float(mode),
        float(-(share * np.log2(share)).sum()),
        float((share**2).sum()),
        float(slope.max()),
        float(slope.argmax() + 1),
        float(slope.min()),
        float(slope.argmin() + 1),
    ]
    return {(f.name, ""): v for f, v in zip(HISTOGRAM, numbers, strict=True)}


def _moments(values: NDArray[np.float64]) -> list[float]:
    mean = values.mean()
    away = values - mean
    squares = away * away  # powers by multiplication: numpy's own take ten times as long
    variance = squares.mean()
    p10, p25, median, p75, p90 = np.percentile(np.sort(values), [10, 25, 50, 75, 90])
    middle = values[(values >= p10) & (values <= p90)]
    numbers = [
        mean,
        variance,
        ratio((squares * away).mean(), variance**1.5),
        ratio((squares * squares).mean(), variance**2) - 3,
        median,
        values.min(),
        p10,
        p90,
        values.max(),
        p75 - p25,
        np.ptp(values),
        np.abs(away).mean(),
        np.abs(middle - middle.mean()).mean() if middle.size else np.nan,  # of two pixels, none is between
        np.abs(values - median).mean(),
        ratio(variance**0.5, mean),
        ratio(p75 - p25, p75 + p25),
    ]
    return [float(number) for number in numbers]


def ratio(above: Any, below: Any) -> float:
    """Return above / below, NaN where below is 0."""
    return float(above / below) if below else float("nan")
