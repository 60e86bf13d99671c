"""The geometry of small charts; the templates draw them, so colours follow light and dark mode.

A chart is a frozen value in its own pixel coordinates (y downwards), with a sentence that says in words what
it shows. Numbers that are not finite are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.report.numbers import known, nice_step, number, plain, quantity

WIDTH, HEIGHT, FOOT, SIDE = 300, 120, 22, 8
"""Of a chart, of the strip under it for the axis, and of the margin left and right, in pixels."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What a chart measures; `low` and `high` are fixed ends, or None to follow the data."""

    label: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on the axis and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, with the sentence shown when the pointer rests on it."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of equal width along one axis, and the median."""

    axis: Axis
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    median: Tick | None
    words: str
    count: int
    missing: int
    beyond: int = 0
    """Values above the axis, which ends where the bulk does: outliers would hide its shape."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One slide among many."""

    x: float
    y: float
    title: str
    href: str | None


@dataclass(frozen=True, slots=True)
class Swarm:
    """Slides stacked as dots along one axis."""

    axis: Axis
    dots: tuple[Dot, ...]
    radius: float
    ticks: tuple[Tick, ...]
    median: Tick | None
    words: str
    missing: int


class Scale:
    """From numbers to pixels along the axis.

    Examples
    --------
    >>> scale = Scale(0, 10)
    >>> scale.at(5) == WIDTH / 2
    True
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high if high > low else low + 1.0

    @classmethod
    def over(cls, values: NDArray[np.float64], axis: Axis) -> Scale:
        """Fit the axis' ends, else the data, widened to whole steps."""
        low = float(values.min()) if axis.low is None else axis.low
        high = float(values.max()) if axis.high is None else axis.high
        if high <= low:
            margin = abs(low) * 0.1 or 0.5
            low, high = low if axis.low is not None else low - margin, high + margin
        step = nice_step(high - low, 10)
        low = low if axis.low is not None else float(np.floor(low / step) * step)
        high = high if axis.high is not None else float(np.ceil(high / step) * step)
        return cls(low, high)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(SIDE + min(1.0, max(0.0, share)) * (WIDTH - 2 * SIDE), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return ticks at round numbers; fewer where the numbers are long."""
        longest = max(len(plain(float(f"{end:.2g}"))) for end in (self.low, self.high))
        step = nice_step(self.high - self.low, 4 if longest < 5 else 2)
        first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
        places = (np.arange(first, last + 1) * step + 0.0).tolist()
        return tuple(Tick(self.at(place), plain(float(f"{place:.6g}"))) for place in places)


def histogram(values: ArrayLike, axis: Axis, bins: int = 36) -> Histogram:
    """Count values in bins of equal width; those beyond the axis' end are not drawn but counted.

    Examples
    --------
    >>> chart = histogram([0.1, 0.2, 0.2, float("nan")], Axis("focus", low=0, high=1))
    >>> chart.count, chart.missing, len(chart.bars)
    (3, 1, 2)
    """
    given = np.asarray(values, np.float64).ravel()
    finite = given[np.isfinite(given)]
    if not finite.size:
        return Histogram(axis, (), (), None, f"{axis.label}: no values.", 0, given.size)
    scale = Scale.over(finite[finite <= _bulk_end(finite)], axis)
    edges = np.linspace(scale.low, scale.high, bins + 1)
    counts, _ = np.histogram(finite, edges)
    tallest = max(1, int(counts.max()))
    filled = [(index, int(count)) for index, count in enumerate(counts) if count]
    bars = tuple(_bar(scale, (edges[i], edges[i + 1]), n, (n / tallest, axis.unit)) for i, n in filled)
    middle = float(np.median(finite))
    median = Tick(scale.at(middle), quantity(middle, axis.unit))
    missing, beyond = given.size - finite.size, finite.size - int(counts.sum())
    return Histogram(axis, bars, scale.ticks(), median, _in_words(finite, axis), finite.size, missing, beyond)


def _bulk_end(values: NDArray[np.float64]) -> float:
    """Return the largest value, or the 99th percentile when the largest lies twice as far from the median."""
    middle, high, largest = np.percentile(values, (50, 99, 100))
    return float(high if largest - middle > 2 * (high - middle) > 0 else largest)


def _bar(scale: Scale, ends: tuple[float, float], count: int, look: tuple[float, str]) -> Bar:
    share, unit = look
    left, right = scale.at(ends[0]), scale.at(ends[1])
    height = max(1.0, round(share * (HEIGHT - FOOT - 16), 2))
    title = f"{number(ends[0])} to {quantity(ends[1], unit)}: {count}"
    return Bar(left, HEIGHT - FOOT - height, round(max(0.6, right - left - 0.8), 2), height, title)


def swarm(points: Sequence[tuple[str, float | None, str | None]], axis: Axis, radius: float = 4.0) -> Swarm:
    """Stack one dot per slide (label, value, link) where its value lies.

    Examples
    --------
    >>> chart = swarm([("a", 0.5, None), ("b", 0.5, None), ("c", None, None)], Axis("usable", low=0, high=1))
    >>> len(chart.dots), chart.dots[0].x == chart.dots[1].x, chart.dots[0].y > chart.dots[1].y, chart.missing
    (2, True, True, 1)
    """
    present = [
        (label, float(value), href) for label, value, href in points if value is not None and known(value)
    ]
    missing = len(points) - len(present)
    if not present:
        return Swarm(axis, (), radius, (), None, f"{axis.label}: no values.", missing)
    values = np.array([value for _, value, _ in present])
    scale = Scale.over(values, axis)
    radius = min(radius, _fitting_radius([scale.at(value) for value in values]))
    dots, heights = [], dict[int, int]()
    for label, value, href in sorted(present, key=lambda point: (point[1], point[0])):
        column = round(scale.at(value) / (2 * radius))
        level = heights[column] = heights.get(column, -1) + 1
        y = round(HEIGHT - FOOT - 2 - radius - 2 * radius * level, 2)
        dots.append(Dot(round(column * 2 * radius, 2), y, f"{label}: {quantity(value, axis.unit)}", href))
    middle = float(np.median(values))
    median = Tick(scale.at(middle), quantity(middle, axis.unit))
    return Swarm(axis, tuple(dots), radius, scale.ticks(), median, _in_words(values, axis), missing)


def _fitting_radius(places: Sequence[float]) -> float:
    """Return the largest radius at which the tallest stack stays inside the chart."""
    room = HEIGHT - FOOT - 18
    for radius in (4.0, 3.0, 2.2, 1.6, 1.1, 0.8):
        columns = np.unique(np.rint(np.asarray(places) / (2 * radius)), return_counts=True)[1]
        if columns.max() * 2 * radius <= room:
            return radius
    return 0.5


def _in_words(values: NDArray[np.float64], axis: Axis) -> str:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return (
        f"{axis.label}: median {quantity(float(middle), axis.unit)}, 5 to 95 % of values "
        f"{number(float(low))} to {quantity(float(high), axis.unit)}, n = {number(int(values.size))}."
    )
