"""Patients, cases, slides and labels as one checked table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.cohort import checks
from coverslip.cohort.labels import Labels, Target, as_target
from coverslip.cohort.table import Table, Text, as_text, read_table, refuse
from coverslip.core import Mpp, unknown
from coverslip.core.errors import UsageError
from coverslip.slides import SlideSource
from coverslip.slides.source import is_url

FIXED = ("slide", "case", "patient", "path", "site", "scanner", "stain", "mpp", "split")
"""Columns with a meaning of their own; every other one is a label column."""

MEND = "mend these lines and read the table again"


@dataclass(frozen=True, eq=False)
class Rows:
    """What a cohort of slides and one of tiles share: columns of text, labels, a digest.

    Attributes
    ----------
    columns
        By name, text (n,), read-only.
    label_columns
        Names of the columns that can be predicted.
    lines
        int64 (n,): the line of each row in the table it came from.
    name
        What errors call the cohort.
    notes
        What was filled in by default.
    """

    columns: Mapping[str, Text]
    label_columns: tuple[str, ...]
    lines: NDArray[np.int64]
    name: str = "the cohort"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for values in self.columns.values():
            values.setflags(write=False)
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> Text:
        """Return the text of a column, (n,).

        Raises
        ------
        UnknownNameError
            When there is no such column.
        """
        key = name.strip().lower()
        if key not in self.columns:
            raise unknown("column", name, self.columns)
        return self.columns[key]

    def labels(self, target: str | Target) -> Labels:
        """Return classes and a code per row; a bare name is a multiclass target.

        Raises
        ------
        UnknownNameError, UsageError
            When there is no such column, or a value does not fit the target.
        """
        wanted = as_target(target)
        return wanted.encode(self.column(wanted.column))

    def take(self, rows: ArrayLike | slice) -> Self:
        """Return a cohort of these rows, in this order; `rows` are indices, a mask (n,) or a slice.

        Raises
        ------
        UsageError
            When they are none of these, or lie outside.
        """
        wanted = rows if isinstance(rows, slice) else np.asarray(rows)
        if isinstance(wanted, np.ndarray) and wanted.size == 0:
            wanted = wanted.astype(np.int64)
        try:
            index = np.arange(len(self))[wanted]
        except IndexError as error:
            raise UsageError(
                f"these rows cannot be taken from {len(self)}: {error}",
                mend=f"give indices from 0 to {len(self) - 1}, or a mask of {len(self)}",
            ) from error
        columns = {name: values[index] for name, values in self.columns.items()}
        return replace(self, columns=columns, lines=self.lines[index])

    @property
    def unit(self) -> str:
        """The column that no split may cut through."""
        raise NotImplementedError

    @property
    def ids(self) -> Text:
        """What names a row, (n,)."""
        raise NotImplementedError

    def problems(self) -> list[str]:
        """List everything that is wrong, files on disk included."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """SHA-256 of who is who and of the labels, in order; where the files lie is no part of it."""
        sha = hashlib.sha256()
        for name in sorted(set(self.columns) - {"path"}):
            values = [name, *self.columns[name].tolist()]
            sha.update("".join(f"{len(value)}:{value}" for value in values).encode())
        return sha.hexdigest()

    def check(self) -> None:
        """Check again, e.g. whether the files are still there.

        Raises
        ------
        UsageError
            With all problems, numbered.
        """
        refuse(self.name, self.problems(), MEND)


@dataclass(frozen=True, eq=False)
class Cohort(Rows):
    """Slides, whose they are, and their labels. Made by `Cohort.read`; it cannot change afterwards.

    Attributes
    ----------
    labels_per
        Whether label columns describe a ``case`` (all its slides agree) or a ``slide``.

    Examples
    --------
    >>> table = {"slide": ["a", "b"], "path": ["a.svs", "b.svs"], "label": ["x", "y"]}
    >>> cohort = Cohort.read(table, files=False)
    >>> cohort.labels("label").classes, cohort.notes
    (('x', 'y'), ('no column case: each slide is a case', 'no column patient: each case is a patient'))
    """

    labels_per: Literal["case", "slide"] = "case"

    @classmethod
    def read(
        cls,
        source: Any,
        *,
        labels: Sequence[str] | None = None,
        labels_per: Literal["case", "slide"] = "case",
        files: bool = True,
    ) -> Cohort:
        """Read and check a cohort.

        Parameters
        ----------
        source
            Path of a CSV or Parquet file, or a pyarrow table, pandas data frame or dict of columns. Columns
            ``slide, path`` and, if need be, ``case, patient, site, scanner, stain, mpp, split``; all others
            are labels. Names are read in lower case; paths are relative to the file.
        labels
            Names of the label columns, when not all others are.
        labels_per
            ``case`` refuses slides of one case that have different labels; ``slide`` does not.
        files
            Whether each local path must exist.

        Raises
        ------
        UsageError
            With all problems, numbered: empty cells, files that are not there, slides or files named twice, a
            slide in two cases, a case of two patients, labels that contradict, mpp or split that cannot be.
        """
        if labels_per not in {"case", "slide"}:
            raise unknown("labels_per", labels_per, ("case", "slide"))
        table = read_table(source, ("slide", "path"))
        columns, notes = _completed(table)
        names = tuple(name.strip().lower() for name in labels) if labels is not None else None
        missing = [name for name in names or () if name not in columns]
        if missing:
            raise unknown("label column", missing[0], columns)
        chosen = names if names is not None else tuple(name for name in columns if name not in FIXED)
        cohort = cls(columns, chosen, table.lines, table.name, notes, labels_per)
        refuse(table.name, _problems(cohort, files=files), MEND)
        return cohort

    @property
    def unit(self) -> str:
        """``patient``."""
        return "patient"

    @property
    def ids(self) -> Text:
        """Slide ids, (n,)."""
        return self.columns["slide"]

    @property
    def mpp(self) -> NDArray[np.float64]:
        """Microns per pixel of level 0 as the table states them, (n,); NaN where it does not."""
        if "mpp" not in self.columns:
            return np.full(len(self), np.nan)
        return checks.read_mpps(self.columns["mpp"], self.lines.tolist())[0]

    def to_sources(self) -> list[SlideSource]:
        """Return the slides to be opened."""
        rows = zip(self.ids.tolist(), self.columns["path"].tolist(), self.mpp.tolist(), strict=True)
        return [SlideSource(name, path, None if mpp != mpp else Mpp(mpp)) for name, path, mpp in rows]  # noqa: PLR0124

    def problems(self) -> list[str]:
        """List everything that is wrong, files on disk included."""
        return _problems(self, files=True)


def _completed(table: Table) -> tuple[dict[str, Text], tuple[str, ...]]:
    """Return columns with whole paths, case and patient filled in, and notes of what was filled in."""
    columns = dict(table.columns)
    columns["path"] = whole_paths(columns["path"], table.folder)
    notes = []
    for name, fallback in (("case", "slide"), ("patient", "case")):
        if name not in columns:
            columns[name] = columns[fallback].copy()
            notes.append(f"no column {name}: each {fallback} is a {name}")
            continue
        empty = columns[name] == ""
        if empty.any():
            columns[name] = np.where(empty, columns[fallback], columns[name])
            notes.append(f"{int(empty.sum())} rows without {name}: their {fallback} is taken")
    return columns, tuple(notes)


def whole_paths(paths: Text, folder: Path) -> Text:
    """Put `folder` before relative paths; addresses stay."""
    return as_text(
        [path if not path or is_url(path) else os.path.normpath(folder / path) for path in paths.tolist()]
    )


def _problems(cohort: Cohort, *, files: bool) -> list[str]:
    columns, lines = cohort.columns, cohort.lines.tolist()
    if not lines:
        return ["no rows"]
    slides = columns["slide"]
    found: list[str] = [
        *checks.missing_cells(columns, ("slide", "path", *cohort.label_columns), lines),
        *checks.unusable_names(slides, lines),
        *checks.repeated(slides, lines, "slide", keys=[str(name).casefold() for name in slides]),
        *checks.repeated(columns["path"], lines, "path", keys=checks.real_paths(columns["path"])),
        *checks.several(columns, "slide", "case"),
        *checks.several(columns, "case", "patient"),
        *_contradictions(cohort),
    ]
    if "mpp" in columns:
        found += checks.read_mpps(columns["mpp"], lines)[1]
    if "split" in columns:
        found += checks.unknown_splits(columns["split"], lines)
        found += checks.several(columns, "patient", "split")
    if files:
        found += checks.missing_files(columns["path"], lines)
    return found


def _contradictions(cohort: Cohort) -> Iterator[str]:
    if cohort.labels_per == "slide":
        return
    for name in cohort.label_columns:
        for problem in checks.several(cohort.columns, "case", name):
            yield f"{problem} (when {name} describes single slides, say labels_per='slide')"


def linked(one: NDArray[np.intp], other: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return a number per row, (n,), equal where rows are tied by codes of either kind, at any remove.

    Examples
    --------
    >>> linked(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    offset = int(one.max(initial=-1)) + 1
    nodes = offset + int(other.max(initial=-1)) + 1
    ties = coo_array((np.ones(len(one)), (one, other + offset)), shape=(nodes, nodes))
    return np.asarray(connected_components(ties, directed=False)[1], np.int64)[one]
