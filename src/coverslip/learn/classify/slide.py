"""The task ``classify``, method ``slide``: whole slides made small, judged in one look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Cohort, Splits, check_leakage
from coverslip.cohort.table import refuse
from coverslip.core.errors import CoverslipError
from coverslip.learn.classify.picture_task import PictureTask
from coverslip.learn.classify.specs import codes_of
from coverslip.learn.classify.tile_set import TileSet
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, silent
from coverslip.models.shrink import check_fit, shrunk_slide
from coverslip.slides import open_slide

FIT = FitSpec(epochs=60, batch_size=16, lr=1e-3, ema=0.98)


@dataclass(frozen=True, kw_only=True)
class SlideTask(PictureTask):
    """Learn the class of slides from one small picture of each.

    Parameters
    ----------
    cohort
        A table of slides.
    size
        Side of the picture in pixels; a slide is fitted into it, padded with white, never skewed.
    mpp
        Microns per pixel of the picture, the same for all slides, which then must fit into it; None fits each
        slide's longer side.

    Notes
    -----
    The other parameters are those of `PictureTask`.
    """

    key: ClassVar[str] = "classify/slide"

    size: int = 512
    views: Literal[1, 2, 4, 8] | None = 8
    fit: FitSpec = FIT

    @property
    def of_tile_set(self) -> bool:
        """False: a slide each."""
        return False

    def plan(self) -> Plan:
        """See `coverslip.learn.Task.plan`."""
        return ShrunkSlides.of(self).plan()

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """See `coverslip.learn.Task.train`."""
        read = ShrunkSlides.of(self)
        read.plan()
        return read.train(run, listen=listen)


@dataclass(frozen=True, eq=False)
class ShrunkSlides(TileSet):
    """A task on slides made small, read and split; learned as a tile set is, a picture per slide."""

    @classmethod
    def of(cls, task: SlideTask) -> ShrunkSlides:
        """Read and split the cohort.

        Raises
        ------
        UsageError, UnknownNameError
            With all that is wrong with the table; when it cannot be split.
        """
        target = task.classes_of
        cohort: Any = Cohort.read(task.cohort, labels=[target.column], labels_per=task.labels_per)
        classes, codes = codes_of(cohort, target)
        splits: Splits = task.split.of(cohort, target)
        return cls(task, cohort, target, classes, codes, splits, task.learner(classes, cohort))  # type: ignore[arg-type]

    def plan(self) -> Plan:
        """Check the network, that every slide can be made small, and the split."""
        weights = self.learner.check()
        self._check_slides()
        split = self.task.split
        options: dict[str, Any] = {"look": split.look, "tolerated": split.tolerated}
        leakage = check_leakage(self.cohort, self.splits, target=self.target, **options)
        leakage.refuse()
        counts = np.bincount(self.codes, minlength=len(self.classes)).tolist()
        scale = f"at {self.task.mpp:g} µm per pixel" if self.task.mpp else "each fitted"
        facts = {
            "method": f"whole slides, {scale}",
            "slides": f"{len(self.cohort)} of {len(np.unique(self.cohort.column('patient')))} patients",
            "classes": ", ".join(f"{n} {c}" for n, c in zip(self.classes, counts, strict=True)),
            "split": f"{self.splits.method}; {len(self.splits.folds)} fold(s)",
            **self.task.facts(weights, len(self.splits.folds)),
        }
        values = {"rows": len(self.cohort), "classes": list(self.classes), **weights}
        return Plan(facts, (*self.cohort.notes, *leakage.warnings), values)

    def _check_slides(self) -> None:
        problems: list[str] = []
        for source in self._sources():
            try:
                with open_slide(source.path, mpp=source.mpp) as slide:
                    slide.require_colour()
                    if self.task.mpp is not None:
                        check_fit(slide, self.task.size, self.task.mpp)
            except CoverslipError as error:
                problems.append(f"{source.id}: {error.message}")
        refuse("the cohort", problems, "mend these, or take the slides out of the table")

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        for source in self._sources():
            with open_slide(source.path, mpp=source.mpp) as slide:
                yield shrunk_slide(slide, self.task.size, self.task.mpp)

    def _sources(self) -> Any:
        return self.cohort.to_sources()  # type: ignore[attr-defined]

    def _ids(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {name: self.cohort.column(name)[rows] for name in ("slide", "case", "patient")}
