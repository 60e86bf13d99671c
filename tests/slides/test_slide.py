"""Regions of a slide: sizes, edges, pieces, levels; and where buffers and anchors lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coverslip.core import Box, Region
from coverslip.core.errors import MissingMppError, UsageError
from coverslip.slides import open_slide, pixels
from coverslip.slides.openslide import SEARCH, anchor
from coverslip.slides.reader import LANES, address, pixel_buffer


@pytest.fixture(scope="module")
def slide(svs):
    with open_slide(svs) as opened:
        yield opened


def test_a_region_has_the_size_that_its_mpp_asks_for(slide):
    for mpp in (0.5, 0.7, 1.0, 2.0, 3.3):
        shape = slide.read(Region(Box(10.5, 20, 333, 251), mpp)).shape
        assert shape == (round(251 * 0.5 / mpp), round(333 * 0.5 / mpp), 3)


def test_outside_is_white(slide):
    assert (slide.read_at(Box(-500, -500, 400, 400), 1.0) == 255).all()
    assert (slide.read_at(Box(5000, 10, 40, 40), 4.0) == 255).all()
    corner = slide.read_at(Box(-10, -10, 20, 20), 1.0)
    assert (corner[:10] == 255).all()
    assert (corner[:, :10] == 255).all()
    np.testing.assert_array_equal(corner[10:, 10:], slide.read_at(Box(0, 0, 10, 10), 1.0))


def test_no_level_coarser_than_asked_is_used(slide):
    assert [slide.best_level(d).index for d in (0.5, 1.0, 3.99, 4.0, 9.0)] == [0, 0, 0, 1, 1]


def test_pieces_equal_the_whole(slide, monkeypatch):
    boxes = [(Box(0, 0, 900, 700), 2.6), (Box(-33.3, 5.5, 800, 400), 1.4), (Box(-7, -7, 900, 900), 3.0)]
    whole = [slide.read_at(box, downsample) for box, downsample in boxes]
    monkeypatch.setattr(pixels, "AT_ONCE", 1000)
    monkeypatch.setattr(pixels, "PIECE", 150)
    for (box, downsample), expected in zip(boxes, whole, strict=True):
        np.testing.assert_array_equal(slide.read_at(box, downsample), expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(x=st.integers(-50, 900), y=st.integers(-50, 700), side=st.integers(1, 120))
def test_a_part_equals_that_part_of_the_whole(slide, x, y, side):
    whole = slide.read_at(Box(-60, -60, 1100, 900), 1.0)
    part = slide.read_at(Box(x, y, side, side), 1.0)
    np.testing.assert_array_equal(part, whole[y + 60 : y + 60 + side, x + 60 : x + 60 + side])


def test_thumbnails(slide):
    assert slide.thumbnail(90).shape == (70, 90, 3)
    assert slide.thumbnail(5000).shape == (700, 900, 3)
    with pytest.raises(UsageError, match="max_size 0"):
        slide.thumbnail(0)


def test_a_slide_without_mpp_reads_by_downsample_only(tmp_path, picture):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", tile=(64, 64))
    with open_slide(tmp_path / "a.tif") as bare:
        assert bare.read_at(Box(0, 0, 100, 100), 2.0).shape == (50, 50, 3)
        with pytest.raises(MissingMppError):
            bare.read(Region(Box(0, 0, 10, 10), 0.5))


@given(position=st.integers(0, 10**6), downsample=st.floats(1.0, 70.0))
def test_an_anchor_is_near_and_best_among_its_neighbours(position, downsample):
    found = anchor(position, downsample)
    assert 0 <= found <= position
    assert position - found <= SEARCH

    def off(at: int) -> float:
        return abs(at * downsample - round(at * downsample)) / downsample

    assert off(found) <= min(off(at) for at in range(max(0, position - SEARCH), position + 1)) + 1e-4


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 4))
def test_buffers_start_off_the_lanes(height, width, channels):
    buffer = pixel_buffer(height, width, channels)
    assert buffer.shape == (height, width, channels)
    assert buffer.flags.c_contiguous
    assert address(buffer) % LANES == LANES // 2
