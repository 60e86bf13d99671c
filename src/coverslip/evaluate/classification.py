"""Evaluate class probabilities: one class of several, classes in order, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.evaluate import check, weighted
from coverslip.evaluate.curves import BINS, Series, curves_of
from coverslip.evaluate.resample import (
    LEVEL,
    Bootstrap,
    Measure,
    Weights,
    average,
    estimates,
    mean,
    notes_on,
)
from coverslip.store import Estimate, Evaluation, FoldEvaluation

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
Columns = dict[Hashable, Floats]

N_BOOT = 1000
OVERALL = ""
"""Stands for all classes together where metrics are named ``(class, metric)``."""


def classification(
    truth: ArrayLike,
    probability: ArrayLike,
    classes: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Evaluation:
    """Evaluate predictions of one class per row.

    Parameters
    ----------
    truth
        Shape (n,): class names, or whole numbers that are positions in `classes`.
    probability
        Shape (n, k), rows that sum to 1; or (n,) of the second of two classes.
    classes
        Names in the order of the columns. Of two, the second is the positive one.
    groups
        Shape (n,): each row's patient. Intervals are made by drawing patients; without, by drawing rows.
    folds
        Shape (n,): the fold in which each row was tested; each fold's metrics stand beside the pooled ones.
    seed, n_boot
        Of the resamples; 0 of them for no intervals.

    Returns
    -------
    Evaluation
        ``accuracy``, ``balanced_accuracy``, ``auroc``, ``auprc``, ``f1``, ``kappa``, ``mcc``, ``brier``,
        ``ece``, ``log_loss``; for two classes ``sensitivity``, ``specificity`` and ``precision`` of the
        positive one, whose are then ``f1``, ``auroc`` and ``auprc`` too. For more, these three are averages
        over the classes (macro, one against the rest).

    Raises
    ------
    UsageError, UnknownNameError
        When the input cannot be evaluated: a class that is not in `classes`, one class only, probabilities
        that are no numbers or do not sum to 1, a row without a patient.

    Notes
    -----
    The predicted class is the likeliest, the first of equals. The Brier score of two classes runs from 0 to
    1 (mean squared error of the positive probability), that of more from 0 to 2 (sum over classes). The
    calibration error has ten bins of equal width: of the positive probability for two classes, of the
    predicted class' for more.

    Examples
    --------
    >>> found = classification(["n", "t", "t", "n"], [0.1, 0.9, 0.4, 0.2], ("n", "t"), n_boot=0)
    >>> found["accuracy"].value, found["auroc"].value, found.confusion
    (0.75, 1.0, ((2, 0), (1, 1)))
    """
    names = check.checked_classes(classes)
    codes = check.positions(truth, names)
    chances = check.probabilities(probability, len(codes), names)
    kind = "binary" if len(names) == 2 else "multiclass"
    return _evaluation(kind, OneClass(codes, chances, names), groups, folds, (seed, n_boot))


def ordinal(
    truth: ArrayLike,
    probability: ArrayLike,
    classes: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Evaluation:
    """Evaluate predictions of classes that have an order, e.g. grades; `classes` from lowest to highest.

    See `classification` for the parameters. Added to its metrics: ``kappa_quadratic``, ``grade_error`` (mean
    distance in grades), ``within_one`` (share at most a grade off) and ``concordance`` (of the expected
    grade: the share of pairs of unequal grade in the right order).

    Examples
    --------
    >>> chances = [[1, 0, 0], [0, 1, 0], [0, 0.8, 0.2]]
    >>> found = ordinal(["low", "mid", "high"], chances, ("low", "mid", "high"), n_boot=0)
    >>> round(found["kappa_quadratic"].value, 3), found["within_one"].value
    (0.667, 1.0)
    """
    names = check.checked_classes(classes)
    codes = check.positions(truth, names)
    chances = check.probabilities(probability, len(codes), names)
    return _evaluation("ordinal", Grades(codes, chances, names), groups, folds, (seed, n_boot))


class OneClass:
    """Metrics of one class per row as a function of row weights.

    Parameters
    ----------
    codes, chances, classes
        Checked: positions (n,), probabilities (n, k), k names.
    """

    def __init__(self, codes: Positions, chances: Floats, classes: tuple[str, ...]) -> None:
        self.codes, self.chances, self.classes = codes, chances, classes
        self.said: Positions = chances.argmax(axis=1)
        self.rankings = [weighted.Ranking(codes == c, chances[:, c]) for c in range(len(classes))]
        own = chances[np.arange(len(codes)), codes]
        self.losses = -np.log(np.clip(own, np.finfo(np.float64).eps, 1))
        square = ((chances - np.eye(len(classes))[codes]) ** 2).sum(axis=1)
        binary = len(classes) == 2
        self.squares = square / 2 if binary else square
        self.sure = chances[:, 1] if binary else chances.max(axis=1)
        self.right = (codes == 1 if binary else self.said == codes).astype(np.float64)

    def __call__(self, weights: Weights) -> Columns:
        """Return metrics (b,) by ``(class, name)``; the class is empty for those of all together."""
        table = weighted.confusion(self.codes, self.said, len(self.classes), weights)
        each = weighted.by_class(table)
        counts = [ranking.counts(weights) for ranking in self.rankings]
        each["auroc"] = np.stack([weighted.auroc(*pair) for pair in counts], axis=1)
        each["auprc"] = np.stack([weighted.average_precision(*pair) for pair in counts], axis=1)
        found = self.overall(table, each, weights)
        columns: Columns = {(OVERALL, name): values for name, values in found.items()}
        for place, name in enumerate(self.classes):
            columns |= {(name, metric): values[:, place] for metric, values in each.items()}
        return columns

    def overall(self, table: Floats, each: Mapping[str, Floats], weights: Weights) -> dict[str, Floats]:
        """Return the metrics of all classes together, most telling first."""
        binary = len(self.classes) == 2
        shared = {
            name: each[name][:, 1] if binary else average(list(each[name].T))
            for name in ("auroc", "auprc", "f1")
        }
        found = {
            "accuracy": weighted.quotient(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2))),
            "balanced_accuracy": average(list(each["sensitivity"].T)),
            **shared,
            "kappa": weighted.kappa(table),
            "mcc": weighted.matthews(table),
        }
        if binary:
            found |= {name: each[name][:, 1] for name in ("sensitivity", "specificity", "precision")}
        bins = weighted.bin_of(self.sure, BINS)
        return found | {
            "brier": mean(weights, self.squares),
            "ece": weighted.calibration_error(bins, self.sure, self.right, weights),
            "log_loss": mean(weights, self.losses),
        }

    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Return how often each class (row) was called each (column)."""
        table = weighted.confusion(self.codes, self.said, len(self.classes), np.ones((1, len(self.codes))))
        return tuple(tuple(int(count) for count in row) for row in table[0])

    def curves(self, bootstrap: Bootstrap) -> dict[str, Series]:
        """Return the curves of each class that occurs; of two, of the positive one."""
        shown = (1,) if len(self.classes) == 2 else range(len(self.classes))
        there = [c for c in shown if (self.codes == c).any()]
        return {self.classes[c]: curves_of(self.codes == c, self.chances[:, c], bootstrap) for c in there}

    def notes(self) -> list[str]:
        """Say which classes never occur."""
        counts = np.bincount(self.codes, minlength=len(self.classes))
        absent = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        return [f"No row is of class {', '.join(absent)}: averages leave it out."] if absent else []

    def take(self, rows: NDArray[np.bool_]) -> OneClass:
        """Return the same for some rows."""
        return type(self)(self.codes[rows], self.chances[rows], self.classes)


