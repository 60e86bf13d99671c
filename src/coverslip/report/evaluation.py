"""The page of an evaluation: metrics with their intervals, curves, confusion, the worst mistakes."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coverslip.evaluate import Comparison, Predictions, evaluate_run, read_predictions, targets
from coverslip.report.evaluation_plots import History, learning_plots, overlaid, plots_of
from coverslip.report.html import render
from coverslip.report.numbers import counted, number
from coverslip.report.plots import Plot, Whisker, figure, whisker
from coverslip.store import Estimate, Evaluation, Provenance, RunFolder

MISTAKES = 20

METRICS: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "share of rows that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' sensitivities"),
    "auroc": ("AUROC", "chance that a positive row scores above a negative one"),
    "auprc": ("AUPRC", "average precision"),
    "f1": ("F1", "harmonic mean of precision and sensitivity"),
    "kappa": ("Kappa", "agreement beyond chance"),
    "kappa_quadratic": ("Quadratic kappa", "agreement beyond chance, errors weighed by squared distance"),
    "mcc": ("MCC", "Matthews correlation"),
    "sensitivity": ("Sensitivity", "share of the positive rows that are found"),
    "specificity": ("Specificity", "share of the negative rows that are left alone"),
    "precision": ("Precision", "share of what is called positive that is so"),
    "brier": ("Brier score", "mean squared error of the probabilities; lower is better"),
    "ece": ("Calibration error", "mean gap between probability and outcome; lower is better"),
    "log_loss": ("Log loss", "lower is better"),
    "grade_error": ("Grade error", "mean distance in grades; lower is better"),
    "within_one": ("Within one grade", "share of rows at most a grade off"),
    "concordance": ("Concordance", "share of pairs in the right order"),
    "exact": ("Exact", "share of rows with every label right"),
    "f1_micro": ("F1, micro", "over all labels at once"),
    "mae": ("Mean absolute error", "lower is better"),
    "rmse": ("Root mean squared error", "lower is better"),
    "bias": ("Bias", "mean of predicted less true"),
    "r2": ("R²", "share of the variance explained"),
    "pearson": ("Correlation", "Pearson's"),
}
"""What each metric is called, and what it says."""

HEADLINE = {
    "regression": ("concordance", "mae", "r2"),
    "ordinal": ("kappa_quadratic", "accuracy", "within_one"),
    "multilabel": ("auroc", "auprc", "exact"),
}

SHARES = frozenset(METRICS) - {"log_loss", "grade_error", "mae", "rmse", "bias", "brier"}
"""Metrics on a scale that ends at 1: they get an interval drawn on it."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A line of the table of metrics."""

    label: str
    says: str
    estimate: Estimate
    drawn: Whisker | None
    folds: tuple[float | None, ...] = ()
    mean: float | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row that the model got wrong, and how sure it was."""

    row: str
    patient: str
    truth: str
    said: str
    own: float | None
    other: float | None


@dataclass(frozen=True)
class Section:
    """What the page shows of one target."""

    name: str
    found: Evaluation
    headline: tuple[tuple[str, str, str], ...]
    metrics: tuple[MetricRow, ...]
    plots: tuple[Plot, ...]
    learning: tuple[Plot, ...]
    mistakes: tuple[Mistake, ...]
    wrong: int


Found = Mapping[str, tuple[Evaluation, Predictions]]


def evaluation_page(
    found: Found, *, title: str = "Evaluation", histories: Mapping[str, History] | None = None
) -> str:
    """Write the page of one or several targets.

    Parameters
    ----------
    found
        Target → its evaluation and the predictions that were evaluated.
    histories
        Target → losses by epoch, where a model was trained.

    Returns
    -------
    HTML, one file that needs no other.
    """
    sections = [
        section(name, evaluation, predictions, (histories or {}).get(name, {}))
        for name, (evaluation, predictions) in found.items()
    ]
    return render("evaluation.html.j2", title=title, sections=sections, counted=counted)


def section(name: str, found: Evaluation, predictions: Predictions, history: History) -> Section:
    """Bring together what is shown of one target."""
    wrong = mistakes(predictions)
    return Section(
        name,
        found,
        headline(found),
        metric_rows(found),
        plots_of(found),
        learning_plots(history),
        wrong[:MISTAKES],
        len(wrong),
    )


def headline(found: Evaluation) -> tuple[tuple[str, str, str], ...]:
    """Return the figures at the top: label, value, and a remark."""
    whose = "" if found.groups is None else f"of {counted(found.groups, 'patient')}"
    shown = HEADLINE.get(found.kind, ("auroc", "balanced_accuracy", "accuracy"))
    figures = [(METRICS[key][0], figure(found[key].value), _ends(found[key])) for key in shown]
    return (("Rows", number(found.rows), whose), *figures)


def _ends(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{figure(estimate.low)} to {figure(estimate.high)}"


def metric_rows(found: Evaluation) -> tuple[MetricRow, ...]:
    """Return the table of metrics, pooled and by fold."""
    made = []
    for key, estimate in found.metrics.items():
        label, says = METRICS.get(key, (key.replace("_", " "), ""))
        folds = tuple(fold.metrics[key].value for fold in found.folds.values())
        known = [value for value in folds if value is not None]
        drawn = whisker(estimate.value, estimate.low, estimate.high) if key in SHARES else None
        mean = float(np.mean(known)) if known else None
        spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
        made.append(MetricRow(label, says, estimate, drawn, folds, mean, spread))
    return tuple(made)


def mistakes(predictions: Predictions) -> tuple[Mistake, ...]:
    """Return the rows that are wrong, the surest first; none for numbers and several labels."""
    if predictions.kind in ("regression", "multilabel"):
        return ()
    place = {name: k for k, name in enumerate(predictions.classes)}
    codes = np.array([place[str(name)] for name in predictions.truth.tolist()], np.int64)
    said = predictions.said.argmax(axis=1)
    rows = np.arange(len(codes))
    own, other = predictions.said[rows, codes], predictions.said[rows, said]
    order = np.lexsort((own, -other))
    classes, ids = predictions.classes, predictions.ids
    named = next((ids[key] for key in ("tile", "slide", "case") if key in ids), rows.astype(str))
    patient = ids.get("patient", np.full(len(rows), ""))
    return tuple(
        Mistake(
            str(named[i]),
            str(patient[i]),
            classes[codes[i]],
            classes[said[i]],
            float(own[i]),
            float(other[i]),
        )
        for i in order.tolist()
        if codes[i] != said[i]
    )


# ------------------------------------------------------------------ several models
def comparison_page(found: Comparison, *, title: str = "Models compared") -> str:
    """Write the page of several models on the same rows."""
    shown = list(found.evaluations[found.first].metrics)
    rows = [
        (
            *METRICS.get(key, (key, "")),
            [(e[key], whisker(e[key].value, e[key].low, e[key].high) if key in SHARES else None)
             for e in found.evaluations.values()],
            [found.differences[name][key] for name in found.differences],
        )
        for key in shown
    ]  # fmt: skip
    return render(
        "comparison.html.j2",
        title=title,
        found=found,
        rows=rows,
        plots=overlaid(found.evaluations),
        counted=counted,
        sure=sure,
    )


def sure(difference: Estimate) -> bool:
    """Say whether a difference's interval leaves out 0."""
    low, high = difference.low, difference.high
    return low is not None and high is not None and (low > 0 or high < 0)


