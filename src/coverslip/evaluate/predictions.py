"""Predictions beside their truth: what `coverslip train` writes, or any table that says the same.

A table has a row per slide (or case, tile, picture): ``truth``, then ``probability_<class>`` for each class,
and ``slide``, ``case``, ``patient``, ``fold`` as far as they are known. Several labels at once have
``truth_<label>`` instead of ``truth``; a regression has ``prediction`` instead of probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.evaluate.classification import N_BOOT, classification, ordinal
from coverslip.evaluate.multilabel import multilabel
from coverslip.evaluate.regression import regression
from coverslip.store import Evaluation, Prediction

KINDS = ("binary", "multiclass", "multilabel", "ordinal", "regression")
IDS = ("patient", "case", "slide", "tile")
TRUTH, PROBABILITY, PREDICTION, FOLD = "truth", "probability_", "prediction", "fold"

Ids = Mapping[str, NDArray[np.str_]]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of each row, and what was true.

    Attributes
    ----------
    kind
        ``binary``, ``multiclass``, ``multilabel``, ``ordinal`` or ``regression``.
    classes
        In order; empty for a regression.
    truth
        Class names (n,); 0, 1 or NaN (n, k) for several labels; numbers (n,) for a regression.
    said
        Probabilities (n, k); numbers (n,) for a regression.
    ids
        ``patient``, ``case``, ``slide``, ``tile``, as far as known; text (n,) each.
    fold
        Text (n,): the fold that tested the row; None when there are none.
    target
        What was predicted.
    notes
        What a reader must know, e.g. how many rows had no truth.
    """

    kind: str
    classes: tuple[str, ...]
    truth: NDArray[Any]
    said: NDArray[np.float64]
    ids: Ids = field(default_factory=dict)
    fold: NDArray[np.str_] | None = None
    target: str = TRUTH
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of target", self.kind, KINDS)
        lengths = {len(column) for column in (self.truth, self.said, *self.ids.values())}
        if len(lengths) > 1:
            raise UsageError(f"the columns of predictions of {self.target!r} have lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.said)

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """What intervals draw: patients, else cases; None when neither is known."""
        for name in ("patient", "case"):
            if name in self.ids:
                return self.ids[name]
        return None

    def take(self, rows: NDArray[Any]) -> Self:
        """Return some rows."""
        return replace(
            self,
            truth=self.truth[rows],
            said=self.said[rows],
            ids={name: column[rows] for name, column in self.ids.items()},
            fold=None if self.fold is None else self.fold[rows],
        )

    def evaluate(self, *, seed: int = 0, n_boot: int = N_BOOT) -> Evaluation:
        """Evaluate by kind; see `coverslip.evaluate.classification` and its neighbours."""
        rest: dict[str, Any] = {"groups": self.groups, "folds": self.fold, "seed": seed, "n_boot": n_boot}
        if self.kind == "regression":
            found = regression(self.truth, self.said, **rest)
        else:
            by_kind = {"multilabel": multilabel, "ordinal": ordinal}
            found = by_kind.get(self.kind, classification)(self.truth, self.said, self.classes, **rest)
        said = list(self.notes)
        if "patient" not in self.ids and "case" in self.ids:
            said.append("No patients were given: intervals are by case.")
        return replace(found, notes=(*said, *found.notes))

    def to_prediction(self) -> Prediction:
        """Return the table that a run keeps as ``predictions/<target>``."""
        columns: dict[str, NDArray[Any]] = {
            name: self.ids[name] for name in reversed(IDS) if name in self.ids
        }
        if self.fold is not None:
            columns[FOLD] = self.fold
        if self.kind == "regression":
            columns |= {TRUTH: self.truth, PREDICTION: self.said}
        elif self.kind == "multilabel":
            columns |= {f"{TRUTH}_{name}": self.truth[:, k] for k, name in enumerate(self.classes)}
        else:
            best = np.asarray(self.classes)[self.said.argmax(axis=1)]
            columns |= {TRUTH: self.truth, PREDICTION: best}
        if self.kind != "regression":
            columns |= {PROBABILITY + name: self.said[:, k] for k, name in enumerate(self.classes)}
        return Prediction(columns, {"target": self.target, "kind": self.kind, "classes": list(self.classes)})
