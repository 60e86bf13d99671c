"""Radiomics: worked by hand, against other implementations, and what must not change."""

from __future__ import annotations

from itertools import product
from math import isnan, log2, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coverslip.core.errors import GeometryError, UnknownNameError, UsageError
from coverslip.measure.radiomics import (
    AGGREGATIONS,
    DIMENSIONS,
    FAMILIES,
    FEATURES,
    AsLevels,
    FixedBinNumber,
    FixedBinSize,
    Region,
    discretise,
    mesh,
    radiomics,
    resample,
)
from coverslip.measure.radiomics.glcm import co_occurrence
from coverslip.measure.radiomics.glrlm import runs
from coverslip.measure.radiomics.local import RADIUS
from coverslip.measure.radiomics.zones import find_zones

ROW = np.array([[1, 1, 2]])


def of(image: NDArray[np.integer], family: str, *, spacing: float = 1.0) -> dict[tuple[str, str], float]:
    """Measure a whole picture that holds levels."""
    found = radiomics(image, np.ones_like(image), spacing=spacing, families=[family], discretise=AsLevels())
    return {(name, group): value for (_, name, group), value in found.items()}


def blob(seed: int = 0, size: tuple[int, ...] = (7, 9, 8)) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 6, size)
    mask = rng.random(size) < 0.8
    mask[tuple(slice(2, 5) for _ in size)] = True
    return image, mask


# ------------------------------------------------------------------ worked by hand
def test_statistics() -> None:
    found = of(np.array([[1, 2], [3, 6]]), "statistics")
    assert found["Mean intensity", ""] == 3
    assert found["Intensity variance", ""] == 3.5
    assert found["Intensity skewness", ""] == pytest.approx((-8 - 1 + 27) / 4 / 3.5**1.5)
    assert found["(Excess) intensity kurtosis", ""] == pytest.approx((16 + 1 + 81) / 4 / 3.5**2 - 3)
    assert found["Median intensity", ""] == 2.5
    assert found["Intensity-based mean absolute deviation", ""] == 1.5
    assert found["Intensity-based robust mean absolute deviation", ""] == 0.5  # of 2 and 3
    assert found["Intensity-based energy", ""] == 50
    assert found["Root mean square intensity", ""] == sqrt(12.5)


def test_histogram() -> None:
    found = of(np.array([[1, 2], [2, 4]]), "histogram")
    assert found["Intensity histogram mode", ""] == 2
    assert found["Discretised intensity entropy", ""] == 1.5
    assert found["Discretised intensity uniformity", ""] == 0.375
    # counts 1, 2, 0, 1 rise by 1, −0.5, −0.5, 1
    assert found["Maximum histogram gradient", ""] == 1
    assert found["Maximum histogram gradient intensity", ""] == 1
    assert found["Minimum histogram gradient", ""] == -0.5
    assert found["Minimum histogram gradient intensity", ""] == 2


@pytest.mark.parametrize(("values", "mode"), [([1, 1, 3, 3, 2, 7], 3), ([1, 1, 3, 3], 1)])
def test_of_several_modes_the_nearest_to_the_mean_then_the_lower(values: list[int], mode: int) -> None:
    assert of(np.array([values]), "histogram")["Intensity histogram mode", ""] == mode


def test_intensity_volume_histogram() -> None:
    image = np.array([[*[0] * 10, *[5] * 6, *[10] * 3, 20]])
    found = of_plain(image, "ivh")
    assert found["Volume at intensity fraction 10 %"] == 0.5  # at least 2
    assert found["Volume at intensity fraction 90 %"] == 0.05  # at least 18
    assert found["Intensity at volume fraction 10 %"] == 11  # 1 of 20 is at least that
    assert found["Intensity at volume fraction 90 %"] == 1
    assert found["Intensity fraction difference between volume fractions"] == 10
    assert found["Volume fraction difference between intensity fractions"] == pytest.approx(0.45)


def of_plain(image: NDArray[np.integer], family: str) -> dict[str, float]:
    found = radiomics(image, np.ones_like(image), spacing=1.0, families=[family])
    return {name: value for (_, name, _), value in found.items()}


