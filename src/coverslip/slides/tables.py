"""Tables that a user gives: a cohort of slide,path[,mpp][,case], or the mpp of many slides."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from coverslip.core import Mpp
from coverslip.core.errors import MppError, SlideNotFoundError, UsageError
from coverslip.core.units import parse_mpp
from coverslip.slides.source import is_url

PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CohortRow:
    """One slide of a cohort table."""

    slide: str
    path: str
    mpp: Mpp | None
    case: str | None = None


def read_mpp_table(path: str | os.PathLike[str]) -> dict[str, Mpp]:
    r"""Read a CSV of ``slide,mpp``: microns per pixel of level 0 by slide id.

    Raises
    ------
    UsageError
        Lists every row that is wrong, not only the first.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder) / "mpp.csv"
    ...     _ = table.write_text("slide,mpp\na,0.25\nb,20x\n")
    ...     read_mpp_table(table)
    {'a': 0.25, 'b': 0.5}
    """
    table: dict[str, Mpp] = {}
    problems: list[str] = []
    for line, row in read_rows(path, ("slide", "mpp")):
        mpp = _mpp(row["mpp"], line, problems)
        if not row["slide"]:
            problems.append(f"line {line}: no slide")
        elif row["slide"] in table:
            problems.append(f"line {line}: slide {row['slide']!r} a second time")
        elif mpp is None and not row["mpp"]:
            problems.append(f"line {line}: no mpp for {row['slide']!r}")
        elif mpp is not None:
            table[row["slide"]] = mpp
    _refuse(path, problems)
    return table


def read_cohort(path: str | os.PathLike[str]) -> list[CohortRow]:
    """Read a CSV of ``slide,path`` and, if need be, ``mpp`` and ``case``; paths are relative to the table.

    Raises
    ------
    UsageError
        Lists every row that is wrong, not only the first.
    """
    rows: dict[str, CohortRow] = {}
    problems: list[str] = []
    for line, row in read_rows(path, ("slide", "path")):
        name, place = row["slide"], row["path"]
        mpp = _mpp(row.get("mpp", ""), line, problems)
        full = place if is_url(place) else str(Path(path).parent / place)
        if not name or not place:
            problems.append(f"line {line}: no {'path' if name else 'slide'}")
        elif name in rows:
            problems.append(f"line {line}: slide {name!r} a second time")
        elif set(name) & set('/\\:*?"<>|'):
            problems.append(f"line {line}: {name!r} cannot be the name of a folder")
        elif not is_url(full) and not Path(full).exists():
            problems.append(f"line {line}: there is no file {full}")
        else:
            rows[name] = CohortRow(name, full, mpp, row.get("case") or None)
    if not rows and not problems:
        problems.append("no rows")
    _refuse(path, problems)
    return list(rows.values())


def read_rows(path: str | os.PathLike[str], needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV as (line, {column: text}); names are in lower case, nothing is checked but `needed`.

    Raises
    ------
    SlideNotFoundError, UsageError
        When there is no such file, it is not UTF-8 text or lacks a column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SlideNotFoundError(f"there is no table {path}", mend="check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}", mend="save it as CSV, UTF-8") from error
    first = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if ";" in first and "," not in first else ",")
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in needed if name not in names]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}: its columns are {', '.join(names) or 'none'}",
            mend=f"its first line should be {','.join(needed)}",
        )
    reader.fieldnames = names
    return [
        (reader.line_num, {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)})
        for row in reader
    ]


def _mpp(text: str, line: int, problems: list[str]) -> Mpp | None:
    if not text:
        return None
    try:
        return parse_mpp(text)
    except MppError as error:
        problems.append(f"line {line}: {error.message}")
        return None


def _refuse(path: str | os.PathLike[str], problems: list[str]) -> None:
    if not problems:
        return
    more = [f"and {len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
    shown = "; ".join(problems[:PROBLEMS_SHOWN] + more)
    raise UsageError(f"{path} cannot be used: {shown}", mend="mend these lines")
