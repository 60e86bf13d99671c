"""What several slides of one case say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.slides import Slide

RULES: dict[str, Any] = {"sum": np.nansum, "mean": np.nanmean, "max": np.nanmax, "min": np.nanmin}


@dataclass(frozen=True)
class CaseStage:
    """Make one row per case of the tables that a step made of its slides: ``predictions/<name>`` of the run.

    Which slides belong to a case stands in the column ``case`` of the cohort CSV (slide,path,case).

    Parameters
    ----------
    of
        Name of the step whose table (``tables/<of>``) is read.
    row
        Value of the column ``class`` whose row counts; None: the first row.
    columns
        What is taken of it; none: all numbers.
    rule
        ``"sum"``, ``"mean"``, ``"max"`` or ``"min"`` over the slides; or ``"worst"``: all columns of the
        slide in which the first of `columns` is highest.
    """

    name: ClassVar[str] = "case"
    version: ClassVar[int] = 1

    of: str = "count"
    row: str | None = None
    columns: tuple[str, ...] = ()
    rule: Literal["sum", "mean", "max", "min", "worst"] = "mean"

    def __post_init__(self) -> None:
        if self.rule == "worst" and not self.columns:
            raise UsageError("the worst slide is that in which columns[0] is highest: name it in columns")

    def reads(self) -> tuple[str, ...]:
        """Return the key of the tables."""
        return (f"tables/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return nothing: it writes of the run."""
        return ()

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Do nothing: there is nothing to say of one slide."""
        return {}

    def case(self, slides: Mapping[str, Mapping[str, Any]]) -> Mapping[str, float | int | str]:
        """Return the numbers of a case.

        Raises
        ------
        UnknownNameError
            When a table has no such column or row.
        """
        rows = [row for found in slides.values() if (row := self._row(found[self.reads()[0]])) is not None]
        if not rows:
            return {}
        if self.rule == "worst":
            return max(rows, key=lambda row: row[self.columns[0]])
        values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        rule = RULES[self.rule]
        return {
            name: float(rule(column)) if np.isfinite(column).any() else float("nan")
            for name, column in values.items()
        }

    def _row(self, table: Any) -> dict[str, float] | None:
        """Return the numbers of a slide; None when its table is empty."""
        if not len(table):
            return None
        place = 0
        if self.row is not None:
            names = [str(name) for name in table["class"]]
            if self.row not in names:
                raise unknown(f"row of {self.of!r}", self.row, names)
            place = names.index(self.row)
        plain = {n: c for n, c in table.columns.items() if np.asarray(c).dtype.kind in "fiub"}
        for name in self.columns:
            if name not in plain:
                raise unknown(f"column of {self.of!r}", name, plain)
        return {name: float(plain[name][place]) for name in self.columns or plain}
