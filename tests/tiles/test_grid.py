"""Grids cover the slide, do not overlap, and know where they are."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coverslip.core.errors import GeometryError, ImplausibleMppError, MissingMppError, MppError, UsageError
from coverslip.slides.reader import Facts, levels_of
from coverslip.slides.slide import Slide
from coverslip.tiles import GridSpec, lay, place
from coverslip.tiles.grid import Lattice, Tiles, settle_mpp


def a_slide(width, height, factors=(1,), mpp=0.5):
    """A slide that has facts and no pixels."""
    sizes = [(max(1, int(width / factor)), max(1, int(height / factor))) for factor in factors]
    facts = Facts(levels_of(sizes), "test", mpp_x=mpp, mpp_y=mpp, mpp_origin="test")
    return Slide("test.tif", SimpleNamespace(facts=facts, close=lambda: None))


SLIDES = st.builds(
    a_slide,
    st.integers(1000, 5000),
    st.integers(1000, 5000),
    st.sampled_from([(1,), (1, 4), (1, 4, 16), (1, 2, 4, 8), (1, 4.0003), (1, 3.9)]),
)
SPECS = st.builds(
    GridSpec,
    mpp=st.one_of(st.none(), st.floats(0.5, 9)),
    size=st.integers(1, 400),
    stride=st.one_of(st.none(), st.integers(20, 400)),
    edge=st.sampled_from(["drop", "pad"]),
)


@given(SLIDES, SPECS)
def test_drop_keeps_tiles_on_the_slide_and_leaves_no_room_for_another(slide, spec):
    assume(spec.step >= 20)
    spec = GridSpec(spec.mpp, spec.size, spec.stride, edge="drop")
    try:
        tiles = lay(slide, spec)
    except GeometryError:
        level = slide.best_level(settle_mpp(slide, spec.mpp).downsample)
        side = spec.size * settle_mpp(slide, spec.mpp).downsample / level.downsample
        assert side > min(level.width, level.height)
        return
    slack = slide.best_level(tiles.downsample).downsample
    assert tiles.xy.min() >= 0
    ends = tiles.xy.max(axis=0) + tiles.side_px
    assert (ends <= np.array(slide.size) + slack).all()
    assert (ends + spec.step * tiles.downsample > np.array(slide.size) - 2 * slack).all()


@given(SLIDES, SPECS)
def test_pad_covers_the_slide(slide, spec):
    assume(20 <= spec.step <= spec.size)
    tiles = lay(slide, GridSpec(spec.mpp, spec.size, spec.stride, edge="pad"))
    # a level's downsample is the mean of both directions', so its last pixel may lie a pixel off
    slack = 1.5 * slide.best_level(tiles.downsample).downsample
    for axis in (0, 1):
        starts = np.unique(tiles.xy[:, axis])
        assert starts[0] == 0
        assert (np.diff(starts) <= tiles.side_px + slack).all()
        assert starts[-1] + tiles.side_px >= slide.size[axis] - slack
        assert starts[-1] < slide.size[axis] + slack


@given(SLIDES, SPECS)
def test_neighbours_touch_and_do_not_overlap(slide, spec):
    assume(spec.size >= 20)
    tiles = lay(slide, GridSpec(spec.mpp, spec.size, edge="pad"))
    level = slide.best_level(tiles.downsample)
    for axis in (0, 1):
        gaps = np.diff(np.unique(tiles.xy[:, axis])) - tiles.side_px
        assert (np.abs(gaps) <= level.downsample + 1).all()
        if tiles.downsample == 1:
            assert (gaps == 0).all()


@given(SLIDES, SPECS)
def test_tiles_start_at_whole_pixels_of_their_level(slide, spec):
    assume(spec.step >= 20)
    tiles = lay(slide, GridSpec(spec.mpp, spec.size, spec.stride, edge="pad"))
    there = tiles.xy / slide.best_level(tiles.downsample).downsample
    assert np.abs(there - np.rint(there)).max() * slide.best_level(tiles.downsample).downsample <= 0.5 + 1e-6


@given(st.floats(1, 500), st.floats(1, 64), st.lists(st.integers(0, 10_000), min_size=1))
def test_corner_and_index_are_inverse(step, unit, index):
    assume(step * unit * max(index) < 2**31)
    assume(step >= 2)
    lattice = Lattice(step, unit)
    assert lattice.index(lattice.corner(np.array(index))).tolist() == index


@given(SLIDES, SPECS)
def test_rows_and_columns_are_row_major_and_unique(slide, spec):
    assume(spec.step >= 20)
    tiles = lay(slide, GridSpec(spec.mpp, spec.size, spec.stride, edge="pad"))
    order = np.lexsort((tiles.columns, tiles.rows))
    assert np.array_equal(order, np.arange(len(tiles)))
    assert len(np.unique(np.stack([tiles.columns, tiles.rows], 1), axis=0)) == len(tiles)


class Half:
    """Tissue on the left half."""

    def __init__(self, width):
        self.width = width

    def share_in(self, xy, side):
        return (np.clip(self.width / 2 - xy[:, 0], 0, side) / side).astype(np.float32)


@given(SLIDES, SPECS, st.floats(0, 1))
def test_min_tissue(slide, spec, least):
    assume(spec.step >= 20)
    spec = GridSpec(spec.mpp, spec.size, spec.stride, least, "pad")
    tissue = Half(slide.size.width)
    every, kept = lay(slide, spec), lay(slide, spec, tissue)
    assert np.isnan(every.tissue).all()
    assert ((kept.tissue >= np.float32(least) - 1e-6) & (kept.tissue <= 1)).all()
    assert len(kept) == (tissue.share_in(every.xy, every.side_px) >= least).sum()


def test_a_level_nearby_is_taken_and_both_are_said():
    tiles = lay(a_slide(4000, 4000, (1, 4)), GridSpec(mpp=2.015))
    assert (tiles.spec.mpp, tiles.mpp, tiles.downsample) == (2.015, 2.0, 4.0)
    assert lay(a_slide(4000, 4000), GridSpec(mpp=0.4965)).downsample == 1
    assert lay(a_slide(4000, 4000), GridSpec(mpp=0.6)).mpp == 0.6


def test_what_cannot_be_is_refused():
    with pytest.raises(MppError, match=r"ask for 0\.5 or more"):
        lay(a_slide(900, 900), GridSpec(mpp=0.25))
    with pytest.raises(MissingMppError):
        lay(a_slide(900, 900, mpp=None), GridSpec(mpp=0.25))
    with pytest.raises(GeometryError, match="less than one tile"):
        lay(a_slide(200, 900), GridSpec(size=256))
    for wrong in ({"size": 0}, {"stride": 0}, {"min_tissue": 1.1}, {"edge": "wrap"}):
        with pytest.raises(GeometryError):
            GridSpec(**wrong)
    with pytest.raises(ImplausibleMppError):
        GridSpec(mpp=20_000)
    with pytest.raises(UsageError, match="whole numbers"):
        place(a_slide(900, 900), [(0.5, 1)], GridSpec())
    tiles = lay(a_slide(900, 900), GridSpec())
    with pytest.raises(GeometryError, match="shape"):
        Tiles(tiles.xy, tiles.spec, 0.5, 1.0, tiles.tissue[:1], tiles.columns, tiles.rows)


def test_a_tiny_slide_is_one_padded_tile():
    for edge_length in (1, 5, 200, 256):
        assert lay(a_slide(edge_length, 3), GridSpec(size=256, edge="pad")).xy.tolist() == [[0, 0]]


def test_take_and_box():
    tiles = lay(a_slide(4000, 4000, (1, 4)), GridSpec(mpp=2.0, size=100))
    chosen = tiles.take(tiles.columns == 3)
    assert set(chosen.columns.tolist()) == {3}
    assert chosen.box(1).x == 1200
    assert chosen.box(1).y == 400
    assert chosen.box(1).width == 400
    assert tiles.take([5, 2]).xy.tolist() == [tiles.xy[5].tolist(), tiles.xy[2].tolist()]
    with pytest.raises(ValueError, match="read-only"):
        tiles.xy[0] = 1


def test_a_large_grid_takes_milliseconds():
    slide = a_slide(60_000, 50_000)
    start = time.process_time()
    tiles = lay(slide, GridSpec(stride=128), Half(60_000))
    assert time.process_time() - start < 0.5
    assert len(tiles) > 90_000
