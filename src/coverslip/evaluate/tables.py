"""Read predictions from a run, a Parquet file or a CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.evaluate.predictions import FOLD, IDS, KINDS, PREDICTION, PROBABILITY, TRUTH, Predictions
from coverslip.store import RunFolder

PREFIXES = (PROBABILITY, "prob_", "p_")
"""What a column of probabilities may begin with."""

LAYOUT = f"expected {TRUTH}, then {PROBABILITY}<class> per class (or {PREDICTION} for numbers), and patient"

Columns = Mapping[str, Any]
"""Name → cells, a sequence or an array."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table is to be read where it does not say so itself.

    Attributes
    ----------
    kind
        See `Predictions`; None takes what the file says, else binary or multiclass.
    classes
        In order; None takes those of the columns of probabilities.
    truth, patient, fold
        Names of those columns.
    """

    kind: str | None = None
    classes: tuple[str, ...] | None = None
    truth: str = TRUTH
    patient: str = "patient"
    fold: str = FOLD


def read_predictions(
    source: str | Path, *, target: str | None = None, reading: Reading | None = None
) -> Predictions:
    """Read one table of predictions.

    Parameters
    ----------
    source
        A run (then `target` names its ``predictions/<target>``; not needed when there is one), a ``.parquet``
        file or a CSV.
    reading
        Columns and kind where the file does not say.

    Raises
    ------
    StoreError, UsageError, UnknownNameError
        When it is not there or cannot be read as predictions.
    """
    reading, path = reading or Reading(), Path(source)
    if path.is_dir():
        run = RunFolder(path)
        chosen = target or _only(targets(run), path)
        if chosen not in targets(run):
            raise unknown("target", chosen, targets(run))
        path = run.path_of(None, f"predictions/{chosen}")
        target = chosen
    columns, notes = _table(path)
    name = target or str(notes.get("target") or path.stem)
    return _predictions(columns, notes, reading, (str(path), name))


def targets(run: RunFolder) -> tuple[str, ...]:
    """Return what a run holds predictions of slides or cases for."""
    return tuple(key.partition("/")[2] for key in run.keys(None) if key.startswith("predictions/"))


def _only(names: tuple[str, ...], path: Path) -> str:
    if not names:
        raise StoreError(
            f"the run {path} holds no predictions of slides or cases",
            mend="give a run of `coverslip train`, or a table of predictions",
        )
    if len(names) > 1:
        raise UsageError(
            f"the run {path} predicts {', '.join(names)}", mend=f"choose one: --target {names[0]}"
        )
    return names[0]


def _table(path: Path) -> tuple[Columns, Mapping[str, Any]]:
    if not path.is_file():
        raise StoreError(f"there are no predictions at {path}", mend="check the path")
    if path.suffix.lower() in (".parquet", ".pq"):
        from coverslip.store.kinds.table import read_columns

        return read_columns(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head, *rows = csv.reader(file, dialect=_dialect(file.readline(), file))
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a CSV: {error}", mend=LAYOUT) from error
    rows = [row for row in rows if any(row)]
    short = [number for number, row in enumerate(rows, 2) if len(row) != len(head)]
    if short or not rows:
        what = f"line {short[0]} has other columns than the head" if short else "there is no row"
        raise UsageError(f"{path} cannot be read: {what}", mend=LAYOUT)
    return {name.strip(): [row[i].strip() for row in rows] for i, name in enumerate(head)}, {}


def _dialect(first: str, file: Any) -> type[csv.Dialect]:
    file.seek(0)

    class Found(csv.excel):
        delimiter = max(",;\t", key=first.count)

    return Found


def _predictions(
    columns: Columns, notes: Mapping[str, Any], reading: Reading, named: tuple[str, str]
) -> Predictions:
    path, target = named
    classes, said = _probabilities(columns, reading, notes, path)
    kind = reading.kind or notes.get("kind") or ("binary" if len(classes) == 2 else "multiclass")
    if kind not in KINDS:
        raise unknown("kind of target", kind, KINDS)
    if kind == "regression":
        classes, said = (), _numbers(columns, PREDICTION, path)
    elif not classes:
        raise UsageError(
            f"{path} has no column of probabilities; its columns are {', '.join(columns)}",
            mend=f"{LAYOUT}; for numbers give --kind regression",
        )
    truth, known = _truth(columns, kind, classes, (reading.truth, path))
    fold = _text(columns[reading.fold]) if reading.fold in columns else None
    ids = {
        name: _text(columns[column])
        for name, column in zip(IDS, (reading.patient, *IDS[1:]), strict=True)
        if column in columns
    }
    left = int((~known).sum())
    told = (f"{left} of {len(known)} rows have no truth and are left out.",) if left else ()
    whole = Predictions(kind, classes, truth, said, ids=ids, fold=fold, target=target, notes=told)
    return whole.take(known) if left else whole


def _probabilities(
    columns: Columns, reading: Reading, notes: Mapping[str, Any], path: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    found = {
        name.removeprefix(prefix): name
        for prefix in reversed(PREFIXES)
        for name in columns
        if name.startswith(prefix)
    }
    classes = reading.classes or tuple(notes.get("classes", ())) or tuple(found)
    if "probability" in columns and not found:
        if len(classes) != 2:
            raise UsageError(
                f"{path} has one column of probabilities and does not say of which class",
                mend="name both classes, the positive one last: --classes benign,tumour",
            )
        values = _numbers(columns, "probability", path)
        return classes, np.stack([1 - values, values], axis=1)
    for name in classes:
        if name not in found:
            raise unknown("column of probabilities of class", name, found)
    if not classes:
        return (), np.empty((len(next(iter(columns.values()), ())), 0))
    return classes, np.stack([_numbers(columns, found[name], path) for name in classes], axis=1)


def _truth(
    columns: Columns, kind: str, classes: tuple[str, ...], named: tuple[str, str]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the truth, and which rows have one."""
    column, path = named
    if kind == "multilabel":
        several = np.stack([_numbers(columns, f"{column}_{name}", path) for name in classes], axis=1)
        return several, np.asarray(~np.isnan(several).all(axis=1))
    if kind == "regression":
        numbers = _numbers(columns, column, path)
        return numbers, ~np.isnan(numbers)
    text = _text(_column(columns, column, path))
    return text, text != ""


def _column(columns: Columns, name: str, path: str) -> Any:
    if name not in columns:
        raise UsageError(f"{path} has no column {name!r}; its columns are {', '.join(columns)}", mend=LAYOUT)
    return columns[name]


def _numbers(columns: Columns, name: str, path: str) -> NDArray[np.float64]:
    cells = _column(columns, name, path)
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = np.nan if cell is None or cell == "" else float(cell)
        except ValueError as error:
            raise UsageError(
                f"{path}, row {row + 1}, column {name!r}: {cell!r} is no number", mend=LAYOUT
            ) from error
    return values


def _text(cells: Sequence[Any]) -> NDArray[np.str_]:
    from coverslip.cohort.table import as_text

    return as_text(cells)
