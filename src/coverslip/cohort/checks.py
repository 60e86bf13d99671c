"""What can be wrong with a table of slides or tiles; each check lists all it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Mpp
from coverslip.core.errors import MppError
from coverslip.core.units import parse_mpp
from coverslip.slides.source import is_url

SPLITS = ("train", "val", "test")
"""Names that a column `split` may hold."""

NOT_IN_NAMES = set('/\\:*?"<>|')

Text = NDArray[np.str_]
Columns = Mapping[str, Text]


def missing_cells(columns: Columns, needed: Sequence[str], lines: Sequence[int]) -> Iterator[str]:
    """List rows without a value that they need."""
    for name in needed:
        for row in np.flatnonzero(columns[name] == "").tolist():
            yield f"line {lines[row]}: no {name}"


def unusable_names(slides: Text, lines: Sequence[int]) -> Iterator[str]:
    """List slide ids that cannot name a folder."""
    for row, name in enumerate(slides):
        if set(str(name)) & NOT_IN_NAMES or name in {".", ".."}:
            yield f"line {lines[row]}: slide {str(name)!r} cannot be the name of a folder"


def repeated(values: Text, lines: Sequence[int], what: str, *, keys: Sequence[str] = ()) -> Iterator[str]:
    """List values that stand in two rows; `keys` are what is compared, by default the values themselves."""
    first: dict[str, int] = {}
    for row, value in enumerate(keys or values.tolist()):
        other = first.setdefault(value, row)
        if value and other != row:
            yield f"line {lines[row]}: {what} {str(values[row])!r} stands in line {lines[other]} already"


def several(columns: Columns, inner: str, outer: str) -> Iterator[str]:
    """List values of column `inner` that go with several values of `outer`: a case of two patients."""
    seen: dict[str, dict[str, None]] = {}
    for key, value in zip(columns[inner].tolist(), columns[outer].tolist(), strict=True):
        if key and value:
            seen.setdefault(key, {})[value] = None
    for key, values in seen.items():
        if len(values) > 1:
            yield f"{inner} {key!r} has {len(values)} values of {outer}: {', '.join(values)}"


def missing_files(paths: Text, lines: Sequence[int]) -> Iterator[str]:
    """List local paths that lead nowhere; addresses are not asked."""
    for row, path in enumerate(paths.tolist()):
        if path and not is_url(path) and not Path(path).exists():
            yield f"line {lines[row]}: there is no file {path}"


def read_mpps(values: Text, lines: Sequence[int]) -> tuple[NDArray[np.float64], list[str]]:
    """Return microns per pixel (n,), NaN where none is given, and what cannot be read."""
    numbers = np.full(len(values), np.nan)
    problems = []
    for row, text in enumerate(values.tolist()):
        try:
            numbers[row] = parse_mpp(text) if text else Mpp(np.nan)
        except MppError as error:
            problems.append(f"line {lines[row]}: {error.message}")
    return numbers, problems


def unknown_splits(values: Text, lines: Sequence[int]) -> Iterator[str]:
    """List names of splits that are none."""
    for row, value in enumerate(values.tolist()):
        if value and value.lower() not in SPLITS:
            yield f"line {lines[row]}: split {value!r} is unknown: expected {', '.join(SPLITS)} or nothing"


def real_paths(paths: Text) -> list[str]:
    """Return what tells two spellings of one path to be the same."""
    return [path if not path or is_url(path) else str(Path(path).resolve()) for path in paths.tolist()]
