"""Tables of text as they come in: CSV, Parquet, or in memory; no meaning is given to them here."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import SlideNotFoundError, UsageError
from coverslip.slides.tables import read_rows

PROBLEMS_SHOWN = 50

Text = NDArray[np.str_]


@dataclass(frozen=True)
class Table:
    """Columns of text.

    Attributes
    ----------
    columns
        By name in lower case; all of one length, stripped, empty where nothing is given.
    lines
        int64 (n,): the line of each row in its file, or its number from 1.
    name
        What errors call the table.
    folder
        What relative paths in it are relative to.
    """

    columns: Mapping[str, Text]
    lines: NDArray[np.int64]
    name: str
    folder: Path


def read_table(source: Any, needed: tuple[str, ...]) -> Table:
    """Read a CSV or Parquet file, a pyarrow table, a pandas data frame or a mapping of columns.

    Raises
    ------
    SlideNotFoundError, UsageError
        When there is no such file, it cannot be read as a table, or lacks a column that is `needed`.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _in_memory(source, needed, name="the table", folder=Path())
    path = Path(source)
    if path.suffix.lower() in {".parquet", ".pq"}:
        return _in_memory(_parquet(path), needed, name=str(path), folder=path.parent)
    rows = read_rows(path, needed)
    names = list(rows[0][1]) if rows else list(needed)
    columns = {name: as_text([row.get(name, "") for _, row in rows]) for name in names if name}
    return Table(columns, np.array([line for line, _ in rows], np.int64), str(path), path.parent)


def as_text(values: Sequence[Any]) -> Text:
    """Turn cells into stripped text: whole numbers without a point, missing ones empty.

    Examples
    --------
    >>> as_text([1.0, None, " a ", 0.25]).tolist()
    ['1', '', 'a', '0.25']
    """
    return np.array([_cell(value) for value in values], dtype=np.str_)


def _cell(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 (NaN and pandas' NaT)
        return ""
    if isinstance(value, (float, np.floating)) and math.isfinite(value) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    if not path.exists():
        raise SlideNotFoundError(f"there is no table {path}", mend="check the path")
    try:
        return parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise UsageError(
            f"{path} is not a Parquet file: {error}", mend="write it again, or give a CSV"
        ) from error


def _in_memory(source: Any, needed: tuple[str, ...], *, name: str, folder: Path) -> Table:
    given = _columns(source)
    columns = {str(key).strip().lower(): as_text(values) for key, values in given.items()}
    missing = [key for key in needed if key not in columns]
    if missing:
        raise UsageError(
            f"{name} has no column {', '.join(missing)}: its columns are {', '.join(columns) or 'none'}",
            mend=f"it needs {', '.join(needed)}",
        )
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1 or len(columns) < len(given):
        raise UsageError(f"the columns of {name} differ in length or share a name: {', '.join(given)}")
    return Table(columns, np.arange(1, 1 + next(iter(lengths), 0), dtype=np.int64), name, folder)


def _columns(source: Any) -> dict[str, list[Any]]:
    if isinstance(source, Mapping):
        return {key: list(values) for key, values in source.items()}
    if hasattr(source, "to_pydict"):  # pyarrow
        return dict(source.to_pydict())
    if hasattr(source, "to_dict") and hasattr(source, "columns"):  # pandas
        return dict(source.to_dict("list"))
    raise UsageError(
        f"a {type(source).__name__} is no table",
        mend="give a CSV or Parquet file, a pyarrow table, a pandas data frame or a dict of columns",
    )


def refuse(name: str, problems: Sequence[str], mend: str) -> None:
    """Raise one error that numbers all `problems`; do nothing when there are none.

    Raises
    ------
    UsageError
        When there are problems.
    """
    if not problems:
        return
    lines = [f"\n  {number}. {text}" for number, text in enumerate(problems[:PROBLEMS_SHOWN], 1)]
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"\n  … and {len(problems) - PROBLEMS_SHOWN} more")
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise UsageError(f"{name} has {count}:{''.join(lines)}\n", mend=mend)
