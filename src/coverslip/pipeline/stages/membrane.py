"""How far the membranes of cells are stained, and how strongly: HER2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.pipeline.stages.classical import widened
from coverslip.pipeline.stages.ihc import LEVELS, relabelled, require_dab
from coverslip.slides import Slide
from coverslip.stain import StainMatrix, separate
from coverslip.store import ObjectTable, Table
from coverslip.tiles import Tiles, stream

RAYS = 32
"""Directions in which the membrane is looked for."""

STEP_UM = 0.25
"""Between the places on a ray that are looked at."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MembraneStage:
    """Grade the staining of each cell's membrane, and the slide.

    From the edge of each nucleus 32 rays go outwards; a ray meets the membrane where DAB within `reach_um` is
    at its highest. ``completeness`` is the share of rays on which that is at least `stained`, and
    ``dab_membrane`` its mean on those. A cell is 3+ when `complete` of its membrane is stained and the mean
    is at least `strong`; 2+ when as much is stained less strongly; 1+ when at least `touched` of it is; else
    negative.

    The slide's score follows Wolff 2018 (ASCO/CAP): 3+ when more than 10 % of the cells are 3+; else 2+ when
    more than 10 % are 2+ or 3+; else 1+ when more than 10 % are stained at all; else 0.

    Parameters
    ----------
    of
        Name of the step that found the tumour cells' nuclei.
    reach_um
        How far from the nucleus the membrane may lie.
    stained, strong
        Decades of DAB.
    complete, touched
        Shares of the membrane.
    """

    name: ClassVar[str] = "membrane"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    reach_um: float = 4.0
    stained: float = 0.2
    strong: float = 0.6
    complete: float = 0.8
    touched: float = 0.25

    def __post_init__(self) -> None:
        if not (
            0 < self.stained < self.strong and 0 < self.touched < self.complete <= 1 and self.reach_um > 0
        ):
            raise UsageError("thresholds must rise: stained < strong, touched < complete, and reach above 0")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tiles, stains and nuclei."""
        return ("tiles", "stain", f"objects/{self.of}")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the graded cells and of the slide's numbers."""
        return ("objects/membrane", "tables/membrane")

    def classes(self) -> tuple[str, ...]:
        """Return the grades."""
        return LEVELS

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Grade the cells.

        Raises
        ------
        StainError
            When the slide is not stained with haematoxylin and DAB.
        """
        tiles, stains = chosen(inputs, "tiles"), chosen(inputs, "stain").stains
        require_dab(slide, stains)
        nuclei: ObjectTable = chosen(inputs, f"objects/{self.of}").read()
        notes: list[str] = []
        values = self._measured(slide, tiles, (nuclei, stains), notes)
        levels = self.graded(values[:, 0], values[:, 1])
        measured = {"completeness": values[:, 0], "dab_membrane": values[:, 1]}
        made = relabelled(nuclei.with_measurements(measured), levels, LEVELS)
        return {"objects/membrane": made, "tables/membrane": slide_score(levels), NOTES: notes}

    def graded(self, completeness: Floats, amount: Floats) -> NDArray[np.int32]:
        """Return the grade of each cell, 0 to 3."""
        whole = completeness >= self.complete
        grade = np.where(
            whole, np.where(amount >= self.strong, 3, 2), np.where(completeness >= self.touched, 1, 0)
        )
        return grade.astype(np.int32)

    def _measured(
        self, slide: Slide, tiles: Tiles, look: tuple[ObjectTable, StainMatrix], notes: list[str]
    ) -> Floats:
        """Return completeness and mean amount of each cell (n, 2)."""
        nuclei, stains = look
        found = np.zeros((len(nuclei), 2))
        margin = int(np.ceil((self.reach_um + 12) / tiles.mpp))
        cells = _by_tile(nuclei.xy, tiles)
        busy = tiles.take([i for i in range(len(tiles)) if len(cells[i])])
        rows = [cells[i] for i in range(len(tiles)) if len(cells[i])]
        for batch in stream(slide, widened(busy, margin), batch_size=4):
            notes += (error for error in batch.errors if error not in notes)
            for rgb, index in zip(batch.pixels, batch.index, strict=True):
                plane = separate(rgb, stains)[..., 1]
                corner = busy.xy[index] - margin * busy.downsample
                for row in rows[index]:
                    outline: Any = nuclei.polygons[row]
                    ring = (np.asarray(outline.exterior.coords) - corner) / busy.downsample
                    found[row] = self._cell(plane, ring, busy.mpp)
        return found

    def _cell(self, plane: NDArray[np.float32], ring: Floats, mpp: float) -> tuple[float, float]:
        import cv2

        middle = ring[:-1].mean(axis=0)
        around = ring[:-1] - middle
        angle = np.arctan2(around[:, 1], around[:, 0])
        order = np.argsort(angle)
        theta = -np.pi + 2 * np.pi * (np.arange(RAYS) + 0.5) / RAYS
        edge = np.interp(theta, angle[order], np.hypot(*around.T)[order], period=2 * np.pi)
        away = edge[:, None] + np.arange(0, self.reach_um, STEP_UM) / mpp
        x = middle[0] + np.cos(theta)[:, None] * away - 0.5
        y = middle[1] + np.sin(theta)[:, None] * away - 0.5
        seen = cv2.remap(plane, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)
        peak = seen.max(axis=1)
        stained = peak >= self.stained
        return float(stained.mean()), float(peak[stained].mean()) if stained.any() else 0.0


def slide_score(levels: NDArray[np.int32]) -> Table:
    """Return the slide's numbers of cells of these grades.

    Examples
    --------
    >>> slides = ([3, 0, 0, 0], [2, 1, 0], [0, 0], [1, 0])
    >>> [float(slide_score(np.array(grades))["score"][0]) for grades in slides]
    [3.0, 2.0, 0.0, 1.0]
    """
    counts, total = np.bincount(levels, minlength=4), max(len(levels), 1)
    above = counts[::-1].cumsum()[::-1] / total
    score = next((grade for grade in (3, 2, 1) if above[grade] > 0.1), 0)
    row = {"cells": len(levels), "score": score}
    row |= {f"share_{grade}": counts[grade] / total for grade in range(4)}
    return Table({name: np.array([float(value)]) for name, value in row.items()})


def _by_tile(xy: Floats, tiles: Tiles) -> list[list[int]]:
    """Return for each tile the rows of the points that lie in it; a point counts in one tile."""
    cells: list[list[int]] = [[] for _ in range(len(tiles))]
    left = np.ones(len(xy), bool)
    for index, (x, y) in enumerate(tiles.xy.tolist()):
        inside = left & (xy[:, 0] >= x) & (xy[:, 1] >= y)
        inside &= (xy[:, 0] < x + tiles.side_px) & (xy[:, 1] < y + tiles.side_px)
        cells[index] = np.flatnonzero(inside).tolist()
        left &= ~inside
    return cells
