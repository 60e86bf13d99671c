"""Stars are read from maps as they were drawn, and each nucleus has one owner."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from coverslip.core import Size
from coverslip.core.errors import StoreError, UsageError
from coverslip.models.nuclei import picture as pictures
from coverslip.models.nuclei.detector import SHIPPED, load_nuclei
from coverslip.models.nuclei.intensity import levels, resized, scaled
from coverslip.models.nuclei.picture import as_colour, nuclei_of_picture
from coverslip.models.nuclei.reading import Found, Maps, Reading, read
from coverslip.models.nuclei.scale import scale_of
from coverslip.models.nuclei.slide import PART, nuclei_of_slide, parts_of
from coverslip.models.nuclei.views import judged, rays_mirrored
from coverslip.tiles import GridSpec, lay

sys.path.insert(0, str(Path(__file__).parent))

from nuclei_painted import Sees, discs, painted_slide

RAYS = 32


def maps_of(circles: np.ndarray, height: int, width: int) -> Maps:
    """Draw the maps that a perfect network would give of circles (x, y, radius)."""
    y, x = np.mgrid[:height, :width]
    nucleus, depth = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    radii = np.ones((-(-height // 2), -(-width // 2), RAYS), np.float32)
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    for cx, cy, radius in circles:
        far = np.hypot(x - cx, y - cy)
        inside = far <= radius
        nucleus[inside] = 1
        depth[inside] = np.maximum(depth, 1 - far / radius)[inside]
        for i, j in np.argwhere(inside[::2, ::2]):
            dx, dy = 2 * j - cx, 2 * i - cy
            along = dx * np.cos(angle) + dy * np.sin(angle)
            radii[i, j] = -along + np.sqrt(np.maximum(along**2 - dx**2 - dy**2 + radius**2, 0))
    return Maps(nucleus, depth, radii, 2)


CIRCLES = np.array([[20, 20, 9], [39, 21, 9], [70.5, 30, 12], [15, 50, 6]], float)


def test_touching_circles_are_parted_where_they_touch() -> None:
    found = read(maps_of(CIRCLES, 64, 96), Reading())
    assert len(found) == 4
    near = cKDTree(found.centres - 0.5).query(CIRCLES[:, :2])
    assert sorted(near[1].tolist()) == [0, 1, 2, 3]
    assert near[0].max() < 0.6
    np.testing.assert_allclose(found.areas[near[1]], np.pi * CIRCLES[:, 2] ** 2, rtol=0.08)
    assert found.labels[20, 27] == near[1][0] + 1
    assert found.labels[20, 33] == near[1][1] + 1


def test_outlines_hold_the_area_of_the_labels() -> None:
    import shapely

    found = read(maps_of(CIRCLES, 64, 96), Reading())
    polygons = shapely.polygons(found.outlines().astype(float))
    assert shapely.is_valid(polygons).all()
    np.testing.assert_allclose(shapely.area(polygons), found.areas, rtol=0.06)
    centres = shapely.centroid(polygons)
    np.testing.assert_allclose(shapely.get_x(centres), found.centres[:, 0], atol=0.4)


def test_nuclei_come_in_the_pixels_asked_for() -> None:
    small = read(maps_of(CIRCLES, 64, 96), Reading())
    large = read(maps_of(CIRCLES, 64, 96), Reading(), (128, 192))
    assert large.labels.shape == (128, 192)
    nearest = cKDTree(large.centres).query(small.centres * 2)
    assert nearest[0].max() < 0.8
    np.testing.assert_allclose(large.areas[nearest[1]], small.areas * 4, rtol=0.08)


def test_a_star_within_a_better_one_is_dropped_and_thresholds_hold() -> None:
    maps = maps_of(CIRCLES[:1], 64, 96)
    assert len(read(maps, Reading())) == 1
    assert len(read(maps, Reading(score=0.99))) == 0
    assert len(read(maps, Reading(smallest=400))) == 0
    assert len(read(Maps(maps.nucleus * 0.4, maps.depth, maps.radii, 2), Reading(pixel=0.5))) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([1, 4]))
def test_views_of_a_map_that_turns_with_the_picture_are_the_map(seed: int, views: int) -> None:
    """A look that copies pixels, and draws stars from them, must survive being mirrored and turned back."""
    rng = np.random.default_rng(seed)
    whole = rng.random((33, 49, 3), np.float32)
    base = np.cos(np.arange(RAYS) * 2 * np.pi / RAYS).astype(np.float32)

    def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grid = pixels[::2, ::2, :1]
        return pixels.transpose(2, 0, 1), np.broadcast_to(grid, (*grid.shape[:2], RAYS)) + 0 * base

    planes, radii = judged(whole, look, views)
    np.testing.assert_allclose(planes[:, 1:-1, 1:-1], whole.transpose(2, 0, 1)[:, 1:-1, 1:-1], atol=1e-6)
    np.testing.assert_allclose(radii[1:-1, 1:-1, 5], whole[::2, ::2, 0][1:-1, 1:-1], atol=1e-6)


def test_rays_of_a_mirrored_picture() -> None:
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    x, y = np.cos(angle), np.sin(angle)
    for across, down in ((True, False), (False, True), (True, True)):
        ray = rays_mirrored(RAYS, across=across, down=down)
        np.testing.assert_allclose(x[ray], -x if across else x, atol=1e-12)
        np.testing.assert_allclose(y[ray], -y if down else y, atol=1e-12)


# ------------------------------------------------------------------ pictures


def painted(size: Size, pitch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    truth = discs(size, pitch, seed)
    slide = painted_slide(size, truth)
    from coverslip.core import Box

    return slide.read_at(Box(0, 0, *size), 1.0), truth


def test_pieces_of_a_picture_own_each_nucleus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "CORE", 100)
    pixels, truth = painted(Size(430, 310), 24)
    found = nuclei_of_picture(Sees(), pixels, mpp=0.5)
    whole = Sees().find(as_colour(pixels), (0, 1))
    assert len(found) == len(whole) == len(truth)
    np.testing.assert_array_equal(found.labels > 0, whole.labels > 0)
    pairs = np.unique(np.stack([found.labels.ravel(), whole.labels.ravel()]), axis=1)
    assert pairs.shape[1] == len(truth) + 1  # one label of one for each of the other


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scale_is_judged_from_the_nuclei(factor: float) -> None:
    pixels, _ = painted(Size(300, 300), 24)
    given_ = resized(as_colour(pixels), factor)
    assert scale_of(Sees(), given_) * factor == pytest.approx(12 / 10.6, rel=0.12)
    assert nuclei_of_picture(Sees(), given_, mpp=0.5).scale == 1.0
    assert nuclei_of_picture(Sees(), given_, mpp=0.25).scale == 0.5


def test_an_empty_picture_has_no_nuclei_and_stays_as_it_is() -> None:
    found = nuclei_of_picture(Sees(), np.full((64, 80), 240, np.uint8))
    assert len(found) == 0
    assert found.scale == 1.0
    assert found.labels.shape == (64, 80)


def test_depths_and_channels_are_one_picture() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    expected = as_colour(colour)
    for other in (
        grey,
        grey[..., None],
        np.concatenate([colour, np.full((20, 30, 1), 9, np.uint8)], axis=2),
        grey.astype(np.uint16) * 257,
        grey / 255,
        (grey.astype(np.uint16) * 257).astype(">u2"),
    ):
        np.testing.assert_allclose(as_colour(other), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.zeros((4, 64, 64), np.uint8), r"\(4, 64, 64\)"),
        (np.zeros((3, 64), np.uint8), "too small"),
        (np.zeros((64, 64), np.int32), "int32"),
        (np.zeros((64, 64, 2), np.uint8), "one plane"),
        (np.full((64, 64), np.nan), "no numbers"),
    ],
)
def test_what_is_no_picture_is_said(picture: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError) as error:
        as_colour(picture)
    assert said.replace("\\", "") in f"{error.value.message} {error.value.mend}"


def test_levels_ignore_few_outliers_and_never_stretch_noise() -> None:
    picture = np.full((100, 100, 3), 0.5, np.float32)
    picture[0, 0] = 1
    low, high = levels(picture)
    assert (low, round(high - low, 4)) == (0.5, round(8 / 255, 4))
    assert scaled(picture, (low, high)).max() == 1.5


# -------------------------------------------------------------------- slides


def found_on(slide_size: Size, truth: np.ndarray, spec: GridSpec, start: int = 0) -> np.ndarray:
    slide = painted_slide(slide_size, truth, mpp=0.25 if spec.mpp == 0.5 and spec.size == 200 else 0.5)
    parts = list(nuclei_of_slide(Sees(), slide, lay(slide, spec), start=start))
    assert len(parts) == parts_of(lay(slide, spec)) - start
    return np.concatenate([part.xy for part in parts if len(part)])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("pitch", "spec"),
    [
        (24, GridSpec(mpp=0.5, size=128, edge="pad")),
        (24, GridSpec(mpp=0.5, size=160, stride=100, edge="pad")),
        (48, GridSpec(mpp=0.5, size=200, edge="pad")),
    ],
)
def test_every_nucleus_of_a_slide_is_found_once(seed: int, pitch: int, spec: GridSpec) -> None:
    size = Size(930, 710)
    truth = discs(size, pitch, seed)
    xy = found_on(size, truth, spec)
    assert len(xy) == len(truth)
    far, which = cKDTree(xy).query(truth[:, :2])
    assert len(set(which.tolist())) == len(truth)
    assert far.max() < 1.0


def test_parts_that_are_there_are_not_made_again() -> None:
    size, spec = Size(930, 710), GridSpec(mpp=0.5, size=128, edge="pad")
    truth = discs(size, 24, 3)
    whole, rest = found_on(size, truth, spec), found_on(size, truth, spec, start=2)
    np.testing.assert_array_equal(whole[len(whole) - len(rest) :], rest)
    assert len(whole) > PART


def test_tiles_of_another_mpp_are_refused() -> None:
    slide = painted_slide(Size(600, 600), discs(Size(600, 600), 24, 0))
    with pytest.raises(UsageError, match="mpp 0"):
        next(nuclei_of_slide(Sees(), slide, lay(slide, GridSpec(mpp=1.0, size=128))))


# ------------------------------------------------------------- the shipped model


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    """Blurred dark discs on pink, as simple as a nucleus can be."""
    import cv2

    pixels, _ = painted(Size(130, 125), 40, seed=5)
    grey = cv2.GaussianBlur(pixels[..., 0], (0, 0), 1.2).astype(np.float32) / 255
    return np.uint8(255 * np.stack([grey, grey**2, grey**0.8], axis=2).clip(0, 1) * 0.95)


def test_the_shipped_model_finds_plain_discs_whatever_their_scale(cells: np.ndarray) -> None:
    pytest.importorskip("torch")
    detector = load_nuclei()
    truth = discs(Size(130, 125), 40, 5)
    for factor in (0.5, 1.0, 2.0):
        found = nuclei_of_picture(detector, np.uint8(255 * resized(as_colour(cells), factor).clip(0, 1)))
        middles = np.floor(truth[:, :2] * factor).astype(int)
        assert (found.labels[middles[:, 1], middles[:, 0]] > 0).mean() > 0.85
        assert len(found) < 1.3 * len(truth)
    again = nuclei_of_picture(detector, cells)
    np.testing.assert_array_equal(again.labels, nuclei_of_picture(detector, cells).labels)


def test_precisions_agree_and_views_too(cells: np.ndarray) -> None:
    pytest.importorskip("torch")
    pixels = scaled(as_colour(cells), levels(as_colour(cells)))
    exact = load_nuclei(precision="f32").maps(pixels)
    assert np.abs(load_nuclei().maps(pixels).nucleus - exact.nucleus).mean() < 0.01
    views = load_nuclei(precision="f32", views=4).maps(pixels)
    assert np.abs(views.nucleus - exact.nucleus).mean() < 0.05
    assert views.radii.shape == exact.radii.shape


def test_stars_that_are_not_worked_out_are_never_proposed(
    cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_nuclei(precision="f32")
    pixels = scaled(as_colour(cells), levels(as_colour(cells)))
    few = detector.maps(pixels)
    monkeypatch.setattr("coverslip.models.nuclei.detector.LEAST_SEED", -1.0)
    every = detector.maps(pixels)
    assert (few.radii == 0).mean() > 0.5 > (every.radii == 0).mean()
    eager = Reading(seed=0.0, score=0.0, smallest=0.0)
    one, other = read(few, eager), read(every, eager)
    assert len(one) > 0
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.stars, other.stars)


def test_the_shipped_model_is_small_and_says_what_it_is() -> None:
    from coverslip.models.folder import ModelFolder

    card = ModelFolder.load(SHIPPED).card
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 10_000_000
    assert (card.task, card.licence, card.classes) == ("nuclei", "CC0-1.0", ("nucleus",))
    assert "command" in card.trained_on


def test_other_models_and_settings_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(StoreError):
        load_nuclei(tmp_path)
    with pytest.raises(UsageError, match="precision"):
        load_nuclei(precision="f16")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="views"):
        load_nuclei(views=3)


def test_taking_some_numbers_them_anew() -> None:
    found = read(maps_of(CIRCLES, 64, 96), Reading())
    some = found.take(np.array([True, False, True, True]))
    assert isinstance(some, Found)
    assert sorted(np.unique(some.labels).tolist()) == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.bincount(some.labels.ravel())[1:], some.areas)
