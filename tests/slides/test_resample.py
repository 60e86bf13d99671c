"""Area resampling against a slow reference, and its properties."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from coverslip.core import Size
from coverslip.slides.resample import EXACT, Axis, averages, on_level, parts, resample, resample_part, span

scales = st.floats(1.0, 9.0) | st.sampled_from([1.0, 1.5, 2.0, 3.0, 4.0, 1.4258, 2.0004])
phases = st.floats(0.0, 0.9999) | st.just(0.0)


def reference(source: np.ndarray, size: Size, scale: float, phase: tuple[float, float]) -> np.ndarray:
    """Each output pixel as the weighted mean over the pixels it covers, one by one, in exact fractions."""
    out = np.empty((size.height, size.width, source.shape[2]))
    spans = [_covered(phase[axis], n, scale, source.shape[1 - axis]) for axis, n in enumerate(size)]
    for j in range(size.height):
        for i in range(size.width):
            total = sum(
                wy * wx * source[y, x].astype(float) for y, wy in spans[1][j] for x, wx in spans[0][i]
            )
            out[j, i] = total / (sum(w for _, w in spans[1][j]) * sum(w for _, w in spans[0][i]))
    return out


def _covered(phase: float, pixels: int, scale: float, count: int) -> list[list[tuple[int, float]]]:
    start, step = Fraction(phase), Fraction(scale)
    found = []
    for index in range(pixels):
        low, high = start + index * step, start + (index + 1) * step
        cells = range(math.floor(low), min(count, math.ceil(high)))
        found.append([(c, float(min(c + 1, high) - max(c, low))) for c in cells])
    return found


def touched(pixels: int, scale: float, phase: float) -> int:
    return span(phase, pixels, scale).count


def noise(height: int, width: int, channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, (height, width, channels), dtype)


@settings(deadline=None, max_examples=30)
@given(width=st.integers(1, 5), height=st.integers(1, 5), scale=scales, x=phases, y=phases)
def test_equals_the_reference(width, height, scale, x, y):
    columns, rows = span(x, width, scale), span(y, height, scale)
    source = noise(rows.first + rows.count, columns.first + columns.count)
    cut = source[rows.first :, columns.first :]
    phase = (columns.phase, rows.phase)
    result = resample(cut, Size(width, height), scale, phase)
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8
    assert np.abs(result - reference(cut, Size(width, height), scale, phase)).max() <= 0.5 + 0.01


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int8", "int32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_every_dtype_and_number_of_channels(dtype, channels):
    for scale, phase in ((1.7, (0.25, 0.5)), (2.0, (0.0, 0.0)), (2.5, (0.0, 0.0))):
        count = max(touched(4, scale, p) for p in phase)
        source = noise(count, count, channels, dtype)
        result = resample(source, Size(4, 4), scale, phase)
        assert result.dtype == source.dtype
        tolerance = 0.51 if np.iinfo(dtype).bits < 32 else 2
        assert np.abs(result - reference(source, Size(4, 4), scale, phase)).max() <= tolerance


def test_real_numbers_are_not_rounded():
    source = np.random.default_rng(0).random((20, 20, 2), np.float32)
    result = resample(source, Size(8, 8), 2.4, (0.1, 0.7))
    np.testing.assert_allclose(result, reference(source, Size(8, 8), 2.4, (0.1, 0.7)), atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(value=st.integers(0, 255), scale=scales, x=phases, y=phases, side=st.integers(1, 40))
def test_a_constant_stays_constant(value, scale, x, y, side):
    source = np.full((touched(side, scale, y), touched(side, scale, x), 3), value, np.uint8)
    assert (resample(source, Size(side, side), scale, (x, y)) == value).all()


@settings(deadline=None, max_examples=40)
@given(side=st.integers(2, 30), scale=scales)
def test_the_mean_is_preserved(side, scale):
    """Whole areas: what the output pixels cover is the source, so both have one mean."""
    count = touched(side, scale, 0.0)
    source = np.random.default_rng(side).random((count, count, 1)).astype(np.float32)
    result = resample(source, Size(side, side), scale, (0.0, 0.0))
    edge = side * scale
    weight = np.clip(edge - np.arange(count), 0, 1)
    expected = (source[..., 0] * weight[:, None] * weight[None, :]).sum() / edge**2
    assert result.mean() == pytest.approx(expected, abs=2e-5)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), scale=scales, x=phases, y=phases)
def test_a_tile_of_a_big_read_equals_the_small_read(data, scale, x, y):
    width, height = data.draw(st.integers(4, 40)), data.draw(st.integers(4, 40))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    columns, rows = span(x, width, scale), span(y, height, scale)
    source = noise(rows.count + 2, columns.count + 2, seed=width)
    big = resample(
        source[: rows.count, : columns.count], Size(width, height), scale, (columns.phase, rows.phase)
    )
    across, down = span(x + left * scale, width - left, scale), span(y + top * scale, height - top, scale)
    part = source[down.first : down.first + down.count, across.first : across.first + across.count]
    small = resample(part, Size(width - left, height - top), scale, (across.phase, down.phase))
    # the same areas to 1e-12 of a pixel; a mean that lies on a half may round either way
    assert np.abs(big[top:, left:].astype(int) - small).max() <= 1
    assert (big[top:, left:] != small).mean() <= 0.05


@settings(deadline=None, max_examples=60)
@given(pixels=st.integers(1, 200), scale=scales, phase=phases, most=st.integers(1, 100))
def test_parts_give_the_whole_to_the_last_bit(pixels, scale, phase, most):
    axis = span(phase, pixels, scale)
    source = np.random.default_rng(pixels).random((axis.count, 3)).astype(np.float32)
    (whole,) = parts(axis.phase, pixels, scale, 10**9)
    assert (whole.origin, whole.count) == (0, axis.count)
    pieces = [
        _rows(source[part.origin : part.origin + part.count], part)
        for part in parts(axis.phase, pixels, scale, most)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), _rows(source, whole))


def _rows(source: np.ndarray, down: Axis) -> np.ndarray:
    """Average along rows only."""
    return averages(down, 1, np.dtype(np.float32)) @ source


@given(hnp.arrays(np.uint8, (12, 12, 3)))
def test_a_pixel_per_pixel_comes_as_it_is(source):
    np.testing.assert_array_equal(resample(source, Size(12, 12), 1.0, (0.0, 0.0)), source)


@given(st.integers(0, 10**6), st.floats(1, 64))
def test_a_whole_position_names_the_pixel_nearest_to_it(pixel, downsample):
    assert on_level(round(pixel * downsample), downsample) == pixel


@given(start=st.floats(-1e6, 1e6), pixels=st.integers(1, 2000), scale=st.floats(0.1, 64))
def test_a_span_covers_its_window_and_no_pixel_more(start, pixels, scale):
    found = span(start, pixels, scale)
    slack = EXACT * max(1.0, scale) + 1e-6
    assert found.first <= start + slack
    assert found.first + found.count >= start + pixels * scale - slack
    assert found.first + found.count - 1 <= start + pixels * scale + slack
    assert 0 <= found.phase < 1


def test_parts_are_used_for_two_axes():
    source = noise(300, 260)
    whole = resample(source, Size(100, 110), 2.6, (0.0, 0.3))
    across, down = parts(0.0, 100, 2.6, 90), parts(0.3, 110, 2.6, 70)
    assert len(across) > 2
    assert len(down) > 2
    result = np.empty_like(whole)
    for rows in down:
        for columns in across:
            cut = source[
                rows.origin : rows.origin + rows.count, columns.origin : columns.origin + columns.count
            ]
            piece = resample_part(cut, columns, rows)
            result[rows.skip : rows.skip + rows.pixels, columns.skip : columns.skip + columns.pixels] = piece
    np.testing.assert_array_equal(result, whole)
