"""ROC, precision-recall, calibration and learning curves as plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from coverslip.report.numbers import counted, number
from coverslip.report.palette import CLASSES
from coverslip.report.plots import DIAGONAL, Frame, Line, Mark, Plot, figure
from coverslip.store import Evaluation

FALSE_RATE, TRUE_RATE = "False positive rate (1 − specificity)", "True positive rate (sensitivity)"
BANDS = 3
"""Most curves in one plot that have their bands drawn; more would hide each other."""

Series = Mapping[str, tuple[float | None, ...]]
History = Mapping[str, Sequence[Mapping[str, float]]]
"""Fold → a row per epoch: ``epoch``, ``train_loss``, perhaps ``val_loss`` and other figures."""


def line_colour(place: int) -> str:
    """Return the colour of a thin line; the palette's yellow cannot be seen on white."""
    seen = [colour for colour in CLASSES if colour != "#f0e442"]
    return seen[place % len(seen)]


def plots_of(found: Evaluation) -> tuple[Plot, ...]:
    """Return the plots of an evaluation; none for a regression."""
    if not found.curves:
        return ()
    return (_roc(found), _pr(found), *_calibrations(found))


def _shown(found: Evaluation) -> list[tuple[str, Series, str]]:
    return [
        (name, series, line_colour(place if len(found.curves) > 1 else 0))
        for place, (name, series) in enumerate(found.curves.items())
    ]


def _points(series: Series, name: str) -> list[tuple[float, float]]:
    pairs = zip(series[f"{name}_x"], series[f"{name}_y"], strict=True)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _bands(found: Evaluation, frame: Frame, name: str) -> tuple[tuple[str, str], ...]:
    if len(found.curves) > BANDS:
        return ()
    made = []
    for _, series, colour in _shown(found):
        grid = [x for x in series[f"{name}_grid"] if x is not None]
        path = frame.band(grid, series[f"{name}_low"], series[f"{name}_high"])
        made += [(path, colour)] if path else []
    return tuple(made)


def _named(found: Evaluation, name: str, metric: str) -> str:
    value = found.by_class.get(name, {}).get(metric)
    return name if value is None or value.value is None else f"{name} {figure(value.value)}"


def _roc(found: Evaluation) -> Plot:
    frame = Frame.over()
    lines = tuple(
        Line(frame.path(_points(series, "roc")), colour, _named(found, name, "auroc"))
        for name, series, colour in _shown(found)
    )
    areas = ", ".join(line.name for line in lines)
    return Plot(
        "ROC",
        FALSE_RATE,
        TRUE_RATE,
        f"ROC curves; area under the curve: {areas}.",
        frame.x.ticks(),
        frame.y.ticks(),
        lines,
        _bands(found, frame, "roc"),
        guide=frame.path(DIAGONAL),
        note="area under the curve",
    )


def _pr(found: Evaluation) -> Plot:
    frame = Frame.over()
    lines = tuple(
        Line(frame.path(_points(series, "pr"), steps=True), colour, _named(found, name, "auprc"))
        for name, series, colour in _shown(found)
    )
    guide = ""
    if len(found.curves) == 1:
        rate = _prevalence(next(iter(found.curves.values())))
        guide = frame.path(((0, rate), (1, rate)))
    return Plot(
        "Precision and recall",
        "Recall (sensitivity)",
        "Precision",
        f"Precision-recall curves; average precision: {', '.join(line.name for line in lines)}.",
        frame.x.ticks(),
        frame.y.ticks(),
        lines,
        _bands(found, frame, "pr"),
        guide=guide,
        note="average precision",
    )


def _prevalence(series: Series) -> float:
    """Return the share of rows that are of the class: the precision when everything is called."""
    last = series["pr_y"][-1]
    return 0.0 if last is None else last


def _calibrations(found: Evaluation) -> tuple[Plot, ...]:
    """Return one plot per class, of three at most: dots of several classes cannot be told apart."""
    titled = len(found.curves) > 1
    return tuple(
        _calibration(name, series, colour, f"Calibration of {name}" if titled else "Calibration")
        for name, series, colour in _shown(found)[:BANDS]
    )


