"""Overlap and borders of masks, by hand and against reference implementations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.evaluate.masks import (
    IGNORE,
    border,
    boundary_f1,
    confusion_of,
    hausdorff,
    mask_scores,
)

Mask = NDArray[Any]


def blobs(seed: int, classes: int = 3, side: int = 48) -> Mask:
    from scipy.ndimage import gaussian_filter

    fields = [
        gaussian_filter(np.random.default_rng([seed, k]).normal(size=(side, side)), 5) for k in range(classes)
    ]
    return np.argmax(fields, axis=0).astype(np.uint8)


def test_scores_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
    found = np.array([[0, 1, 1, 1], [0, 0, 0, 0]], np.uint8)
    scores = mask_scores(truth, found, ("stroma", "tumour"))
    # stroma: 3 of 4 found, 1 false; tumour: 2 of 3 found, 1 false; the unknown pixel counts nowhere
    assert scores.confusion.tolist() == [[3, 1], [1, 2]]
    assert scores.dice.tolist() == [pytest.approx(6 / 8), pytest.approx(4 / 6)]
    assert scores.iou.tolist() == [pytest.approx(3 / 5), pytest.approx(2 / 4)]
    assert scores.accuracy == pytest.approx(5 / 7)
    assert scores.to_dict()["mean_dice"] == pytest.approx((6 / 8 + 4 / 6) / 2)


def test_a_class_that_is_nowhere_has_no_score() -> None:
    scores = mask_scores(np.zeros((2, 2)), np.zeros((2, 2)), ("a", "b"))
    assert scores.dice[0] == 1
    assert np.isnan(scores.dice[1])
    assert scores.to_dict()["mean_dice"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_scores_as_scikit_learn_and_torchmetrics(seed: int) -> None:
    import torch
    from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
    from torchmetrics.functional.segmentation import dice_score

    truth, found = blobs(seed), blobs(seed + 10)
    scores = mask_scores(truth, found, ("a", "b", "c"))
    assert scores.confusion.tolist() == confusion_matrix(truth.ravel(), found.ravel()).tolist()
    np.testing.assert_allclose(scores.dice, f1_score(truth.ravel(), found.ravel(), average=None))
    np.testing.assert_allclose(scores.iou, jaccard_score(truth.ravel(), found.ravel(), average=None))
    theirs = dice_score(
        torch.from_numpy(found[None]).long(), torch.from_numpy(truth[None]).long(), 3, average="none",
        input_format="index",
    )  # fmt: skip
    np.testing.assert_allclose(scores.dice, theirs.numpy().ravel(), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_hausdorff_as_scipy(seed: int) -> None:
    from scipy.spatial.distance import cdist

    truth, found = blobs(seed) == 1, blobs(seed + 10) == 1
    between = cdist(np.argwhere(border(truth)), np.argwhere(border(found)))
    there, back = between.min(axis=1), between.min(axis=0)
    assert hausdorff(truth, found, percentile=100) == pytest.approx(max(there.max(), back.max()))
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert hausdorff(truth, found, spacing=0.25) == pytest.approx(0.25 * expected)


def test_borders_of_nothing() -> None:
    none, some = np.zeros((5, 5), bool), np.eye(5, dtype=bool)
    assert (hausdorff(none, none), boundary_f1(none, none)) == (0, 1)
    assert (hausdorff(none, some), boundary_f1(some, none)) == (np.inf, 0)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), x=st.integers(-6, 6), y=st.integers(-6, 6))
def test_a_shift_moves_borders_by_no_more_than_itself(seed: int, x: int, y: int) -> None:
    mask = np.pad(blobs(seed, side=30) == 1, 10)
    moved = np.roll(mask, (y, x), axis=(0, 1))
    distance = np.hypot(x, y)
    assert hausdorff(mask, moved, percentile=100) <= distance + 1e-9
    assert boundary_f1(mask, moved, tolerance=distance + 1e-9) == 1


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), cut=st.integers(1, 47))
def test_counts_of_pieces_add_up(seed: int, cut: int) -> None:
    truth, found = blobs(seed), blobs(seed + 1)
    truth[:5] = IGNORE
    whole = confusion_of(truth, found, 3)
    pieces = confusion_of(truth[:, :cut], found[:, :cut], 3) + confusion_of(truth[:, cut:], found[:, cut:], 3)
    assert whole.tolist() == pieces.tolist()
    assert whole.sum() == truth.size - 5 * 48


def test_masks_of_unequal_size_and_unknown_labels_are_refused() -> None:
    with pytest.raises(UsageError, match="a mask of 3 × 2 cannot be held against one of 2 × 2"):
        confusion_of(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(UsageError, match=r"labels \[7\] are no class"):
        confusion_of(np.zeros((2, 2), int), np.full((2, 2), 7), 2)
    with pytest.raises(UsageError, match="no borders"):
        hausdorff(np.zeros((2, 2)), np.zeros((2, 3)))
