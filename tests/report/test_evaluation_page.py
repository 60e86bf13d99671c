"""The page of an evaluation says what was evaluated, safely, and draws inside its frames."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.evaluate import Predictions, compare
from coverslip.report.evaluation import (
    comparison_page,
    evaluation_page,
    history_of,
    mistakes,
    sure,
    write_evaluation_report,
)
from coverslip.report.evaluation_plots import learning_plots, plots_of
from coverslip.report.plots import HIGH, LEFT, TOP, WIDE, Frame, figure, whisker
from coverslip.store import Estimate, Evaluation, Provenance, RunFolder

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "link", "img", "input", "br", "line", "rect", "circle", "path", "hr"}


def predictions(
    classes: tuple[str, ...], seed: int = 0, kind: str = "multiclass", rows: int = 90
) -> Predictions:
    truth = np.random.default_rng(3).integers(0, len(classes), rows)
    scores = np.exp(
        np.random.default_rng(seed).normal(size=(rows, len(classes))) + 1.5 * np.eye(len(classes))[truth]
    )
    ids = {
        "patient": np.array([f"p{i // 2}" for i in range(rows)]),
        "slide": np.array([f"slide {i} {HOSTILE}" if i == 4 else f"slide {i}" for i in range(rows)]),
    }
    fold = (np.arange(rows) // 2 % 3).astype(str)
    said = scores / scores.sum(axis=1, keepdims=True)
    return Predictions(kind, classes, np.array(classes)[truth], said, ids, fold, target="subtype")


class Balanced(HTMLParser):
    """Check that every element that opens is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def words(html: str) -> str:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(" ".join(parser.text).split())


@pytest.mark.parametrize("classes", [("benign", "tumour"), ("a", "b", "c"), tuple("abcdefgh")])
def test_the_page_says_every_metric(classes: tuple[str, ...]) -> None:
    one = predictions(classes)
    found = one.evaluate(n_boot=30)
    text = words(evaluation_page({"subtype": (found, one)}))
    for name, estimate in found.metrics.items():
        assert figure(estimate.value) in text, name
        assert f"{figure(estimate.low)} to {figure(estimate.high)}" in text, name
    for fold in found.folds.values():
        assert figure(fold.metrics["auroc"].value) in text
    for row in found.confusion:
        assert all(str(count) in text for count in row)
    assert "of 45 patients" in text


def test_names_can_do_no_harm_and_nothing_is_loaded() -> None:
    one = predictions((HOSTILE, "b & c"))
    found = one.evaluate(n_boot=10)
    for html in (
        evaluation_page({HOSTILE: (found, one)}, title=HOSTILE),
        comparison_page(compare({HOSTILE: one, "other": predictions((HOSTILE, "b & c"), 1)}, n_boot=10)),
    ):
        assert HOSTILE not in html
        assert "&lt;script&gt;" in html
        assert not re.search(r"(src|href)=[\"']?https?:", html)
        words(html)


def test_numbers_have_no_curves_and_no_mistakes() -> None:
    truth = np.random.default_rng(0).normal(size=30)
    one = Predictions("regression", (), truth, truth + 0.5)
    found = one.evaluate(n_boot=10)
    assert plots_of(found) == ()
    text = words(evaluation_page({"ki67": (found, one)}))
    assert "Mean absolute error" in text
    assert "0.500" in text
    assert "Confusion" not in text


def test_several_labels_have_a_page() -> None:
    random = np.random.default_rng(0)
    one = Predictions(
        "multilabel", ("braf", "msi"), random.integers(0, 2, (30, 2)).astype(float), random.random((30, 2))
    )
    found = one.evaluate(n_boot=10)
    text = words(evaluation_page({"genes": (found, one)}))
    assert "By class" in text
    assert figure(found.by_class["msi"]["auroc"].value) in text


def test_without_resamples_the_page_says_so() -> None:
    one = predictions(("a", "b", "c"))
    text = words(evaluation_page({"x": (one.evaluate(n_boot=0), one)}))
    assert "No intervals were asked for." in text


def test_the_surest_mistakes_come_first() -> None:
    one = predictions(("a", "b", "c"))
    wrong = mistakes(one)
    places = {name: k for k, name in enumerate("abc")}
    truth = np.array([places[name] for name in one.truth.tolist()])
    assert len(wrong) == int((one.said.argmax(axis=1) != truth).sum()) > 3
    chances = [mistake.other for mistake in wrong]
    assert chances == sorted(chances, reverse=True)
    assert all(mistake.truth != mistake.said and mistake.own <= mistake.other for mistake in wrong)


