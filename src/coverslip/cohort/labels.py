"""What is to be predicted: how a column of text becomes classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError

Kind = Literal["binary", "multiclass", "ordinal", "regression"]
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "ordinal", "regression")

ROWS_SHOWN = 5


class Labels(NamedTuple):
    """Classes, and a code per row: int64 (n,) into `classes`, or float64 (n,) when there are none."""

    classes: tuple[str, ...]
    codes: NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """A column to predict, and what kind of quantity it is. The kind is said, never guessed from the values.

    Attributes
    ----------
    column
        Name of the column.
    kind
        ``binary`` (two classes, the second is the positive one), ``multiclass``, ``ordinal`` (classes in
        order) or ``regression`` (numbers).
    classes
        The classes in order; by default sorted. An ordinal target needs them.
    """

    column: str
    kind: Kind = "multiclass"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of target", self.kind, KINDS)
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(set(self.classes)) < len(self.classes):
            raise UsageError(f"classes {self.classes} of target {self.column!r} hold one twice")
        if self.kind == "ordinal" and len(self.classes) < 2:
            raise UsageError(
                f"the ordinal target {self.column!r} states no order",
                mend="name its classes from lowest to highest",
            )
        if self.kind == "regression" and self.classes:
            raise UsageError(f"target {self.column!r} is a regression, which has no classes")

    def encode(self, values: NDArray[np.str_]) -> Labels:
        """Turn text (n,) into codes.

        Raises
        ------
        UsageError
            When a value is empty, no class of the target or no number; when a binary target has not two
            classes.

        Examples
        --------
        >>> Target("grade", "ordinal", ("low", "high")).encode(np.array(["high", "low"])).codes.tolist()
        [1, 0]
        """
        empty = np.flatnonzero(values == "")
        if len(empty):
            raise self._rows(empty, "empty")
        if self.kind == "regression":
            return Labels((), self._numbers(values))
        classes = self.classes or tuple(str(value) for value in np.unique(values))
        if self.kind == "binary" and len(classes) != 2:
            raise UsageError(
                f"the binary target {self.column!r} has {len(classes)} classes: {', '.join(classes)}",
                mend="a binary target has two: name both, or declare it multiclass",
            )
        code_of = {name: code for code, name in enumerate(classes)}
        codes = np.array([code_of.get(str(value), -1) for value in values], np.int64)
        if (codes < 0).any():
            raise self._rows(np.flatnonzero(codes < 0), f"none of {', '.join(classes)}", values)
        return Labels(classes, codes)

    def _numbers(self, values: NDArray[np.str_]) -> NDArray[np.float64]:
        numbers = np.array([_number(str(value)) for value in values], np.float64)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise self._rows(wrong, "no finite number", values)
        return numbers

    def _rows(self, rows: NDArray[np.intp], what: str, values: NDArray[np.str_] | None = None) -> UsageError:
        shown = [
            f"{row + 1}" if values is None else f"{row + 1} ({values[row]!r})" for row in rows[:ROWS_SHOWN]
        ]
        more = ", …" if len(rows) > ROWS_SHOWN else ""
        return UsageError(
            f"target {self.column!r} is {what} in {len(rows)} rows: {', '.join(shown)}{more}",
            mend="mend these labels, or leave the rows out: cohort.take(rows)",
        )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def as_target(target: str | Target) -> Target:
    """Take a bare name as a multiclass target.

    Examples
    --------
    >>> as_target("label").kind
    'multiclass'
    """
    return target if isinstance(target, Target) else Target(target.strip().lower())
