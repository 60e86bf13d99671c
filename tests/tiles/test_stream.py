"""The stream gives what Slide.read_at gives, whatever the tiles, the threads and the trouble."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coverslip.slides.resample import span
from coverslip.tiles import GridSpec, lay, place, stream
from coverslip.tiles.plan import spans

FIXTURE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def everything(slide, tiles, **options):
    """All batches of a stream, joined in the order of the tiles."""
    batches = list(stream(slide, tiles, **options))
    index = np.concatenate([batch.index for batch in batches])
    back = np.argsort(index)
    assert np.array_equal(index[back], np.arange(len(tiles)))
    pixels = np.concatenate([batch.pixels for batch in batches])[back]
    return pixels, np.concatenate([batch.missing for batch in batches])[back], batches


def expected(slide, tiles):
    return np.stack([slide.read_at(tiles.box(i), tiles.downsample) for i in range(len(tiles))])


@FIXTURE
@given(
    mpp=st.sampled_from([None, 0.5, 0.503, 0.61, 0.7142857, 1.0, 1.7, 2.0, 2.01, 2.9, 5.0]),
    size=st.integers(1, 150),
    stride=st.one_of(st.none(), st.integers(20, 170)),
    edge=st.sampled_from(["drop", "pad"]),
    shift=st.tuples(st.integers(-90, 90), st.integers(-90, 90)),
    options=st.fixed_dictionaries(
        {"batch_size": st.integers(1, 9), "threads": st.integers(1, 3), "depth": st.integers(1, 3)}
    ),
    shuffle=st.one_of(st.none(), st.integers(0, 9)),
)
def test_equals_read_at(slide, mpp, size, stride, edge, shift, options, shuffle):
    spec = GridSpec(mpp=mpp, size=size, stride=stride if stride or size > 20 else 40, edge=edge)
    try:
        laid = lay(slide, spec)
    except ValueError:
        return
    rng = np.random.default_rng(0)
    tiles = laid.take(np.sort(rng.permutation(len(laid))[:25]))
    tiles = place(slide, tiles.xy + np.array(shift), spec) if shift[0] % 2 else tiles
    pixels, missing, _ = everything(slide, tiles, **options, shuffle=shuffle)
    assert not missing.any()
    assert np.array_equal(pixels, expected(slide, tiles))


@given(
    start=st.floats(-1e5, 1e5),
    pixels=st.integers(1, 3000),
    scale=st.one_of(st.just(1.0), st.floats(1, 40), st.sampled_from([2.0, 4.0, 16.0, 1 / 0.7])),
)
def test_spans_equal_span(start, pixels, scale):
    one = span(start, pixels, scale)
    many = spans(np.array([start]), pixels, scale)
    assert (one.first, one.count, one.phase) == tuple(part[0] for part in many)
