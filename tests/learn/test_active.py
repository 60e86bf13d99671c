"""Which tiles to label next: unsure ones, unlike each other, none twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.learn.active import next_to_label, uncertainty


def chances(n: int, classes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), n)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 50), classes=st.integers(2, 6), seed=st.integers(0, 99))
def test_doubt_is_what_the_books_say(n: int, classes: int, seed: int) -> None:
    found = chances(n, classes, seed)
    entropy = stats.entropy(found, axis=1) / np.log(classes)
    assert uncertainty(found, "entropy") == pytest.approx(entropy, abs=1e-9)
    first, second = np.sort(found, axis=1)[:, ::-1][:, :2].T
    assert uncertainty(found, "margin") == pytest.approx(1 - (first - second))


def test_what_nobody_judged_is_never_asked_for() -> None:
    found = np.array([[0.5, 0.5], [np.nan, np.nan], [0.9, 0.1]])
    doubt = uncertainty(found)
    assert doubt[1] == -1
    assert next_to_label(doubt, None, np.zeros(3, bool), count=3).tolist() == [0, 2]


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="entropie"):
        uncertainty(np.ones((2, 2)), "entropie")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="two classes"):
        uncertainty(np.ones((2, 1)))
    with pytest.raises(UsageError, match="a row per tile"):
        next_to_label(np.ones(3), None, np.zeros(2, bool), count=1)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 80), count=st.integers(1, 30), labelled=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_no_tile_twice_and_none_that_has_a_label(n: int, count: int, labelled: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.uniform(size=n) < labelled
    doubt, features = uncertainty(chances(n, 3, seed)), rng.normal(size=(n, 4))
    rows = next_to_label(doubt, features, known, count=count)
    assert len(set(rows.tolist())) == len(rows) == min(count, int((~known).sum()))
    assert not known[rows].any()
    if len(rows) and not known.any():
        assert doubt[rows[0]] == doubt.max()


def test_copies_of_one_hard_place_are_asked_for_once() -> None:
    """Ten copies of the least sure tile and ten places of their own: the copies come last."""
    doubt = np.r_[np.full(10, 0.9), np.full(10, 0.7)]
    features = np.r_[np.zeros((10, 2)), np.random.default_rng(0).normal(0, 5, (10, 2))]
    rows = next_to_label(doubt, features, np.zeros(20, bool), count=11)
    assert (rows < 10).sum() == 1
    alone = next_to_label(doubt, None, np.zeros(20, bool), count=10)
    assert (alone < 10).all()


def test_what_is_like_a_labelled_tile_comes_late() -> None:
    features = np.array([[0.0], [0.1], [5.0], [9.0]])
    rows = next_to_label(np.full(4, 0.5), features, np.array([True, False, False, False]), count=3)
    assert rows[-1] == 1