def test_local_intensity_is_the_mean_of_a_ball() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (7, 21, 23)).astype(float)
    mask = np.zeros(image.shape, bool)
    mask[2:6, 4:12, 3:9] = True
    spacing = (3.0, 1.0, 0.8)
    far = np.sqrt(sum(a**2 for a in np.meshgrid(*(np.arange(n) * s for n, s in zip(image.shape, spacing,
                  strict=True)), indexing="ij")))  # fmt: skip
    assert far.max() > RADIUS
    axes = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1) * spacing
    means = {at: image[np.linalg.norm(axes - axes[at], axis=-1) <= RADIUS].mean()
             for at in map(tuple, np.argwhere(mask))}  # fmt: skip
    brightest = [at for at in means if image[at] == image[mask].max()]
    found = radiomics(image, mask, spacing=spacing, families=["local"])
    assert found["local", "Local intensity peak", ""] == pytest.approx(max(means[at] for at in brightest))
    assert found["local", "Global intensity peak", ""] == pytest.approx(max(means.values()))


def test_a_ball_that_holds_the_picture_leaves_nan_out() -> None:
    image = np.array([[1.0, 2.0, np.nan], [3.0, 6.0, 8.0]])
    found = radiomics(image, [[1, 1, 0], [1, 1, 0]], spacing=0.0005, families=["local"])
    assert list(found.values()) == [4.0, 4.0]


def test_morphology_of_a_cube() -> None:
    image = np.arange(64).reshape(4, 4, 4)
    mask = np.zeros_like(image)
    mask[1:3, 1:3, 1:3] = 1
    found = {
        name: v for (_, name, _), v in radiomics(image, mask, spacing=1, families=["morphology"]).items()
    }
    # marching cubes cut edges and corners: a whole cell, 6 halves, 12 prisms of ⅛, 8 tetrahedra of 1/48
    assert found["Volume (mesh)"] == pytest.approx(1 + 6 / 2 + 12 / 8 + 8 / 48)
    assert found["Surface area (mesh)"] == pytest.approx(6 + 12 * sqrt(0.5) + 8 * sqrt(3) / 8)
    assert found["Volume (voxel counting)"] == 8
    assert found["Maximum 3D diameter"] == pytest.approx(sqrt(1 + 1 + 4))
    assert found["Major axis length"] == pytest.approx(4 * sqrt(2 / 7))  # 8 points ½ away: 2 / (8 − 1)
    assert found["Elongation"] == pytest.approx(1)
    assert found["Volume density (axis-aligned bounding box)"] == pytest.approx((17 / 3) / 8)
    assert found["Volume density (convex hull)"] == pytest.approx(1)


def test_moran_and_geary_by_pairs() -> None:
    image, mask = blob(3, (3, 4, 5))
    spacing = (2.0, 1.0, 0.5)
    found = radiomics(image, mask, spacing=spacing, families=["morphology"])
    points, x = np.argwhere(mask) * spacing, image[mask].astype(float)
    n, mean = len(x), x.mean()
    near, square, total = 0.0, 0.0, 0.0
    for i, j in product(range(n), repeat=2):
        if i != j:
            w = 1 / np.linalg.norm(points[i] - points[j])
            total += w
            near += w * (x[i] - mean) * (x[j] - mean)
            square += w * (x[i] - x[j]) ** 2
    spread = ((x - mean) ** 2).sum()
    assert found["morphology", "Moran's I index", ""] == pytest.approx(n / total * near / spread)
    assert found["morphology", "Geary's C measure", ""] == pytest.approx(
        (n - 1) / (2 * total) * square / spread
    )


def test_glcm() -> None:
    found = of(np.array([[1, 2], [2, 1]]), "glcm")
    assert found["Contrast", "2D, averaged"] == 0.5  # 1 along rows and columns, 0 along both diagonals
    assert found["Contrast", "2D, slice-merged"] == pytest.approx(8 / 12)
    assert found["Joint entropy", "2D, slice-merged"] == pytest.approx(
        -2 / 3 * log2(1 / 3) - 1 / 3 * log2(1 / 6)
    )
    assert found["Correlation", "2D, slice-merged"] == pytest.approx(-1 / 3)
    assert found["Correlation", "2D, averaged"] == -1  # undefined on the diagonals, which are left out


def test_glrlm() -> None:
    found = of(ROW, "glrlm")
    assert found["Short runs emphasis", "2D, averaged"] == pytest.approx((0.625 + 3) / 4)
    assert found["Short runs emphasis", "2D, slice-merged"] == pytest.approx(10.25 / 11)
    assert found["Run percentage", "2D, slice-merged"] == pytest.approx(11 / 12)


