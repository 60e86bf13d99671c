"""Masks of slides, places to learn from, tiles: by hand and by what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from coverslip.annotations import IGNORE, Annotations, Shape
from coverslip.core import Size
from coverslip.core.errors import UsageError
from coverslip.learn.segment.feed import Augment
from coverslip.learn.segment.infer import check_grid, suggested_grid
from coverslip.learn.segment.masks import BLOCK, Masks
from coverslip.learn.segment.places import Places

CLASSES = ["stroma", "tumour"]


def masks_of(downsample: float = 2.0, **options: object) -> Masks:
    shapes = (
        Shape("1", "rectangle", box(0, 0, 3000, 2600), "stroma"),
        Shape("2", "rectangle", box(1900, 700, 2500, 1800), "tumour"),
    )
    priority = ["tumour", "stroma"]
    return Masks(Annotations(shapes), Size(4000, 3000), downsample, CLASSES, priority=priority, **options)  # type: ignore[arg-type]


MASKS = masks_of()


@settings(deadline=None, max_examples=30)
@given(x=st.integers(-300, 2100), y=st.integers(-300, 1600), side=st.integers(1, 300))
def test_a_window_is_cut_from_the_whole(x: int, y: int, side: int) -> None:
    masks = MASKS
    whole = np.pad(masks.window(0, 0, *masks.size), 700, constant_values=IGNORE)
    part = whole[y + 700 : y + 700 + side, x + 700 : x + 700 + side]
    np.testing.assert_array_equal(masks.window(x, y, side, side), part)


def test_what_nobody_drew_on_is_unknown_unless_said_to_be_background() -> None:
    assert masks_of().window(1600, 0, 1, 1).item() == IGNORE
    assert masks_of(background="stroma").window(1600, 0, 1, 1).item() == 0
    assert (
        masks_of(background="stroma").window(-1, 0, 1, 1).item() == IGNORE
    )  # beyond the slide nothing is known


@pytest.mark.parametrize("downsample", [2.0, 3.7, 16.0])
def test_area_is_kept_at_any_scale(downsample: float) -> None:
    masks = masks_of(downsample=downsample)
    found = masks.window(0, 0, *masks.size)
    area = (found == 1).sum() * downsample**2
    assert area == pytest.approx(600 * 1100, rel=0.03)
    assert masks.size.height > BLOCK or downsample > 2.0


def test_places_hold_the_shares_of_classes() -> None:
    places = Places.of([MASKS], 250, 2)
    assert places.area * 250**2 == pytest.approx([1500 * 1300 - 300 * 550, 300 * 550], rel=1e-6)
    assert places.xy.max() < 1500


def test_balanced_draws_give_classes_alike_and_hard_places_come_more_often() -> None:
    places = Places.of([MASKS], 250, 2)
    nothing = np.full(len(places), np.nan)
    chances = places.chances(nothing, balance=True, hard=0)
    drawn = chances @ (places.share / places.share.sum(axis=1, keepdims=True))
    plain = places.chances(nothing, balance=False, hard=0) @ places.share
    assert chances.sum() == pytest.approx(1)
    assert drawn[1] > 3 * plain[1]
    hardness = np.ones(len(places))
    hardness[3] = 5
    hard = places.chances(hardness, balance=False, hard=1.0)
    assert hard[3] == pytest.approx(5 * hard[4])


def test_turning_keeps_pixels_and_mask_together() -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (32, 32)).astype(np.uint8)
    pixels = np.repeat(mask[..., None] * 200, 3, axis=2)
    for _ in range(8):
        turned, found = Augment(stain=0, light=0)(pixels, mask, rng)
        np.testing.assert_array_equal(turned[..., 0] // 200, found)


def test_grids_that_would_shift_the_network_are_refused() -> None:
    from coverslip.core.errors import GeometryError
    from coverslip.tiles import GridSpec

    check_grid(suggested_grid(1.0, 32), 64, 32)
    with pytest.raises(
        GeometryError, match=r"stride 200 and margin 30 of the tiles: expected multiples of 32"
    ):
        check_grid(GridSpec(size=256, stride=200), 30, 32)


def test_a_finer_mpp_than_the_slide_has_is_refused() -> None:
    from coverslip.learn.segment.drawn import DrawnSlide
    from coverslip.slides import SlideSource

    slide = DrawnSlide(SlideSource("a", "a.svs", None), Size(100, 100), 0.5, Annotations())
    with pytest.raises(UsageError, match=r"a has 0\.5 µm per pixel, and 0\.25, which is finer"):
        Masks.of(slide, 0.25, CLASSES)
    assert Masks.of(slide, 0.502, CLASSES).downsample == 1  # within 1 % the slide's own pixels are taken
