"""Immunohistochemistry: how many nuclei are positive and how strongly; how far membranes are stained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError, UsageError
from coverslip.measure.interval import share_interval
from coverslip.pipeline.stage import chosen
from coverslip.pipeline.stages.stain import require_haematoxylin
from coverslip.slides import Slide
from coverslip.stain import StainMatrix
from coverslip.store import Objects, ObjectTable, Table

LEVELS = ("negative", "1+", "2+", "3+")
"""Classes of nuclei by their DAB."""


@dataclass(frozen=True)
class PositivityStage:
    """Say of every nucleus how strongly it is positive; of the slide the share of such and the H-score.

    A nucleus is 1+, 2+ or 3+ from the three thresholds on, by its median amount of DAB, which a neighbour's
    DAB that reaches over its edge does not move. The H-score is
    1 · %1+ + 2 · %2+ + 3 · %3+, from 0 to 300 (McCarty 1985). The interval of the share (Wilson 1927, 95 %)
    tells of sampling alone.

    Parameters
    ----------
    of
        Name of the step that measured the nuclei.
    thresholds
        In decades of DAB, rising.
    measurement
        What is held against them: ``dab_p50`` of stage ``measure``, or ``dab_mean``, which stage
        ``classical-nuclei`` gives as well.
    """

    name: ClassVar[str] = "positivity"
    version: ClassVar[int] = 2

    of: str = "nuclei"
    thresholds: tuple[float, float, float] = (0.2, 0.4, 0.6)
    measurement: str = "dab_p50"

    def __post_init__(self) -> None:
        if not 0 < self.thresholds[0] < self.thresholds[1] < self.thresholds[2]:
            raise UsageError(f"thresholds {self.thresholds} do not rise", mend="give e.g. [0.2, 0.4, 0.6]")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of nuclei and stains."""
        return (f"objects/{self.of}", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the classed nuclei and of the slide's numbers."""
        return ("objects/positivity", "tables/positivity")

    def classes(self) -> tuple[str, ...]:
        """Return the levels."""
        return LEVELS

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Class the nuclei.

        Raises
        ------
        StainError
            When the slide is not stained with haematoxylin and DAB, or the nuclei were not measured for it.
        """
        require_dab(slide, chosen(inputs, "stain").stains)
        nuclei = in_memory(chosen(inputs, f"objects/{self.of}"))
        if self.measurement not in nuclei.measurements:
            raise StainError(
                f"{self.of!r} did not measure {self.measurement} of the nuclei",
                mend="measure them first (stage measure); of classical-nuclei take measurement: dab_mean",
            )
        amounts = nuclei[self.measurement]
        levels = np.searchsorted(self.thresholds, amounts, side="right").astype(np.int32)
        made = relabelled(nuclei, levels, LEVELS)
        return {"objects/positivity": made, "tables/positivity": score(levels)}


def score(levels: NDArray[np.integer[Any]]) -> Table:
    """Return the slide's numbers of nuclei of these levels (n,), 0 to 3.

    Examples
    --------
    >>> table = score(np.array([0, 0, 1, 3]))
    >>> float(table["positive_share"][0]), float(table["h_score"][0])
    (0.5, 100.0)
    """
    total, counts = len(levels), np.bincount(levels, minlength=4)
    over = 1 / total if total else float("nan")
    positive = int(counts[1:].sum())
    share = share_interval(positive, total)
    row = {"nuclei": total, "positive": positive, "positive_share": share.value}
    row |= {"positive_share_low": share.low, "positive_share_high": share.high}
    row |= {
        name: count * over for name, count in zip(("weak", "moderate", "strong"), counts[1:], strict=True)
    }
    row |= {"h_score": 100 * over * float(counts @ np.arange(4))}
    return Table({name: np.array([float(value)]) for name, value in row.items()})


def require_dab(slide: Slide, stains: StainMatrix) -> None:
    """Refuse a slide that is not stained with haematoxylin and DAB; raises `StainError`."""
    require_haematoxylin(slide, stains)
    if stains.names[1] != "dab":
        raise StainError(
            f"{slide.path} was taken to show {' and '.join(stains.names[:2])}, expected haematoxylin and dab",
            mend="give stage stain the method H-DAB",
        )


def in_memory(objects: Objects | ObjectTable) -> ObjectTable:
    """Return objects in memory, with their numbers."""
    return objects.read()


def relabelled(objects: ObjectTable, labels: NDArray[np.int32], classes: tuple[str, ...]) -> ObjectTable:
    """Return the same objects with other classes."""
    return ObjectTable(
        objects.polygons,
        classes=classes,
        labels=labels,
        measurements=objects.measurements,
        ids=objects.ids,
        mpp=objects.mpp,
    )
