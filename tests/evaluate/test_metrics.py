"""Metrics agree with scikit-learn and with cases worked by hand, whatever rows weigh."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from coverslip import evaluate
from coverslip.evaluate import weighted
from coverslip.evaluate.classification import OneClass
from coverslip.store import Evaluation

SIZES = st.integers(6, 60)
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, rows: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth in which every class occurs, probabilities with ties, whole weights of which some are zero."""
    random = np.random.default_rng(seed)
    truth = np.r_[np.arange(k), random.integers(0, k, rows - k)]
    chances = random.integers(1, 8, (rows, k)).astype(float)
    weights = random.integers(0, 4, rows).astype(float)
    weights[:k] = 1
    return truth, chances / chances.sum(axis=1, keepdims=True), weights


def measured(truth: np.ndarray, chances: np.ndarray, weights: np.ndarray) -> dict:
    names = tuple(f"c{i}" for i in range(chances.shape[1]))
    measure = OneClass(truth, chances, names)
    return {key: value[0] for key, value in measure(weights[None]).items()}


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIZES, st.integers(2, 5))
def test_classification_agrees_with_scikit_learn(seed: int, rows: int, k: int) -> None:
    truth, chances, weights = drawn(seed, rows, k)
    found = measured(truth, chances, weights)
    said, w = chances.argmax(axis=1), {"sample_weight": weights}
    binary = k == 2
    score = chances[:, 1] if binary else chances
    macro = {} if binary else {"average": "macro"}
    wanted = {
        "accuracy": sk.accuracy_score(truth, said, **w),
        "auroc": sk.roc_auc_score(truth, score, **w, **({} if binary else {"multi_class": "ovr"})),
        "kappa": sk.cohen_kappa_score(truth, said, **w),
        "mcc": sk.matthews_corrcoef(truth, said, **w),
        "log_loss": sk.log_loss(truth, chances, labels=range(k), **w),
        "brier": sk.brier_score_loss(truth, score, labels=range(k), **w),
        "auprc": sk.average_precision_score(truth if binary else np.eye(k)[truth], score, **macro, **w),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, said, **w),
    }
    if len(np.unique(said[weights > 0])) > 1 or not binary:
        average = "binary" if binary else "macro"
        wanted["f1"] = sk.f1_score(truth, said, average=average, zero_division=np.nan, **w)
    for name, value in wanted.items():
        if np.isfinite(value) and not (name == "mcc" and len(np.unique(said[weights > 0])) < 2):
            assert found["", name] == pytest.approx(value, abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_quadratic_kappa_agrees_with_scikit_learn(seed: int, rows: int) -> None:
    truth, chances, weights = drawn(seed, rows, 4)
    said = chances.argmax(axis=1)
    table = weighted.confusion(truth, said, 4, weights[None])
    wanted = sk.cohen_kappa_score(truth, said, weights="quadratic", sample_weight=weights)
    assert weighted.kappa(table, 2)[0] == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_numbers_agree_with_scikit_learn(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(1000, 3, rows)
    said = truth + random.normal(0.5, 2, rows)
    found = evaluate.regression(truth, said, n_boot=0)
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(truth, said))
    assert found["rmse"].value == pytest.approx(sk.root_mean_squared_error(truth, said))
    assert found["r2"].value == pytest.approx(sk.r2_score(truth, said), abs=1e-9)
    assert found["pearson"].value == pytest.approx(np.corrcoef(truth, said)[0, 1], abs=1e-9)
    assert found["bias"].value == pytest.approx((said - truth).mean())


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_concordance_counts_pairs_one_by_one(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth, said = random.integers(0, 5, rows).astype(float), random.integers(0, 5, rows).astype(float)
    weights = random.integers(0, 3, rows).astype(float)
    right = pairs = 0.0
    for i in range(rows):
        for j in range(rows):
            if truth[i] > truth[j]:
                pairs += weights[i] * weights[j]
                right += weights[i] * weights[j] * ((said[i] > said[j]) + 0.5 * (said[i] == said[j]))
    found = weighted.concordance(truth, said, weights[None])[0]
    assert found == pytest.approx(right / pairs) if pairs else np.isnan(found)


@settings(max_examples=30, deadline=None)
@given(SEEDS, SIZES)
def test_several_labels_agree_with_scikit_learn(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[np.zeros((1, 3)), np.ones((1, 3)), random.integers(0, 2, (rows - 2, 3))]
    chances = random.integers(0, 9, (rows, 3)) / 8
    found = evaluate.multilabel(truth, chances, "abc", n_boot=0)
    said = chances > 0.5
    assert found["auroc"].value == pytest.approx(sk.roc_auc_score(truth, chances, average="macro"))
    assert found["auprc"].value == pytest.approx(sk.average_precision_score(truth, chances, average="macro"))
    assert found["f1_micro"].value == pytest.approx(sk.f1_score(truth, said, average="micro"))
    assert found["f1"].value == pytest.approx(sk.f1_score(truth, said, average="macro"))
    assert found["exact"].value == pytest.approx(sk.accuracy_score(truth, said))


def test_labels_that_are_not_known_are_left_out_of_that_label_alone() -> None:
    truth = np.array([[1, 0], [0, 1], [1, np.nan], [0, 0]])
    chances = np.array([[0.9, 0.2], [0.1, 0.9], [0.8, 0.99], [0.3, 0.1]])
    found = evaluate.multilabel(truth, chances, ("a", "b"), n_boot=0)
    assert found["auroc"].value == 1  # 0.99 in an unknown row is no mistake
    assert found.by_class["b"]["sensitivity"].value == 1
    assert found["exact"].value == 1
    assert "1 of 8 truths are not known" in found.notes[-1]


# ------------------------------------------------------------------ worked by hand
def test_a_case_worked_by_hand() -> None:
    # scores 0.9 0.8 0.6 0.6 0.3 0.1 of tumour; truth 1 0 1 0 1 0
    truth = ["t", "n", "t", "n", "t", "n"]
    found = evaluate.classification(truth, [0.9, 0.8, 0.6, 0.6, 0.3, 0.1], ("n", "t"), n_boot=0)
    # 9 pairs: 0.9 beats all 3; 0.6 beats 0.1, ties 0.6, loses to 0.8; 0.3 beats 0.1
    assert found["auroc"].value == pytest.approx((3 + 1.5 + 1) / 9)
    # predicted tumour: 0.9 0.8 0.6 0.6 → 2 of 3 found, 1 of 3 healthy rows right
    assert found.confusion == ((1, 2), (1, 2))
    assert found["accuracy"].value == 0.5
    assert found["sensitivity"].value == pytest.approx(2 / 3)
    assert found["specificity"].value == pytest.approx(1 / 3)
    assert found["precision"].value == 0.5
    assert found["f1"].value == pytest.approx(4 / 7)
    assert found["kappa"].value == pytest.approx(0)
    # steps: recall 1/3 at precision 1, 2/3 at 2/4, 1 at 3/5
    assert found["auprc"].value == pytest.approx((1 + 0.5 + 0.6) / 3)
    squares = 0.1**2 + 0.8**2 + 0.4**2 + 0.6**2 + 0.7**2 + 0.1**2
    assert found["brier"].value == pytest.approx(squares / 6)
    # bins of one row each but 0.6: |0.9-1| |0.8-0| 2|0.6-0.5| |0.3-1| |0.1-0|
    assert found["ece"].value == pytest.approx((0.1 + 0.8 + 0.2 + 0.7 + 0.1) / 6)


def test_kappas_worked_by_hand() -> None:
    # Cohen's table of agreement 20 5 / 10 15: 0.7 observed, 0.5 expected
    table = np.array([[[20, 5], [10, 15]]], float)
    assert weighted.kappa(table)[0] == pytest.approx(0.4)
    # three grades, one error of two steps: costs 4 observed; expected costs from the margins
    table = np.array([[[2, 0, 1], [0, 2, 0], [0, 0, 1]]], float)
    expected = sum(r * c * (i - j) ** 2 for i, r in enumerate((3, 2, 1)) for j, c in enumerate((2, 2, 2))) / 6
    assert weighted.kappa(table, 2)[0] == pytest.approx(1 - 4 / expected)


def test_grades_worked_by_hand() -> None:
    chances = np.eye(4)[[0, 1, 3, 3]]
    found = evaluate.ordinal([0, 1, 2, 0], chances, ("0", "1", "2", "3"), n_boot=0)
    assert found["grade_error"].value == 1  # 0 0 1 3
    assert found["within_one"].value == 0.75
    # pairs of unequal grade: 1>0 yes, 2>0 yes, 2>1 yes, 1>0' no, 2>0' tie
    assert found["concordance"].value == pytest.approx(3.5 / 5)
    assert "No row is of class 3" in found.notes[-1]


# ------------------------------------------------------------------ what must not matter
@settings(max_examples=15, deadline=None)
@given(SEEDS, SIZES, st.integers(2, 4))
def test_order_of_rows_does_not_matter(seed: int, rows: int, k: int) -> None:
    truth, chances, _ = drawn(seed, rows, k)
    random = np.random.default_rng(seed)
    groups, shuffled = random.integers(0, 5, rows), random.permutation(rows)
    names = "abcd"[:k]
    one = evaluate.classification(truth, chances, names, groups=groups, n_boot=20)
    other = evaluate.classification(
        truth[shuffled], chances[shuffled], names, groups=groups[shuffled], n_boot=20
    )
    for name, value in one.metrics.items():
        for end in ("value", "low", "high"):
            here, there = getattr(value, end), getattr(other[name], end)
            assert (here is None) == (there is None)
            assert here is None or here == pytest.approx(there, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int64, st.integers(4, 40), elements=st.integers(0, 50)),
    SEEDS,
)
def test_auroc_sees_the_order_of_scores_alone(scores: np.ndarray, seed: int) -> None:
    positive = np.random.default_rng(seed).random(len(scores)) < 0.5
    if positive.all() or not positive.any():
        positive[0] = not positive[0]
    ones = np.ones((1, len(scores)))

    def area(values: np.ndarray) -> float:
        return weighted.auroc(*weighted.Ranking(positive, values.astype(float)).counts(ones))[0]

    assert area(np.exp(scores / 7.0)) == area(scores) == area(3.0 * scores + 2)
    assert area(-scores) == pytest.approx(1 - area(scores))
    assert area(np.zeros(len(scores))) == 0.5


@settings(max_examples=30, deadline=None)
@given(SEEDS, SIZES, st.integers(2, 4))
def test_a_whole_weight_is_that_many_copies(seed: int, rows: int, k: int) -> None:
    truth, chances, weights = drawn(seed, rows, k)
    copies = np.repeat(np.arange(rows), weights.astype(int))
    once = measured(truth, chances, weights)
    often = measured(truth[copies], chances[copies], np.ones(len(copies)))
    for name, value in once.items():
        np.testing.assert_allclose(value, often[name], atol=1e-9, err_msg=str(name))


def test_perfect_predictions_are_perfect() -> None:
    truth = np.arange(30) % 3
    found = evaluate.classification(truth, np.eye(3)[truth], "abc", n_boot=50)
    for name in ("accuracy", "balanced_accuracy", "auroc", "auprc", "f1", "kappa", "mcc"):
        assert (found[name].value, found[name].low, found[name].high) == (1, 1, 1), name
    assert found["brier"].value == found["ece"].value == 0


def test_json_gives_back_the_same() -> None:
    truth, chances, _ = drawn(3, 40, 3)
    found = evaluate.classification(truth, chances, "abc", groups=np.arange(40) // 2, folds=np.arange(40) % 4)
    again = Evaluation.from_json(found.to_json())
    assert again == found
    assert again.to_json() == found.to_json()
