"""Evaluate several labels per row, each of which is there or not, or not known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import UsageError
from coverslip.evaluate import check, weighted
from coverslip.evaluate.classification import N_BOOT, OVERALL, Columns, by_fold, named
from coverslip.evaluate.curves import curves_of
from coverslip.evaluate.resample import LEVEL, Bootstrap, Weights, average, estimates, notes_on
from coverslip.store import Evaluation

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def multilabel(
    truth: ArrayLike,
    probability: ArrayLike,
    classes: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seed: int = 0,
    n_boot: int = N_BOOT,
) -> Evaluation:
    """Evaluate labels that may occur together; a label is predicted where its probability exceeds one half.

    Parameters
    ----------
    truth
        Shape (n, k): 1 there, 0 not there, NaN not known (left out for that label alone).
    probability
        Shape (n, k), each between 0 and 1.
    classes
        k names; one is enough.
    groups, folds, seed, n_boot
        See `coverslip.evaluate.classification`.

    Returns
    -------
    Evaluation
        Averages over the labels: ``auroc``, ``auprc``, ``f1``, ``balanced_accuracy``, ``brier``; ``f1_micro``
        over all of them at once; ``exact`` (share of fully known rows with every label right). Per label also
        ``sensitivity``, ``specificity``, ``precision``, ``accuracy``.

    Raises
    ------
    UsageError
        When shapes differ, a truth is not 0, 1 or NaN, a probability is none, or no label occurs both ways.

    Examples
    --------
    >>> found = multilabel([[1, 0], [0, 1], [1, 1]], [[0.9, 0.2], [0.1, 0.4], [0.8, 0.7]], "ab", n_boot=0)
    >>> found["auroc"].value, round(found["exact"].value, 3)
    (1.0, 0.667)
    """
    names = tuple(str(name) for name in classes)
    true, chances = _checked(truth, probability, names)
    bootstrap = Bootstrap.of(groups, len(true), seed=seed, n_boot=n_boot)
    measure = Several(true, chances, names)
    found = estimates(measure, bootstrap)
    return Evaluation(
        kind="multilabel",
        rows=len(true),
        groups=None if groups is None else bootstrap.n,
        metrics=named(found, OVERALL),
        classes=names,
        by_class={name: named(found, name) for name in names},
        folds=by_fold(check.folds_of(folds, len(true)), bootstrap, measure.take),
        curves={names[c]: _curves(true[:, c], chances[:, c], bootstrap) for c in _both_ways(true)},
        level=LEVEL,
        n_boot=n_boot,
        seed=seed,
        notes=(*notes_on(bootstrap, groups is not None), *_notes(true, names)),
    )


def _checked(truth: ArrayLike, probability: ArrayLike, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    true, chances = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if true.ndim != 2 or true.shape[1] != len(names) or true.shape != chances.shape or not len(true):
        raise UsageError(
            f"truth of shape {true.shape} and probabilities of shape {chances.shape} for {len(names)} labels",
            mend="give both as (rows, labels)",
        )
    known = ~np.isnan(true)
    if not np.isin(true[known], (0, 1)).all():
        raise UsageError("the truth holds other values than 0, 1 and NaN", mend="write 1 where a label holds")
    check.in_range(chances)
    if not _both_ways(true):
        raise UsageError(
            f"none of the labels {', '.join(names)} is there in some rows and not in others",
            mend="evaluate on rows that differ",
        )
    return true, chances


def _both_ways(truth: Floats) -> list[int]:
    return [c for c in range(truth.shape[1]) if (truth[:, c] == 0).any() and (truth[:, c] == 1).any()]


def _notes(truth: Floats, names: tuple[str, ...]) -> list[str]:
    one_way = [name for c, name in enumerate(names) if c not in _both_ways(truth)]
    said = []
    if one_way:
        said.append(f"{', '.join(one_way)}: never, or always there; averages of AUROC leave it out.")
    if np.isnan(truth).any():
        said.append(f"{int(np.isnan(truth).sum())} of {truth.size} truths are not known and left out.")
    return said


def _curves(truth: Floats, chances: Floats, bootstrap: Bootstrap) -> dict[str, tuple[float | None, ...]]:
    known = ~np.isnan(truth)
    return curves_of(truth[known] == 1, chances[known], bootstrap.within(known, 0))


class Several:
    """Metrics of several labels as a function of row weights."""

    def __init__(self, truth: Floats, chances: Floats, classes: tuple[str, ...]) -> None:
        self.truth, self.chances, self.classes = truth, chances, classes
        self.known: Mask = ~np.isnan(truth)
        self.there: Mask = truth == 1
        self.said: Mask = chances > 0.5
        columns = range(len(classes))
        self.rankings = [weighted.Ranking(self.there[:, c], chances[:, c]) for c in columns]

    def __call__(self, weights: Weights) -> Columns:
        """Return metrics (b,) by ``(class, name)``."""
        tables, each = [], list[dict[str, Floats]]()
        for c in range(len(self.classes)):
            known = weights * self.known[:, c]
            codes, said = self.there[:, c].astype(np.int64), self.said[:, c].astype(np.int64)
            tables.append(weighted.confusion(codes, said, 2, known))
            each.append(self._label(c, tables[-1], known))
        columns: Columns = {
            (OVERALL, name): average([label[name] for label in each])
            for name in ("auroc", "auprc", "f1", "balanced_accuracy", "brier")
        }
        columns[OVERALL, "f1_micro"] = weighted.by_class(np.sum(tables, axis=0))["f1"][:, 1]
        columns[OVERALL, "exact"] = self._exact(weights)
        for name, label in zip(self.classes, each, strict=True):
            columns |= {(name, metric): values for metric, values in label.items()}
        return columns

    def _label(self, c: int, table: Floats, known: Weights) -> dict[str, Floats]:
        counts = self.rankings[c].counts(known)
        positive = {name: values[:, 1] for name, values in weighted.by_class(table).items()}
        square = np.where(self.known[:, c], (self.chances[:, c] - self.there[:, c]) ** 2, 0)
        return {
            "auroc": weighted.auroc(*counts),
            "auprc": weighted.average_precision(*counts),
            **positive,
            "accuracy": weighted.quotient(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2))),
            "balanced_accuracy": (positive["sensitivity"] + positive["specificity"]) / 2,
            "brier": weighted.quotient(known @ square, known.sum(axis=1)),
        }

    def _exact(self, weights: Weights) -> Floats:
        full = self.known.all(axis=1).astype(np.float64)
        right = full * (self.there == self.said).all(axis=1)
        return weighted.quotient(weights @ right, weights @ full)

    def take(self, rows: Mask) -> Several:
        """Return the same for some rows."""
        return Several(self.truth[rows], self.chances[rows], self.classes)
