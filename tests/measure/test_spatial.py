"""Spatial statistics: worked by hand, by brute force, and by what chance must give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from shapely import MultiPolygon, Point, Polygon, affinity, box

from coverslip.core import Size
from coverslip.core.errors import GeometryError, UsageError
from coverslip.measure.interval import cluster_interval, count_interval, share_interval
from coverslip.measure.spatial import (
    Window,
    area_shares,
    bands,
    degrees,
    delaunay,
    densities,
    enrichment,
    getis_ord,
    hottest_circle,
    k_nearest,
    mapped,
    nearest,
    nearest_neighbour,
    ripley,
    shares,
    to_edge,
    within_reach,
)
from coverslip.store import Provenance, RunFolder

MPP = 0.5
RNG = np.random.default_rng


def bent() -> Window:
    """Tissue with a hole and a bay, 2 mm wide."""
    ring = Polygon(box(0, 0, 4000, 3000).exterior, [Point(1000, 1500).buffer(500).exterior])
    return Window(ring.difference(box(2500, -1, 3000, 2000)), MPP)


# ------------------------------------------------------------------ intervals
def test_poisson_is_garwood() -> None:
    # Garwood's table: 10 counts, 95 %
    found = count_interval(10)
    assert (found.low, found.high) == pytest.approx((4.795, 18.390), abs=1e-3)
    for count in (0, 1, 7, 300):
        found = count_interval(count)
        assert stats.poisson.sf(count - 1, found.low) == pytest.approx(0.025 if count else 1, abs=1e-6)
        assert stats.poisson.cdf(count, found.high) == pytest.approx(0.025, abs=1e-6)
    assert count_interval(10, 2.0).high == pytest.approx(18.390 / 2, abs=1e-3)


def test_wilson_solves_its_equation() -> None:
    z = stats.norm.ppf(0.975)
    found = share_interval(8, 10)
    for end in (found.low, found.high):
        assert abs(0.8 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 10), rel=1e-6)
    assert (share_interval(0, 9).low, share_interval(9, 9).high) == (0, 1)
    assert math.isnan(share_interval(0, 0).value)


def test_tiles_that_differ_widen_the_interval() -> None:
    rng = RNG(0)
    wholes = np.full(60, 50)
    alike = rng.binomial(50, 0.3, 60)
    apart = rng.binomial(50, np.where(np.arange(60) % 2, 0.55, 0.05))
    narrow, wide = cluster_interval(alike, wholes), cluster_interval(apart, wholes)
    binomial = share_interval(int(alike.sum()), 3000)
    assert narrow.high - narrow.low == pytest.approx(binomial.high - binomial.low, rel=0.35)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert cluster_interval(apart, wholes) == wide  # the seed is fixed
    assert "60 tiles" in wide.method


def test_intervals_refuse_nonsense() -> None:
    for wrong in (
        lambda: count_interval(-1),
        lambda: share_interval(3, 2),
        lambda: count_interval(1, level=2),
    ):
        with pytest.raises(UsageError):
            wrong()


# ------------------------------------------------------------------ counts and areas
def test_densities_and_shares() -> None:
    window = Window(box(0, 0, 4000, 2000), MPP)  # 2 mm²
    xy = np.concatenate([np.full((6, 2), 100.0), np.full((2, 2), 200.0), np.full((3, 2), 9000.0), [[5, 5]]])
    codes = np.array([0] * 6 + [1] * 2 + [1] * 3 + [-1])
    found = densities(xy, codes, ("a", "b"), window)
    assert (found["a"].value, found["b"].value) == (3, 1)
    assert found["a"].low == pytest.approx(count_interval(6).low / 2)
    assert shares(codes, ("a", "b"))["a"].value == pytest.approx(6 / 11)


def test_area_shares_count_overlaps_once() -> None:
    window = Window(box(0, 0, 100, 100), MPP)
    found = area_shares({"t": [box(0, 0, 60, 100), box(40, 0, 80, 100)], "none": []}, window)
    assert found == {"t": pytest.approx(0.8), "none": 0}


def test_tissue_must_have_an_area() -> None:
    with pytest.raises(GeometryError, match="no area"):
        Window(Polygon(), MPP)
    assert Window([box(0, 0, 10, 10), box(5, 0, 20, 10)], 1.0).area_um2 == 200


# ------------------------------------------------------------------ distances
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-180, 180), st.floats(-1e5, 1e5), st.floats(0.1, 4))
def test_distances_do_not_depend_on_the_frame(seed: int, turn: float, shift: float, mpp: float) -> None:
    rng = RNG(seed)
    xy, others = rng.uniform(-500, 4500, (30, 2)), rng.uniform(0, 4000, (20, 2))
    shape = bent().shape

    def placed(whole: object) -> object:
        larger = affinity.scale(whole, 2, 2, origin=(0, 0))
        return affinity.translate(affinity.rotate(larger, turn, origin=(0, 0)), shift, -shift)

    def moved(points: np.ndarray) -> np.ndarray:
        return shapely.get_coordinates(placed(shapely.MultiPoint(points)))

    one, two = to_edge(xy, Window(shape, mpp)), to_edge(moved(xy), Window(placed(shape), mpp / 2))
    assert two == pytest.approx(one, abs=1e-5 * max(1, abs(shift)))
    assert nearest(moved(xy), moved(others), mpp / 2) == pytest.approx(nearest(xy, others, mpp), abs=1e-6)
    assert np.abs(one) == pytest.approx(shapely.distance(shapely.points(xy), shape.boundary) * mpp)
    assert ((one < 0) == shapely.contains(shape, shapely.points(xy))).all()


def test_nearest_of_nothing_is_far() -> None:
    assert nearest(np.zeros((2, 2)), np.empty((0, 2)), 1.0).tolist() == [np.inf, np.inf]
    assert bands(np.array([-600.0, -100, 0, 499, 500]), np.array([-500.0, 0, 500])).tolist() == [
        0,
        1,
        2,
        2,
        3,
    ]


# ------------------------------------------------------------------ Ripley
def brute_translation(xy: np.ndarray, sides: tuple[float, float], radius: float) -> float:
    """K in a rectangle, whose overlap with itself is known."""
    total = 0.0
    for i in range(len(xy)):
        for j in range(len(xy)):
            dx, dy = np.abs(xy[i] - xy[j])
            if i != j and math.hypot(dx, dy) <= radius:
                total += 1 / ((sides[0] - dx) * (sides[1] - dy))
    return (sides[0] * sides[1]) ** 2 * total / (len(xy) * (len(xy) - 1))


def test_translation_agrees_with_brute_force() -> None:
    xy = RNG(1).uniform((0, 0), (2000, 1000), (60, 2))
    radii = np.array([30.0, 100, 180])
    found = ripley(xy, Window(box(0, 0, 2000, 1000), MPP), radii)
    expected = [brute_translation(xy * MPP, (1000, 500), radius) for radius in radii]
    assert found.k_um2 == pytest.approx(expected, rel=2e-3)


def test_border_agrees_with_brute_force() -> None:
    window = bent()
    xy = window.random(150, RNG(2))
    radii = np.array([50.0, 120])
    found = ripley(xy, window, radii, edge="border")
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) * MPP
    inside = shapely.distance(shapely.points(xy), window.shape.boundary) * MPP
    for radius, k in zip(radii, found.k_um2, strict=True):
        deep = inside >= radius
        expected = ((apart[deep] <= radius).sum(1) - 1).mean() * window.area_um2 / 150
        assert k == pytest.approx(expected)


@pytest.mark.parametrize("edge", ["translation", "border"])
def test_random_points_have_l_equal_to_the_radius(edge: str) -> None:
    window, radii = bent(), np.array([40.0, 80])
    k = np.mean(
        [ripley(window.random(400, RNG(i)), window, radii, edge=edge).k_um2 for i in range(12)], axis=0
    )
    assert k == pytest.approx(np.pi * radii**2, rel=0.06)


def test_clusters_and_lattices_leave_the_envelope() -> None:
    window, rng = bent(), RNG(3)
    radii = np.array([30.0, 60])
    parents = window.random(25, rng)
    clustered = (parents[:, None] + rng.normal(0, 25, (25, 12, 2))).reshape(-1, 2)
    clustered = clustered[window.contains(clustered)]
    found = ripley(clustered, window, radii, simulations=19, seed=1)
    assert (found.k_um2 > found.high).all()
    assert found.p == 1 / 20
    chance = ripley(window.random(200, rng), window, radii, simulations=19, seed=1)
    assert chance.p > 1 / 20
    x, y = np.meshgrid(np.arange(50, 4000, 100.0), np.arange(50, 3000, 100.0))
    lattice = np.stack([x.ravel(), y.ravel()], axis=1)
    lattice = lattice[window.contains(lattice)]
    assert (ripley(lattice, window, np.array([45.0]), simulations=19).k_um2 == 0).all()


def test_cross_k_sees_attraction() -> None:
    window, rng = bent(), RNG(4)
    one = window.random(150, rng)
    near = one + rng.normal(0, 10, one.shape)
    near = near[window.contains(near)]
    radii = np.array([20.0, 40])
    assert (ripley(one, window, radii, others=near, simulations=19).p) == 1 / 20
    far = ripley(one, window, radii, others=window.random(150, rng), simulations=19)
    assert (far.k_um2 <= far.high * 1.5).all()


def test_ripley_refuses_nonsense() -> None:
    window = Window(box(0, 0, 10, 10), MPP)
    for xy, radii, said in (
        (np.array([[5.0, 5], [50, 50]]), [1.0], "1 of 2 points lie outside"),
        (np.array([[5.0, 5]]), [1.0], "form no pattern"),
        (np.array([[5.0, 5], [6, 6]]), [2.0, 1.0], "ascending"),
    ):
        with pytest.raises(UsageError, match=said):
            ripley(xy, window, np.array(radii))


# ------------------------------------------------------------------ neighbours
def test_clark_evans_of_random_points_is_one() -> None:
    window = bent()
    found = nearest_neighbour(window.random(500, RNG(5)), window, simulations=19)
    assert found.ratio == pytest.approx(1, abs=0.08)
    assert found.low_um < found.expected_um < found.high_um
    # without edges the expected distance is 1 / (2 √density); edges make it a little longer
    assert found.expected_um == pytest.approx(0.5 * math.sqrt(window.area_um2 / 500), rel=0.06)
    clustered = window.random(10, RNG(6)).repeat(50, axis=0) + RNG(7).normal(0, 5, (500, 2))
    assert nearest_neighbour(clustered, window, simulations=19).p == pytest.approx(0.1)


def test_graphs_by_hand() -> None:
    y, x = np.mgrid[:3, :3] * 10.0
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    edges = delaunay(grid, MPP, longest_um=5.01)  # sides of 5 µm, no diagonals
    assert len(edges) == 12
    assert degrees(edges, 9).tolist() == [2, 3, 2, 3, 4, 3, 2, 3, 2]
    assert np.array_equal(within_reach(grid, MPP, 5.01), edges)
    assert len(within_reach(grid, MPP, 7.2)) == 20
    assert k_nearest(grid[:1], MPP).shape == (0, 2)
    line = np.array([[0.0, 0], [1, 0], [3, 0]])
    assert k_nearest(line, 1.0, k=1).tolist() == [[0, 1], [1, 2]]
    assert delaunay(line, 1.0).tolist() == [[0, 1], [0, 2], [1, 2]]
    with pytest.raises(UsageError, match="one line"):
        delaunay(np.stack([np.arange(6.0)] * 2, axis=1), 1.0)


def test_enrichment_beside_the_exact_moments() -> None:
    rng = RNG(8)
    xy = rng.uniform(0, 1000, (300, 2))
    edges, codes = delaunay(xy, MPP), rng.integers(0, 3, 300)
    found = enrichment(edges, codes, 3, permutations=400)
    n = np.bincount(codes)
    for i in range(3):
        for j in range(3):
            pairs = n[i] * (n[i] - 1) / 2 if i == j else n[i] * n[j]
            assert found.expected[i, j] == pytest.approx(len(edges) * pairs / (300 * 299 / 2), rel=0.05)
    assert np.abs(found.z).max() < 4
    assert found.counts.sum() == len(edges) * 2 - np.diag(found.counts).sum()
    apart = (xy[:, 0] > 500).astype(int)
    split = enrichment(edges, apart, 2, permutations=100)
    assert split.z[0, 0] > 5
    assert split.z[0, 1] < -5
    assert np.array_equal(split.counts, split.counts.T)


def test_objects_without_a_class_take_no_part() -> None:
    edges = np.array([[0, 1], [1, 2], [2, 3]])
    found = enrichment(edges, np.array([0, -1, 0, 0]), 1, permutations=20)
    assert found.counts.tolist() == [[1]]
    with pytest.raises(UsageError, match="do not fit"):
        enrichment(edges, np.array([0, 1, 2, 3]), 2)


# ------------------------------------------------------------------ hot spots
def test_getis_ord_by_its_formula() -> None:
    rng = RNG(9)
    xy, values = rng.uniform(0, 100, (40, 2)), rng.gamma(2, size=40)
    found = getis_ord(values, xy, 1.0, reach_um=25)
    weights = (np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) <= 25).astype(float)
    mean, sd, n = values.mean(), values.std(), 40
    for i in range(n):
        w = weights[i].sum()
        z = (weights[i] @ values - mean * w) / (sd * math.sqrt((n * w - w * w) / (n - 1)))
        assert found[i] == pytest.approx(z)
    assert np.isnan(getis_ord(np.ones(40), xy, 1.0, reach_um=25)).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_no_circle_holds_more_than_the_hottest(seed: int, n: int) -> None:
    rng = RNG(seed)
    xy = rng.uniform(0, 1000, (n, 2))
    spot = hottest_circle(xy, 0.02, MPP)
    inside = np.hypot(*(xy - (spot.x, spot.y)).T) <= spot.radius * (1 + 1e-9)
    assert inside.sum() == spot.count
    step = 15
    x, y = np.meshgrid(np.arange(0, 1001, step), np.arange(0, 1001, step))
    lattice = np.stack([x.ravel(), y.ravel()], axis=1)
    most = (np.hypot(*(lattice[:, None] - xy[None]).transpose(2, 0, 1)) <= spot.radius).sum(1).max()
    assert most <= spot.count
    assert spot.polygon().area * MPP**2 / 1e6 == pytest.approx(0.02, rel=1e-2)


def test_the_hot_spot_of_mitoses() -> None:
    rng = RNG(10)
    scattered = rng.uniform(0, 20_000, (300, 2))
    crowd = rng.normal((12_000, 5_000), 600, (80, 2))
    xy = np.concatenate([scattered, crowd])
    spot = hottest_circle(xy, 2.0, 0.25)
    assert math.hypot(spot.x - 12_000, spot.y - 5_000) < spot.radius
    assert spot.per_mm2.value == spot.count / 2
    elsewhere = Window(box(0, 10_000, 20_000, 20_000), 0.25)
    assert hottest_circle(xy, 2.0, 0.25, within=elsewhere).y >= 10_000
    rough = hottest_circle(xy, 2.0, 0.25, step_um=100)
    assert 0.95 * spot.count <= rough.count <= spot.count
    with pytest.raises(UsageError, match="expected some"):
        hottest_circle(np.empty((0, 2)), 2.0, 0.25)


# ------------------------------------------------------------------ maps
def test_maps_of_measurements(tmp_path: Path) -> None:
    import zarr

    xy = np.array([[10.0, 10], [30, 10], [250, 110], [-5, 0], [401, 10]])
    values = np.array([1.0, 3, 5, 100, 100])
    size = Size(400, 200)
    assert mapped(xy, None, size, MPP, cell_um=50, what="count").values[0].tolist() == [
        [2, 0, 0, 0],
        [0, 0, 1, 0],
    ]
    dense = mapped(xy, None, size, MPP, cell_um=50, what="density", name="nuclei per mm²")
    assert dense.values.max() == 2 / 0.0025
    with pytest.raises(UsageError, match="needs values"):
        mapped(xy, None, size, MPP)
    with pytest.raises(UsageError, match="larger"):
        mapped(xy, values, Size(10**6, 10**6), MPP, cell_um=1)
    run = RunFolder.create(tmp_path / "run")
    mean = mapped(xy, values, size, MPP, cell_um=50, name="area_um2")
    run.put("s", "maps/area", mean, provenance=Provenance.make("a", 1, parameters={}, inputs={}, slide=None))
    back = run.get("s", "maps/area")
    assert np.array_equal(back.values, mean.values, equal_nan=True)
    assert (back.names, back.downsample, back.mpp, back.origin) == (("area_um2",), 100, MPP, (0, 0))
    group = zarr.open_group(run.path_of("s", "maps/area"), mode="r", zarr_format=2)
    assert group.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [
        1,
        50,
        50,
    ]
    assert group.attrs["omero"]["channels"][0]["window"]["end"] == 5


def test_several_pieces_of_tissue_are_one_window() -> None:
    two = Window(MultiPolygon([box(0, 0, 1000, 1000), box(3000, 0, 4000, 1000)]), MPP)
    thrown = two.random(2000, RNG(11))
    assert two.contains(thrown).all()
    assert (thrown[:, 0] > 2000).mean() == pytest.approx(0.5, abs=0.05)
