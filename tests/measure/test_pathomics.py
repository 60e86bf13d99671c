"""Measurements against scikit-image and SciPy, on textures and arrangements whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import UsageError
from coverslip.measure import PATHOMICS, Nuclei, measure_tile, measure_tiles
from coverslip.measure.amounts import entropy, histogram
from coverslip.measure.architecture import coherence, measure_arrangement
from coverslip.measure.planes import Planes, prepare
from coverslip.measure.shapes import COLUMNS
from coverslip.measure.texture import co_occurrence, haralick, local_patterns, quantise
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, recombine

STAINS = StainMatrix(*(getattr(RUIFROK_JOHNSTON["H&E"], k) for k in ("names", "vectors")), (0.8, 0.5))
NAMES = [m.name for m in PATHOMICS]


def tissue(seed: int = 0, size: int = 256, scale: float = 1.0) -> np.ndarray:
    """Smooth fibres, a lumen and nuclei, drawn as functions of place so that any scale shows the same."""
    rng = np.random.default_rng(seed)
    side = round(size * scale)
    y, x = (np.mgrid[:side, :side] + 0.5) / scale
    amounts = np.empty((side, side, 2), np.float32)
    amounts[..., 0] = 0.1 + 0.06 * np.sin(x / 13 - y / 7)
    amounts[..., 1] = 0.25 + 0.1 * np.sin(x / 9 + y / 23) + 0.05 * np.sin(x / 31 - y / 17)
    for cx, cy, radius in zip(*rng.uniform(10, size - 10, (2, 40)), rng.uniform(6, 10, 40), strict=True):
        edge = np.clip(radius - np.hypot(x - cx, y - cy) + 0.5, 0, 1)
        amounts[..., 0] = np.maximum(amounts[..., 0], 0.6 * edge)
    amounts[np.hypot(x - 200, y - 60) < 30] = 0
    return recombine(amounts, STAINS)


def of(values: np.ndarray, name: str) -> float:
    return float(values[NAMES.index(name)])


def planes_of(levels: np.ndarray) -> Planes:
    """Planes whose haematoxylin is `levels` in 0.01 decades."""
    plane = levels.astype(np.float32) / 100
    white = np.full((*levels.shape, 3), 255, np.uint8)
    return Planes(white, 0.5, plane, plane, np.zeros_like(plane), (0.8, 0.5))


def test_the_list_is_in_order() -> None:
    assert 75 <= len(PATHOMICS) <= 100
    assert len(set(NAMES)) == len(NAMES)
    assert all(
        name.isidentifier() and m.description and m.source for name, m in zip(NAMES, PATHOMICS, strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["noise", "flat", "half", "speckle"]), st.integers(16, 80))
def test_always_finite(seed: int, kind: str, side: int) -> None:
    rng = np.random.default_rng(seed)
    tile = rng.integers(0, 256, (side, side + 3, 3), dtype=np.uint8)
    if kind == "flat":
        tile[:] = tile[0, 0]
    elif kind == "half":
        tile[:, side // 2 :] = 255
    elif kind == "speckle":
        tile = np.where(rng.random((side, side + 3, 1)) < 0.02, tile, 255).astype(np.uint8)
    values = measure_tile(tile, 0.5, STAINS)
    assert values.dtype == np.float32
    assert values.shape == (len(PATHOMICS),)
    assert np.isfinite(values).all()
    for name, measurement in zip(NAMES, PATHOMICS, strict=True):
        if measurement.unit == "share":
            assert -1e-6 <= of(values, name) <= 1 + 1e-6, name


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_tiles_have_no_texture(level: int) -> None:
    values = measure_tile(np.full((128, 128, 3), level, np.uint8), 0.5, STAINS)
    for name in ("haematoxylin_contrast", "density_gradient", "focus", "nuclear_density", "fibre_coherence"):
        assert of(values, name) == 0
    assert of(values, "tissue_share") == (0 if level == 255 else 1)


@pytest.mark.parametrize(("mpp", "tolerance"), [(0.25, 0.1), (0.3, 0.2), (0.4, 0.2), (0.8, 0.3)])
def test_the_same_tissue_at_another_scale_measures_the_same(mpp: float, tolerance: float) -> None:
    expected = measure_tile(tissue(1), 0.5, STAINS)
    values = measure_tile(tissue(1, scale=0.5 / mpp), mpp, STAINS)
    for name, a, b in zip(NAMES, expected, values, strict=True):
        assert abs(a - b) <= tolerance * max(abs(a), abs(b)) + 0.02, (name, a, b)


def test_amounts_are_those_put_in() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0.1, 0.5, (128, 128, 2)).astype(np.float32)
    values = measure_tile(recombine(amounts, STAINS), 0.5, STAINS)
    for place, stain in enumerate(("haematoxylin", "eosin")):
        plane = amounts[..., place]
        assert of(values, f"{stain}_mean") == pytest.approx(plane.mean(), abs=0.005)
        assert of(values, f"{stain}_sd") == pytest.approx(plane.std(), abs=0.005)
        for part in (10, 50, 90):
            assert of(values, f"{stain}_p{part}") == pytest.approx(np.percentile(plane, part), abs=0.012)
    assert of(values, "haematoxylin_weak_share") == pytest.approx((amounts[..., 0] > 0.2).mean(), abs=0.03)
    assert of(values, "haematoxylin_eosin_ratio") == pytest.approx(0.5, abs=0.01)


def test_skewness_and_entropy_against_scipy() -> None:
    from scipy.stats import entropy as scipy_entropy
    from scipy.stats import skew

    amounts = np.random.default_rng(0).gamma(2, 0.12, (128, 128, 2)).astype(np.float32)
    tile = recombine(amounts, STAINS)
    planes = prepare(tile, 0.5, STAINS)
    inside = planes.haematoxylin[planes.tissue > 0]
    values = measure_tile(tile, 0.5, STAINS)
    assert of(values, "haematoxylin_skewness") == pytest.approx(skew(inside), rel=0.03)
    counts = histogram(planes.haematoxylin8, planes.tissue)
    assert entropy(counts) == pytest.approx(scipy_entropy(counts, base=2))
    assert of(values, "haematoxylin_entropy") == pytest.approx(entropy(counts), rel=1e-5)


def test_colour_agrees_with_scikit_image() -> None:
    from skimage.color import rgb2hsv, rgb2lab

    tile = tissue(2)
    some = tile[::2, ::2]
    lab, saturation = rgb2lab(some), rgb2hsv(some)[..., 1]
    values = measure_tile(tile, 0.5, STAINS)
    for place, name in enumerate(("lightness", "a", "b")):
        assert of(values, f"{name}_mean") == pytest.approx(lab[..., place].mean(), abs=0.6)
        assert of(values, f"{name}_sd") == pytest.approx(lab[..., place].std(), abs=0.6)
    assert of(values, "saturation_mean") == pytest.approx(saturation.mean(), abs=0.005)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_co_occurrence_and_haralick_against_scikit_image(shift: int) -> None:
    from skimage.feature import graycomatrix, graycoprops

    levels = quantise(np.random.default_rng(shift).gamma(3, 20, (64, 80)).clip(0, 255).astype(np.uint8))
    ours = co_occurrence(levels, shift)
    for place, flip in enumerate((levels, levels, levels, levels)):
        rows, columns = ((0, shift), (shift, shift), (shift, 0), (shift, -shift))[place]
        reference = np.zeros((16, 16))
        for y in range(64):
            for x in range(80):
                if 0 <= y + rows < 64 and 0 <= x + columns < 80:
                    reference[flip[y, x], flip[y + rows, x + columns]] += 1
        reference += reference.T
        assert np.allclose(ours[place], reference / reference.sum())
    theirs = graycomatrix(levels, [shift], [0, np.pi / 2], levels=16, symmetric=True, normed=True)
    assert np.allclose(ours[0], theirs[:, :, 0, 0])
    assert np.allclose(ours[2], theirs[:, :, 0, 1])
    values = haralick(ours[[0, 2]])
    kinds = ("contrast", "dissimilarity", "homogeneity", "ASM", "correlation", "entropy")
    for value, kind in zip(values, kinds, strict=True):
        expected = graycoprops(theirs, kind).mean() * (1 / np.log(2) if kind == "entropy" else 1)
        assert value == pytest.approx(expected, rel=1e-6), kind


def test_local_patterns_against_scikit_image() -> None:
    from skimage.feature import local_binary_pattern

    levels = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)
    # scikit-image interpolates between the 8 direct neighbours, so the codes are made here
    ring = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    middle = levels[1:-1, 1:-1]
    bits = np.stack([levels[1 + a : 69 + a, 1 + b : 89 + b] >= middle for a, b in ring])
    changes = (bits != np.roll(bits, 1, axis=0)).sum(axis=0)
    expected = np.bincount(np.where(changes <= 2, bits.sum(axis=0), 9).ravel(), minlength=10) / middle.size
    assert np.allclose(local_patterns(levels), expected)
    stripes = np.tile(np.array([0, 0, 0, 200, 200, 200], np.uint8), (60, 10))
    theirs = local_binary_pattern(stripes, 8, 1, "uniform")[1:-1, 1:-1]
    assert np.allclose(
        local_patterns(stripes), np.bincount(theirs.astype(int).ravel(), minlength=10) / theirs.size
    )


def test_granularity_finds_the_size_of_grains() -> None:
    y, x = np.mgrid[:256, :256]
    shares = {}
    for radius_um in (1.5, 3.0, 6.0):
        pitch, radius = 4 * radius_um / 0.5, radius_um / 0.5
        squares = (np.abs(x % pitch - pitch / 2) < radius) & (np.abs(y % pitch - pitch / 2) < radius)
        amounts = np.stack([0.6 * squares, np.full(squares.shape, 0.1)], axis=2).astype(np.float32)
        values = measure_tile(recombine(amounts, STAINS), 0.5, STAINS)
        sizes = [of(values, f"granularity_{size}um") for size in (1, 2, 4, 8)]
        shares[radius_um] = (1, 2, 4, 8)[int(np.argmax(sizes))]
    assert shares == {1.5: 2, 3.0: 4, 6.0: 8}


def test_gradient_of_a_ramp() -> None:
    ramp = np.tile(np.linspace(0.1, 0.9, 200, dtype=np.float32), (100, 1))
    amounts = np.stack([ramp, np.zeros_like(ramp)], axis=2)
    values = measure_tile(recombine(amounts, STAINS), 0.5, STAINS)
    assert of(values, "haematoxylin_gradient") == pytest.approx(0.8 / 199 / 0.5, rel=0.1)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_fibres_are_coherent_and_noise_is_not(angle: float) -> None:
    y, x = np.mgrid[:256, :256]
    turn = np.radians(angle)
    fibres = planes_of(50 + 30 * np.sin((x * np.cos(turn) + y * np.sin(turn)) / 4))
    assert min(coherence(fibres.second, fibres)) > 0.95
    noise = planes_of(np.random.default_rng(0).uniform(0, 100, (256, 256)))
    local, overall = coherence(noise.second, noise)
    assert local < 0.5
    assert overall < 0.1
    swirl = planes_of(50 + 30 * np.sin(np.hypot(x - 128, y - 128) / 4))
    local, overall = coherence(swirl.second, swirl)
    assert local > 0.8
    assert overall < 0.15


def nuclei_at(points: np.ndarray) -> Nuclei:
    table = {name: np.zeros(len(points), np.float32) for name in COLUMNS}
    return Nuclei(np.zeros((256, 256), np.int32), {**table, "x": points[:, 0], "y": points[:, 1]})


def test_arrangement_against_slow_references() -> None:
    from scipy.spatial import Delaunay
    from scipy.spatial.distance import cdist

    points = np.random.default_rng(4).uniform(0, 256, (60, 2)).astype(np.float32)
    mean, sd, clark, edge, edge_sd, _, dispersion = measure_arrangement(
        planes_of(np.zeros((256, 256))), nuclei_at(points)
    )
    apart = cdist(points, points) * 0.5
    np.fill_diagonal(apart, np.inf)
    nearest = apart.min(axis=0)
    assert (mean, sd) == pytest.approx((nearest.mean(), nearest.std()), rel=1e-5)
    assert clark == pytest.approx(nearest.mean() * 2 * np.sqrt(60 / 128**2), rel=1e-5)
    starts, neighbours = Delaunay(points).vertex_neighbor_vertices
    lengths = [apart[a, b] for a in range(60) for b in neighbours[starts[a] : starts[a + 1]]]
    assert (edge, edge_sd) == pytest.approx((np.mean(lengths), np.std(lengths)), rel=1e-4)
    counts = np.histogram2d(points[:, 0], points[:, 1], 4, [[0, 256], [0, 256]])[0]
    assert dispersion == pytest.approx(counts.var() / counts.mean(), rel=1e-5)


def test_clark_evans_tells_clusters_from_lattices() -> None:
    rng = np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(np.arange(16, 256, 32), np.arange(16, 256, 32)), axis=2).reshape(-1, 2)
    clusters = (rng.uniform(30, 226, (5, 1, 2)) + rng.normal(0, 5, (5, 12, 2))).reshape(-1, 2).clip(0, 255)
    flat = planes_of(np.zeros((256, 256)))
    tidy, clumped = (measure_arrangement(flat, nuclei_at(p.astype(np.float32))) for p in (lattice, clusters))
    assert tidy[2] == pytest.approx(2.0, abs=0.05)
    assert clumped[2] < 0.6
    assert tidy[6] == 0
    assert clumped[6] > 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_arrangements_that_are_none(count: int) -> None:
    line = np.column_stack([np.arange(count) * 20.0, np.full(count, 30.0)]).astype(np.float32)
    values = measure_arrangement(planes_of(np.zeros((256, 256))), nuclei_at(line))
    assert np.isfinite(values).all()
    assert values[3:6] == [0.0, 0.0, 0.0]
    assert (values[0] == 10.0) == (count > 1)


def test_lumina_are_counted_and_sized() -> None:
    amounts = np.full((256, 256, 2), 0.2, np.float32)
    y, x = np.mgrid[:256, :256]
    for cx, cy in ((60, 60), (180, 70), (100, 190)):
        amounts[np.hypot(x - cx, y - cy) < 20] = 0
    amounts[240:243, 240:243] = 0
    values = measure_tile(recombine(amounts, STAINS), 0.5, STAINS)
    assert of(values, "lumen_density") == pytest.approx(3 / 0.128**2, rel=1e-4)
    assert of(values, "lumen_area_mean") == pytest.approx(np.pi * 10**2, rel=0.05)
    assert of(values, "lumen_share") == pytest.approx(3 * np.pi * 20**2 / 256**2, rel=0.05)


def test_nuclei_are_counted_per_tissue() -> None:
    whole = measure_tile(tissue(3), 0.5, STAINS)
    half = tissue(3)
    half[:, 128:] = 255
    values = measure_tile(half, 0.5, STAINS)
    assert of(whole, "nuclear_density") == pytest.approx(of(values, "nuclear_density"), rel=0.5)
    assert of(whole, "nuclear_contrast") > 0.3


def test_batches_are_the_tiles_one_by_one() -> None:
    tiles = np.stack([tissue(seed, 96) for seed in range(3)])
    batch = measure_tiles(tiles, 0.5, STAINS)
    assert np.array_equal(batch, np.stack([measure_tile(tile, 0.5, STAINS) for tile in tiles]))
    assert measure_tiles(tiles[:0], 0.5, STAINS).shape == (0, len(PATHOMICS))
    with pytest.raises(UsageError, match="n, h, w, 3"):
        measure_tiles(tiles[0], 0.5, STAINS)
