"""Optical density and separation, against scikit-image and Beer–Lambert's law itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coverslip.core.errors import StainError, UsageError
from coverslip.stain import (
    RUIFROK_JOHNSTON,
    StainMatrix,
    estimate_background,
    from_od,
    recombine,
    separate,
    to_od,
)


def colours(n: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (n, 3), dtype=np.uint8)


def test_density_is_the_decadic_logarithm() -> None:
    pixels = colours()
    expected = -np.log10(pixels.astype(np.float64) / 255)
    assert np.abs(to_od(pixels) - expected).max() < 1e-6


@pytest.mark.parametrize("background", [255.0, 240.0, (250.0, 244.0, 239.0)])
def test_round_trip_of_density(background: float | tuple[float, ...]) -> None:
    pixels = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    expected = np.minimum(pixels, np.broadcast_to(background, 3)).astype(np.uint8)
    assert np.array_equal(from_od(to_od(pixels, background), background), expected)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, max_side=5).map(lambda s: (*s, 3))))
def test_density_keeps_shape_and_is_finite(pixels: np.ndarray) -> None:
    od = to_od(pixels)
    assert od.shape == pixels.shape
    assert od.dtype == np.float32
    assert np.isfinite(od).all()
    assert (od >= 0).all()


def test_density_of_nothing() -> None:
    assert to_od(np.zeros((0, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 3), np.uint16), np.zeros((4, 4, 4), np.uint8)]
)
def test_only_8_bit_colour(bad: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8"):
        to_od(bad)


@pytest.mark.parametrize("bad", [0, 300, float("nan"), (1.0, 2.0)])
def test_a_background_that_cannot_be(bad: float) -> None:
    with pytest.raises(StainError, match="background"):
        to_od(colours(4), bad)


def test_separation_agrees_with_scikit_image() -> None:
    from skimage.color import hed2rgb, rgb2hed

    pixels = colours()
    theirs = rgb2hed(pixels[None])[0]
    lengths = np.linalg.norm([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], axis=1)
    ours = separate(pixels, RUIFROK_JOHNSTON["HED"]) / (
        6 * lengths
    )  # theirs: logarithm to base 1e-6, not unit rows
    assert np.abs(np.maximum(ours, 0) - theirs).max() < 1e-5
    amounts = np.abs(theirs) * [1, 0.5, 0.2]
    expected = np.rint(hed2rgb(amounts[None])[0] * 255)
    mine = recombine((amounts * 6 * lengths).astype(np.float32), RUIFROK_JOHNSTON["HED"])
    assert np.abs(mine - expected).max() <= 1


@pytest.mark.parametrize("name", ["H&E", "H-DAB", "HED"])
def test_amounts_survive_being_mixed_and_separated(name: str) -> None:
    stains = RUIFROK_JOHNSTON[name]
    amounts = np.random.default_rng(1).uniform(0, 0.5, (2000, len(stains.names))).astype(np.float32)
    again = separate(recombine(amounts, stains), stains)
    assert np.abs(again - amounts).max() < 0.05
    assert np.abs(again - amounts).mean() < 0.005


def test_a_completed_matrix_recombines_exactly() -> None:
    pixels = colours()
    whole = RUIFROK_JOHNSTON["H&E"].complete()
    assert np.abs(recombine(separate(pixels, whole), whole).astype(int) - pixels).max() <= 1
    assert np.allclose(np.cross(*whole.array[:2]) @ whole.array[:2].T, 0, atol=1e-7)
    assert StainMatrix.from_json(whole.to_json()).names == ("haematoxylin", "eosin", "residual")


def test_recombine_wants_one_amount_per_stain() -> None:
    with pytest.raises(UsageError, match="one for each stain"):
        recombine(np.zeros((4, 2), np.float32), RUIFROK_JOHNSTON["HED"])


def test_matrix_scales_vectors_to_length_1_and_survives_json() -> None:
    stains = StainMatrix(("a", "b"), ((2.0, 0.0, 0.0), (0.0, 3.0, 4.0)), (1.5, 0.5), (250.0, 251.0, 252.0))
    assert np.allclose(stains.array, [[1, 0, 0], [0, 0.6, 0.8]])
    assert StainMatrix.from_json(stains.to_json()) == stains
    assert hash(stains) == hash(StainMatrix.from_dict(json.loads(stains.to_json())))


@pytest.mark.parametrize(
    "arguments",
    [
        (("a",), ((1.0, 0.0, 0.0),)),
        (("a", "a"), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))),
        (("a", "b"), ((1.0, 0.0, 0.0), (0.0, 0.0, 0.0))),
        (("a", "b"), ((1.0, 0.0, 0.0), (1.0, 0.01, 0.0))),
        (("a", "b"), ((1.0, -0.5, 0.0), (0.0, 1.0, 0.0))),
        (("a", "b"), ((1.0, 0.0, 0.0), (0.0, float("nan"), 0.0))),
        (("a", "b"), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), (1.0, 0.0)),
    ],
)
def test_a_matrix_that_cannot_separate_is_refused(arguments: tuple) -> None:
    with pytest.raises(StainError):
        StainMatrix(*arguments)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"names": 3}', '{"names": ["a"], "vectors": [[1]], "x": 1}']
)
def test_json_that_holds_no_stains(text: str) -> None:
    with pytest.raises(StainError):
        StainMatrix.from_json(text)


@given(st.integers(230, 255), st.floats(0, 1))
def test_background_is_found_where_there_is_glass(level: int, share: float) -> None:
    pixels = np.full((1000, 3), (170, 80, 150), np.uint8)
    glass = int(share * 1000)
    pixels[:glass] = level
    expected = float(level) if share >= 0.02 and glass >= 20 else 255.0
    assert estimate_background(pixels) == (expected,) * 3
