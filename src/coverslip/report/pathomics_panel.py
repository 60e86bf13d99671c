"""What the page says about the measurements of tiles, and the classes of tiles that look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from coverslip.report.charts import Axis, Histogram, histogram
from coverslip.report.crops import examples, spread, squares_at
from coverslip.report.findings import Findings
from coverslip.report.palette import class_colour
from coverslip.report.pictures import Picture
from coverslip.slides.slide import Slide
from coverslip.store import Features

MAIN = (
    "nuclear_density",
    "nuclear_area_mean",
    "nuclear_area_share",
    "neighbour_distance_mean",
    "haematoxylin_mean",
    "eosin_mean",
    "fibre_coherence",
    "lumen_share",
)
"""Measurements shown as distributions."""

UNABRIDGED = {
    "a": "redness (CIELAB a)",
    "b": "yellowness (CIELAB b)",
    "lumen share": "share of lumen",
    "neighbour distance": "distance to the nearest nucleus",
    "nuclear major": "length of nuclei",
    "nuclear minor": "width of nuclei",
}
"""Words for names that only those who wrote them understand."""

STATISTICS = {
    "mean": "{}",
    "sd": "spread of {}",
    "p10": "{}, 10th percentile",
    "p50": "{}, median",
    "p90": "{}, 90th percentile",
}
"""Words for the ends of measurements' names."""

EXAMPLES = 5
"""Tiles shown for each look-alike class."""

NOTABLE = 0.5
"""A class must lie this many robust standard deviations off the slide's median for a trait to be named."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A measurement by which a class differs from the rest of the slide."""

    name: str
    higher: bool
    deviations: float
    description: str = ""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One look-alike class: its share of the tiles, typical tiles, and what sets it apart."""

    name: str
    colour: str
    count: int
    share: float
    examples: tuple[Picture, ...]
    traits: tuple[Trait, ...]


@dataclass(frozen=True, slots=True)
class PathomicsPanel:
    """Distributions of the main measurements, and the look-alike classes."""

    tiles: int
    measured: int
    charts: tuple[Histogram, ...]
    classes: tuple[ClassRow, ...]


def pathomics_panel(findings: Findings, slide: Slide | None) -> PathomicsPanel | None:
    """Make the panel; None when nothing was measured."""
    features = findings.features
    if features is None or not features.names:
        return None
    charts = tuple(_chart(features, name) for name in main_names(features.names))
    return PathomicsPanel(len(features.X), len(features.names), charts, _classes(findings, slide))


def main_names(names: tuple[str, ...]) -> list[str]:
    """Choose the measurements to show: those of `MAIN`, filled up with others when some are not there.

    Examples
    --------
    >>> main_names(("a", "eosin_mean", "b"))
    ['eosin_mean', 'a', 'b']
    """
    main = [name for name in MAIN if name in names]
    others = [name for name in names if name not in MAIN]
    return main + [others[row] for row in spread(len(others), len(MAIN) - len(main))]


def described(name: str) -> tuple[str, str]:
    """Return the words for a measurement, and its unit.

    Examples
    --------
    >>> described("nuclear_density"), described("a_sd")
    (('nuclear density', '1/mm²'), ('spread of redness (CIELAB a)', ''))
    """
    stem, _, end = name.rpartition("_")
    stem, form = (stem, STATISTICS[end]) if end in STATISTICS else (name, "{}")
    words = stem.replace("_", " ")
    return form.format(UNABRIDGED.get(words, words)), units().get(name, "")


@cache
def units() -> dict[str, str]:
    """Return the units of the built-in measurements by name; a share has none."""
    from coverslip.measure import PATHOMICS

    shown = {"share": "", "decades": "OD"}
    return {m.name: shown.get(m.unit, m.unit.replace("decades", "OD")) for m in PATHOMICS}


@cache
def about() -> dict[str, str]:
    """Return what the built-in measurements are, by name."""
    from coverslip.measure import PATHOMICS

    return {m.name: m.description for m in PATHOMICS}


def _chart(features: Features, name: str) -> Histogram:
    words, unit = described(name)
    values = np.asarray(features.column(name), np.float64)
    return histogram(values, Axis(words[0].upper() + words[1:], unit))


def _classes(findings: Findings, slide: Slide | None) -> tuple[ClassRow, ...]:
    labels, said = findings.classes, findings.lookalike
    if labels is None:
        return ()
    rows = []
    for index, name in enumerate(said.notes["names"]):
        count = int((labels == index).sum())
        chosen = said.notes["examples"][index][:EXAMPLES]
        squares = squares_at(findings.tiles.xy, findings.tiles.side_px, chosen)
        pictures = examples(slide, squares, f"Typical tile of look-alike class {name}")
        row = ClassRow(
            name=name,
            colour=class_colour(index),
            count=count,
            share=count / max(1, len(labels)),
            examples=pictures,
            traits=traits(said.notes["traits"][index]),
        )
        rows.append(row)
    return tuple(rows)


def traits(stated: Sequence[tuple[str, float]]) -> tuple[Trait, ...]:
    """Turn (measurement, robust standard deviations from the slide's median) into words.

    Examples
    --------
    >>> [(t.name, t.higher, t.deviations) for t in traits([("eosin_mean", -1.5), ("lumen_share", 0.1)])]
    [('eosin', False, 1.5)]
    """
    notable = [(name, value) for name, value in stated if abs(value) >= NOTABLE]
    return tuple(
        Trait(described(name)[0], value > 0, abs(value), about().get(name, "")) for name, value in notable
    )