def test_glszm() -> None:
    found = of(ROW, "glszm")
    assert found["Small zone emphasis", "2D"] == 0.625
    assert found["Large zone emphasis", "2D"] == 2.5
    assert found["Zone percentage", "2D"] == pytest.approx(2 / 3)
    assert found["Zone size variance", "2D"] == 0.25


def test_gldzm() -> None:
    image = np.ones((5, 5), int)
    image[2, 2] = 2
    found = of(image, "gldzm")
    assert found["Large distance emphasis", "2D"] == 5  # distances 1 and 3
    assert found["Zone percentage", "2D"] == 2 / 25


def test_ngtdm() -> None:
    found = of(ROW, "ngtdm")  # s(1) = 0.5, s(2) = 1; p(1) = ⅔, p(2) = ⅓
    assert found["Coarseness", "2D"] == pytest.approx(1.5)
    assert found["Contrast", "2D"] == pytest.approx(1 / 9)
    assert isnan(found["Busyness", "2D"])  # 1 p(1) is 2 p(2)
    assert found["Complexity", "2D"] == pytest.approx(4 / 9)
    assert found["Strength", "2D"] == pytest.approx(4 / 3)


def test_ngldm() -> None:
    found = of(ROW, "ngldm")
    assert found["Low dependence emphasis", "2D"] == 0.5
    assert found["Dependence count energy", "2D"] == pytest.approx(5 / 9)
    assert found["Dependence count percentage", "2D"] == 1


# ------------------------------------------------------------------ against other implementations
def test_pairs_as_scikit_image_counts_them() -> None:
    from skimage.feature import graycomatrix

    image = np.random.default_rng(0).integers(1, 6, (12, 15))
    levels = discretise(Region.of(image, np.ones_like(image), spacing=1), AsLevels())
    ours = co_occurrence(levels, False)[0]  # right, down-left, down, down-right
    angles = [0, 3 * np.pi / 4, np.pi / 2, np.pi / 4]
    theirs = graycomatrix((image - 1).astype(np.uint8), [1], angles, levels=5, symmetric=True)[:, :, 0]
    for k in range(4):
        np.testing.assert_array_equal(ours[k] + ours[k].T, theirs[:, :, k])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.9)])
def test_surface_as_scikit_image_meshes_it(spacing: tuple[float, float, float]) -> None:
    from scipy.ndimage import gaussian_filter
    from skimage.measure import marching_cubes, mesh_surface_area

    mask = gaussian_filter(np.random.default_rng(1).random((24, 25, 26)), 3) > 0.5
    ours = mesh.surface(mask, spacing)
    points, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(float), 0.5, spacing=spacing)
    assert mesh.area(ours) == pytest.approx(mesh_surface_area(points, faces), rel=0.005)
    assert mesh.volume(ours) == pytest.approx(abs(mesh.volume(points[faces].astype(float))), rel=0.005)


def test_surfaces_are_closed_whatever_the_mask() -> None:
    mask = np.random.default_rng(0).random((8, 9, 10)) < 0.5
    corners = np.round(mesh.surface(mask, (1.0, 1.0, 1.0)) * 2).astype(int)
    edges = {(tuple(a), tuple(b)) for t in corners for a, b in zip(t, np.roll(t, -1, axis=0), strict=True)}
    assert all((b, a) in edges for a, b in edges)
    assert mesh.volume(corners / 2) > 0


@pytest.mark.parametrize("deep", [False, True])
def test_zones_as_scipy_labels_them(deep: bool) -> None:
    from scipy.ndimage import label

    image, mask = blob(1)
    levels = discretise(Region.of(image, mask, spacing=1), AsLevels())
    ours = find_zones(levels, deep=deep)
    theirs = []
    for level in range(1, 6):
        for part in [levels.grid] if deep else levels.grid:
            names, _ = label(part == level, np.ones((3,) * part.ndim))
            theirs += [(level, size) for size in np.bincount(names.ravel())[1:].tolist()]
    assert sorted(zip(ours.level.tolist(), ours.size.tolist(), strict=True)) == sorted(theirs)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_every_pixel_is_in_one_run_of_each_direction(seed: int) -> None:
    image, mask = blob(seed, (3, 5, 6))
    levels = discretise(Region.of(image, mask, spacing=1), AsLevels())
    for deep, ways in ((False, 4), (True, 13)):
        counts = runs(levels, deep)
        assert counts.shape[1] == ways
        lengths = np.arange(1, counts.shape[-1] + 1)
        pixels = (counts * lengths).sum(axis=(0, 3))  # (directions, levels)
        np.testing.assert_array_equal(pixels, np.tile(np.bincount(levels.values, minlength=6)[1:], (ways, 1)))


