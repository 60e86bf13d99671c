"""Shapes in masks, against labelling pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.tissue.shapes import fill_holes, keep_large, touching

masks = st.builds(
    lambda seed, height, width, grain, level: (
        cv2.GaussianBlur(
            np.random.default_rng(seed).random((height, width)).astype(np.float32), (0, 0), grain
        )
        > level
    ),
    st.integers(0, 100_000),
    st.integers(2, 50),
    st.integers(2, 50),
    st.floats(0.3, 4),
    st.floats(0.45, 0.55),
)


def labelled(mask, connectivity):
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=connectivity)
    return [labels == number for number in range(1, count)]


def joined(pieces, mask):
    return np.any([np.zeros_like(mask), *pieces], axis=0)


@settings(max_examples=100, deadline=None)
@given(mask=masks, pixels=st.integers(1, 60))
def test_large_pieces_are_those_of_labelling(mask, pixels):
    expected = joined([piece for piece in labelled(mask, 8) if piece.sum() >= pixels], mask)
    assert np.array_equal(keep_large(mask, pixels), expected)


@settings(max_examples=100, deadline=None)
@given(mask=masks, seed=st.integers(0, 999))
def test_touching_pieces_are_those_of_labelling(mask, seed):
    seeds = np.random.default_rng(seed).random(mask.shape) < 0.02
    expected = joined([piece for piece in labelled(mask, 8) if (piece & seeds).any()], mask)
    assert np.array_equal(touching(mask, seeds), expected)


@settings(max_examples=100, deadline=None)
@given(mask=masks, pixels=st.integers(1, 60))
def test_filled_holes_are_those_of_labelling(mask, pixels):
    solid = mask.copy()
    for piece in labelled(mask, 8):  # a piece in a hole belongs to the hole
        rest = mask & ~piece
        holes = [hole for hole in labelled(~piece, 4) if not _at_edge(hole)]
        inner = joined([hole for hole in holes if hole.sum() < pixels], mask)
        solid |= inner | (rest & inner)
    assert np.array_equal(fill_holes(mask, pixels), solid)


def _at_edge(hole):
    return hole[0].any() or hole[-1].any() or hole[:, 0].any() or hole[:, -1].any()


def test_a_thin_ring_goes_and_what_it_holds_stays():
    mask = np.zeros((40, 40), bool)
    mask[2:38, 2:38] = True
    mask[3:37, 3:37] = False
    mask[10:30, 10:30] = True
    kept = keep_large(mask, 200)
    assert kept[10:30, 10:30].all()
    assert kept.sum() == 400
    seeds = np.zeros_like(mask)
    seeds[20, 20] = True
    assert touching(mask, seeds).sum() == 400
