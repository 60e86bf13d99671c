"""Intervals cover what they promise, count patients and not rows, and come again with the seed."""

from __future__ import annotations

import numpy as np
import pytest

from coverslip import evaluate
from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.evaluate.resample import Bootstrap, interval

NAMES = ("benign", "tumour")


def patients(seed: int, count: int, slides: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slides that are copies of their patient: nothing is learnt from the second one."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, count)
    truth[:2] = 0, 1
    score = 1 / (1 + np.exp(-random.normal(2 * truth - 1, 1.5)))
    return np.repeat(truth, slides), np.repeat(score, slides), np.repeat(np.arange(count), slides)


def test_copies_of_a_patient_narrow_no_interval() -> None:
    truth, score, who = patients(0, 60, 1)
    alone = evaluate.classification(truth, score, NAMES, groups=who)
    truth, score, who = patients(0, 60, 5)
    copied = evaluate.classification(truth, score, NAMES, groups=who)
    by_row = evaluate.classification(truth, score, NAMES)
    for name in ("accuracy", "auroc", "brier"):
        assert copied[name].value == pytest.approx(alone[name].value)
        assert copied[name].low == pytest.approx(alone[name].low)
        assert copied[name].high == pytest.approx(alone[name].high)
        assert by_row[name].high - by_row[name].low < 0.6 * (copied[name].high - copied[name].low)
    assert copied.groups == 60
    assert by_row.groups is None
    assert "by row" in by_row.notes[0]


def test_intervals_cover_the_truth_about_as_often_as_they_promise() -> None:
    hits, trials = 0, 120
    for seed in range(trials):
        random = np.random.default_rng(seed)
        truth = np.repeat(random.integers(0, 2, 100), 2)
        right = np.repeat(random.random(100) < 0.8, 2)
        found = evaluate.classification(
            truth,
            np.where(right, truth, 1 - truth).astype(float),
            NAMES,
            groups=np.arange(200) // 2,
            n_boot=200,
        )
        hits += found["accuracy"].low <= 0.8 <= found["accuracy"].high
    assert 0.88 <= hits / trials <= 0.99


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    truth, score, who = patients(1, 40, 2)
    one, two, other = (
        evaluate.classification(truth, score, NAMES, groups=who, seed=seed, n_boot=200) for seed in (5, 5, 6)
    )
    assert one == two
    assert one["auroc"].value == other["auroc"].value
    assert one["auroc"] != other["auroc"]


def test_resamples_draw_whole_patients() -> None:
    codes = np.array([0, 0, 1, 2, 2, 2])
    bootstrap = Bootstrap.of(codes, 6, seed=0, n_boot=500)
    weights = np.concatenate(list(bootstrap.weights()))
    assert weights.shape == (500, 6)
    for patient in range(3):
        own = weights[:, codes == patient]
        assert (own == own[:, :1]).all()
    drawn = weights[:, [0, 2, 3]]
    assert (drawn.sum(axis=1) == 3).all()
    assert drawn.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.15)


def test_parts_of_a_large_bootstrap_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from coverslip.evaluate import resample

    bootstrap = Bootstrap.of(np.arange(30) // 3, 30, seed=3, n_boot=64)
    whole = np.concatenate(list(bootstrap.weights()))
    monkeypatch.setattr(resample, "CELLS", 30 * 7)
    parts = list(bootstrap.weights())
    assert len(parts) == 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_folds_are_measured_alone() -> None:
    truth, score, who = patients(2, 50, 2)
    fold = who % 5
    found = evaluate.classification(truth, score, NAMES, groups=who, folds=fold, n_boot=100)
    assert list(found.folds) == ["0", "1", "2", "3", "4"]
    for name, part in found.folds.items():
        mask = fold == int(name)
        alone = evaluate.classification(truth[mask], score[mask], NAMES, groups=who[mask], n_boot=0)
        assert part.metrics["auroc"].value == alone["auroc"].value
        assert (part.rows, part.groups) == (20, 10)
        assert part.metrics["accuracy"].low <= part.metrics["accuracy"].value <= part.metrics["accuracy"].high


def test_a_fold_of_one_class_says_what_is_not_defined() -> None:
    truth = np.array([0, 1, 0, 1, 0, 0])
    found = evaluate.classification(truth, [0.1, 0.8, 0.3, 0.6, 0.2, 0.4], NAMES, folds=[0, 0, 0, 0, 1, 1])
    assert found.folds["1"].metrics["auroc"].value is None
    assert found.folds["1"].metrics["accuracy"].value == 1
    assert any("Fold 1 holds one class only" in note for note in found.notes)


def test_what_too_few_resamples_define_has_no_interval() -> None:
    samples = np.r_[np.full(60, np.nan), np.ones(40)]
    assert interval(samples) == (None, None)
    assert interval(np.empty(0)) == (None, None)
    found = evaluate.classification([0, 1, 1], [0.1, 0.9, 0.8], NAMES, groups=["a", "a", "a"])
    assert found["accuracy"].low is None
    assert "one patient" in found.notes[0]


# ------------------------------------------------------------------ refused
@pytest.mark.parametrize(
    ("truth", "chances", "said"),
    [
        (["benign", "benign"], [0.1, 0.2], "all 2 rows are of class 'benign'"),
        (["benign", "tumor"], [0.1, 0.2], "row 2: there is no class 'tumor'.*did you mean 'tumour'"),
        ([0, 2], [0.1, 0.2], "no position among 2 classes"),
        ([0.5, 1.0], [0.1, 0.2], "no class"),
        ([0, 1], [0.1, np.nan], "no number, the first is row 2"),
        ([0, 1], [0.1, 1.7], "row 2 has -0.7 to 1.7 as probability"),
        ([0, 1], [[0.5, 0.5], [0.2, 0.2]], "row 2 sum to 0.4, expected 1.*softmax"),
        ([0, 1], [0.1, 0.2, 0.3], "shape"),
        ([], [], "expected one class per row"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_with_the_mend(truth: list, chances: list, said: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=f"(?s){said}"):
        evaluate.classification(truth, chances, NAMES)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(UsageError, match="each once"):
        evaluate.classification([0, 1], [0.1, 0.2], ("a", "a"))
    with pytest.raises(UsageError, match="2 of 3 rows name no patient, the first is row 2"):
        evaluate.classification([0, 1, 1], [0.1, 0.2, 0.3], NAMES, groups=["p", None, ""])
    with pytest.raises(UsageError, match="groups of shape"):
        evaluate.classification([0, 1], [0.1, 0.2], NAMES, groups=["p"])
    with pytest.raises(UsageError, match="folds of shape"):
        evaluate.classification([0, 1], [0.1, 0.2], NAMES, folds=[0])
    with pytest.raises(UsageError, match="n_boot -1"):
        evaluate.classification([0, 1], [0.1, 0.2], NAMES, n_boot=-1)
    with pytest.raises(UsageError, match="the truth is 3 in all 2 rows"):
        evaluate.regression([3, 3], [1, 2])
    with pytest.raises(UsageError, match="predictions: 1 of 2 rows hold no number, the first is row 1"):
        evaluate.regression([3, 4], [np.inf, 2])
    with pytest.raises(UsageError, match="other values than 0, 1"):
        evaluate.multilabel([[2, 0]], [[0.1, 0.2]], "ab")
    with pytest.raises(UsageError, match="not in others"):
        evaluate.multilabel([[1, 0], [1, 0]], [[0.1, 0.2], [0.1, 0.2]], "ab")
