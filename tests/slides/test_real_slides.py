"""Every real slide: read with the values that were measured for it, or refused with the stated reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import imagecodecs
import numpy as np
import pytest

from coverslip.core import Box, Region, Size
from coverslip.core.errors import CorruptTileError, StainError, UnsupportedSlideError
from coverslip.slides import Slide, open_slide
from coverslip.slides.dicom_decode import BIG, EXPLICIT, IMPLICIT, JPEG, RLE, FrameFormat, decode_frame

RGB = ("R", "G", "B")

# path, reader, (width, height), levels, mpp (None: the file states none that can be used), channels, dtype
READ = [
    ("aperio/CMU-1-Small-Region.svs", "tiff", (2220, 2967), 1, 0.499, RGB, "uint8"),
    ("aperio/openslide_small.svs", "tiff", (16, 16), 1, 0.499, RGB, "uint8"),
    ("hamamatsu/test3-DAPI-387.ndpi", "openslide", (3968, 4864), 7, 0.228175, RGB, "uint8"),
    ("akoya/small_vectra.qptiff", "tiff", (1920, 1440), 1, 0.496535, ("DAPI", "FITC", "Cy3"), "uint8"),
    ("dicom/camelyon_jpeg_multiframe.dcm", "dicom", (1152, 700), 1, 28.9685, RGB, "uint8"),
    ("dicom/google_test_jpeg.dcm", "dicom", (454, 156), 1, 100.0, RGB, "uint8"),
    ("dicom/google_test_raw.dcm", "dicom", (454, 156), 1, 100.0, RGB, "uint8"),
    ("dicom/highdicom_sm_image.dcm", "dicom", (50, 50), 1, 0.499, RGB, "uint8"),
    ("dicom/highdicom_sm_image_jpegls.dcm", "dicom", (50, 50), 1, 0.499, RGB, "uint8"),
    ("dicom/highdicom_sm_image_grayscale.dcm", "dicom", (50, 50), 1, 0.499, ("grey",), "uint16"),
    ("dicom/openslide_boxes_0.dcm", "dicom", (16, 16), 1, 0.499, RGB, "uint8"),
    ("dicom/openslide_boxes_1.dcm", "dicom", (16, 16), 1, 0.499, RGB, "uint8"),
    ("ometiff/cells.ome.tif", "tiff", (93, 131), 1, 0.25, RGB, "uint8"),
    ("ometiff/cells-2c.ome.tif", "tiff", (93, 131), 1, 0.25, ("channel 1", "channel 2"), "uint8"),
    ("ometiff/cells-2z.ome.tif", "tiff", (93, 131), 1, 0.25, ("channel 1",), "uint8"),
    ("ometiff/cells-2t.ome.tif", "tiff", (93, 131), 1, 0.25, ("channel 1",), "uint8"),
    ("ometiff/4D-series.ome.tiff", "tiff", (439, 167), 1, None, ("channel 1",), "int8"),
    ("generic_tiff/openslide_boxes.tiff", "tiff", (300, 250), 4, None, RGB, "uint8"),
    ("generic_tiff/large_image_grey10kx5k.tif", "tiff", (10000, 5000), 1, None, ("grey",), "uint8"),
    ("generic_tiff/large_image_yb10kx5k_zstd.tiff", "tiff", (10000, 5000), 5, None, RGB, "uint8"),
    ("generic_tiff/histolab_kidney-48-5_HE.tif", "tiff", (1493, 901), 1, None, RGB, "uint8"),
    *[
        (f"generic_tiff/large_image_orient{i}.tif", "tiff", side, 3, None, ("grey",), "uint8")
        for i, side in enumerate([(120, 180)] * 5 + [(180, 120)] * 4)
    ],
    ("odd/openslide_unreadable.svs", "tiff", (16, 16), 1, 0.499, RGB, "uint8"),
    ("odd/pathml_smalltif.tif", "tiff", (640, 480), 1, None, ("grey",), "uint16"),
]  # fmt: skip

REFUSED = [
    ("odd/histolab_broken.svs", "no reader knows a file that starts with"),
    ("odd/openslide_unopenable.tiff", "compression 52479"),
    ("dicom/google_test_slide_coordinates.dcm", "VL Slide-Coordinates Microscopic Image Storage"),
    ("dicom/pathml_TCGA-XK-AAJU_no_preamble.dcm", "does not say where its 42 frames lie"),
    ("olympus_vsi/vsi-ets-test-jpg2k.vsi", "Olympus VSI"),
    ("olympus_vsi/_vsi-ets-test-jpg2k_/stack1/frame_t_0.ets", "no reader knows"),
    ("codecs.zip", "no reader knows"),
]


@pytest.mark.parametrize(
    ("path", "reader", "size", "levels", "mpp", "channels", "dtype"), READ, ids=[r[0] for r in READ]
)
def test_read_with_the_measured_values(test_data, path, reader, size, levels, mpp, channels, dtype):
    with open_slide(test_data / "slides" / path) as slide:
        assert slide.reader.name == reader
        assert slide.size == size
        assert len(slide.levels) == levels
        assert slide.facts.channels == channels
        assert slide.facts.dtype == dtype
        assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-5))
        if mpp is None:
            assert any("mpp" in text for text in slide.warnings)


@pytest.mark.parametrize(("path", "reason"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_with_the_stated_reason(test_data, path, reason):
    with pytest.raises(UnsupportedSlideError, match=reason) as caught:
        open_slide(test_data / "slides" / path)
    assert caught.value.mend


def test_every_slide_is_in_one_of_the_tables(test_data):
    root = test_data / "slides"
    named = {row[0] for row in READ} | {row[0] for row in REFUSED}
    assert {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()} == named


# ------------------------------------------------------------------ one by one
@pytest.fixture
def open_(test_data) -> Iterator:
    opened: list[Slide] = []

    def opener(path: str, **options) -> Slide:
        opened.append(open_slide(test_data / "slides" / path, **options))
        return opened[-1]

    yield opener
    for slide in opened:
        slide.close()


def test_aperio(open_):
    slide = open_("aperio/CMU-1-Small-Region.svs")
    assert slide.facts.objective_power == 20
    shapes = {name: slide.associated[name].shape for name in slide.associated}
    assert shapes == {"label": (463, 387, 3), "macro": (431, 1280, 3), "thumbnail": (768, 574, 3)}
    mean = slide.read(Region(Box(0, 0, 1024, 1024), 0.499)).mean(axis=(0, 1))
    np.testing.assert_allclose(mean, [239.06, 233.04, 235.85], atol=0.005)
    assert slide.digest == "sha256s1:ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"


def test_hamamatsu(open_):
    slide = open_("hamamatsu/test3-DAPI-387.ndpi")
    assert [level.downsample for level in slide.levels] == [1, 2, 4, 8, 16, 32, 64]
    assert slide.associated["macro"].shape == (406, 1188, 3)
    assert slide.facts.objective_power == 40
    red, green, blue = slide.thumbnail(500).mean(axis=(0, 1))
    assert blue > 10 * max(red, green)
    # the TIFF reader sees the four stored levels, and the same pixels in them
    other = open_("hamamatsu/test3-DAPI-387.ndpi", reader="tiff")
    assert [level.downsample for level in other.levels] == [1, 2, 4, 8]
    assert other.mpp == pytest.approx(slide.mpp, rel=1e-6)
    for level in range(4):
        size = Size(400, 300)
        np.testing.assert_array_equal(
            other.reader.window(level, 50, 61, size), slide.reader.window(level, 50, 61, size)
        )


def test_akoya(open_):
    slide = open_("akoya/small_vectra.qptiff")
    assert slide.associated["thumbnail"].shape == (360, 480, 3)
    with pytest.raises(StainError, match="DAPI, FITC, Cy3"):
        slide.require_colour()
    dapi = slide.read_channels(Region(Box(500, 500, 100, 80), slide.mpp), ("DAPI",))
    assert dapi.shape == (80, 100, 1)
    assert any("10x" in text for text in slide.warnings)


def test_dicom_pair_decodes_to_nearly_the_same_pixels(open_):
    jpeg, raw = open_("dicom/google_test_jpeg.dcm"), open_("dicom/google_test_raw.dcm")
    one, other = (s.reader.window(0, 0, 0, s.size).astype(int) for s in (jpeg, raw))
    assert np.abs(one - other).max() <= 2


def test_dicom_lossless_pair_is_equal(open_):
    plain, jpegls = open_("dicom/highdicom_sm_image.dcm"), open_("dicom/highdicom_sm_image_jpegls.dcm")
    assert len(plain.facts.icc) == 3144
    np.testing.assert_array_equal(
        plain.reader.window(0, 0, 0, plain.size), jpegls.reader.window(0, 0, 0, plain.size)
    )


def test_dicom_series_is_opened_from_any_of_its_files(open_):
    first, second = open_("dicom/openslide_boxes_0.dcm"), open_("dicom/openslide_boxes_1.dcm")
    assert first.facts.associated == second.facts.associated == ("thumbnail",)
    assert first.associated["thumbnail"].shape == (16, 16, 3)
    assert len(first.facts.icc) == 456
    assert first.facts.objective_power == 20


def test_16_bit_grey_is_refused_by_brightfield_stages(open_):
    slide = open_("dicom/highdicom_sm_image_grayscale.dcm")
    with pytest.raises(StainError, match="uint16"):
        slide.require_colour()
    assert slide.thumbnail(50).shape == (50, 50, 3)


def test_orientation_shows_eight_pictures(open_, test_data):
    import tifffile

    stored = tifffile.imread(test_data / "slides/generic_tiff/large_image_orient1.tif", key=0)
    expected = {
        0: stored, 1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.T, 6: stored[::-1].T, 7: stored[::-1, ::-1].T, 8: stored[:, ::-1].T,
    }  # fmt: skip
    for orientation, pixels in expected.items():
        slide = open_(f"generic_tiff/large_image_orient{orientation}.tif")
        np.testing.assert_array_equal(slide.reader.window(0, 0, 0, slide.size)[..., 0], pixels)
        assert any("orientation" in text for text in slide.warnings) == (orientation == 0)
    assert len({expected[i].tobytes() for i in range(1, 9)}) == 8


def test_time_points_and_focal_planes_left_out_are_said(open_):
    slide = open_("ometiff/4D-series.ome.tiff")
    assert "the first of 7 time points is shown" in slide.warnings
    assert "the first of 5 focal planes is shown" in slide.warnings


def test_large_flat_picture_is_not_taken_for_a_bomb(open_):
    slide = open_("generic_tiff/large_image_grey10kx5k.tif")
    assert slide.thumbnail(500).shape == (250, 500, 3)


def test_corrupt_pixels_are_said_when_they_are_read(open_):
    slide = open_("odd/openslide_unreadable.svs")
    with pytest.raises(CorruptTileError, match="Bogus marker length"):
        slide.read(Region(Box(0, 0, 16, 16), 0.499))
    with pytest.raises(CorruptTileError):
        slide.thumbnail(16)


def test_scenes_of_a_two_page_tiff(open_):
    assert open_("odd/pathml_smalltif.tif", scene=1).facts.channels == RGB
    assert open_("odd/pathml_smalltif.tif").facts.scenes == ("0", "1")


# ---------------------------------------------------------------------- codecs
SYNTAX = {
    "Explicit_VR_Big_Endian": BIG,
    "Explicit_VR_Little_Endian": EXPLICIT,
    "Implicit_VR_Little_Endian": IMPLICIT,
    "JPEG-LS_Lossless_Image_Compression": f"{JPEG}80",
    "JPEG-LS_Lossy_Near-Lossless_Image_Compression": f"{JPEG}81",
    "JPEG_2000_Image_Compression": f"{JPEG}91",
    "JPEG_2000_Image_Compression_Lossless_Only": f"{JPEG}90",
    "JPEG_Baseline_Process_1": f"{JPEG}50",
    "JPEG_Extended_Process_2_and_4": f"{JPEG}51",
    "JPEG_Lossless_Non-Hierarchical_Process_14": f"{JPEG}57",
    "RLE_Lossless": RLE,
}
DIFFERENCE = {
    "JPEG-LS_Lossy_Near-Lossless_Image_Compression-RGB": 1,
    "JPEG_2000_Image_Compression-RGB": 2,
    "JPEG_2000_Image_Compression-YBR": 3,
    "JPEG_Baseline_Process_1-RGB": 7,
    "JPEG_Baseline_Process_1-YBR": 16,
}
MEAN = {"8": (120.95, 0.03), "16": (30962.8, 0.1), "12": (1935.2, 0.1)}


def photometric(name: str, colour: str) -> str:
    if colour == "GRAYSCALE":
        return "MONOCHROME2"
    if "2000" in name:
        return "YBR_ICT" if colour == "YBR" else "RGB"
    # the lossless JPEG called YBR holds the same bytes as the one called RGB
    return "YBR_FULL_422" if colour == "YBR" and "Baseline" in name else "RGB"


def test_all_encodings_of_one_tile(test_data):
    with ZipFile(test_data / "slides" / "codecs.zip") as archive:
        encodings = {name: archive.read(name) for name in archive.namelist()}
    tile = imagecodecs.png_decode(encodings.pop("test_tile.png")).astype(int)
    assert len(encodings) == 34
    for name, data in encodings.items():
        codec, colour, bits = Path(name).stem.rsplit("-", 2)
        form = FrameFormat(
            SYNTAX[codec], photometric(codec, colour), 240, 240, 1 if colour == "GRAYSCALE" else 3,
            np.dtype("u1" if bits == "8" else "u2"), int(bits), planar=False,
        )  # fmt: skip
        pixels = decode_frame(data, form)
        assert pixels.shape == (240, 240, form.samples), name
        if colour == "GRAYSCALE":
            mean, margin = MEAN[bits]
            assert pixels.mean() == pytest.approx(mean, abs=margin), name
        else:
            assert np.abs(pixels - tile).max() == DIFFERENCE.get(f"{codec}-{colour}", 0), name
