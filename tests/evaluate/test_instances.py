"""Scores of instances: by hand, against a slow reference, and by what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import UsageError
from coverslip.evaluate.instances import (
    Matches,
    aji,
    instances,
    match,
    object_dice,
    object_hausdorff,
    overlap,
)

# 1 is found whole but for a column, 2 is missed, 3 is found in two halves, and 9 lies where nothing is
TRUTH = np.array(
    [
        [1, 1, 1, 1, 0, 0, 3, 3],
        [1, 1, 1, 1, 0, 0, 3, 3],
        [0, 0, 0, 0, 0, 0, 3, 3],
        [2, 2, 0, 0, 0, 0, 3, 3],
    ]
)
FOUND = np.array(
    [
        [5, 5, 5, 0, 0, 0, 6, 6],
        [5, 5, 5, 0, 0, 0, 6, 6],
        [0, 0, 0, 0, 0, 0, 6, 7],
        [0, 0, 0, 9, 9, 0, 7, 7],
    ]
)


def test_by_hand() -> None:
    of = overlap(TRUTH, FOUND)
    assert of.truth.tolist() == [8, 2, 8]
    assert of.predicted.tolist() == [6, 5, 3, 2]
    assert sorted(of.iou.tolist()) == [3 / 8, 5 / 8, 6 / 8]
    half = match(of, 0.5)
    assert (half.tp, half.fp, half.fn) == (2, 2, 1)
    assert half.iou == 6 / 8 + 5 / 8
    assert half.ap == 2 / 5
    assert half.f1 == 2 / 3.5
    assert half.pq == (6 / 8 + 5 / 8) / 3.5
    assert half.precision == 2 / 4
    assert half.recall == 2 / 3
    assert match(of, 0.7).tp == 1
    # AJI: 6 + 5 shared; 8 + 8 joined, 2 missed, 3 and 2 never taken
    assert aji(of) == 11 / (16 + 2 + 3 + 2)
    # object Dice: truth 8·12/14 + 8·10/13 over 18, found 6·12/14 + 5·10/13 + 3·6/11 over 16
    theirs = (8 * 12 / 14 + 8 * 10 / 13) / 18
    ours = (6 * 12 / 14 + 5 * 10 / 13 + 3 * 6 / 11) / 16
    assert object_dice(of) == pytest.approx((theirs + ours) / 2)


def test_object_hausdorff_by_hand() -> None:
    truth, found = np.zeros((1, 20), int), np.zeros((1, 20), int)
    truth[0, 0:4], truth[0, 10:12] = 1, 2
    found[0, 0:6] = 1
    # object 1: two pixels too long; object 2 meets nothing, so it is measured to the nearest: from pixel 0 of
    # that one to pixel 10 are 10
    assert object_hausdorff(truth, found) == pytest.approx(((4 * 2 + 2 * 10) / 6 + 2) / 2)


def test_half_overlaps_are_matched_one_to_one_as_often_as_can_be() -> None:
    truth = np.array([[1, 1, 1, 1]])
    found = np.array([[1, 1, 2, 2]])
    assert match(overlap(truth, found), 0.5) == Matches(1, 1, 0, 0.5)


def reference(truth: np.ndarray, found: np.ndarray, threshold: float) -> tuple[int, float, float]:
    """Count by sets of pixels: matches (greedy is right above one half), the sum of their IoU, and AJI."""
    theirs = {t: set(map(tuple, np.argwhere(truth == t))) for t in np.unique(truth) if t}
    ours = {f: set(map(tuple, np.argwhere(found == f))) for f in np.unique(found) if f}
    ious = [len(a & b) / len(a | b) for a in theirs.values() for b in ours.values()]
    hits = [v for v in ious if v > threshold]
    above = below = 0
    taken = set()
    for a in theirs.values():
        name, best = max(ours.items(), key=lambda o: len(a & o[1]) / len(a | o[1]), default=(None, set()))
        if a & best:
            above, below = above + len(a & best), below + len(a | best)
            taken.add(name)
        else:
            below += len(a)
    below += sum(len(b) for name, b in ours.items() if name not in taken)
    return len(hits), sum(hits), above / below if below else np.nan


def blobs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.zeros((24, 24), int)
    for name in rng.permutation(40)[: rng.integers(0, 9)] + 1:
        y, x = rng.integers(0, 20, 2)
        labels[y : y + rng.integers(1, 8), x : x + rng.integers(1, 8)] = name
    return labels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from([0.5, 0.65, 0.8]))
def test_agrees_with_sets_of_pixels(seed: int, shift: int, threshold: float) -> None:
    truth = blobs(seed)
    found = np.roll(truth, shift, axis=1) if seed % 3 else blobs(seed + 1)
    of = overlap(truth, found)
    hits, iou, joined = reference(truth, found, threshold)
    ours = match(of, threshold + 1e-12)
    assert ours.tp == hits
    assert ours.iou == pytest.approx(iou)
    assert ours.tp + ours.fn == len(np.unique(truth[truth > 0]))
    assert ours.tp + ours.fp == len(np.unique(found[found > 0]))
    np.testing.assert_allclose(aji(of), joined, equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_numbers_of_the_labels_do_not_matter(seed: int) -> None:
    truth, found = blobs(seed), blobs(seed + 1)
    far = np.where(found > 0, found * 10**12 + 7, 0)
    ours, theirs = instances([(truth, found)]), instances([(truth, far)])
    assert ours.matches == theirs.matches
    np.testing.assert_equal((ours.aji, ours.dice), (theirs.aji, theirs.dice))


def test_pictures_are_pooled_by_object() -> None:
    empty = np.zeros((4, 4), int)
    one = empty.copy()
    one[1:3, 1:3] = 1
    scores = instances([(one, one), (one, empty), (empty, empty)], distances=True)
    assert scores.matches[0.5].ap == 0.5
    assert scores.pictures == 3
    assert scores.dice == 0.5  # the picture without objects is left out
    assert scores.hausdorff == 0.0


def test_a_turn_by_two_degrees_costs_what_it_should() -> None:
    """Squares turned about the middle of the picture: a far one moves further, so it is lost first."""
    from skimage.transform import rotate

    labels = np.zeros((400, 400), np.int32)
    for i in range(8):
        for j in range(8):
            labels[50 * i + 15 : 50 * i + 35, 50 * j + 15 : 50 * j + 35] = 8 * i + j + 1
    turned = rotate(labels, 2, order=0, preserve_range=True).astype(np.int32)
    of = overlap(labels, turned)
    near = [of.iou[(of.pairs == n - 1).all(axis=1)][0] for n in (28, 1)]  # beside the middle; in a corner
    shift = np.deg2rad(2) * 25 * np.array([1, 7])  # by so much in x and in y, to first order
    expected = (20 - shift) ** 2 / (2 * 400 - (20 - shift) ** 2)
    assert near == pytest.approx(expected, abs=0.06)
    assert match(of, 0.5).f1 < 1


@pytest.mark.parametrize(
    ("truth", "found", "said"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3), int), "label image"),
        (np.zeros((3, 3), int), np.zeros((3, 4), int), r"\(3, 4\)"),
        (np.zeros((3, 3), int), np.full((3, 3), -1), "negative"),
    ],
)
def test_what_are_no_label_images_is_said(truth: np.ndarray, found: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        overlap(truth, found)


def test_thresholds_and_pictures_are_checked() -> None:
    with pytest.raises(UsageError, match="above 0"):
        match(overlap(TRUTH, FOUND), 0.0)
    with pytest.raises(UsageError, match="no pictures"):
        instances([])
