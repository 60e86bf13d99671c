"""The level-by-level watershed against scikit-image's, and on what it may not get wrong."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.measure.flood import flood


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import cv2

    rng = np.random.default_rng(seed)
    mask = np.zeros((120, 140), np.uint8)
    for x, y, radius in zip(*rng.integers(8, 112, (2, 25)), rng.integers(4, 10, 25), strict=True):
        cv2.circle(mask, (int(x), int(y)), int(radius), 255, -1)
    hills = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 1.5)
    peaks = ((hills >= cv2.dilate(hills, np.ones((9, 9)))) & (mask > 0)).astype(np.uint8)
    return hills, cv2.connectedComponents(peaks, ltype=cv2.CV_32S)[1], mask


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_borders_are_those_of_a_watershed_with_a_queue(seed: int) -> None:
    from skimage.segmentation import watershed

    hills, seeds, mask = blobs(seed)
    ours, theirs = flood(hills, seeds, mask), watershed(-hills, seeds, mask=mask > 0)
    assert np.array_equal(ours > 0, theirs > 0)
    assert (ours == theirs)[mask > 0].mean() > 0.94
    assert np.array_equal(ours[seeds > 0], seeds[seeds > 0])


def test_what_no_seed_can_reach_stays_empty() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:6, 2:6], mask[10:15, 10:15] = 1, 1
    seeds = np.zeros((20, 20), np.int32)
    seeds[3, 3] = 7
    labels = flood(mask.astype(np.float32), seeds, mask)
    assert set(np.unique(labels)) == {0, 7}
    assert np.array_equal(labels == 7, np.pad(np.ones((4, 4), bool), ((2, 14), (2, 14))))


def test_a_long_arm_is_filled_to_its_end() -> None:
    mask = np.zeros((5, 200), np.uint8)
    mask[2] = 1
    seeds = np.zeros((5, 200), np.int32)
    seeds[2, 0] = 1
    assert flood(mask.astype(np.float32), seeds, mask).sum() == 200


def test_nothing_to_flood() -> None:
    empty = np.zeros((20, 20), np.float32)
    assert flood(empty, empty.astype(np.int32), empty.astype(np.uint8)).sum() == 0
