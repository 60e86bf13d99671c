"""The page of a run: all slides beside each other, what failed and why, and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.report.charts import Axis, Swarm, swarm
from coverslip.report.html import render
from coverslip.report.numbers import NONE, counted, number, percent, quantity
from coverslip.report.pictures import Picture, jpeg_within, shrink
from coverslip.report.summary import Row

THUMBNAIL, THUMBNAIL_BYTES = 192, 8_000
"""Longer side of a slide's thumbnail in pixels, and what it may weigh."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A slide in the table: its numbers, its picture and the link to its page."""

    row: Row
    picture: Picture | None = None
    href: str | None = None

    @property
    def words(self) -> str:
        """What the search field looks into."""
        row = self.row
        parts = (row.slide_id, row.path, row.vendor, row.status, row.stage, row.error, *row.warnings)
        return " ".join(part for part in parts if part).lower()

    @property
    def kind(self) -> str:
        """What the filter looks at."""
        return f"{self.row.status} warned" if self.row.warnings else self.row.status


@dataclass(frozen=True, slots=True)
class Failures:
    """Slides that failed at one stage for one reason."""

    stage: str
    why: str
    mend: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """How the run was made."""

    name: str
    recipe: str | None = None
    made: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    recipe_text: str | None = None


def thumbnail_of(slide_id: str, rgb: NDArray[np.uint8]) -> Picture:
    """Make the small picture of the table."""
    return jpeg_within(shrink(rgb, THUMBNAIL), f"Slide {slide_id}", THUMBNAIL_BYTES)


def run_page(entries: Sequence[Entry], facts: RunFacts) -> str:
    """Write the page of a run as HTML, one file that needs no other but the slides' pages it links to."""
    rows = [entry.row for entry in entries]
    return render(
        "index.html.j2",
        title=facts.name,
        facts=facts,
        entries=entries,
        heading=f"{(facts.recipe or 'run').capitalize()} of {counted(len(rows), 'slide')}",
        failures=failures(entries),
        said_of=said_of,
        headline=headline(rows),
        charts_=comparisons(entries),
        counts={
            "all": len(rows),
            "done": sum(row.status == "done" for row in rows),
            "failed": sum(row.status == "failed" for row in rows),
            "warned": sum(bool(row.warnings) for row in rows),
        },
    )


def failures(entries: Sequence[Entry]) -> tuple[Failures, ...]:
    """Gather the slides that failed, those of one reason together, the commonest reason first."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        row = entry.row
        if row.status == "failed":
            reason = row.stage or "", said_of(row, "the slide"), row.mend or NONE
            groups.setdefault(reason, []).append(entry)
    made = []
    for (stage, shared, mend), alike in groups.items():
        why = shared if len(alike) > 1 else said_of(alike[0].row, alike[0].row.slide_id)
        made.append(Failures(stage, why, mend, tuple(alike)))
    return tuple(sorted(made, key=lambda group: -len(group.entries)))


def said_of(row: Row, name: str) -> str:
    """Return why a slide failed, with its path cut down to `name`.

    Examples
    --------
    >>> said_of(Row("a", path="/in/a.svs", error="/in/a.svs shows no tissue"), "the slide")
    'the slide shows no tissue'
    """
    error = row.error or ""
    return error.replace(row.path, name) if row.path else error


def headline(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Return the figures at the top: label, value, and a remark."""
    failed = sum(row.status == "failed" for row in rows)
    areas = [row.tissue_mm2 for row in rows if row.tissue_mm2 is not None]
    usable = [row.usable_fraction for row in rows if row.usable_fraction is not None]
    tiles = [row.tiles for row in rows if row.tiles is not None]
    on = f"on {counted(len(areas), 'slide')} with a scale"
    middle = float(np.median(usable)) if usable else None
    return [
        ("Slides", number(len(rows)), f"{failed} failed" if failed else "all got through"),
        (
            "Tissue",
            quantity(sum(areas) if areas else None, "mm²"),
            on,
        ),
        (
            "Usable",
            percent(middle),
            "of the tissue, median over slides",
        ),
        ("Tiles", number(sum(tiles)) if tiles else number(None), "in all"),
    ]


def comparisons(entries: Sequence[Entry]) -> tuple[Swarm, ...]:
    """Make the charts that set the slides against each other."""
    stains = dict.fromkeys(name for entry in entries for name in entry.row.strengths)
    wanted: list[tuple[Axis, Callable[[Row], float | None]]] = [
        (Axis("Usable share of the tissue", "%", 0, 100), lambda row: _hundred(row.usable_fraction)),
        (Axis("Focus, median over the tissue", "", 0), lambda row: row.focus_median),
        (Axis("Tissue", "mm²", 0), lambda row: row.tissue_mm2),
        *((Axis(f"{stain.capitalize()} strength", "OD", 0), _strength(stain)) for stain in stains),
        (Axis("Angle between the stains", "°"), lambda row: row.stain_angle_deg),
    ]
    charts = (
        swarm([(e.row.slide_id, value(e.row), e.href) for e in entries], axis) for axis, value in wanted
    )
    return tuple(chart for chart in charts if chart.dots)


def _strength(stain: str) -> Callable[[Row], float | None]:
    return lambda row: row.strengths.get(stain)


def _hundred(share: float | None) -> float | None:
    return None if share is None else 100 * share
