"""Published tile sets as cohorts: a folder of class folders, or a table of pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coverslip.cohort import checks
from coverslip.cohort.cohort import MEND, Rows, linked, whole_paths
from coverslip.cohort.table import Table, Text, as_text, read_table, refuse
from coverslip.core.errors import UsageError

PICTURES = frozenset([".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"])

FIXED = ("path", "tile", "source", "site", "split")


@dataclass(frozen=True, eq=False)
class TileCohort(Rows):
    """Tiles that are files of their own, with labels. Tiles of one source never straddle a split.

    Made by `TileCohort.read`. Columns are ``tile`` (the path as it was written), ``path``, ``source`` (the
    slide, patient or picture that a tile was taken from), any label columns, perhaps ``site`` and ``split``.
    """

    @classmethod
    def read(cls, source: Any, *, files: bool = True) -> TileCohort:
        """Read and check a cohort of tiles.

        Parameters
        ----------
        source
            A folder of class folders, the path of a CSV or Parquet file of ``path, label[, source]``, or such
            a table in memory.
        files
            Whether each path must exist.

        Raises
        ------
        UsageError
            With all problems, numbered.
        """
        folder = isinstance(source, (str, os.PathLike)) and Path(source).is_dir()
        table = _folder(Path(source)) if folder else read_table(source, ("path", "label"))
        columns, notes = dict(table.columns), []
        columns["tile"] = columns["path"]
        columns["path"] = whole_paths(columns["path"], table.folder)
        if "source" not in columns:
            columns["source"] = columns["tile"].copy()
            notes.append(
                "no column source: each tile stands alone, and nothing keeps tiles of one slide together"
            )
        elif (empty := columns["source"] == "").any():
            columns["source"] = np.where(empty, columns["tile"], columns["source"])
            notes.append(f"{int(empty.sum())} rows without source: each of them stands alone")
        labels = tuple(name for name in columns if name not in FIXED)
        cohort = cls(columns, labels, table.lines, table.name, tuple(notes))
        refuse(table.name, _problems(cohort, files=files), MEND)
        return cohort

    @property
    def unit(self) -> str:
        """``source``."""
        return "source"

    def with_sources(self, groups: ArrayLike) -> TileCohort:
        """Return a cohort whose sources are joined wherever two of their tiles share a group.

        Parameters
        ----------
        groups
            (n,): for instance `Copies.groups` of a tile set that does not say where its tiles are from.

        Raises
        ------
        UsageError
            When there is not a group per tile.

        Examples
        --------
        >>> tiles = TileCohort.read({"path": ["a", "b", "c"], "label": ["x", "x", "y"]}, files=False)
        >>> tiles.with_sources([0, 0, 1]).column("source").tolist()
        ['a', 'a', 'c']
        """
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        if codes.shape != (len(self),):
            raise UsageError(f"groups are {np.shape(groups)}: expected one for each of {len(self)} tiles")
        joined = linked(np.unique(self.columns["source"], return_inverse=True)[1], codes)
        first = np.unique(joined, return_index=True)[1]
        columns = {**self.columns, "source": self.columns["source"][first][joined]}
        return replace(self, columns=columns, notes=(*self.notes, "sources that share a group are joined"))

    @property
    def ids(self) -> Text:
        """The tiles' paths as they were written, (n,)."""
        return self.columns["tile"]

    def problems(self) -> list[str]:
        """List everything that is wrong, files on disk included."""
        return _problems(self, files=True)


def _folder(folder: Path) -> Table:
    files = sorted(file for file in folder.glob("*/**/*") if file.suffix.lower() in PICTURES)
    names = [file.relative_to(folder) for file in files if not file.name.startswith(".")]
    if not names:
        raise UsageError(
            f"{folder} holds no class folders with pictures",
            mend=f"lay it out as {folder.name}/CLASS/TILE.png, or give a CSV of path,label",
        )
    columns = {
        "path": as_text([name.as_posix() for name in names]),
        "label": as_text([name.parts[0] for name in names]),
    }
    return Table(columns, np.arange(1, len(names) + 1, dtype=np.int64), str(folder), folder)


def _problems(cohort: TileCohort, *, files: bool) -> list[str]:
    columns, lines = cohort.columns, cohort.lines.tolist()
    if not lines:
        return ["no rows"]
    found = [
        *checks.missing_cells(columns, ("path", *cohort.label_columns), lines),
        *checks.repeated(columns["path"], lines, "path", keys=checks.real_paths(columns["path"])),
    ]
    if "split" in columns:
        found += checks.unknown_splits(columns["split"], lines)
        found += checks.several(columns, "source", "split")
    if files:
        found += checks.missing_files(columns["path"], lines)
    return found
