"""What is wrong with truth and predictions, said before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError

SUM_TOLERANCE = 2e-3
"""How far a row of probabilities may be from 1: float16 is not more exact."""

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes as text.

    Raises
    ------
    UsageError
        When there are fewer than two, or one twice.
    """
    names = tuple(str(name) for name in classes)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"classes {names} cannot be: expected two or more, each once")
    return names


def positions(truth: ArrayLike, classes: tuple[str, ...]) -> Positions:
    """Turn the truth of each row, class names or their positions, into positions (n,).

    Raises
    ------
    UsageError, UnknownNameError
        When there is no row, a class is not among `classes`, or only one of them occurs.

    Examples
    --------
    >>> positions(["b", "a"], ("a", "b")).tolist(), positions([1, 0], ("a", "b")).tolist()
    ([1, 0], [1, 0])
    """
    given = np.asarray(truth)
    if given.ndim != 1 or not len(given):
        raise UsageError(f"truth of shape {given.shape} cannot be evaluated: expected one class per row")
    if given.dtype.kind in "iub":
        codes = given.astype(np.int64)
        if codes.min() < 0 or codes.max() >= len(classes):
            raise UsageError(
                f"truth {int(codes.min())} to {int(codes.max())} is no position among {len(classes)} classes",
                mend="give positions from 0, or the classes' names",
            )
    elif given.dtype.kind == "f":
        raise UsageError(
            "truth of floating-point numbers is no class", mend="give names or whole numbers, or a regression"
        )
    else:
        codes = _looked_up(given, classes)
    found = np.unique(codes)
    if len(found) < 2:
        raise UsageError(
            f"all {len(codes)} rows are of class {classes[int(found[0])]!r}: nothing can be told apart",
            mend="evaluate on rows of at least two classes",
        )
    return codes


def _looked_up(names: NDArray[np.generic], classes: tuple[str, ...]) -> Positions:
    known = {name: place for place, name in enumerate(classes)}
    text = [str(name) for name in names.tolist()]
    for row, name in enumerate(text):
        if name not in known:
            error = unknown("class", name, classes)
            raise type(error)(
                f"row {row + 1}: {error.message} among the predictions' classes", mend=error.mend
            )
    return np.array([known[name] for name in text], np.int64)


def probabilities(values: ArrayLike, rows: int, classes: tuple[str, ...]) -> Floats:
    """Return probabilities (n, k) that are finite, between 0 and 1, and sum to 1.

    Parameters
    ----------
    values
        Shape (n, k), or (n,) of the second of two classes.

    Raises
    ------
    UsageError
        Naming the first row that is wrong.
    """
    given = np.asarray(values, np.float64)
    if given.ndim == 1 and len(classes) == 2:
        given = np.stack([1 - given, given], axis=1)
    if given.shape != (rows, len(classes)):
        raise UsageError(
            f"probabilities of shape {given.shape} for {rows} rows and {len(classes)} classes",
            mend=f"give shape {(rows, len(classes))}, a column per class in the order of the classes",
        )
    in_range(given)
    off = np.abs(given.sum(axis=1) - 1)
    if off.max() > SUM_TOLERANCE:
        row = int(off.argmax())
        raise UsageError(
            f"probabilities of row {row + 1} sum to {given[row].sum():.4g}, expected 1",
            mend="apply a softmax to scores first; for classes that may occur together evaluate multi-label",
        )
    return given


def in_range(values: Floats) -> None:
    """Refuse what is no probability.

    Raises
    ------
    UsageError
        Naming the first row with NaN, or beyond 0 and 1.
    """
    table = values.reshape(len(values), -1)
    bad: NDArray[np.bool_] = ~np.asarray(np.isfinite(table).all(axis=1))
    if bad.any():
        raise UsageError(
            f"{int(bad.sum())} of {len(bad)} rows have a probability that is no number, "
            f"the first is row {int(bad.argmax()) + 1}",
            mend="leave out rows that have no prediction, and say how many there were",
        )
    beyond = ((table < -1e-6) | (table > 1 + 1e-6)).any(axis=1)
    if beyond.any():
        row = int(beyond.argmax())
        raise UsageError(
            f"row {row + 1} has {table[row].min():.4g} to {table[row].max():.4g} as probability, "
            "expected 0 to 1",
            mend="apply a sigmoid or softmax to scores first",
        )


def numbers(values: ArrayLike, what: str, rows: int | None = None) -> Floats:
    """Return finite numbers (n,).

    Raises
    ------
    UsageError
        When the shape is another, or one is not finite.
    """
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or not len(given) or rows not in (None, len(given)):
        wanted = "one number per row" if rows is None else f"{rows} numbers"
        raise UsageError(f"{what} of shape {given.shape} cannot be evaluated: expected {wanted}")
    bad = ~np.isfinite(given)
    if bad.any():
        raise UsageError(
            f"{what}: {int(bad.sum())} of {len(given)} rows hold no number, "
            f"the first is row {int(bad.argmax()) + 1}",
            mend="leave out rows without a value, and say how many there were",
        )
    return given


def folds_of(folds: ArrayLike | None, rows: int) -> dict[str, NDArray[np.bool_]]:
    """Return which rows each fold tests; none without `folds`.

    Raises
    ------
    UsageError
        When `folds` is of another length.
    """
    if folds is None:
        return {}
    given = np.asarray(folds)
    if given.shape != (rows,):
        raise UsageError(f"folds of shape {given.shape} for {rows} rows", mend="give the fold of every row")
    return {str(fold): given == fold for fold in np.unique(given).tolist()}