def _calibration(name: str, series: Series, colour: str, title: str) -> Plot:
    frame = Frame.over()
    marks, points, told = [], [], []
    named = ("predicted", "observed", "rows", "low", "high")
    rows = zip_longest(*(series[f"calibration_{key}"] for key in named))
    for predicted, observed, count, low, high in rows:
        if predicted is None or observed is None:
            continue
        least, most = (None if end is None else frame.y.at(end) for end in (low, high))
        said = f"said {number(predicted, 2)}, true {number(observed, 2)} of {counted(int(count or 0), 'row')}"
        marks.append(Mark(frame.x.at(predicted), frame.y.at(observed), least, most, said))
        points.append((predicted, observed))
        told.append(said)
    return Plot(
        title,
        f"Predicted probability of {name}",
        "Observed share",
        f"Calibration of {name}: {'; '.join(told)}.",
        frame.x.ticks(),
        frame.y.ticks(),
        (Line(frame.path(points), colour, name),),
        marks=tuple(marks),
        guide=frame.path(DIAGONAL),
        note="a perfect model lies on the diagonal",
    )


def overlaid(models: Mapping[str, Evaluation]) -> tuple[Plot, ...]:
    """Return ROC and precision-recall curves of several models in one plot each, for the first classes."""
    first = next(iter(models.values()))
    made = []
    for name in list(first.curves)[:BANDS]:
        of = f" of {name}" if len(first.curves) > 1 else ""
        made.append(_together(models, name, ("roc", "auroc"), f"ROC{of}"))
        made.append(_together(models, name, ("pr", "auprc"), f"Precision and recall{of}"))
    return tuple(made)


def _together(models: Mapping[str, Evaluation], name: str, keys: tuple[str, str], title: str) -> Plot:
    curve, metric = keys
    frame = Frame.over()
    lines = []
    for place, (model, found) in enumerate(models.items()):
        value = found.by_class[name][metric].value
        path = frame.path(_points(found.curves[name], curve), steps=curve == "pr")
        lines.append(Line(path, line_colour(place), f"{model} {figure(value)}"))
    sides = ("Recall (sensitivity)", "Precision") if curve == "pr" else (FALSE_RATE, TRUE_RATE)
    told = f"{title}; areas: {', '.join(line.name for line in lines)}."
    guide = "" if curve == "pr" else frame.path(DIAGONAL)
    return Plot(title, *sides, told, frame.x.ticks(), frame.y.ticks(), tuple(lines), guide=guide)


def learning_plots(history: History) -> tuple[Plot, ...]:
    """Return the losses of training and validation over the epochs, a line per fold."""
    named = (("train_loss", "Training loss"), ("val_loss", "Validation loss"))
    made = (_learning(history, key, title) for key, title in named)
    return tuple(plot for plot in made if plot.lines)


def _learning(history: History, key: str, title: str) -> Plot:
    curves = {
        fold: [(row["epoch"] + 1, row[key]) for row in rows if key in row] for fold, rows in history.items()
    }
    known = {fold: points for fold, points in curves.items() if points}
    values = [y for points in known.values() for _, y in points]
    last = max((x for points in known.values() for x, _ in points), default=1)
    top = max(values, default=1.0)
    frame = Frame.over((1, max(2.0, last)), (min(0.0, min(values, default=0.0)), top * 1.05 or 1.0))
    lines = tuple(
        Line(frame.path(points), line_colour(place), fold)
        for place, (fold, points) in enumerate(known.items())
    )
    ends = ", ".join(f"{fold} {number(points[-1][1])}" for fold, points in known.items())
    return Plot(
        title,
        "Epoch",
        "Loss",
        f"{title} by epoch; at the end: {ends}.",
        frame.x.ticks(),
        frame.y.ticks(),
        lines,
    )
