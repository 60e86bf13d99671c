"""Slides with what people drew on them, checked before anything is learned from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coverslip.annotations import Annotations
from coverslip.core import Size
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.slides import open_slide

if TYPE_CHECKING:
    from coverslip.cohort import Cohort
    from coverslip.slides import SlideSource

COLUMN = "annotations"
"""Column of the cohort's table that holds the files of shapes, relative to the table."""


@dataclass(frozen=True, eq=False)
class DrawnSlide:
    """A slide and the shapes on it.

    Attributes
    ----------
    source
        The slide; opened by whoever reads pixels.
    size, mpp
        Of level 0.
    drawn
        Shapes of the wanted classes alone, checked.
    """

    source: SlideSource
    size: Size
    mpp: float
    drawn: Annotations


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How drawings are read.

    Attributes
    ----------
    classes
        The classes wanted.
    rename
        Class in the file → class wanted.
    leave_out
        Classes in the files that are not wanted; any other that is no class is refused.
    repair
        Untangle, clip and leave out shapes that cannot be used; each repair is a note.
    """

    classes: tuple[str, ...]
    rename: Mapping[str, str]
    leave_out: tuple[str, ...] = ()
    repair: bool = False


def read_drawn(cohort: Cohort, reading: Reading) -> list[DrawnSlide]:
    """Open every slide of a cohort and read its shapes.

    Raises
    ------
    UsageError
        When the table has no column ``annotations``; and with all problems of all slides: a file that is not
        there or is damaged, shapes that cross themselves, are empty or lie outside, a class that is not
        wanted, a file of another slide. The slide and the shape are named.
    """
    if COLUMN not in cohort.columns:
        raise UsageError(
            f"{cohort.name} has no column {COLUMN}: expected the file of each slide's shapes",
            mend=f"add a column {COLUMN}, e.g. slide,path,{COLUMN} with A.svs and A.geojson",
        )
    files = cohort.column(COLUMN).tolist()
    found: list[DrawnSlide] = []
    problems: list[str] = []
    for source, file in zip(cohort.to_sources(), files, strict=True):
        try:
            found.append(_read(source, folder_of(cohort) / file, reading))
        except CoverslipError as error:
            problems.append(f"{source.id}: {error}")
    if problems:
        listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, 1))
        raise UsageError(
            f"{len(problems)} of {len(files)} slides cannot be learned from:{listed}\n",
            mend="mend these, or take the slides out of the table",
        )
    return found


def folder_of(cohort: Cohort) -> Path:
    """Return the folder that paths in the cohort's table are relative to."""
    return Path(cohort.name).parent


def _read(source: SlideSource, file: Path, reading: Reading) -> DrawnSlide:
    if not file.is_file():
        raise UsageError(f"its annotations {file} are not there", mend="check the path")
    with open_slide(source.path, mpp=source.mpp) as slide:
        mpp = slide.require_mpp()
        drawn = Annotations.read(file, slide=slide).renamed(reading.rename)
        wanted = drawn.take(class_names=[c for c in drawn.classes if c not in reading.leave_out])
        unnamed = sum(shape.class_name is None for shape in drawn.shapes)
        checked = wanted.checked(slide=slide, classes=reading.classes, repair=reading.repair)
        notes = [f"{unnamed} shapes without a class were left out"] if unnamed else []
        kept = Annotations(checked.shapes, checked.classes, checked.drawn_on, (*checked.notes, *notes))
        return DrawnSlide(source, slide.size, mpp, kept)


def missing_classes(slides: Sequence[DrawnSlide], classes: Sequence[str]) -> list[str]:
    """Return the classes that no slide has a region of."""
    there = {shape.class_name for each in slides for shape in each.drawn.shapes if shape.polygons}
    return [name for name in classes if name not in there]
