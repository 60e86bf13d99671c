"""``coverslip evaluate``: how good predictions are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table

if TYPE_CHECKING:
    from coverslip.evaluate import Comparison, Evaluation, Predictions, Reading

FOLDS_SHOWN = 10


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RUN|PREDICTIONS…")
@click.option("--target", help="Which of a run's targets; all by default.")
@click.option(
    "--kind", help="binary, multiclass, multilabel, ordinal or regression, where the file does not say."
)
@click.option(
    "--classes", help="The classes in order, comma-separated; of two, the second is the positive one."
)
@click.option("--truth", default="truth", show_default=True, help="Column of the truth.")
@click.option("--patient", default="patient", show_default=True, help="Column of the patient.")
@click.option("--fold", default="fold", show_default=True, help="Column of the fold.")
@click.option("--bootstrap", default=1000, show_default=True, help="Resamples of patients; 0: no intervals.")
@click.option("--seed", default=0, show_default=True, help="Of the resamples.")
@click.option("--html", metavar="FILE", help="Write the page with curves and tables to FILE.")
@json_option
def evaluate(
    sources: tuple[str, ...],
    target: str | None,
    html: str | None,
    in_json: bool,
    **options: Any,
) -> None:
    """Evaluate the predictions of a run, or of a CSV or Parquet file; compare several on their common rows.

    A file has a row per slide: truth, probability_<class> per class (or prediction, for numbers), and
    patient, slide and fold as far as known. Intervals are made by drawing patients. A run keeps the result in
    evaluation/<target>.json.
    """
    draws = {"seed": options.pop("seed"), "n_boot": options.pop("bootstrap")}
    reading = _reading(options)
    if len(sources) > 1:
        return _compared(sources, target, reading, draws | {"html": html, "json": in_json})
    found = _alone(sources[0], target, reading, draws)
    if html:
        _page(html, found)
    if in_json:
        return as_json({name: evaluation.to_dict() for name, (evaluation, _) in found.items()})
    for number, (name, (evaluation, _)) in enumerate(found.items()):
        if number:
            click.echo()
        _told(name, evaluation)
    return None


def _reading(options: Mapping[str, Any]) -> Reading:
    from coverslip.evaluate import Reading

    classes = options["classes"]
    named = None if classes is None else tuple(name.strip() for name in classes.split(","))
    return Reading(options["kind"], named, options["truth"], options["patient"], options["fold"])


def _alone(
    source: str, target: str | None, reading: Reading, draws: Mapping[str, int]
) -> dict[str, tuple[Evaluation, Predictions]]:
    """Evaluate all targets of one source; those of a run are kept in it."""
    from coverslip.evaluate import evaluate_run, read_predictions, targets
    from coverslip.store import RunFolder

    if not Path(source).is_dir():
        read = read_predictions(source, target=target, reading=reading)
        return {read.target: (read.evaluate(**draws), read)}
    run = RunFolder(source)
    names = targets(run) if target is None else (target,)
    if not names:
        read_predictions(source)  # says what is missing
    return {name: (evaluate_run(run, name, **draws), read_predictions(source, target=name)) for name in names}


def _compared(
    sources: tuple[str, ...], target: str | None, reading: Reading, options: Mapping[str, Any]
) -> None:
    from coverslip.evaluate import compare, read_predictions

    names = source_names(sources)
    models = {
        name: read_predictions(source, target=target, reading=reading)
        for name, source in zip(names, sources, strict=True)
    }
    found = compare(models, seed=options["seed"], n_boot=options["n_boot"])
    if options["html"]:
        from coverslip.report.evaluation import comparison_page

        _written(options["html"], comparison_page(found))
    if options["json"]:
        return as_json(found.to_dict())
    return _told_apart(found)


def source_names(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return a short name per path; whole paths where the short ones are alike.

    Examples
    --------
    >>> source_names(("runs/a", "b.csv")), source_names(("x/run", "y/run"))
    (('a', 'b'), ('x/run', 'y/run'))
    """
    short = tuple(Path(source).resolve().stem for source in sources)
    return short if len(set(short)) == len(short) else sources


def _page(html: str, found: Mapping[str, tuple[Evaluation, Predictions]]) -> None:
    from coverslip.report.evaluation import evaluation_page

    _written(html, evaluation_page(found))


def _written(path: str, text: str) -> None:
    from coverslip.core import atomic

    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}", err=True)


def _told(name: str, found: Evaluation) -> None:
    whose = "" if found.groups is None else f" of {found.groups} patients or cases"
    click.echo(f"{name}: {found.kind}, {found.rows} rows{whose}")
    folds = list(found.folds)[:FOLDS_SHOWN]
    head = ("metric", "value", f"{100 * found.level:g} % interval", *(f"fold {fold}" for fold in folds))
    rows = [
        (metric, _figure(e.value), _ends(e.low, e.high),
         *(_figure(found.folds[fold].metrics[metric].value) for fold in folds))
        for metric, e in found.metrics.items()
    ]  # fmt: skip
    table(head, rows)
    if found.confusion:
        click.echo()
        table(("truth, predicted as", *found.classes),
              [(name, *row) for name, row in zip(found.classes, found.confusion, strict=True)])  # fmt: skip
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _told_apart(found: Comparison) -> None:
    rows = found.evaluations[found.first].rows
    click.echo(f"{found.target}: {len(found.evaluations)} models on the same {rows} rows")
    shown = list(found.evaluations[found.first].metrics)
    table(("metric", *found.evaluations), [
        (metric, *(_figure(e[metric].value) + " " + _ends(e[metric].low, e[metric].high)
                   for e in found.evaluations.values()))
        for metric in shown
    ])  # fmt: skip
    click.echo(f"\nless {found.first}, on the same resamples")
    table(("metric", *found.differences), [
        (metric, *(_figure(d[metric].value, "+") + " " + _ends(d[metric].low, d[metric].high)
                   for d in found.differences.values()))
        for metric in shown
    ])  # fmt: skip
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _figure(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"({low:.3f} to {high:.3f})"
