"""Shapes of objects: hand-worked ones, scikit-image's, and what may not change when objects move or turn."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ellipe
from shapely import MultiPolygon, Point, Polygon, affinity, box

from coverslip.core.errors import ImplausibleMppError, UsageError
from coverslip.measure.objects import SHAPES, shapes

DISC = Point(0, 0).buffer(30, quad_segs=128)


def one(polygon: object, mpp: float = 1.0) -> dict[str, float]:
    return {name: float(value[0]) for name, value in shapes([polygon], mpp).items()}


def blob(seed: int, vertices: int = 40) -> Polygon:
    rng = np.random.default_rng(seed)
    angle = np.arange(vertices) / vertices * 2 * np.pi
    waves = [rng.normal(0, 0.25 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(1, 6)]
    radius = 20 * np.exp(np.clip(sum(waves), -1, 1))
    return Polygon(np.stack([radius * np.cos(angle) * 1.5, radius * np.sin(angle)], axis=1))


# ------------------------------------------------------------------ worked by hand
def test_a_disc() -> None:
    found = one(DISC, mpp=0.5)
    assert found["area_um2"] == pytest.approx(np.pi * 15**2, rel=1e-3)
    assert found["perimeter_um"] == pytest.approx(2 * np.pi * 15, rel=1e-3)
    for name in ("major_um", "minor_um", "feret_max_um", "feret_min_um"):
        assert found[name] == pytest.approx(30, rel=1e-3)
    for name in ("solidity", "convexity", "circularity"):
        assert found[name] == pytest.approx(1, abs=1e-3)
    assert found["extent"] == pytest.approx(np.pi / 4, rel=1e-3)
    assert found["curvature_mean"] == pytest.approx(1 / 15, rel=1e-3)
    for name in ("curvature_sd", "concavity", "eccentricity", *(f"fourier_{k}" for k in range(1, 9))):
        assert found[name] == pytest.approx(0, abs=2e-3)


def test_a_rectangle() -> None:
    found = one(box(100, 100, 160, 120), mpp=0.5)
    # 60 × 20 px are 30 × 10 µm; axes of the ellipse of equal moments: 4 · side / √12
    expected = {"area_um2": 300, "perimeter_um": 80, "major_um": 120 / 12**0.5, "minor_um": 40 / 12**0.5,
                "eccentricity": (1 - 1 / 9) ** 0.5, "orientation": 0, "solidity": 1, "convexity": 1,
                "circularity": 4 * np.pi * 300 / 6400, "extent": 1,
                "feret_max_um": 1000**0.5, "feret_min_um": 10}  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name
    assert found["concavity"] < 0.03


def test_an_ellipse() -> None:
    ellipse = affinity.rotate(affinity.scale(DISC, 2, 1), 30, origin=(0, 0))
    found = one(ellipse)
    assert found["orientation"] == pytest.approx(np.radians(30), abs=1e-3)
    assert (found["major_um"], found["minor_um"]) == pytest.approx((120, 60), rel=1e-3)
    assert found["perimeter_um"] == pytest.approx(4 * 60 * ellipe(1 - 0.25), rel=1e-3)
    # the mean of the curvature along a convex outline is 2π over its length
    assert found["curvature_mean"] == pytest.approx(2 * np.pi / found["perimeter_um"], rel=0.02)
    assert found["concavity"] == pytest.approx(0, abs=1e-6)


def test_an_angle_piece_with_a_hole_and_a_second_piece() -> None:
    angle = Polygon([(0, 0), (20, 0), (20, 10), (10, 10), (10, 20), (0, 20)])
    found = one(angle)
    assert found["solidity"] == pytest.approx(300 / 350)
    assert found["convexity"] == pytest.approx((60 + 200**0.5) / 80)
    assert found["feret_max_um"] == pytest.approx(800**0.5)
    assert found["feret_min_um"] == pytest.approx(20)
    assert found["concavity"] > 0.15
    pierced = one(Polygon(box(0, 0, 20, 20).exterior, [box(5, 5, 15, 15).exterior]))
    assert pierced["area_um2"] == 300
    assert pierced["perimeter_um"] == 80  # of the outline
    assert pierced["circularity"] == pytest.approx(4 * np.pi * 400 / 6400)
    assert pierced["major_um"] == pytest.approx(4 * ((20**4 - 10**4) / 12 / 300) ** 0.5)
    two = one(MultiPolygon([box(0, 0, 10, 10), box(30, 0, 40, 10)]))
    assert (two["area_um2"], two["perimeter_um"], two["feret_min_um"]) == (200, 80, 10)
    assert two["fourier_3"] == pytest.approx(1 / 9, abs=1e-6)  # of a square, as the largest piece is


def test_fourier_of_a_square_is_known() -> None:
    found = one(box(-1, -1, 1, 1))
    # a square's series has c_k ∝ 1/k² for k = 1, -3, 5, -7 …
    expected = [0, 0, 1 / 9, 0, 1 / 25, 0, 1 / 49, 0]
    assert [found[f"fourier_{k}"] for k in range(1, 9)] == pytest.approx(expected, abs=1e-6)


def test_fourier_agrees_with_a_transform_of_many_points() -> None:
    outline = blob(3)
    steps = np.linspace(0, 1, 1 << 14, endpoint=False)
    points = shapely.line_interpolate_point(outline.exterior, steps, normalized=True)
    waves = np.fft.fft(shapely.get_x(points) + 1j * shapely.get_y(points)) / len(points)
    sizes = np.abs(waves)
    expected = [sizes[-1] / sizes[1], *(np.hypot(sizes[k], sizes[-k]) / sizes[1] for k in range(2, 9))]
    found = one(outline)
    assert [found[f"fourier_{k}"] for k in range(1, 9)] == pytest.approx(expected, abs=1e-5)


# ------------------------------------------------------------------ scikit-image
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_scikit_image(seed: int) -> None:
    measure = pytest.importorskip("skimage.measure")
    draw = pytest.importorskip("skimage.draw")
    scale = 8
    polygon = affinity.translate(affinity.scale(blob(seed), scale, scale, origin=(0, 0)), 900, 900)
    corners = np.asarray(polygon.exterior.coords)
    image = draw.polygon2mask((1800, 1800), corners[:, ::-1] - 0.5).astype(np.uint8)
    theirs, ours = measure.regionprops(image)[0], one(polygon)
    assert ours["area_um2"] == pytest.approx(theirs.area, rel=2e-3)
    assert ours["major_um"] == pytest.approx(theirs.axis_major_length, rel=2e-3)
    assert ours["minor_um"] == pytest.approx(theirs.axis_minor_length, rel=2e-3)
    assert ours["eccentricity"] == pytest.approx(theirs.eccentricity, abs=2e-3)
    assert ours["solidity"] == pytest.approx(theirs.solidity, abs=5e-3)
    assert ours["extent"] == pytest.approx(theirs.extent, abs=5e-3)
    assert ours["feret_max_um"] == pytest.approx(theirs.feret_diameter_max, rel=5e-3)
    assert ours["perimeter_um"] == pytest.approx(theirs.perimeter_crofton, rel=0.02)
    # theirs is from rows, counter-clockwise: π/2 less ours
    assert np.tan(np.pi / 2 - theirs.orientation) == pytest.approx(
        np.tan(ours["orientation"]), rel=0.02, abs=0.02
    )


# ------------------------------------------------------------------ what may not change
SIZES = ("perimeter_um", "major_um", "minor_um", "feret_max_um", "feret_min_um")
FREE = tuple(
    name for name in SHAPES
    if name not in (*SIZES, "area_um2", "curvature_mean", "curvature_sd", "orientation", "extent")
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 500),
    turn=st.floats(-180, 180),
    grow=st.floats(0.2, 30),
    shift=st.tuples(st.floats(-1e5, 2e5), st.floats(-1e5, 2e5)),
    mirror=st.booleans(),
)
def test_moving_turning_growing_and_mirroring(
    seed: int, turn: float, grow: float, shift: tuple[float, float], mirror: bool
) -> None:
    polygon = blob(seed)
    moved = affinity.scale(polygon, grow, -grow if mirror else grow, origin=(0, 0))
    moved = affinity.translate(affinity.rotate(moved, turn, origin=(0, 0)), *shift)
    before, after = one(polygon), one(moved)
    for name in FREE:
        assert after[name] == pytest.approx(before[name], abs=2e-4, rel=2e-3), name
    for name in SIZES:
        assert after[name] == pytest.approx(before[name] * grow, rel=1e-4), name
    assert after["area_um2"] == pytest.approx(before["area_um2"] * grow**2, rel=1e-4)
    assert after["curvature_mean"] == pytest.approx(before["curvature_mean"] / grow, rel=1e-3)
    expected = np.radians(turn) + (-1 if mirror else 1) * before["orientation"]
    if before["eccentricity"] > 0.3:
        assert np.sin(after["orientation"] - expected) == pytest.approx(0, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), start=st.integers(0, 39), backwards=st.booleans())
def test_where_the_outline_starts_does_not_matter(seed: int, start: int, backwards: bool) -> None:
    corners = np.asarray(blob(seed).exterior.coords)[:-1]
    turned = np.roll(corners, start, axis=0)[:: -1 if backwards else 1]
    before, after = one(Polygon(corners)), one(Polygon(turned))
    for name in SHAPES:
        sampled = name in ("concavity", "curvature_mean", "curvature_sd")  # at 64 places from the start on
        close = 5e-3 if sampled else 1e-5
        assert after[name] == pytest.approx(before[name], abs=close, rel=close), name


def test_many_at_once_are_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    polygons = [blob(0), box(0, 0, 3, 4), MultiPolygon([blob(1), box(90, 90, 91, 91)]), DISC]
    polygons += [Polygon(blob(2).exterior, [box(-1, -1, 1, 1).exterior]), blob(5, vertices=200)]
    alone = [one(polygon, 0.25) for polygon in polygons]
    monkeypatch.setattr("coverslip.measure.objects.shape.AT_ONCE", 4)
    monkeypatch.setattr("coverslip.measure.objects.feret.PAIRS", 100)
    together = shapes(np.array(polygons, object), 0.25)
    for i, expected in enumerate(alone):
        assert {name: float(together[name][i]) for name in SHAPES} == pytest.approx(expected, nan_ok=True)


# ------------------------------------------------------------------ odd input
def test_none_at_all() -> None:
    assert {len(column) for column in shapes([], 0.5).values()} == {0}


def test_an_object_without_area_has_no_shape() -> None:
    found = shapes([Polygon([(0, 0), (5, 0), (5, 0), (0, 0)]), box(0, 0, 1, 1)], 1.0)
    assert found["area_um2"].tolist() == [0, 1]
    assert np.isnan(found["major_um"]).tolist() == [True, False]
    assert np.isnan(found["feret_max_um"]).tolist() == [True, False]


def test_bad_scale_and_shape_are_refused() -> None:
    with pytest.raises(ImplausibleMppError):
        shapes([DISC], 0)
    with pytest.raises(UsageError, match="expected"):
        shapes(np.array([[DISC]], object), 0.5)
