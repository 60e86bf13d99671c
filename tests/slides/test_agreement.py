"""Pixel for pixel against OpenSlide and tifffile, on every real slide that both open."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptTileError
from coverslip.slides import open_slide

BOTH = [
    "aperio/CMU-1-Small-Region.svs",
    "aperio/openslide_small.svs",
    "hamamatsu/test3-DAPI-387.ndpi",
    "generic_tiff/openslide_boxes.tiff",
    "dicom/camelyon_jpeg_multiframe.dcm",
    "dicom/google_test_jpeg.dcm",
    "dicom/google_test_raw.dcm",
    "dicom/highdicom_sm_image.dcm",
    "dicom/openslide_boxes_0.dcm",
]
REGIONS = 12


def on_white(image: Image.Image) -> np.ndarray:
    paper = Image.new("RGB", image.size, (255, 255, 255))
    paper.paste(image, mask=image)
    return np.asarray(paper)


def reference(slide: openslide.OpenSlide, level: int, x: int, y: int, size: tuple[int, int]) -> np.ndarray:
    """A window of level pixels by OpenSlide, put on white."""
    down = slide.level_downsamples[level]
    return on_white(slide.read_region((round(x * down), round(y * down)), level, size))


@pytest.mark.parametrize("reader", [None, "openslide"])
@pytest.mark.parametrize("path", BOTH)
def test_windows_inside_and_over_the_edge_equal_openslides(test_data, path, reader):
    rng = np.random.default_rng(7)
    theirs = openslide.OpenSlide(test_data / "slides" / path)
    with theirs, open_slide(test_data / "slides" / path, reader=reader) as ours:
        assert [(v.width, v.height) for v in ours.levels] == list(theirs.level_dimensions)
        np.testing.assert_allclose([v.downsample for v in ours.levels], theirs.level_downsamples, rtol=1e-12)
        for level in ours.levels:
            whole = level.downsample.is_integer()
            for _ in range(REGIONS):
                width, height = (
                    int(rng.integers(1, min(400, side) + 2)) for side in (level.width, level.height)
                )
                x = int(rng.integers(-width // 2, level.width)) if whole else 0
                y = int(rng.integers(-height // 2, level.height)) if whole else 0
                corner = (round(x * level.downsample), round(y * level.downsample))
                box = Box(*corner, width * level.downsample, height * level.downsample)
                expected = reference(theirs, level.index, x, y, (width, height))
                np.testing.assert_array_equal(ours.read_at(box, level.downsample), expected)


@pytest.mark.parametrize("path", ["generic_tiff/openslide_boxes.tiff"])
@pytest.mark.parametrize("reader", ["tiff", "openslide"])
def test_levels_of_odd_ratio_are_within_rounding_of_openslides(test_data, path, reader):
    """Where a level's pixel is no whole level-0 pixel OpenSlide shifts by the rest, and interpolates."""
    rng = np.random.default_rng(3)
    theirs = openslide.OpenSlide(test_data / "slides" / path)
    with theirs, open_slide(test_data / "slides" / path, reader=reader) as ours:
        for level in ours.levels[2:]:
            assert not level.downsample.is_integer()
            exact = reference(theirs, level.index, 0, 0, (level.width, level.height)).astype(int)
            np.testing.assert_array_equal(
                ours.reader.window(level.index, 0, 0, Size(level.width, level.height)), exact
            )
            for _ in range(REGIONS):
                x, y = int(rng.integers(0, level.width - 8)), int(rng.integers(0, level.height - 8))
                pixels = ours.reader.window(level.index, x, y, Size(8, 8)).astype(int)
                np.testing.assert_array_equal(pixels, exact[y : y + 8, x : x + 8])
                shifted = reference(theirs, level.index, x, y, (8, 8)).astype(int)
                # at most half a level-0 pixel off: that share of the step between neighbours
                step = max(np.abs(np.diff(exact, axis=0)).max(), np.abs(np.diff(exact, axis=1)).max())
                assert np.abs(pixels - shifted).max() <= 2 * (0.5 / level.downsample) * step + 2


def test_fractional_offsets_at_a_coarse_level_equal_openslides_interpolation(test_data):
    """One pixel per pixel, a fraction of a pixel aside: the area mean is what OpenSlide interpolates."""
    path = test_data / "slides/hamamatsu/test3-DAPI-387.ndpi"
    theirs = openslide.OpenSlide(path)
    with theirs, open_slide(path) as ours:
        for x, y in ((1003, 1201), (1605, 2002), (2001, 777)):
            pixels = ours.read_at(Box(x, y, 100 * 8, 80 * 8), 8.0).astype(int)
            expected = on_white(theirs.read_region((x, y), 3, (100, 80))).astype(int)
            assert np.abs(pixels - expected).max() <= 2


def test_flat_tiff_equals_tifffile(test_data):
    for name in (
        "generic_tiff/histolab_kidney-48-5_HE.tif",
        "ometiff/cells.ome.tif",
        "odd/pathml_smalltif.tif",
    ):
        path = test_data / "slides" / name
        expected = tifffile.imread(path, key=0)
        if expected.shape[0] == 3:
            expected = np.moveaxis(expected, 0, 2)
        with open_slide(path) as slide:
            pixels = slide.reader.window(0, 0, 0, slide.size)
            np.testing.assert_array_equal(pixels, expected.reshape(pixels.shape))


def test_channels_equal_tifffile(test_data):
    path = test_data / "slides/akoya/small_vectra.qptiff"
    expected = np.moveaxis(tifffile.imread(path), 0, 2)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.reader.window(0, 0, 0, slide.size), expected)


def test_openslide_survives_a_corrupt_tile_in_several_threads(tmp_path, svs):
    """An OpenSlide handle that met an error answers with it forever; the reader replaces it."""
    with tifffile.TiffFile(svs) as tif:
        offset, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    data = bytearray(svs.read_bytes())
    data[offset : offset + count] = b"\0" * count
    path = tmp_path / "a.svs"
    path.write_bytes(data)
    places = [(x, y) for x in range(0, 800, 100) for y in range(0, 600, 100)] * 2

    def read(slide, place):
        try:
            return slide.reader.window(0, *place, Size(90, 90))
        except CorruptTileError:
            return None

    with open_slide(svs, reader="openslide") as whole, open_slide(path, reader="openslide") as slide:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda place: read(slide, place), places))
        for place, pixels in zip(places, found, strict=True):
            if place[0] < 128 and place[1] < 128:
                assert pixels is None
            else:
                np.testing.assert_array_equal(pixels, whole.reader.window(0, *place, Size(90, 90)))
