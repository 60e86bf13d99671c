"""Stain and texture of objects: known densities, the same in one piece or many, and a trusted reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shapely import MultiPolygon, Point, Polygon, affinity, box

from coverslip.core.errors import ImplausibleMppError, MissingMppError, UsageError
from coverslip.measure.objects import SHAPES, PixelSpec, measured, stains
from coverslip.measure.objects import pixels as pixels_module
from coverslip.measure.objects.amounts import percentiles
from coverslip.measure.objects.haralick import HARALICK, LEVELS, cooccurrence, haralick
from coverslip.measure.objects.rings import Rings
from coverslip.measure.objects.scan import pixels_in
from coverslip.measure.radiomics.glcm import features_of
from coverslip.slides import Slide, open_slide
from coverslip.stain import RUIFROK_JOHNSTON, recombine, separate
from coverslip.store import Objects, ObjectTable, Provenance, RunFolder

HE = RUIFROK_JOHNSTON["H&E"]
MPP = 0.5


# ------------------------------------------------------------------ which pixels
def by_hand(polygon: object, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.flatnonzero(shapely.contains_xy(polygon, x.ravel(), y.ravel()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 360), st.tuples(st.floats(-5, 45), st.floats(-5, 45)))
def test_pixels_whose_centre_is_inside(seed: int, turn: float, at: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    ring = Polygon(
        Point(0, 0).buffer(rng.uniform(3, 15), quad_segs=4).exterior, [Point(1, 0).buffer(1.9).exterior]
    )
    both = MultiPolygon([ring, box(18.1, 0, 25.3, 3)])
    shapes = [
        affinity.translate(affinity.rotate(p, turn, origin=(0, 0)), *at) for p in (both, box(-3, -3, 3, 3))
    ]
    objects, pixels = pixels_in(Rings.of(np.array(shapes, object)), (40, 50))
    for number, polygon in enumerate(shapes):
        assert sorted(pixels[objects == number]) == by_hand(polygon, (40, 50)).tolist()


def test_corner_and_step_of_the_image() -> None:
    rings = Rings.of(np.array([box(1004, 2004, 1012, 2008)], object))
    _, pixels = pixels_in(rings, (4, 5), corner=(1000, 2000), step=4)
    assert pixels.tolist() == [6, 7]


# ------------------------------------------------------------------ texture
def pairs_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.flatnonzero(labels)
    return labels.ravel()[pixels].astype(int) - 1, pixels


def test_texture_agrees_with_the_radiomics_of_this_package() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((30, 30), np.int32)
    labels[2:12, 3:15], labels[12:28, 8:20], labels[5, 20] = 1, 2, 3
    levels = rng.integers(0, LEVELS, (30, 30)).astype(np.uint8)
    levels[12:28, 8:20] = np.cumsum(rng.integers(0, 2, (16, 12)), axis=1) % LEVELS
    tables = cooccurrence(pairs_of(labels), levels, 3)
    found = haralick(tables)
    names = dict(zip(HARALICK, ("Angular second moment", "Contrast", "Correlation", "Joint variance",
        "Inverse difference moment", "Sum average", "Sum variance", "Sum entropy", "Joint entropy",
        "Difference variance", "Difference entropy", "Information correlation 1", "Information correlation 2",
    ), strict=True))  # fmt: skip
    for row in (0, 1):
        theirs = features_of(tables[row] // 2 + tables[row] % 2 * 0.5)
        for name, known in names.items():
            assert found[name][row] == pytest.approx(theirs[known], abs=1e-9), name
    assert all(np.isnan(value[2]) for value in found.values())  # a single pixel has no neighbour


def test_pairs_agree_with_scikit_image() -> None:
    feature = pytest.importorskip("skimage.feature")
    levels = np.random.default_rng(1).integers(0, LEVELS, (12, 14)).astype(np.uint8)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    theirs = feature.graycomatrix(levels, [1], angles, levels=LEVELS, symmetric=True).sum((2, 3))
    assert np.array_equal(cooccurrence(pairs_of(np.ones((12, 14))), levels, 1)[0], theirs)


def test_texture_of_one_grey_is_flat() -> None:
    found = haralick(cooccurrence(pairs_of(np.ones((5, 5))), np.full((5, 5), 3, np.uint8), 1))
    flat = {"asm": 1, "contrast": 0, "correlation": 1, "entropy": 0, "sum_average": 8, "homogeneity": 1}
    assert {name: found[name][0] for name in flat} == flat


def test_percentiles_from_bins() -> None:
    values = np.random.default_rng(2).gamma(2, 0.2, 5000)
    hist = np.histogram(values, 256, (0, 2.56))[0][None]
    for share, found in zip((10, 50, 90), percentiles(hist, (10, 50, 90)), strict=True):
        assert found[0] == pytest.approx(np.percentile(values, share), abs=0.01)


# ------------------------------------------------------------------ on a slide
@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slide, np.ndarray]]:
    """A slide of smooth random densities, and the densities read back from its own pixels."""
    rng = np.random.default_rng(0)
    import cv2

    coarse = rng.uniform(0, 1, (40, 40, 2)).astype(np.float32)
    amounts = cv2.resize(coarse, (700, 700), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    rgb = recombine(amounts, HE)
    path = tmp_path_factory.mktemp("slide") / "painted.png"
    Image.fromarray(rgb).save(path)
    with open_slide(path, mpp=MPP) as slide:
        yield slide, np.maximum(separate(rgb, HE.complete())[..., :2], 0)


def some_objects() -> np.ndarray:
    rng = np.random.default_rng(1)
    centres = rng.uniform(-5, 705, (60, 2))
    nuclei = [Point(*c).buffer(rng.uniform(4, 12)) for c in centres]
    large = Polygon(box(50, 60, 600, 650).exterior, [box(200, 200, 300, 400).exterior])
    return np.array([*nuclei, large, box(10, 10, 10.2, 10.2)], object)


def test_densities_are_those_of_the_pixels(painted: tuple[Slide, np.ndarray]) -> None:
    slide, amounts = painted
    polygons = some_objects()
    found = stains(slide, polygons, HE)
    for row in (0, 7, 60):
        inside = by_hand(polygons[row], (700, 700))
        values = amounts.reshape(-1, 2)[inside]
        for column, name in enumerate(HE.names):
            assert found[f"{name}_mean"][row] == pytest.approx(values[:, column].mean(), abs=1e-4)
            assert found[f"{name}_sd"][row] == pytest.approx(values[:, column].std(), abs=1e-4)
            assert found[f"{name}_p90"][row] == pytest.approx(np.percentile(values[:, column], 90), abs=0.015)
    assert np.isnan(found["haematoxylin_mean"][61])  # no pixel's centre is inside
    assert set(found) == set(PixelSpec().names(HE))


def test_the_ring_stays_clear_of_other_objects(tmp_path: Path) -> None:
    amounts = np.zeros((80, 120, 2), np.float32)
    amounts[..., 1] = 0.2
    amounts[20:40, 20:40], amounts[20:40, 44:64] = (0.8, 0), (0.4, 0)
    Image.fromarray(recombine(amounts, HE)).save(tmp_path / "two.png")
    two = np.array([box(20, 20, 40, 40), box(44, 20, 64, 40)], object)
    with open_slide(tmp_path / "two.png", mpp=MPP) as slide:
        found = stains(slide, two, HE)
        alone = stains(slide, two[:1], HE, around=two[1:])
        crossed = stains(slide, two[:1], HE)
        bare = stains(slide, two, HE, spec=PixelSpec(ring_um=0, texture=False))
    assert found["haematoxylin_mean"] == pytest.approx([0.8, 0.4], abs=0.01)
    assert found["ring_haematoxylin_mean"] == pytest.approx([0, 0], abs=0.01)
    assert found["ring_eosin_mean"] == pytest.approx([0.2, 0.2], abs=0.01)
    assert 0 < found["cell_haematoxylin_mean"][0] < 0.8
    assert alone["ring_haematoxylin_mean"][0] == pytest.approx(found["ring_haematoxylin_mean"][0])
    assert crossed["ring_haematoxylin_mean"][0] > 0.02
    assert np.isnan(bare["ring_eosin_mean"]).all()
    assert "haralick_contrast" not in bare


@pytest.mark.parametrize("square", [64, 200, 5000])
def test_the_pieces_do_not_matter(
    painted: tuple[Slide, np.ndarray], monkeypatch: pytest.MonkeyPatch, square: int
) -> None:
    polygons = some_objects()
    whole = stains(painted[0], polygons, HE)
    monkeypatch.setattr(pixels_module, "SQUARE", square)
    pieces = stains(painted[0], polygons, HE)
    for name in whole:
        # a pixel as near to one object as to another may fall to either
        close = 2e-2 if name.startswith(("ring", "cell")) else 1e-5
        assert np.allclose(pieces[name], whole[name], atol=close, rtol=1e-4, equal_nan=True), name


def test_measured_objects_stream_to_the_disk(painted: tuple[Slide, np.ndarray], tmp_path: Path) -> None:
    slide, _ = painted
    polygons = some_objects()
    table = ObjectTable(polygons, classes=("nucleus",), measurements={"score_2": np.zeros(len(polygons))})
    run = RunFolder.create(tmp_path / "run")
    made = Provenance.make("a", 1, parameters={}, inputs={}, slide=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coverslip.store.kinds.objects.ROWS", 25)
        run.put("s", "objects/nuclei", table, provenance=made)
    objects = run.get("s", "objects/nuclei")
    assert isinstance(objects, Objects)
    assert objects.n_batches == 3
    run.put("s", "objects/measured", measured(slide, objects, matrix=HE, pixels=PixelSpec()), provenance=made)
    found = run.get("s", "objects/measured")
    assert found.measurements == ("score_2", *SHAPES, *PixelSpec().names(HE))
    whole = stains(slide, polygons, HE)
    for name in ("haematoxylin_mean", "eosin_p50", "ring_eosin_mean"):
        assert np.allclose(found[name], whole[name], atol=0.02, equal_nan=True), name
    stream = measured(slide, objects, start=2)
    assert stream.n == 3
    (rest,) = stream.batches
    assert rest["object"].tolist() == list(range(50, 62))
    assert np.array_equal(rest["area_um2"], found["area_um2"][50:])


def test_what_cannot_be_measured_is_said(painted: tuple[Slide, np.ndarray], tmp_path: Path) -> None:
    slide, _ = painted
    one = np.array([box(0, 0, 9, 9)], object)
    with pytest.raises(ImplausibleMppError, match=r"coarser than the 0\.25"):
        stains(slide, one, HE, spec=PixelSpec(mpp=0.25))
    with pytest.raises(UsageError, match="ring of 90"):
        PixelSpec(ring_um=90)
    with pytest.raises(UsageError, match="stains"):
        measured(slide, ObjectTable(one), pixels=PixelSpec())
    Image.new("RGB", (20, 20)).save(tmp_path / "bare.png")
    with open_slide(tmp_path / "bare.png") as bare, pytest.raises(MissingMppError):
        stains(bare, one, HE)
    assert all(len(column) == 0 for column in stains(slide, one[:0], HE).values())
