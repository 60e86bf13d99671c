"""Masks to polygons and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.tissue.polygons import polygons_of, rasterise, tidy


def random_mask(seed: int, height: int, width: int, grain: float) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), grain) > 0.5


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(3, 60),
    width=st.integers(3, 60),
    grain=st.floats(1.5, 6),
    downsample=st.floats(4.0, 70.0),
)
def test_a_mask_comes_back_from_its_polygons(seed, height, width, grain, downsample):
    mask = random_mask(seed, height, width, grain)
    polygons = polygons_of(mask, downsample)
    assert all(polygon.is_valid and polygon.geom_type == "Polygon" for polygon in polygons)
    back = rasterise(polygons, mask.shape, downsample)
    # corners are cut across the pixels of bays and holes, never deeper than one pixel
    deep = cv2.erode(
        np.stack([mask, ~mask], 2).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=(1, 1)
    )
    assert not np.any(~back & deep[..., 0].astype(bool))
    assert not np.any(back & deep[..., 1].astype(bool))
    assert np.sum(back != mask) <= max(2, 0.02 * mask.size)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), downsample=st.floats(0.7, 30.0))
def test_rasterise_agrees_with_shapely_at_every_pixel_centre(seed, downsample):
    rng = np.random.default_rng(seed)
    shapes = [shapely.Point(*rng.uniform(0, 300, 2)).buffer(rng.uniform(10, 120)) for _ in range(3)]
    hole = shapely.Point(*rng.uniform(0, 300, 2)).buffer(30)
    polygons = tidy([shape - hole for shape in shapes])
    mask = rasterise(polygons, (40, 50), downsample)
    x, y = np.meshgrid((np.arange(50) + 0.5) * downsample, (np.arange(40) + 0.5) * downsample)
    union = shapely.union_all(polygons)
    expected = shapely.contains_xy(union, x, y)
    near = shapely.distance(shapely.points(x, y), union.boundary) < 1e-6 if not union.is_empty else False
    assert np.all((mask == expected) | near)


def test_area_is_kept_within_one_per_cent_of_the_mask():
    mask = random_mask(5, 400, 500, 15)
    exact = sum(polygon.area for polygon in polygons_of(mask, 16.0))
    simple = polygons_of(mask, 16.0, tolerance=8.0)
    assert exact == pytest.approx(mask.sum() * 256, rel=0.01)
    assert sum(polygon.area for polygon in simple) == pytest.approx(mask.sum() * 256, rel=0.01)
    assert len(shapely.get_coordinates(simple)) < 0.75 * len(shapely.get_coordinates(polygons_of(mask, 16.0)))


def test_simplified_outlines_stay_within_the_tolerance():
    mask = random_mask(6, 200, 200, 12)
    exact, simple = (shapely.union_all(polygons_of(mask, 16.0, tolerance)) for tolerance in (0.0, 8.0))
    assert shapely.hausdorff_distance(exact.boundary, simple.boundary, densify=0.05) < 8.0 + 1.5


def test_holes_and_islands_in_holes():
    mask = np.zeros((60, 60), bool)
    mask[5:55, 5:55] = True
    mask[15:45, 15:45] = False
    mask[25:35, 25:35] = True
    outer, island = polygons_of(mask, 2.0)
    assert len(outer.interiors) == 1
    assert outer.area == pytest.approx((50 * 50 - 30 * 30) * 4, abs=4)
    assert island.area == 10 * 10 * 4


def test_lines_and_dots_of_one_pixel_keep_their_area():
    mask = np.zeros((9, 30), bool)
    mask[4, 3:20] = True
    mask[4, 25] = True
    assert sorted(polygon.area for polygon in polygons_of(mask, 10.0)) == pytest.approx(
        [100.0, 1700.0], rel=0.04
    )


def test_nothing_makes_no_polygons():
    assert polygons_of(np.zeros((5, 5), bool), 4.0) == ()
    assert not rasterise((), (5, 5), 4.0).any()
