"""What the page says about the stains: their colours, how strong they are, and what normalising does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError
from coverslip.report.charts import Axis, Histogram, histogram
from coverslip.report.crops import QUALITY, pixels, spread, squares_at
from coverslip.report.findings import Findings
from coverslip.report.palette import hex_of
from coverslip.report.pictures import Picture, jpeg
from coverslip.slides.slide import Slide
from coverslip.stain.density import from_od, to_od
from coverslip.stain.matrices import StainMatrix
from coverslip.stain.separation import separate
from coverslip.store import SlideStain

SAMPLES, SAMPLED_TILES, DOTS = 1200, 16, 600
"""Pixels taken for the distributions, from how many tiles, and how many of them are drawn as dots."""

USABLE = 0.8
"""Tiles with at least this share of usable tissue are shown and sampled, where there are any."""

EXAMPLE = 224
"""Side of the original and the normalised example, in pixels."""

PLOT = 220
"""Side of the plot of optical densities, in pixels."""

MARGIN = 26
"""Between the plot's edge and its axes, in pixels."""

DENSEST = 2.0
"""Optical density (decades) at the far end of the plot's axes."""


@dataclass(frozen=True, slots=True)
class StainRow:
    """One stain: its colours when weak, medium and strong, its vector, and its strength."""

    name: str
    colours: tuple[str, ...]
    vector: tuple[float, ...]
    strength: float
    angle: float | None
    amounts: Histogram | None


@dataclass(frozen=True, slots=True)
class Ray:
    """A stain's direction in the plot."""

    name: str
    x: float
    y: float
    colour: str


@dataclass(frozen=True, slots=True)
class DensityPlot:
    """Optical density of green against red, each dot in the colour of its pixel."""

    dots: tuple[tuple[float, float, str], ...]
    rays: tuple[Ray, ...]
    origin: tuple[float, float]
    ticks: tuple[tuple[float, float, str], ...]
    side: int = PLOT


@dataclass(frozen=True, slots=True)
class StainPanel:
    """Rows of stains, their mutual angle in degrees, the plot, and a tile before and after."""

    rows: tuple[StainRow, ...]
    method: str
    angle: float
    plot: DensityPlot | None
    before: Picture | None
    after: Picture | None
    target: str


def stain_panel(findings: Findings, slide: Slide | None) -> StainPanel | None:
    """Make the panel; None when no stains were fitted."""
    if findings.stain is None:
        return None
    stains: StainMatrix = findings.stain.stains
    sample = _sample(findings, slide)
    amounts = None if sample is None else separate(sample, stains)
    rows = tuple(_row(findings.stain, index, amounts) for index in range(len(stains.names)))
    before, after = _example(findings, findings.stain, slide)
    plot = None if sample is None else _plot(stains, sample)
    return StainPanel(
        rows, findings.stain.method, findings.stain.angle, plot, before, after, findings.stain.target
    )


def _row(stain: SlideStain, index: int, amounts: NDArray[np.float32] | None) -> StainRow:
    stains = stain.stains
    name, vector, strength = stains.names[index], stains.array[index], stains.max_concentrations[index]
    chart = None
    if amounts is not None:
        chart = histogram(
            np.clip(amounts[:, index], 0, None), Axis(f"{name.capitalize()} amount", "OD", low=0.0)
        )
    colours = tuple(
        hex_of(from_od(vector * level * strength, stains.background)) for level in (0.25, 0.5, 0.75, 1.0)
    )
    return StainRow(
        name, colours, tuple(vector.tolist()), strength, stain.angles_to_standard.get(name), chart
    )


def _sample(findings: Findings, slide: Slide | None) -> NDArray[np.uint8] | None:
    """Take pixels (n, 3) from tiles all over the slide; else those of the thumbnail that absorb light."""
    if findings.tiles is not None and len(findings.tiles) and slide is not None:
        rows = spread(len(findings.tiles), SAMPLED_TILES)
        read = (
            pixels(slide, square) for square in squares_at(findings.tiles.xy, findings.tiles.side_px, rows)
        )
        found = [rgb.reshape(-1, 3) for rgb in read if rgb is not None]
        flat = np.concatenate(found) if found else np.empty((0, 3), np.uint8)
    elif findings.thumbnail is not None:
        flat = findings.thumbnail.reshape(-1, 3)
    else:
        return None
    stained = flat[to_od(flat).sum(axis=1) > 0.3]
    if not len(stained):
        return None
    chosen = np.linspace(0, len(stained) - 1, min(SAMPLES, len(stained))).astype(int)
    return np.asarray(stained[chosen], np.uint8)


def _plot(stains: StainMatrix, sample: NDArray[np.uint8]) -> DensityPlot:
    chosen = sample[np.linspace(0, len(sample) - 1, min(DOTS, len(sample))).astype(int)]
    red, green = to_od(chosen, stains.background)[:, :2].T
    x, y = _across(red), _down(green)
    dots = tuple(zip(x.tolist(), y.tolist(), (hex_of(rgb) for rgb in chosen), strict=True))
    rays = []
    for name, vector in zip(stains.names, stains.array, strict=True):
        reach = DENSEST * 0.86 / max(vector[0], vector[1])
        colour = hex_of(from_od(vector, stains.background))
        rays.append(Ray(name, float(_across(vector[0] * reach)), float(_down(vector[1] * reach)), colour))
    ticks = tuple(
        (float(_across(value)), float(_down(value)), f"{value:g}") for value in (0.0, 0.5, 1.0, 1.5, 2.0)
    )
    return DensityPlot(dots, tuple(rays), (float(_across(0.0)), float(_down(0.0))), ticks)


def _across(density: Any) -> Any:
    return np.round(MARGIN + np.clip(np.asarray(density) / DENSEST, 0, 1) * (PLOT - MARGIN - 8), 1)


def _down(density: Any) -> Any:
    return np.round(PLOT - MARGIN - np.clip(np.asarray(density) / DENSEST, 0, 1) * (PLOT - MARGIN - 8), 1)


def _example(
    findings: Findings, stain: SlideStain, slide: Slide | None
) -> tuple[Picture | None, Picture | None]:
    """Show one tile of much tissue as it is and normalised; neither when nothing is normalised to."""
    tiles = findings.tiles
    if tiles is None or not len(tiles):
        return None, None
    rgb = pixels(slide, squares_at(tiles.xy, tiles.side_px, [_central(tiles)])[0], EXAMPLE)
    try:
        normaliser = stain.normaliser()
    except StainError:  # fixed vectors have no target
        return None, None
    if rgb is None:
        return None, None
    before = jpeg(rgb, "A tile as scanned", QUALITY)
    return before, jpeg(normaliser.apply(rgb), "The same tile, its stains normalised", QUALITY)


def _central(tiles: Any) -> int:
    """Return the row of the tile nearest to the middle of those that are best to look at."""
    good = _good(tiles)
    full = good[tiles.tissue[good] >= np.quantile(tiles.tissue[good], 0.75)]
    places = np.asarray(tiles.xy[full], np.float64)
    return int(full[np.argmin(((places - np.median(places, axis=0)) ** 2).sum(axis=1))])


def _good(tiles: Any) -> NDArray[np.intp]:
    """Return the rows of tiles that are usable for the most part; of all, when hardly any is."""
    usable = getattr(tiles, "quality", {}).get("usable")
    rows = np.arange(len(tiles)) if usable is None else np.flatnonzero(usable >= USABLE)
    return rows if len(rows) else np.arange(len(tiles))
