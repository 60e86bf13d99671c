"""Predictions come from tables of many hands, and what a table cannot mean is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coverslip.core.errors import StoreError, UnknownNameError, UsageError
from coverslip.evaluate import Predictions, Reading, compare, evaluate_run, read_predictions, targets
from coverslip.store import Evaluation, Provenance, RunFolder

CLASSES = ("benign", "tumour")


def made(seed: int = 0, rows: int = 60, noise: float = 1.0, kind: str = "binary") -> Predictions:
    truth = np.random.default_rng(7).integers(0, 2, rows)
    score = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(2 * truth - 1, noise)))
    ids = {
        "patient": np.array([f"p{i // 2}" for i in range(rows)]),
        "slide": np.array([f"s{i}" for i in range(rows)]),
    }
    chances = np.stack([1 - score, score], axis=1)
    fold = (np.arange(rows) // 2 % 3).astype(str)
    return Predictions(kind, CLASSES, np.array(CLASSES)[truth], chances, ids, fold, target="malignant")


def run_with(path: Path, *predictions: Predictions) -> RunFolder:
    run = RunFolder.create(path)
    for one in predictions:
        provenance = Provenance.make("train", 1, parameters={"target": one.target}, inputs={}, slide=None)
        run.put(None, f"predictions/{one.target}", one.to_prediction(), provenance=provenance)
    return run


def same(one: Predictions, other: Predictions) -> None:
    assert (one.kind, one.classes, one.target) == (other.kind, other.classes, other.target)
    np.testing.assert_array_equal(one.truth, other.truth)
    np.testing.assert_array_equal(one.said, other.said)
    np.testing.assert_array_equal(one.fold, other.fold)
    assert {k: v.tolist() for k, v in one.ids.items()} == {k: v.tolist() for k, v in other.ids.items()}


@pytest.mark.parametrize("kind", ["binary", "ordinal"])
def test_a_run_gives_back_what_was_put(tmp_path: Path, kind: str) -> None:
    one = made(kind=kind)
    run = run_with(tmp_path / "run", one)
    assert targets(run) == ("malignant",)
    same(read_predictions(run.path), one)


def test_numbers_and_several_labels_go_through_a_run(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=20)
    numbers = Predictions("regression", (), truth, truth + 0.1, target="ki67")
    labels = np.where(random.random((20, 2)) < 0.1, np.nan, random.integers(0, 2, (20, 2)))
    several = Predictions("multilabel", ("braf", "msi"), labels, random.random((20, 2)), target="genes")
    run = run_with(tmp_path / "run", numbers, several)
    for one in (numbers, several):
        same(read_predictions(run.path, target=one.target), one)
    assert evaluate_run(run, "ki67")["mae"].value == pytest.approx(0.1)
    with pytest.raises(UsageError, match="--target"):
        read_predictions(run.path)
    with pytest.raises(UnknownNameError, match="ki67"):
        read_predictions(run.path, target="ki76")


def test_an_evaluation_is_kept_and_made_anew_only_when_something_changed(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", made())
    first = evaluate_run(run, "malignant", n_boot=50)
    file = run.path / "evaluation" / "malignant.json"
    stamp = file.stat().st_mtime_ns
    assert evaluate_run(run, "malignant", n_boot=50) == first
    assert file.stat().st_mtime_ns == stamp
    assert isinstance(run.get(None, "evaluation/malignant"), Evaluation)
    assert evaluate_run(run, "malignant", n_boot=50, seed=1) != first
    file.write_text("{")
    assert evaluate_run(run, "malignant", n_boot=50) == first
    text = file.read_text()
    file.write_text(text.replace('"metrics"', '"metricks"'))
    with pytest.raises(StoreError, match=r"malignant\.json cannot be read"):
        run.get(None, "evaluation/malignant")
    assert evaluate_run(run, "malignant", n_boot=50) == first


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "slide,patient,truth,probability_n,probability_t\na,p,n,0.9,0.1\nb,q,t,0.2,0.8\nc,q,,0.5,0.5\n",
        "slide;patient;truth;prob_n;prob_t\na;p;n;0.9;0.1\nb;q;t;0.2;0.8\nc;q;;0.5;0.5\n\n",
        "slide\tpatient\ttruth\tp_n\tp_t\na\tp\tn\t0.9\t0.1\nb\tq\tt\t0.2\t0.8\nc\tq\t\t0.5\t0.5\n",
    ],
)
def test_tables_of_many_hands(tmp_path: Path, text: str) -> None:
    one = read_predictions(write(tmp_path / "x.csv", text))
    assert (one.kind, one.classes, one.truth.tolist()) == ("binary", ("n", "t"), ["n", "t"])
    assert one.said.tolist() == [[0.9, 0.1], [0.2, 0.8]]
    assert "1 of 3 rows have no truth" in one.notes[0]
    assert one.groups is not None
    assert one.groups.tolist() == ["p", "q"]


def test_columns_of_other_names_and_one_probability(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "label,who,cv,probability\n0,1,0,0.1\n1,2,0,0.8\n")
    reading = Reading(classes=("0", "1"), truth="label", patient="who", fold="cv")
    one = read_predictions(path, reading=reading)
    np.testing.assert_allclose(one.said[:, 1], [0.1, 0.8])
    assert one.ids["patient"].tolist() == ["1", "2"]
    with pytest.raises(UsageError, match="--classes benign,tumour"):
        read_predictions(path, reading=Reading(truth="label"))
    numbers = write(tmp_path / "y.csv", "truth,prediction\n1.5,2\n2,3\n")
    assert (
        read_predictions(numbers, reading=Reading(kind="regression")).evaluate(n_boot=0)["bias"].value == 0.75
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("truth,p_a,p_b\n", "there is no row"),
        ("truth,p_a,p_b\na,0.5\n", "line 2 has other columns"),
        ("truth,p_a,p_b\na,0.5,zero\n", "row 1, column 'p_b': 'zero' is no number"),
        ("label,p_a,p_b\na,0.5,0.5\n", "has no column 'truth'; its columns are label"),
        ("truth,score\na,0.5\n", "no column of probabilities.*--kind regression"),
    ],
)
def test_tables_that_mean_nothing_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        read_predictions(write(tmp_path / "x.csv", text))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no predictions at"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(StoreError, match="holds no predictions of slides"):
        read_predictions(RunFolder.create(tmp_path / "run").path)
    with pytest.raises(UnknownNameError, match="ordinal"):
        read_predictions(write(tmp_path / "x.csv", "truth,p_a,p_b\na,1,0\n"), reading=Reading(kind="ordnal"))


def test_without_patients_intervals_are_by_case_or_row() -> None:
    one = made()
    cases = Predictions(one.kind, one.classes, one.truth, one.said, {"case": one.ids["patient"]})
    assert cases.evaluate(n_boot=20).groups == 30
    assert "by case" in cases.evaluate(n_boot=20).notes[0]
    bare = Predictions(one.kind, one.classes, one.truth, one.said)
    assert "by row" in bare.evaluate(n_boot=20).notes[0]


# ------------------------------------------------------------------ comparison
def test_a_model_compared_with_itself_differs_by_nothing() -> None:
    found = compare({"a": made(), "b": made()}, n_boot=50)
    for name, difference in found.differences["b"].items():
        assert (difference.value, difference.low, difference.high) == (0, 0, 0), name


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    one = made(0, 200)
    worse = np.clip(one.said[:, 1] + np.where(one.truth == "tumour", -0.02, 0.02), 0, 1)
    other = Predictions(one.kind, one.classes, one.truth, np.stack([1 - worse, worse], axis=1), one.ids)
    found = compare({"one": one, "other": other}, n_boot=400)
    a, b, d = (found.evaluations["one"]["auroc"], found.evaluations["other"]["auroc"],
               found.differences["other"]["auroc"])  # fmt: skip
    assert d.value == pytest.approx(b.value - a.value)
    assert d.high < 0
    assert b.high > a.low  # the intervals overlap, the difference does not reach 0
    assert d.high - d.low < (a.high - a.low) + (b.high - b.low)


def test_rows_are_matched_by_name_and_left_out_aloud() -> None:
    one = made()
    shuffled = one.take(np.random.default_rng(0).permutation(len(one))[:50])
    found = compare({"one": one, "part": shuffled}, n_boot=0)
    assert found.evaluations["one"].rows == 50
    assert found.differences["part"]["accuracy"].value == 0
    assert found.notes == ("10 rows of one are not in all others and left out.",)


def test_tiles_of_one_slide_are_rows_of_their_own(tmp_path: Path) -> None:
    one = made()
    ids = {"tile": one.ids["slide"], "slide": one.ids["patient"]}
    tiles = Predictions(one.kind, one.classes, one.truth, one.said, ids, target="malignant")
    run = run_with(tmp_path / "run", tiles)
    same(read_predictions(run.path), tiles)
    assert compare({"a": tiles, "b": tiles.take(np.arange(40))}, n_boot=0).evaluations["a"].rows == 40


def test_what_cannot_be_compared_is_refused() -> None:
    one = made()
    swapped = Predictions("binary", CLASSES[::-1], one.truth, one.said[:, ::-1], one.ids)
    with pytest.raises(UsageError, match="classes in the same order"):
        compare({"a": one, "b": swapped})
    other_truth = Predictions("binary", CLASSES, np.roll(one.truth, 1), one.said, one.ids)
    with pytest.raises(UsageError, match="contradict each other"):
        compare({"a": one, "b": other_truth})
    with pytest.raises(UsageError, match="cannot be matched"):
        compare({"a": one, "b": Predictions("binary", CLASSES, one.truth, one.said)})
    twice = one.take(np.r_[0, np.arange(len(one))])
    with pytest.raises(UsageError, match="predicts a slide twice"):
        compare({"a": one, "b": twice})
    with pytest.raises(UsageError, match="two or more"):
        compare({"a": one})