# ------------------------------------------------------------------ what must not change
def test_place_in_the_picture_does_not_matter() -> None:
    image, mask = blob()
    wide = np.full((12, 15, 16), np.nan)
    inside = np.zeros(wide.shape, bool)
    at = np.s_[3:10, 1:10, 5:13]
    wide[at], inside[at] = np.where(mask, image, np.nan), mask
    here = radiomics(np.where(mask, image, np.nan), mask, spacing=2.0)
    same(radiomics(wide, inside, spacing=2.0), here)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_a_quarter_turn_changes_nothing_in_3d(axes: tuple[int, int]) -> None:
    image, mask = blob(4)
    before = radiomics(image, mask, spacing=2.0, dimensions=["3D"])
    after = radiomics(np.rot90(image, axes=axes), np.rot90(mask, axes=axes), spacing=2.0, dimensions=["3D"])
    same(after, before)


def test_a_slice_alone_is_as_in_2d() -> None:
    image, mask = blob(2)
    flat = radiomics(image[3], mask[3], spacing=2.0)
    volume = radiomics(image[3:4], mask[3:4], spacing=2.0, dimensions=["2D"], families=FAMILIES[1:])
    same(flat, volume)


def same(one: dict[tuple[str, str, str], float], other: dict[tuple[str, str, str], float]) -> None:
    assert one.keys() == other.keys()
    np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-9, atol=1e-9)


def test_the_table_names_what_is_measured() -> None:
    image, mask = blob()
    found = radiomics(image, mask, spacing=2.0)
    assert {(family, name) for family, name, _ in found} == {(f.family, f.name) for f in FEATURES}
    assert {group for _, _, group in found} - {""} == set(AGGREGATIONS)
    assert len({(f.family, f.name) for f in FEATURES}) == len(FEATURES) == 169
    assert {f.code for f in FEATURES if [g.code for g in FEATURES].count(f.code) > 1} == {"BC2M", "GBPN"}
    assert all(len(f.code) == 4 and f.definition for f in FEATURES)


def test_what_no_pixel_defines_is_nan_and_not_missing() -> None:
    image = np.arange(36).reshape(6, 6)
    apart = np.zeros((6, 6), bool)
    apart[[0, 5], [0, 5]] = True
    found = radiomics(image, apart, spacing=1.0)
    textures = {group for _, _, group in found} - {""}
    assert {(f, n) for f, n, _ in found} == {(f.family, f.name) for f in FEATURES if f.family != "morphology"}
    assert textures == {"2D, averaged", "2D, slice-merged", "2D"}
    assert all(isnan(v) for (family, _, _), v in found.items() if family in {"glcm", "ngtdm"})
    assert found["glszm", "Zone percentage", "2D"] == 1


@pytest.mark.parametrize("where", [np.s_[2:3, :, :], np.s_[2:3, 3:4, :], np.s_[2, 3, 4:6]])
def test_flat_and_thin_regions_have_a_form(where: tuple[slice, ...]) -> None:
    image = np.arange(7 * 9 * 8).reshape(7, 9, 8)
    mask = np.zeros(image.shape, bool)
    mask[where] = True
    found = radiomics(image, mask, spacing=1.0)
    assert found["morphology", "Flatness", ""] == 0
    assert isnan(found["morphology", "Volume density (approximate enclosing ellipsoid)", ""])
    assert 0 < found["morphology", "Volume (mesh)", ""] < mask.sum()
    robust = found["statistics", "Intensity-based robust mean absolute deviation", ""]
    assert isnan(robust) == (mask.sum() == 2)  # nothing lies between the 10th and the 90th percentile of two


# ------------------------------------------------------------------ grey levels
def test_bins_of_a_number_and_of_a_size() -> None:
    region = Region.of([[-3.0, 0.0, 4.9, 5.0, 17.0]], [[1] * 5], spacing=1)
    assert discretise(region, FixedBinNumber(4)).values.tolist() == [1, 1, 2, 2, 4]
    assert discretise(region, FixedBinSize(5, lowest=-5)).values.tolist() == [1, 2, 2, 3, 5]
    assert discretise(region, FixedBinSize(5)).values.tolist() == [1, 1, 2, 2, 5]