class Grades(OneClass):
    """Metrics of classes in order."""

    def overall(self, table: Floats, each: Mapping[str, Floats], weights: Weights) -> dict[str, Floats]:
        """Add what counts how far off a prediction is."""
        off = np.abs(self.said - self.codes).astype(np.float64)
        expected = self.chances @ np.arange(len(self.classes))
        return {
            "kappa_quadratic": weighted.kappa(table, 2),
            "grade_error": mean(weights, off),
            "within_one": mean(weights, (off <= 1).astype(np.float64)),
            "concordance": weighted.concordance(self.codes.astype(np.float64), expected, weights),
            **super().overall(table, each, weights),
        }


def _evaluation(
    kind: str,
    rows: OneClass,
    groups: ArrayLike | None,
    folds: ArrayLike | None,
    draws: tuple[int, int],
) -> Evaluation:
    seed, n_boot = draws
    count = len(rows.codes)
    bootstrap = Bootstrap.of(groups, count, seed=seed, n_boot=n_boot)
    found = estimates(rows, bootstrap)
    tested = check.folds_of(folds, count)
    return Evaluation(
        kind=kind,
        rows=count,
        groups=None if groups is None else bootstrap.n,
        metrics=named(found, OVERALL),
        classes=rows.classes,
        by_class={name: named(found, name) for name in rows.classes},
        folds=by_fold(tested, bootstrap, rows.take),
        confusion=rows.confusion(),
        curves=rows.curves(bootstrap),
        level=LEVEL,
        n_boot=n_boot,
        seed=seed,
        notes=(*notes_on(bootstrap, groups is not None), *rows.notes(), *_fold_notes(tested, rows)),
    )


def _fold_notes(tested: Mapping[str, NDArray[np.bool_]], rows: OneClass) -> list[str]:
    alone = [fold for fold, mask in tested.items() if len(np.unique(rows.codes[mask])) < 2]
    if not alone:
        return []
    return [f"Fold {', '.join(alone)} holds one class only: what compares classes is not defined there."]


def named(found: Mapping[Hashable, Estimate], wanted: str) -> dict[str, Estimate]:
    """Pick the metrics of one class out of those named ``(class, metric)``."""
    return {key[1]: value for key, value in found.items() if isinstance(key, tuple) and key[0] == wanted}


def by_fold(
    tested: Mapping[str, NDArray[np.bool_]],
    bootstrap: Bootstrap,
    take: Callable[[NDArray[np.bool_]], Measure],
) -> dict[str, FoldEvaluation]:
    """Measure each fold alone; `take` makes the measure of some rows."""
    made = {}
    for number, (fold, mask) in enumerate(tested.items()):
        drawn = bootstrap.within(mask, number)
        metrics = named(estimates(take(mask), drawn), OVERALL)
        made[fold] = FoldEvaluation(int(mask.sum()), drawn.n, metrics)
    return made
