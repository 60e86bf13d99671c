"""How good predictions are: estimates with intervals, curves and the confusion, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from coverslip.store.header import Header, damaged
from coverslip.store.kinds.base import Kind, finite, read_json, write_json

Curves = Mapping[str, Mapping[str, tuple[float | None, ...]]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the ends of its interval; None is "not defined here" (one class only, too few rows)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Write the estimate as people read it.

        Examples
        --------
        >>> str(Estimate(0.91234, 0.85, 0.961)), str(Estimate(None))
        ('0.912 (0.850 to 0.961)', 'not defined')
        """
        if self.value is None:
            return "not defined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class FoldEvaluation:
    """The metrics of one fold's model on the rows that it was tested on."""

    rows: int
    groups: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good the predictions of one target are.

    Attributes
    ----------
    kind
        ``binary``, ``multiclass``, ``multilabel``, ``ordinal`` or ``regression``.
    classes
        In the order of the confusion; empty for a regression. Of two, the second is the positive one.
    rows, groups
        How many rows were evaluated, and how many patients they come from; `groups` is None where no
        patients were given and the intervals are by row.
    metrics
        Of all rows together, by name.
    by_class
        Class → metric → estimate, each class against the rest.
    folds
        Fold → metrics of that fold alone.
    confusion
        Rows are the truth, columns the prediction; empty where there is none.
    curves
        Class → name of the series → values: ``roc_x``, ``roc_y``, ``roc_grid``, ``roc_low``,
        ``roc_high``; the same for ``pr``; ``calibration_predicted``, ``_observed``, ``_low``, ``_high``,
        ``_rows``.
    level
        Of the intervals, e.g. 0.95.
    n_boot, seed
        How many resamples of patients, and the seed they were drawn with.
    notes
        What a reader must know before trusting a number.
    """

    kind: str
    rows: int
    groups: int | None
    metrics: Mapping[str, Estimate]
    classes: tuple[str, ...] = ()
    by_class: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    folds: Mapping[str, FoldEvaluation] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    curves: Curves = field(default_factory=dict)
    level: float = 0.95
    n_boot: int = 0
    seed: int = 0
    notes: tuple[str, ...] = ()

    def __getitem__(self, metric: str) -> Estimate:
        """Return a pooled metric by name."""
        from coverslip.core import unknown

        if metric not in self.metrics:
            raise unknown("metric", metric, self.metrics)
        return self.metrics[metric]

    def __repr__(self) -> str:
        first = ", ".join(f"{name} {value}" for name, value in list(self.metrics.items())[:3])
        return f"<Evaluation of {self.rows} rows, {self.kind}: {first}>"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; what is not defined is None."""
        return dict(finite(asdict(self)))

    def to_json(self) -> str:
        """Return the evaluation as a JSON object."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`; members that this release does not know are passed over.

        Raises
        ------
        KeyError, TypeError
            When something is missing or of another form.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        known["metrics"] = _estimates(values["metrics"])
        known["by_class"] = {name: _estimates(row) for name, row in values.get("by_class", {}).items()}
        known["folds"] = {
            name: FoldEvaluation(fold["rows"], fold["groups"], _estimates(fold["metrics"]))
            for name, fold in values.get("folds", {}).items()
        }
        known["confusion"] = tuple(tuple(row) for row in values.get("confusion", ()))
        known["curves"] = {
            name: {key: tuple(series) for key, series in curves.items()}
            for name, curves in values.get("curves", {}).items()
        }
        for name in ("classes", "notes"):
            known[name] = tuple(values.get(name, ()))
        return cls(**known)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Rebuild from `to_json`.

        Raises
        ------
        StoreError
            When the text is no evaluation.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise damaged(Path("the JSON given"), error) from error


def _estimates(values: Mapping[str, Mapping[str, float | None]]) -> dict[str, Estimate]:
    return {name: Estimate(e["value"], e.get("low"), e.get("high")) for name, e in values.items()}


def _write(paths: tuple[Path, ...], value: Evaluation, header: Header) -> None:
    write_json(paths[0], header, value.to_dict())


def _read(paths: tuple[Path, ...], _header: Header) -> Evaluation:
    try:
        return Evaluation.from_dict(read_json(paths[0]))
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(paths[0], error) from error


EVALUATION = Kind("evaluation", 1, (".json",), _write, _read)
