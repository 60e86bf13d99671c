from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.phantom.noise import fractal, key_of, noise_at, noise_raster, periodic, uniforms

whole = st.integers(-(2**40), 2**40)


@given(key=st.integers(0, 2**63 - 1), column=whole, row=whole)
def test_a_cell_has_its_numbers_whoever_asks(key, column, row):
    alone = uniforms(key, np.array([column]), np.array([row]), 4)[:, 0]
    among = uniforms(key, np.arange(column - 2, column + 3), np.full(5, row), 6)[:4, 2]
    assert np.array_equal(alone, among)
    assert ((alone >= 0) & (alone < 1)).all()


def test_cells_are_uniform_and_unrelated():
    columns, rows = (a.ravel() for a in np.meshgrid(np.arange(200), np.arange(200)))
    u = uniforms(5, columns, rows, 2)
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.std() - 12**-0.5) < 0.01
    field = u[0].reshape(200, 200)
    for one, other in ((field[:, 1:], field[:, :-1]), (field[1:], field[:-1]), (u[0], u[1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03


def test_keys_of_other_streams_and_seeds_differ():
    assert len({key_of(seed, stream) for seed in range(50) for stream in ("a", "b", "c")}) == 150


@settings(max_examples=20, deadline=None)
@given(x=st.floats(-1e5, 1e5), y=st.floats(-1e5, 1e5), feature=st.floats(50, 5000))
def test_noise_is_smooth(x, y, feature):
    near = noise_at(3, np.array([x, x + feature / 200]), np.array([y, y]), feature)
    assert abs(near[1] - near[0]) < 0.15


def test_raster_agrees_with_points():
    x, y = np.meshgrid((np.arange(60) + 0.5) * 30, (np.arange(40) + 0.5) * 30)
    points, raster = noise_at(9, x, y, 700.0), noise_raster(9, (40, 60), 30.0, 700.0)
    assert np.abs(points - raster).max() < 0.06
    assert points.std() > 0.4


def test_fractal_adds_detail():
    smooth, rough = fractal(9, (80, 80), 10.0, 600.0, 1), fractal(9, (80, 80), 10.0, 600.0, 5)
    assert np.abs(np.diff(rough)).mean() > 1.5 * np.abs(np.diff(smooth)).mean()


def test_periodic_noise_wraps():
    field = periodic(1, 128, (8.0, 8.0))
    inside = np.abs(np.diff(field, axis=1)).max()
    assert np.abs(field[:, 0] - field[:, -1]).max() <= inside * 1.5
