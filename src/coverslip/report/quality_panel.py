"""What the page says about a slide's fitness to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coverslip.report.charts import Axis, Histogram, histogram
from coverslip.report.crops import Square, examples, spread, squares_at
from coverslip.report.findings import Findings, cell_corners, flag_share, flags_of
from coverslip.report.palette import flag_colour, words
from coverslip.report.pictures import Picture
from coverslip.slides.slide import Slide

if TYPE_CHECKING:
    from coverslip.tissue.quality import Quality

EXAMPLES = 3
"""Pictures shown for each kind of flag."""


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One kind of flag: the share of the tissue it covers, and what it looks like here."""

    name: str
    colour: str
    share: float
    examples: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class QualityPanel:
    """Usable share of the tissue, distribution of focus, and the flags, commonest first."""

    usable: float | None
    focus: Histogram | None
    flags: tuple[FlagRow, ...]
    clean: tuple[str, ...]


def quality_panel(findings: Findings, slide: Slide | None) -> QualityPanel | None:
    """Make the panel; None when quality was not assessed."""
    quality = findings.quality
    if quality is None:
        return None
    shares = {flag: flag_share(quality, flag) for flag in flags_of(quality)}
    order = sorted(shares, key=lambda flag: -shares[flag])
    rows = tuple(_row(findings, quality, slide, flag) for flag in order if shares[flag] > 0)
    focus = quality.cells.get("focus")
    chart = None if focus is None else histogram(focus, Axis("Focus score", low=0.0))
    clean = tuple(words(flag) for flag in order if shares[flag] == 0)
    return QualityPanel(quality.summary.get("usable_fraction"), chart, rows, clean)


def _row(findings: Findings, quality: Quality, slide: Slide | None, flag: str) -> FlagRow:
    rows = worst(quality, flag)
    rows = rows[: max(EXAMPLES, len(rows) // 2)]
    chosen = squares_at(cell_corners(quality), quality.side_px, rows[spread(len(rows), EXAMPLES)].tolist())
    pictures = examples(slide, _grown(chosen, findings), f"Example of {words(flag)}")
    return FlagRow(words(flag), flag_colour(flag), flag_share(quality, flag), pictures)


def worst(quality: Quality, flag: str) -> NDArray[np.intp]:
    """Return the rows of the cells under a flag, those that it fits best first."""
    rows = np.flatnonzero(flags_of(quality)[flag])
    score = quality.cells.get(f"{flag}_share", quality.cells["tissue"])[rows]
    if flag == "blur":
        score = -np.nan_to_num(quality.cells["focus"][rows], nan=np.inf)
    return rows[np.argsort(-score, kind="stable")]


def _grown(squares: list[Square], findings: Findings) -> list[Square]:
    """Show cells smaller than 112 µm with what surrounds them, or nobody could tell what they are."""
    least = 112 / findings.mpp if findings.mpp else 224.0
    return [
        square
        if square.side >= least
        else Square(square.x - (least - square.side) / 2, square.y - (least - square.side) / 2, least)
        for square in squares
    ]
