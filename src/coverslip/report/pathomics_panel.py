"""What the page says about the measurements of tiles, and the classes of tiles that look alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

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

UNABRIDGED = {"neighbour distance": "distance to the nearest nucleus", "lumen share": "share of lumen"}

EXAMPLES = 5
"""Tiles shown for each look-alike class."""

TRAITS = 3
"""Measurements named as what sets a class apart."""

NOTABLE = 0.5
"""A class' mean must lie this many standard deviations off the slide's before it is called a trait."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A measurement by which a class differs from the rest of the slide."""

    name: str
    higher: bool
    deviations: float


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
    >>> described("nuclear_density")
    ('nuclear density', '1/mm²')
    """
    words = name.removesuffix("_mean").replace("_", " ")
    return UNABRIDGED.get(words, words), units().get(name, "")


@cache
def units() -> dict[str, str]:
    """Return the units of the built-in measurements by name; a share has none."""
    from coverslip.measure import PATHOMICS

    shown = {"share": "", "decades": "OD"}
    return {m.name: shown.get(m.unit, m.unit.replace("decades", "OD")) for m in PATHOMICS}


def _chart(features: Features, name: str) -> Histogram:
    words, unit = described(name)
    values = np.asarray(features.column(name), np.float64)
    return histogram(values, Axis(words[0].upper() + words[1:], unit))


def _classes(findings: Findings, slide: Slide | None) -> tuple[ClassRow, ...]:
    labels = findings.classes
    if labels is None:
        return ()
    z = standardised(np.asarray(findings.features.X, np.float64))
    rows = []
    for index in np.unique(labels[labels >= 0]).tolist():
        members = np.flatnonzero(labels == index)
        chosen = members[spread(len(members), EXAMPLES)].tolist()
        squares = squares_at(findings.tiles.xy, findings.tiles.side_px, chosen[:EXAMPLES])
        pictures = examples(slide, squares, f"Typical tile of look-alike class {index + 1}")
        made = traits(z[members], findings.features.names)
        share = len(members) / len(labels)
        name, colour = f"Class {index + 1}", class_colour(index)
        rows.append(ClassRow(name, colour, len(members), share, pictures, made))
    return tuple(sorted(rows, key=lambda row: -row.count))


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return columns with mean 0 and standard deviation 1; constant and unknown values become 0."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    off = np.where(known, values - mean, 0.0)
    deviation = np.sqrt((off**2).sum(axis=0) / count)
    return off / np.where(deviation > 0, deviation, np.inf)


def traits(z: NDArray[np.float64], names: tuple[str, ...]) -> tuple[Trait, ...]:
    """Name the measurements whose mean over a class lies furthest from the slide's.

    Examples
    --------
    >>> traits(np.array([[0.1, -2.0], [0.1, -1.0]]), ("area", "eosin"))
    (Trait(name='eosin', higher=False, deviations=1.5),)
    """
    means = z.mean(axis=0)
    order = np.argsort(-np.abs(means))[:TRAITS]
    return tuple(
        Trait(described(names[i])[0], bool(means[i] > 0), abs(float(means[i])))
        for i in order.tolist()
        if abs(means[i]) >= NOTABLE
    )