def test_a_sure_difference_stands_out() -> None:
    assert sure(Estimate(0.1, 0.05, 0.2))
    assert not sure(Estimate(0.1, -0.05, 0.2))
    assert not sure(Estimate(0.1))
    one = predictions(("a", "b"))
    better = Predictions("multiclass", one.classes, one.truth,
                         np.eye(2)[[one.classes.index(t) for t in one.truth.tolist()]], one.ids)  # fmt: skip
    html = comparison_page(compare({"first": one, "perfect": better}, n_boot=60))
    assert "<strong>" in html.partition("<tbody>")[2]
    assert "perfect less first" in words(html)


# ------------------------------------------------------------------ plots
PLACE = re.compile(r"(?:[ML](-?[\d.]+) (-?[\d.]+))|(?:H(-?[\d.]+))")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(8, 60), st.integers(2, 4))
def test_curves_stay_inside_their_frames(seed: int, rows: int, k: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[np.arange(k), random.integers(0, k, rows - k)]
    said = random.dirichlet(np.ones(k), rows).round(2)
    said /= said.sum(axis=1, keepdims=True)
    names = tuple("abcd"[:k])
    found = Predictions("multiclass", names, np.array(names)[truth], said).evaluate(n_boot=8)
    for plot in plots_of(found):
        paths = [line.path for line in plot.lines] + [path for path, _ in plot.bands]
        for x, y, across in PLACE.findall(" ".join(paths)):
            assert LEFT <= float(x or across) <= LEFT + WIDE
            assert TOP <= float(y or TOP) <= TOP + HIGH
        assert all(LEFT <= mark.x <= LEFT + WIDE and TOP <= mark.y <= TOP + HIGH for mark in plot.marks)


def test_a_roc_curve_goes_from_corner_to_corner() -> None:
    found = predictions(("a", "b")).evaluate(n_boot=5)
    path = plots_of(found)[0].lines[0].path
    assert path.startswith(f"M{LEFT} {TOP + HIGH}")
    assert path.endswith(f"L{LEFT + WIDE} {TOP}")
    series = found.curves["b"]
    area = np.trapezoid(series["roc_y"], series["roc_x"])
    assert area == pytest.approx(found["auroc"].value, abs=1e-4)
    low, high = np.array(series["roc_low"]), np.array(series["roc_high"])
    assert (low <= high).all()
    inside = np.interp(series["roc_grid"], series["roc_x"], series["roc_y"])
    assert ((low - 0.02 <= inside) & (inside <= high + 0.02))[1:].mean() > 0.9


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(-2, 3))
def test_axes_keep_their_order(low: float, span: float, share: float) -> None:
    frame = Frame.over((low, low + span), (low, low + span))
    value = low + share * span
    assert LEFT <= frame.x.at(value) <= LEFT + WIDE
    assert frame.x.at(low) == LEFT
    assert frame.y.at(low) == TOP + HIGH
    assert [at for at, _ in frame.x.ticks()] == sorted(at for at, _ in frame.x.ticks())


def test_a_whisker_shows_its_interval() -> None:
    drawn = whisker(0.5, 0.4, 0.7)
    assert drawn is not None
    assert (drawn.low, drawn.value, drawn.high) == (40, 50, 70)
    assert drawn.title == "0.500, 0.400 to 0.700"
    assert whisker(None, None, None) is None


# ------------------------------------------------------------------ a run
@pytest.fixture
def trained(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("train", 1, parameters={}, inputs={}, slide=None)
    run.put(None, "predictions/subtype", predictions(("a", "b", "c")).to_prediction(), provenance=made)
    for fold in range(2):
        folder = run.path / "models" / "subtype" / f"fold{fold}"
        folder.mkdir(parents=True)
        with (folder / "history.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["epoch", "train_loss", "val_loss", "lr"])
            rows.writerows(
                [epoch, 1 / (1 + epoch), 2 / (1 + epoch) if epoch else "", 1e-3] for epoch in range(5)
            )
    return run


def test_a_trained_run_gets_its_page(trained: RunFolder) -> None:
    path = write_evaluation_report(trained, key="report")
    assert path == trained.path / "report" / "index.html"
    text = words(path.read_text())
    assert all(part in text for part in ("Training loss", "Validation loss", "fold0", "fold1", "Learning"))
    assert isinstance(trained.get(None, "evaluation/subtype"), Evaluation)


def test_learning_curves_are_read_and_gaps_left_out(trained: RunFolder) -> None:
    history = history_of(trained, "subtype")
    assert list(history) == ["fold0", "fold1"]
    assert "val_loss" not in history["fold0"][0]
    train, validation = learning_plots(history)
    assert train.lines[0].path.count("L") == 4
    assert validation.lines[0].path.count("L") == 3
    assert learning_plots({}) == ()
    assert history_of(trained, "nothing") == {}


def test_the_command_writes_it(trained: RunFolder) -> None:
    from click.testing import CliRunner

    from coverslip.cli import main

    said = CliRunner().invoke(main, ["report", str(trained.path)])
    assert (said.exit_code, said.stdout.strip()) == (0, str(trained.path / "report" / "index.html"))
