"""A linear head on features of nuclei: fitted, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.nuclei.labelled import Labelled
from coverslip.models.nuclei.classes import NucleusClasses

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverses of the penalty on weights that are tried."""

STEPS = 500
"""Of the solver, at most."""


def fit_head(
    nuclei: Labelled, classes: Sequence[str], network: str, *, folds: int
) -> tuple[NucleusClasses, float]:
    """Fit multinomial logistic regression; classes count alike, however many nuclei each has.

    The penalty is the one with the best balanced accuracy over folds of slides, of nuclei where there are
    fewer slides than folds.

    Returns
    -------
    The head, and the inverse of the penalty.
    """
    mean = nuclei.features.mean(axis=0)
    sd = nuclei.features.std(axis=0) + 1e-3
    seen = (nuclei.features - mean) / sd
    part = _folds(nuclei, folds)
    best = max(STRENGTHS, key=lambda strength: (_merit(seen, nuclei.labels, part, strength), -strength))
    weights, bias = _fitted(seen, nuclei.labels, best, len(classes))
    single = (np.asarray(value, np.float32) for value in (mean, sd, weights, bias))
    return NucleusClasses(tuple(classes), *single, network=network), best


def _folds(nuclei: Labelled, folds: int) -> NDArray[np.int64]:
    """Return the fold of each nucleus."""
    rows = np.unique(nuclei.slides)
    if len(rows) < folds:
        return np.arange(len(nuclei)) % folds
    return np.searchsorted(rows, nuclei.slides) % folds


def _merit(
    seen: NDArray[np.float32], labels: NDArray[np.int64], part: NDArray[np.int64], strength: float
) -> float:
    said = np.full(len(labels), -1)
    count = int(labels.max()) + 1
    for fold in np.unique(part):
        train = part != fold
        if len(np.unique(labels[train])) < 2:
            continue
        weights, bias = _fitted(seen[train], labels[train], strength, count)
        said[~train] = (seen[~train] @ weights + bias).argmax(axis=1)
    return float(np.mean([(said[labels == c] == c).mean() for c in np.unique(labels)]))


def _fitted(
    seen: NDArray[np.float32], labels: NDArray[np.int64], strength: float, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (d, k) and bias (k,); a class that is not there has no chance."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=STEPS).fit(seen, labels)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one output: as two, so that heads are alike
        coefficients, intercepts = (
            np.vstack([-coefficients, coefficients]) / 2,
            np.array([-1, 1]) * intercepts / 2,
        )
    weights, bias = np.zeros((seen.shape[1], count)), np.full(count, -1e3)
    weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercepts
    return weights, bias


def figures(
    labels: NDArray[np.int64], probabilities: NDArray[np.float32], classes: Sequence[str]
) -> dict[str, Any]:
    """Return accuracy, balanced accuracy, F1 per class and the confusion (truth in rows); of none, {}."""
    if not len(labels):
        return {}
    said = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, said), 1)
    right = np.diag(confusion)
    there = confusion.sum(axis=1) > 0
    f1 = 2 * right / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)
    return {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float((right[there] / confusion.sum(axis=1)[there]).mean()),
        **{f"f1_{name}": float(value) for name, value in zip(classes, f1, strict=True)},
        "confusion": confusion.tolist(),
    }