def test_within_measures_some_intensities_and_keeps_the_form() -> None:
    image, mask = blob()
    every = radiomics(image, mask, spacing=1.0)
    some = radiomics(image, mask, spacing=1.0, within=(2, 4))
    assert some["morphology", "Volume (mesh)", ""] == every["morphology", "Volume (mesh)", ""]
    assert some["statistics", "Minimum intensity", ""] == 2
    assert some["statistics", "Maximum intensity", ""] == 4


def test_outliers_are_left_out_of_what_is_within() -> None:
    image = np.array([[*([10] * 10), *([12] * 10), 60, 900]])
    region = Region.of(image, np.ones_like(image), spacing=1, within=(0, 100), sigmas=3)
    assert set(region.values.tolist()) == {10, 12}


@given(st.integers(1, 9), st.floats(0.3, 3.0), st.sampled_from([1, 3]))
def test_a_ramp_stays_a_ramp_on_another_grid(count: int, side: float, order: int) -> None:
    image = np.linspace(-7.0, 7.0, 29)[None] * np.ones((count, 1))
    there, mask = resample(image, image > 0, spacing=(2.0, 1.0), to=(2.0, side), order=order)
    ends = int(np.ceil(6 / side))  # where splines bend to the border
    middle = there[:, ends:-ends]
    np.testing.assert_allclose(np.diff(middle), side / 2, atol=0.02 if order == 3 else 1e-9)
    np.testing.assert_allclose(there, -there[:, ::-1], atol=1e-9)  # the middles coincide
    # 14 samples are above 0; their edge falls within half a new pixel, and the new grid juts out as much
    assert abs(mask.sum() * side - count * 14) <= count * side + 1e-9


# ------------------------------------------------------------------ bad input
GOOD = np.arange(16.0).reshape(4, 4)
HOLE = np.where(GOOD == 5, np.nan, GOOD)


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (GOOD, np.ones((4, 5)), "shape"),
        (np.ones((4, 4, 3)), np.ones((4, 4)), "by channel or stain"),
        (GOOD, HOLE, "the mask holds NaN"),
        (np.ones((4, 4)), np.ones((4, 4)), "one intensity, 1"),
        (HOLE, np.ones((4, 4)), "1 pixels of the region are NaN"),
        (np.ones((2, 2, 2, 3)), np.ones((2, 2, 2, 3)), "4 axes"),
        (GOOD.astype(complex), np.ones((4, 4)), "complex"),
    ],
)
def test_what_cannot_be_measured_is_said(
    image: NDArray[np.float64], mask: NDArray[np.float64], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        radiomics(image, mask, spacing=1.0)


def test_an_empty_mask_is_said() -> None:
    with pytest.raises(GeometryError, match="empty"):
        radiomics(GOOD, np.zeros((4, 4)), spacing=1.0)
    with pytest.raises(GeometryError, match="within"):
        radiomics(GOOD, np.ones((4, 4)), spacing=1.0, within=(100, 200))


@pytest.mark.parametrize("spacing", [0, -1.0, float("nan"), (1.0, 1.0, 1.0)])
def test_spacing_must_be_one(spacing: float) -> None:
    with pytest.raises(UsageError, match="spacing"):
        radiomics(GOOD, GOOD >= 0, spacing=spacing)


def test_options_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="no family 'gclm'"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, families=["gclm"])
    with pytest.raises(UsageError, match="2D picture"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, dimensions=DIMENSIONS)
    with pytest.raises(UsageError, match="dimensions '4D'"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, dimensions=["4D"])
    with pytest.raises(UsageError, match="morphology is defined for volumes"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, families=["morphology"])
    with pytest.raises(UsageError, match="not all whole numbers from 1"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, discretise=AsLevels())
    with pytest.raises(UsageError, match="15001 grey levels"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, discretise=FixedBinSize(0.001))
    with pytest.raises(UsageError, match="under the first bin"):
        radiomics(GOOD, GOOD >= 0, spacing=1.0, discretise=FixedBinSize(1, lowest=3))
    with pytest.raises(UsageError, match="one side of each for every axis"):
        resample(GOOD, GOOD >= 0, spacing=(1.0,), to=(2.0, 2.0))
