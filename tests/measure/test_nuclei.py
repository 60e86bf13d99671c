"""The nuclear detector where number, place, size and shape are known; shapes against scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coverslip.core.errors import ImplausibleMppError, UsageError
from coverslip.measure import detect_nuclei
from coverslip.measure.planes import prepare
from coverslip.measure.shapes import describe
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, recombine

STAINS = StainMatrix(*(getattr(RUIFROK_JOHNSTON["H&E"], k) for k in ("names", "vectors")), (0.8, 0.5))


def disks(
    centres: list[tuple[float, float]], radii: list[float], size: int, scale: float = 1.0
) -> np.ndarray:
    """A tile of round nuclei; centres and radii in pixels, `scale` times finer when above 1."""
    side = round(size * scale)
    y, x = (np.mgrid[:side, :side] + 0.5) / scale
    amounts = np.full((side, side, 2), (0.03, 0.25), np.float32)
    for (cx, cy), radius in zip(centres, radii, strict=True):
        amounts[np.hypot(x - cx, y - cy) < radius] = (0.7, 0.1)
    return recombine(amounts, STAINS)


def scattered(seed: int, count: int, size: int = 256, apart: float = 22) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    centres: list[tuple[float, float]] = []
    while len(centres) < count:
        x, y = rng.uniform(12, size - 12, 2)
        if all(np.hypot(x - a, y - b) > apart for a, b in centres):
            centres.append((float(x), float(y)))
    return centres


def matched(found: np.ndarray, truth: list[tuple[float, float]], within: float = 3) -> int:
    distance = np.hypot(*(found[:, None, k] - np.array(truth)[None, :, k] for k in (0, 1)))
    return int((distance.min(axis=0) < within).sum())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_every_disk_is_found_where_it_is(seed: int, count: int) -> None:
    centres = scattered(seed, count)
    nuclei = detect_nuclei(disks(centres, [7.0] * count, 256), 0.5, STAINS)
    found = np.column_stack([nuclei.table["x"], nuclei.table["y"]])
    assert len(nuclei) == count
    assert matched(found, centres, within=1) == count
    assert np.allclose(nuclei.table["area_um2"], np.pi * 3.5**2, rtol=0.25)
    assert set(np.unique(nuclei.labels)) == set(range(count + 1))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 1.7])
def test_micrometres_do_not_depend_on_the_pixels(scale: float) -> None:
    centres = scattered(5, 30)
    tile = disks(centres, [8.0] * 30, 256, scale)
    nuclei = detect_nuclei(tile, 0.5 / scale, STAINS)
    found = np.column_stack([nuclei.table["x"], nuclei.table["y"]]) / scale
    assert nuclei.labels.shape == tile.shape[:2]
    assert matched(found, centres, within=1.5) == 30
    assert len(nuclei) == 30
    assert np.allclose(nuclei.table["area_um2"], np.pi * 4**2, rtol=0.3)
    row = nuclei.labels[round(centres[0][1] * scale), round(centres[0][0] * scale)] - 1
    assert np.hypot(found[row, 0] - centres[0][0], found[row, 1] - centres[0][1]) < 1.5


@pytest.mark.parametrize("overlap", [1.0, 2.0, 3.0])
def test_touching_nuclei_are_split(overlap: float) -> None:
    gap = 16 - overlap
    centres = [(60.0, 60.0), (60 + gap, 60.0), (150.0, 100.0), (150.0, 100 + gap), (150 + gap, 100.0)]
    nuclei = detect_nuclei(disks(centres, [8.0] * 5, 200), 0.5, STAINS)
    found = np.column_stack([nuclei.table["x"], nuclei.table["y"]])
    assert len(nuclei) == 5
    assert matched(found, centres) == 5


def test_elongated_nuclei_are_not_cut() -> None:
    import cv2

    mask = np.zeros((200, 200), np.uint8)
    for place, angle in enumerate((0, 30, 60, 90)):
        cv2.ellipse(mask, (40 + 40 * place, 100), (14, 6), angle, 0, 360, 1, -1)
    amounts = np.where(mask[..., None] > 0, (0.7, 0.1), (0.03, 0.25)).astype(np.float32)
    nuclei = detect_nuclei(recombine(amounts, STAINS), 0.5, STAINS)
    assert len(nuclei) == 4
    order = np.argsort(nuclei.table["x"])
    assert np.allclose(np.degrees(nuclei.table["orientation"][order][1:3]), [30, 60], atol=4)
    assert np.all(nuclei.table["eccentricity"] > 0.8)
    assert np.allclose(nuclei.table["major_um"], 14, atol=1.5)


def test_noise_and_strength_hardly_matter() -> None:
    centres = scattered(9, 35)
    tile = disks(centres, [7.0] * 35, 256)
    noisy = np.clip(tile + np.random.default_rng(0).normal(0, 8, tile.shape), 0, 255).astype(np.uint8)
    faint = (255 * (tile / 255.0) ** 0.5).astype(np.uint8)
    weak = StainMatrix(STAINS.names, STAINS.vectors, (0.4, 0.25))
    for pixels, stains in ((noisy, STAINS), (faint, weak)):
        nuclei = detect_nuclei(pixels, 0.5, stains)
        assert abs(len(nuclei) - 35) <= 1
        assert matched(np.column_stack([nuclei.table["x"], nuclei.table["y"]]), centres) >= 34


@pytest.mark.parametrize("level", [0, 90, 255])
def test_no_nuclei_on_flat_tiles(level: int) -> None:
    assert len(detect_nuclei(np.full((128, 128, 3), level, np.uint8), 0.5, STAINS)) == 0


def test_eosin_and_dust_are_no_nuclei() -> None:
    amounts = np.full((200, 200, 2), (0.02, 0.2), np.float32)
    amounts[50:90, 40:160, 1] = 0.9
    amounts[120:123, 120:123, 0] = 0.8
    assert len(detect_nuclei(recombine(amounts, STAINS), 0.5, STAINS)) == 0


def test_shapes_agree_with_scikit_image() -> None:
    from skimage.measure import regionprops

    rng = np.random.default_rng(3)
    import cv2

    labels = np.zeros((256, 256), np.int32)
    for number in range(1, 21):
        x, y = 25 + 48 * ((number - 1) % 5), 25 + 60 * ((number - 1) // 5)
        axes = (int(rng.integers(9, 20)), int(rng.integers(6, 9)))
        cv2.ellipse(labels, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, number, -1)
    planes = prepare(disks(scattered(1, 20), [9.0] * 20, 256), 0.5, STAINS)
    again, table = describe(labels, planes, (0, 1e6))
    props = regionprops(labels, intensity_image=planes.haematoxylin)
    assert np.array_equal(again, labels)
    assert np.allclose(table["area_um2"], [p.area * 0.25 for p in props])
    assert np.allclose(table["x"], [p.centroid[1] + 0.5 for p in props], atol=1e-3)
    assert np.allclose(table["y"], [p.centroid[0] + 0.5 for p in props], atol=1e-3)
    assert np.allclose(table["major_um"], [p.axis_major_length * 0.5 for p in props], rtol=0.01)
    assert np.allclose(table["minor_um"], [p.axis_minor_length * 0.5 for p in props], rtol=0.02)
    assert np.allclose(table["eccentricity"], [p.eccentricity for p in props], atol=0.01)
    turned = np.cos(2 * (table["orientation"] - [np.pi / 2 - p.orientation for p in props]))
    assert np.all(turned > 0.999)
    assert np.allclose(table["haematoxylin"], [p.intensity_mean for p in props], atol=1e-5)
    assert np.allclose(table["haematoxylin_sd"], [p.image_intensity[p.image].std() for p in props], atol=1e-5)
    assert np.allclose(table["solidity"], [p.solidity for p in props], atol=0.06)
    assert table["whole"].tolist() == [float(min(p.bbox) > 0 and max(p.bbox) < 256) for p in props]


def test_circularity_tells_disks_from_stars() -> None:
    import cv2

    labels = np.zeros((200, 200), np.int32)
    cv2.circle(labels, (50, 100), 25, 1, -1)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    radius = np.where(np.arange(20) % 2, 12, 32)
    star = np.column_stack([140 + radius * np.cos(angle), 100 + radius * np.sin(angle)])
    cv2.fillPoly(labels, [star.round().astype(np.int32)], 2)
    _, table = describe(labels, prepare(np.full((200, 200, 3), 200, np.uint8), 0.5, STAINS), (0, 1e6))
    assert table["circularity"][0] > 0.85
    assert table["circularity"][1] < 0.5
    assert table["solidity"][0] > 0.97
    assert table["solidity"][1] < 0.75


def test_nuclei_of_a_phantom_are_found() -> None:
    from scipy.spatial import cKDTree

    from coverslip.core import Box
    from coverslip.phantom import PhantomSpec, make
    from coverslip.stain import fit_macenko

    phantom = make(PhantomSpec(width=1500, height=1500, tissue_share=0.6), 3)
    boxes = [Box(x, y, 256, 256) for x, y in ((600, 600), (900, 600), (600, 900), (900, 900))]
    tiles = np.stack([phantom.render(box) for box in boxes])
    stains = fit_macenko(tiles, phantom.spec.glass)
    hits = found = true = 0
    for box, tile in zip(boxes, tiles, strict=True):
        nuclei, truth = detect_nuclei(tile, phantom.spec.mpp, stains), phantom.truth.nuclei_in(box)
        points = np.column_stack([nuclei.table["x"], nuclei.table["y"]])
        distance, nearest = cKDTree(points).query(np.column_stack([truth["x"] - box.x, truth["y"] - box.y]))
        hits += len(set(nearest[distance * 0.5 < 3].tolist()))
        found, true = found + len(points), true + len(truth)
    assert true > 50
    assert 2 * hits / (found + true) > 0.8


def test_objects_out_of_bounds_are_dropped_and_the_rest_renumbered() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[5:7, 5:7], labels[20:30, 20:30], labels[40:46, 50:64] = 1, 2, 5
    planes = prepare(np.full((64, 64, 3), 200, np.uint8), 0.5, STAINS)
    again, table = describe(labels, planes, (9, 400))
    assert set(np.unique(again)) == {0, 1, 2}
    assert table["area_um2"].tolist() == [25.0, 21.0]
    assert table["whole"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), 1.2, 40.0])
def test_scales_at_which_nothing_can_be_seen(mpp: float) -> None:
    with pytest.raises(ImplausibleMppError):
        detect_nuclei(np.zeros((64, 64, 3), np.uint8), mpp, STAINS)


@pytest.mark.parametrize("shape", [(64, 64), (8, 64, 3), (2, 64, 64, 3), (0, 0, 3)])
def test_tiles_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        detect_nuclei(np.zeros(shape, np.uint8), 0.5, STAINS)


def test_real_tiles_have_the_nuclei_one_sees(test_data: Path) -> None:
    import tifffile

    from coverslip.stain import fit_macenko

    tiles = {p.stem[:3]: tifffile.imread(p) for p in (test_data / "tiles" / "nct_crc_samples").glob("*.tif")}
    stains = fit_macenko(np.concatenate([tile.reshape(-1, 3) for tile in tiles.values()]))
    counts = {name: len(detect_nuclei(tile, 0.5, stains)) for name, tile in tiles.items()}
    assert counts["BAC"] == counts["MUC"] == 0
    assert counts["ADI"] <= 5
    assert 10 <= counts["MUS"] <= 40
    assert 230 <= counts["LYM"] <= 400
    assert counts["LYM"] > counts["NOR"] > counts["MUS"] > counts["ADI"]
