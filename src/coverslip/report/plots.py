"""The geometry of square plots: curves with bands, and intervals beside numbers; the templates draw them.

As in `coverslip.report.charts`: frozen values in pixels (y downwards), each with a sentence that says in
words what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from coverslip.report.numbers import nice_step, number, plain

LEFT, TOP, WIDE, HIGH, FOOT = 46, 10, 250, 210, 40
"""Margin for the numbers, margin above, the plotted area, the strip for axis and label, in pixels."""

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale2:
    """From numbers to pixels, for one axis."""

    low: float
    high: float
    across: bool

    def at(self, value: float) -> float:
        """Return the pixel of a value, kept inside the plot.

        Examples
        --------
        >>> Scale2(0, 1, True).at(0), Scale2(0, 1, False).at(0) == TOP + HIGH
        (46.0, True)
        """
        share = min(1.0, max(0.0, (value - self.low) / ((self.high - self.low) or 1.0)))
        place = LEFT + share * WIDE if self.across else TOP + (1 - share) * HIGH
        return round(place, 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Return ticks at round numbers."""
        step = nice_step(self.high - self.low, 5)
        first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
        places = (np.arange(first, last + 1) * step + 0.0).tolist()
        return tuple((self.at(place), plain(float(f"{place:.6g}"))) for place in places)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: an SVG path, its colour, and what the legend calls it."""

    path: str
    colour: str
    name: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with its interval (pixels), and the sentence shown when the pointer rests on it."""

    x: float
    y: float
    low: float | None
    high: float | None
    title: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over one area."""

    title: str
    across: str
    up: str
    words: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...] = ()
    bands: tuple[tuple[str, str], ...] = ()
    marks: tuple[Mark, ...] = ()
    guide: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """The two axes of a plot."""

    x: Scale2
    y: Scale2

    @classmethod
    def over(cls, x: Pair = (0.0, 1.0), y: Pair = (0.0, 1.0)) -> Frame:
        """Make a frame from the ends of its axes."""
        return cls(Scale2(*x, True), Scale2(*y, False))

    def path(self, points: Iterable[Pair], *, steps: bool = False) -> str:
        """Return points joined to an SVG path; with `steps`, level until the next point."""
        said: list[str] = []
        for x, y in points:
            place = f"{self.x.at(x):g} {self.y.at(y):g}"
            said.append(f"{f'H{self.x.at(x):g}' if steps and said else ''}{'L' if said else 'M'}{place}")
        return "".join(said)

    def band(self, grid: Sequence[float], low: Sequence[float | None], high: Sequence[float | None]) -> str:
        """Return the area between two curves as a closed SVG path; empty where there is none."""
        known = [
            (x, a, b) for x, a, b in zip(grid, low, high, strict=False) if a is not None and b is not None
        ]
        if len(known) < 2:
            return ""
        there = [(x, b) for x, _, b in known]
        back = [(x, a) for x, a, _ in reversed(known)]
        return self.path([*there, *back]) + "Z"


DIAGONAL = ((0.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Whisker:
    """An estimate and its interval on a line from 0 to 100 per cent of a common scale."""

    value: float
    low: float
    high: float
    title: str


def figure(value: float | None) -> str:
    """Write a metric: three decimals, so that a column of shares lines up; large numbers as usual.

    Examples
    --------
    >>> figure(0.09), figure(1.0), figure(None), figure(1234.5)
    ('0.090', '1.000', '–', '1\u202f234')
    """
    if value is None or not abs(value) < 10:
        return number(value)
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def whisker(
    value: float | None, low: float | None, high: float | None, ends: Pair = (0.0, 1.0)
) -> Whisker | None:
    """Place an estimate on a common scale; None where there is none.

    Examples
    --------
    >>> whisker(0.5, 0.25, 0.75).low
    25.0
    """
    if value is None:
        return None
    span = (ends[1] - ends[0]) or 1.0
    a, middle, b = (
        round(100 * min(1.0, max(0.0, (v - ends[0]) / span)), 2)
        for v in (value if low is None else low, value, value if high is None else high)
    )
    said = figure(value) if low is None else f"{figure(value)}, {figure(low)} to {figure(high)}"
    return Whisker(middle, a, b, said)
