"""What is predicted of a bag: kinds of target, and codes of their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort import Rows, Target
from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.learn.parse import made

Kind = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "multilabel", "ordinal", "regression")

SEPARATOR = ";"
"""Between the labels of a row of a multilabel target; an empty cell, or a dash, has none of them."""

NONE = "-"


@dataclass(frozen=True, kw_only=True)
class BagTarget:
    """A column to predict of each bag.

    Parameters
    ----------
    column
        Name of the column.
    kind
        ``binary``, ``multiclass``, ``multilabel`` (labels that may hold together, with ``;`` between them and
        ``-`` for none), ``ordinal`` (classes in order) or ``regression`` (numbers).
    classes
        In order; by default those that occur, sorted. An ordinal target needs them.
    weight
        Of its loss among several targets.

    Examples
    --------
    >>> genes = BagTarget(column="genes", kind="multilabel")
    >>> genes.encode(np.array(["kras;tp53", "-", "tp53"]))[1].tolist()
    [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    """

    column: str
    kind: Kind = "multiclass"
    classes: tuple[str, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column.strip().lower())
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.kind not in KINDS:
            raise unknown("kind of target", self.kind, KINDS)
        if not self.weight > 0:
            raise UsageError(f"target {self.column!r} has weight {self.weight!r}: expected a number above 0")
        if self.kind != "multilabel":
            self.plain  # noqa: B018 - checks classes

    @property
    def plain(self) -> Target:
        """The same as the cohort knows it; all labels of a row count as one class."""
        if self.kind == "multilabel":
            return Target(self.column)
        return Target(self.column, self.kind, self.classes)

    def encode(self, values: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return classes, and codes: (n,) of one class or number a row, (n, k) of 0 and 1 of a multilabel.

        Raises
        ------
        UsageError
            When a value is empty or none of the classes; when there is one class only.
        """
        if self.kind == "multilabel":
            return self._labels(values)
        classes, codes = self.plain.encode(values)
        present = np.unique(codes)
        if len(present) < 2:
            only = f"{classes[int(present[0])]!r}" if classes else f"{present[0]:g}"
            raise UsageError(
                f"target {self.column!r} has one value only, {only}",
                mend="add rows with another, or leave it out",
            )
        return classes, np.asarray(codes, np.float64)

    def _labels(self, values: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        rows = [_split(str(value)) for value in values]
        classes = self.classes or tuple(sorted(set().union(*rows)))
        strange = sorted(set().union(*rows) - set(classes))
        if strange:
            error = unknown("label", strange[0], classes)
            raise UsageError(f"target {self.column!r}: {error.message}", mend=error.mend)
        codes = np.array([[float(name in row) for name in classes] for row in rows])
        same = [name for name, column in zip(classes, codes.T, strict=True) if len(np.unique(column)) < 2]
        if same or not classes:
            raise UsageError(
                f"target {self.column!r}: {', '.join(same) or 'no label'} holds of all rows or of none",
                mend="leave it out of classes, or add rows",
            )
        return classes, codes


def _split(text: str) -> set[str]:
    return {part.strip() for part in text.split(SEPARATOR) if part.strip() not in {"", NONE}}


def target_of(given: str | Mapping[str, Any] | BagTarget) -> BagTarget:
    """Take a bare name as a multiclass target, and a mapping as the fields of one.

    Raises
    ------
    UsageError
        When it is neither, has unknown keys, or values that cannot be.

    Examples
    --------
    >>> target_of("label").kind
    'multiclass'
    """
    if isinstance(given, BagTarget):
        return given
    values = {"column": given} if isinstance(given, str) else given
    found: BagTarget = made(BagTarget, values, where="targets", folder=Path())
    return found


@dataclass(frozen=True, eq=False)
class Wanted:
    """The truth about a row per bag, for one target.

    Attributes
    ----------
    target, classes
        What is predicted.
    codes
        (n,), or (n, k) of a multilabel target; NaN where nobody knows.
    """

    target: BagTarget
    classes: tuple[str, ...]
    codes: NDArray[np.float64]

    @classmethod
    def of(cls, target: BagTarget, cohort: Rows) -> Wanted:
        """Read the truth of all rows of a cohort.

        Raises
        ------
        UnknownNameError, UsageError
            When there is no such column, or its values do not fit.
        """
        classes, codes = target.encode(np.asarray(cohort.column(target.column)))
        return cls(target, classes, codes)

    @property
    def truth(self) -> dict[str, NDArray[Any]]:
        """Columns of truth as predictions hold them."""
        if self.target.kind == "multilabel":
            return {f"truth_{name}": self.codes[:, k] for k, name in enumerate(self.classes)}
        if self.target.kind == "regression":
            return {"truth": self.codes}
        return {"truth": np.asarray(self.classes, object)[self.codes.astype(int)]}

    def require_classes(self, rows: NDArray[np.int64], what: str) -> None:
        """Refuse to learn from rows that lack a class.

        Raises
        ------
        UsageError
            With the classes that are missing.
        """
        if self.target.kind == "regression":
            return
        codes = self.codes[rows]
        if codes.ndim == 2:
            missing = [n for n, column in zip(self.classes, codes.T, strict=True) if not column.any()]
        else:
            missing = [n for k, n in enumerate(self.classes) if not (codes == k).any()]
        if missing:
            raise UsageError(
                f"{what}: no bag of {self.target.column} {', '.join(missing)} is there to learn from",
                mend="add some, or ask for fewer folds",
            )
