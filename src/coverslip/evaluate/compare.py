"""Set models beside each other on the same rows, with the interval of their difference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.evaluate import check
from coverslip.evaluate.classification import N_BOOT, OVERALL, Columns, Grades, OneClass, named
from coverslip.evaluate.multilabel import Several
from coverslip.evaluate.predictions import Predictions
from coverslip.evaluate.regression import Numbers
from coverslip.evaluate.resample import Bootstrap, Measure, Weights, estimates
from coverslip.store import Estimate, Evaluation
from coverslip.store.kinds.base import finite


@dataclass(frozen=True)
class Comparison:
    """Several models on the same rows.

    Attributes
    ----------
    target
        What they predict.
    evaluations
        Model → its evaluation on the common rows.
    differences
        Model → metric → its value less that of the first model, on the same resamples of patients; the first
        model is not among them.
    notes
        What a reader must know, e.g. how many rows were left out.
    """

    target: str
    evaluations: Mapping[str, Evaluation]
    differences: Mapping[str, Mapping[str, Estimate]]
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The model that the others are held against."""
        return next(iter(self.evaluations))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return dict(finite(asdict(self)))


def compare(models: Mapping[str, Predictions], *, seed: int = 0, n_boot: int = N_BOOT) -> Comparison:
    """Evaluate models on the rows that all of them predict.

    Two models on the same patients err together, so their intervals may overlap while one is surely better:
    the difference is measured in each resample.

    Parameters
    ----------
    models
        Name → predictions, two or more; rows are matched by tile, else by slide, else by case.

    Raises
    ------
    UsageError
        When they predict other things, share no row, or contradict each other about the truth.

    Examples
    --------
    >>> ids = {"slide": np.array(["a", "b", "c", "d"])}
    >>> truth, classes = np.array(["n", "t", "n", "t"]), ("n", "t")
    >>> right, wrong = (np.array([[1 - p, p] for p in row]) for row in ((0, 1, 0, 1), (1, 1, 0, 1)))
    >>> x, y = (Predictions("binary", classes, truth, chances, ids) for chances in (right, wrong))
    >>> compare({"x": x, "y": y}, n_boot=0).differences["y"]["accuracy"].value
    -0.25
    """
    if len(models) < 2:
        raise UsageError(f"{len(models)} model cannot be compared", mend="give two or more")
    aligned, notes = _aligned(models)
    first, *others = aligned
    bootstrap = Bootstrap.of(aligned[first].groups, len(aligned[first]), seed=seed, n_boot=n_boot)
    base = measure_of(aligned[first])
    differences = {
        name: named(estimates(_Difference(measure_of(aligned[name]), base), bootstrap), OVERALL)
        for name in others
    }
    evaluations = {name: one.evaluate(seed=seed, n_boot=n_boot) for name, one in aligned.items()}
    return Comparison(aligned[first].target, evaluations, differences, notes)


def measure_of(predictions: Predictions) -> Measure:
    """Return the metrics of predictions as a function of row weights.

    Raises
    ------
    UsageError, UnknownNameError
        When they cannot be evaluated.
    """
    one = predictions
    if one.kind == "regression":
        return Numbers(check.numbers(one.truth, "truth"), check.numbers(one.said, "predictions", len(one)))
    if one.kind == "multilabel":
        return Several(one.truth, one.said, one.classes)
    made = Grades if one.kind == "ordinal" else OneClass
    codes = check.positions(one.truth, one.classes)
    return made(codes, check.probabilities(one.said, len(one), one.classes), one.classes)


class _Difference:
    """One model's metrics less another's, on the same weights."""

    def __init__(self, one: Measure, other: Measure) -> None:
        self.one, self.other = one, other

    def __call__(self, weights: Weights) -> Columns:
        ours, theirs = self.one(weights), self.other(weights)
        found: dict[Hashable, NDArray[np.float64]] = {
            key: ours[key] - theirs[key] for key in ours if isinstance(key, tuple) and key[0] == OVERALL
        }
        return found


def _aligned(models: Mapping[str, Predictions]) -> tuple[dict[str, Predictions], tuple[str, ...]]:
    """Bring all to the rows that they share, in one order."""
    (first, base), *rest = models.items()
    for name, one in rest:
        if (one.kind, one.classes) != (base.kind, base.classes):
            raise UsageError(
                f"{name} predicts {one.kind} {', '.join(one.classes)}, "
                f"{first} {base.kind} {', '.join(base.classes)}",
                mend="compare models of one target, with the classes in the same order",
            )
    keys = {name: _row_names(name, one) for name, one in models.items()}
    common = [key for key in keys[first] if all(key in set_ for set_ in keys.values())]
    if not common:
        raise UsageError(f"{', '.join(models)} share no row", mend="compare predictions of the same slides")
    made = {
        name: one.take(np.array([keys[name][key] for key in common], np.int64))
        for name, one in models.items()
    }
    for name, one in made.items():
        if not np.array_equal(one.truth, made[first].truth, equal_nan=one.truth.dtype.kind == "f"):
            raise UsageError(
                f"{name} and {first} contradict each other about the truth",
                mend="train and evaluate both with one cohort",
            )
    left = {name: len(one) - len(common) for name, one in models.items() if len(one) > len(common)}
    notes = tuple(
        f"{count} rows of {name} are not in all others and left out." for name, count in left.items()
    )
    return made, notes


def _row_names(name: str, one: Predictions) -> dict[str, int]:
    key = next((key for key in ("tile", "slide", "case") if key in one.ids), None)
    if key is None:
        raise UsageError(
            f"{name} names no slides, so its rows cannot be matched", mend="give a column slide, or case"
        )
    found = {str(value): row for row, value in enumerate(one.ids[key].tolist())}
    if len(found) < len(one):
        raise UsageError(f"{name} predicts a {key} twice", mend=f"give one row per {key}")
    return found
