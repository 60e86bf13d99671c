"""Splits that do not leak: by patient always; stratified, grouped, site-preserved, nested, repeated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from coverslip.cohort.balance import Balanced, balance
from coverslip.cohort.checks import SPLITS
from coverslip.cohort.cohort import Rows, linked
from coverslip.cohort.labels import Target, as_target
from coverslip.cohort.splits import Fold, Splits, SplitSpec, spec_record
from coverslip.core.errors import UsageError

QUARTILES = 4
"""Bins of a number that is stratified by."""


def split(
    cohort: Rows,
    *,
    by: str | None = None,
    folds: int = 5,
    stratify: str | Target | None = "label",
    group: str | None = None,
    seed: int = 0,
    val: float = 0.2,
) -> Splits:
    """Split a cohort for cross-validation; `SplitSpec` says what the arguments mean.

    Raises
    ------
    UnknownNameError, UsageError
        When a column is not there, a class has too few patients for the folds, there is one class only, or
        there are fewer sites (groups) than folds.

    Examples
    --------
    >>> from coverslip.cohort import Cohort
    >>> names = [f"s{i}" for i in range(20)]
    >>> cohort = Cohort.read({"slide": names, "path": names, "label": ["x", "y"] * 10}, files=False)
    >>> [fold["test"] for fold in split(cohort).shares(cohort, "label")][:2]
    [{'x': 2, 'y': 2}, {'x': 2, 'y': 2}]
    """
    return split_as(cohort, SplitSpec(by, folds, stratify, group, val, seed))


def split_as(cohort: Rows, spec: SplitSpec) -> Splits:
    """Split a cohort as a spec says, with repeats and inner folds if it asks for them.

    Raises
    ------
    UnknownNameError, UsageError
        As `split`.
    """
    problem = _Problem(cohort, spec)
    by = problem.what
    rows = np.arange(len(cohort))
    problem.check(rows, spec)
    folds: list[Fold] = []
    found: list[Balanced] = []
    for repeat in range(spec.repeats):
        for fold, balanced in problem.folds(rows, spec, spec.folds, seed=spec.seed + 1000 * repeat):
            inner = tuple(problem.inner(fold, spec)) if spec.inner else ()
            folds.append(Fold(fold.train, fold.val, fold.test, repeat, inner))
            found.append(balanced)
    quality = {"cost": max(b.cost for b in found), "bound": min(b.bound for b in found)}
    ids = tuple(cohort.ids.tolist())
    return Splits(tuple(folds), by, cohort.digest, ids, _words(spec, by), spec_record(spec), quality)


def holdout(
    cohort: Rows,
    *,
    test: float = 0.2,
    val: float = 0.2,
    by: str | None = None,
    stratify: str | Target | None = "label",
    group: str | None = None,
    seed: int = 0,
) -> Splits:
    """Split a cohort once, into `test`, `val` (a share of the rest) and train.

    Raises
    ------
    UnknownNameError, UsageError
        As `split`.
    """
    if not 0 < test <= 0.9:
        raise UsageError(f"test {test} is no share", mend="give one above 0, up to 0.9")
    spec = SplitSpec(by, 2, stratify, group, val, seed)
    problem = _Problem(cohort, spec)
    column = problem.what
    rows = np.arange(len(cohort))
    problem.check(rows, spec)
    balanced, part = problem.parts(rows, np.array([test, 1 - test]), group=True, seed=seed)
    fold = problem.with_val(rows[part == 0], rows[part == 1], spec, seed)
    record = {**spec_record(spec), "folds": 1, "test": test}
    quality = {"cost": balanced.cost, "bound": balanced.bound}
    words = f"{_words(spec, column)}; {test:.0%} held out"
    return Splits((fold,), column, cohort.digest, tuple(cohort.ids.tolist()), words, record, quality)


def given(cohort: Rows) -> Splits:
    """Take the split that the column ``split`` of the table states; rows without one are in no part.

    Raises
    ------
    UnknownNameError, UsageError
        When there is no such column, a patient stands in two parts, or nobody trains or tests.
    """
    names = np.char.lower(cohort.column("split"))
    parts = {name: np.flatnonzero(names == name) for name in SPLITS}
    empty = [name for name in ("train", "test") if not len(parts[name])]
    if empty:
        raise UsageError(f"the column split names no row {' and none '.join(empty)}", mend="fill it in")
    by, whole = cohort.unit, cohort.column(cohort.unit)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = sorted(set(whole[parts[one]].tolist()) & set(whole[parts[other]].tolist()))
        if both:
            raise UsageError(
                f"{len(both)} values of {by} stand in {one} and {other}: {', '.join(both[:5])}",
                mend=f"give all rows of one {by} the same split",
            )
    fold = Fold(parts["train"], parts["val"], parts["test"])
    return Splits((fold,), by, cohort.digest, tuple(cohort.ids.tolist()), "as the table states", {"by": by})


def _words(spec: SplitSpec, by: str) -> str:
    kind = "site-preserved" if spec.group == "site" else f"grouped by {spec.group}" if spec.group else ""
    target = f"stratified by {as_target(spec.stratify).column}" if spec.stratify else ""
    return ", ".join(filter(None, [f"by {by}", target, kind]))


def _never_finer(cohort: Rows, by: str) -> None:
    """Refuse a unit finer than the patient: a split by slide would leak."""
    if by == cohort.unit:
        return
    whole, part = cohort.column(cohort.unit), cohort.column(by)
    pairs = np.unique(np.stack([whole, part]), axis=1)
    if pairs.shape[1] > len(np.unique(whole)):
        raise UsageError(
            f"a split by {by} would cut through a {cohort.unit}: some have rows of several {by}s",
            mend=f"split by {cohort.unit}, or name {by} as group",
        )


def _strata(cohort: Rows, stratify: str | Target | None) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if stratify is None:
        return ("all",), np.zeros(len(cohort), np.int64)
    target = as_target(stratify)
    classes, codes = cohort.labels(target)
    if classes:
        if len(np.unique(codes)) == 1:
            raise UsageError(
                f"{target.column} has one class only, {classes[int(codes[0])]!r}",
                mend="add slides of another class, or say stratify=None",
            )
        return classes, codes.astype(np.int64)
    edges = np.quantile(codes, np.linspace(0, 1, QUARTILES + 1)[1:-1])
    bins = np.searchsorted(np.unique(edges), codes, side="right")
    return tuple(f"quartile {number}" for number in range(1, bins.max() + 2)), bins.astype(np.int64)


def _merged(cohort: Rows, by: str, group: str | None) -> NDArray[np.int64] | None:
    """Join groups that share a patient: a patient seen at two sites ties them together."""
    if group is None:
        return None
    values = cohort.column(group)
    if (values == "").any():
        raise UsageError(
            f"{int((values == '').sum())} rows have no {group}, by which the split is to be grouped",
            mend=f"fill in {group}, or leave these rows out: cohort.take(rows)",
        )
    units = np.unique(cohort.column(by), return_inverse=True)[1]
    return linked(np.unique(values, return_inverse=True)[1], units)


def _wish(spec: SplitSpec) -> str:
    words = f"{spec.folds} folds" + (f" with {spec.inner} within" if spec.inner else "")
    return f"{words} and a validation part" if spec.val else words


class _Problem:
    """Units, groups and classes of the rows of one cohort."""

    def __init__(self, cohort: Rows, spec: SplitSpec) -> None:
        self.what = spec.by or cohort.unit
        _never_finer(cohort, self.what)
        self.classes, self.codes = _strata(cohort, spec.stratify)
        self.groups = _merged(cohort, self.what, spec.group)
        units = np.unique(cohort.column(self.what), return_inverse=True)[1]
        self.units: NDArray[np.int64] = units.astype(np.int64)

    def check(self, rows: NDArray[np.int64], spec: SplitSpec) -> None:
        """Refuse what cannot work, all reasons at once."""
        problems = []
        for code, name in enumerate(self.classes):
            held = len(np.unique(self.units[rows][self.codes[rows] == code]))
            if held < spec.needed:
                problems.append(
                    f"class {name!r} has {held} {self.what}s, and {_wish(spec)} need {spec.needed}"
                )
        if self.groups is not None:
            problems += self._groups(self.groups[rows], self.codes[rows], spec)
        if problems:
            raise UsageError(
                f"the cohort cannot be split: {'; '.join(problems)}",
                mend="ask for fewer folds, add cases, or join classes",
            )

    def _groups(self, groups: NDArray[np.int64], codes: NDArray[np.int64], spec: SplitSpec) -> Iterator[str]:
        """Yield what stands against whole groups in folds."""
        needed = spec.needed if spec.inner else spec.folds
        if (count := len(np.unique(groups))) < needed:
            yield f"{count} values of {spec.group} share no {self.what}, and {_wish(spec)} need {needed}"
        for code in np.unique(codes).tolist():
            if len(np.unique(groups[codes == code])) == 1:
                name = self.classes[code]
                yield f"class {name!r} stands in one {spec.group} only: no fold could train and test it"

    def folds(
        self, rows: NDArray[np.int64], spec: SplitSpec, count: int, *, seed: int
    ) -> Iterator[tuple[Fold, Balanced]]:
        """Yield `count` folds of these rows."""
        balanced, part = self.parts(rows, np.full(count, 1 / count), group=True, seed=seed)
        for number in range(count):
            test, rest = rows[part == number], rows[part != number]
            yield self.with_val(test, rest, spec, seed + number + 1), balanced

    def inner(self, fold: Fold, spec: SplitSpec) -> Iterator[Fold]:
        """Yield the inner folds of what is not tested in `fold`."""
        rows = np.union1d(fold.train, fold.val)
        for inner, _ in self.folds(rows, spec, spec.inner, seed=spec.seed + 500):
            yield inner

    def with_val(self, test: NDArray[np.int64], rest: NDArray[np.int64], spec: SplitSpec, seed: int) -> Fold:
        """Hold back the validation part of the rest, whole units each."""
        if not spec.val:
            return Fold(rest, np.zeros(0, np.int64), test)
        _, part = self.parts(rest, np.array([spec.val, 1 - spec.val]), group=False, seed=seed)
        return Fold(rest[part == 1], rest[part == 0], test)

    def parts(
        self, rows: NDArray[np.int64], shares: NDArray[np.float64], *, group: bool, seed: int
    ) -> tuple[Balanced, NDArray[np.int64]]:
        """Return the part of each of these rows; whole groups if `group`, else whole units."""
        whole = self.groups if group and self.groups is not None else self.units
        members = np.unique(whole[rows], return_inverse=True)[1]
        counts = np.zeros((int(members.max()) + 1, len(self.classes)), np.int64)
        np.add.at(counts, (members, self.codes[rows]), 1)
        present = counts[:, counts.any(axis=0)]
        exact = group and self.groups is not None
        balanced = balance(present, shares, seed=seed, exact=exact)
        return balanced, balanced.part[members]