# ------------------------------------------------------------------ a run
def write_evaluation_report(run: RunFolder, *, key: str = "evaluation") -> Path:
    """Evaluate what a run predicts where that is not done, and write its page.

    Parameters
    ----------
    key
        ``"evaluation"`` for a page of its own, ``"report"`` for the run's first page.

    Raises
    ------
    StoreError, UsageError
        When a target cannot be evaluated.
    """
    names = targets(run)
    found = {name: (evaluate_run(run, name), read_predictions(run.path, target=name)) for name in names}
    histories = {name: history_of(run, name) for name in names}
    html = evaluation_page(found, title=run.path.resolve().name, histories=histories)
    inputs = {f"evaluation/{name}": run.fingerprint(None, f"evaluation/{name}") or "" for name in names}
    made = Provenance.make("evaluation-page", 1, parameters={}, inputs=inputs, slide=None)
    run.put(None, key, html, provenance=made, replace=True)
    return run.path_of(None, key)


def history_of(run: RunFolder, target: str) -> History:
    """Read the losses by epoch that training left beside each fold's model."""
    folder = run.path / "models" / target
    found: dict[str, Sequence[Mapping[str, float]]] = {}
    for file in sorted(folder.rglob("history.csv"), key=lambda path: (len(path.parts), str(path))):
        name = file.parent.relative_to(folder).as_posix()
        with file.open(encoding="utf-8", newline="") as lines:
            found["all" if name == "." else name] = [_figures(row) for row in csv.DictReader(lines)]
    return found


def _figures(row: Mapping[str, str]) -> dict[str, float]:
    """Return the cells that hold finite numbers."""
    made = {}
    for name, cell in row.items():
        try:
            value = float(cell)
        except (TypeError, ValueError):
            continue
        if np.isfinite(value):
            made[name] = value
    return made
