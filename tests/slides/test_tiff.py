"""TIFF files of many kinds, made here: what tifffile writes is what the reader shows."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptSlideError, CorruptTileError, UnsupportedSlideError, UsageError
from coverslip.slides import open_slide
from coverslip.slides.tiff import TiffReader
from coverslip.testing import check_reader

LOSSLESS = [
    "none",
    "lzw",
    "deflate",
    "zstd",
    "packbits",
    "lzma",
    "webp",
    "png",
    "jpeg2000",
    "lerc",
    "jpegxl",
]


def shown(path: Path, **options) -> np.ndarray:
    with open_slide(path, **options) as slide:
        return slide.reader.window(0, 0, 0, slide.size)


def write(path: Path, pixels: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path


# ----------------------------------------------------------------- encodings
@pytest.mark.parametrize(
    ("codec", "layout"),
    [(codec, {"tile": (64, 80)}) for codec in LOSSLESS]
    + [(codec, {"rowsperstrip": rows}) for codec in LOSSLESS[:6] for rows in (37, 300)],
)
def test_lossless_codecs(tmp_path, picture, codec, layout):
    small = np.ascontiguousarray(picture[:300, :250])
    arguments = {"webp": {"lossless": True, "level": 100}, "jpeg2000": {"level": 0}, "jpegxl": {"level": 101}}
    path = write(
        tmp_path / "a.tif",
        small,
        photometric="rgb",
        compression=codec,
        compressionargs=arguments.get(codec),
        **layout,
    )
    np.testing.assert_array_equal(shown(path), small)


@pytest.mark.parametrize("layout", [{"tile": (64, 80)}, {"rowsperstrip": 37}, {"rowsperstrip": 700}])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "float32"])
def test_grey_of_every_type_and_byte_order(tmp_path, picture, dtype, byteorder, layout):
    pixels = (picture[..., 0].astype(np.float64) * 3 - 100).clip(0).astype(dtype)
    for codec, predictor in (("none", False), ("deflate", True)):
        path = write(
            tmp_path / f"{codec}.tif",
            pixels,
            photometric="minisblack",
            byteorder=byteorder,
            compression=codec,
            predictor=predictor,
            **layout,
        )
        with open_slide(path) as slide:
            assert slide.facts.channels == ("grey",)
            assert slide.facts.dtype == dtype
        np.testing.assert_array_equal(shown(path)[..., 0], pixels)


@pytest.mark.parametrize("layout", [{"tile": (64, 80)}, {"rowsperstrip": 50}])
@pytest.mark.parametrize("codec", ["none", "deflate", "jpeg"])
def test_samples_stored_apart(tmp_path, picture, codec, layout):
    planar = np.moveaxis(picture, 2, 0)
    path = write(
        tmp_path / "a.tif", planar, photometric="rgb", planarconfig="separate", compression=codec, **layout
    )
    tolerance = 12 if codec == "jpeg" else 0
    assert np.abs(shown(path).astype(int) - picture).max() <= tolerance


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("stored", ["YCBCR", "RGB"])
def test_jpeg_in_both_colour_spaces_equals_openslide(tmp_path, picture, stored, bigtiff):
    path = write(
        tmp_path / "a.tif",
        picture,
        photometric="rgb",
        compression="jpeg",
        tile=(128, 128),
        compressionargs={"level": 95, "outcolorspace": stored},
        bigtiff=bigtiff,
    )
    with openslide.OpenSlide(path) as theirs:
        expected = np.asarray(theirs.read_region((0, 0), 0, theirs.dimensions).convert("RGB"))
    np.testing.assert_array_equal(shown(path), expected)
    assert np.abs(expected.astype(int) - picture).max() < 45


@pytest.mark.parametrize("code", [33003, 33005])
def test_jpeg_2000_as_aperio_stores_it_equals_openslide(tmp_path, picture, code):
    pixels = np.ascontiguousarray(picture[:512, :512])
    tiles = []
    for row in range(2):
        for column in range(2):
            tile = pixels[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
            tiles.append(_codestream(tile, ycbcr=code == 33003))
    path = tmp_path / "a.svs"
    _write_encoded(path, tiles, Size(512, 512), code)
    with openslide.OpenSlide(path) as theirs:
        expected = np.asarray(theirs.read_region((0, 0), 0, theirs.dimensions).convert("RGB")).astype(int)
    assert np.abs(expected - pixels).max() <= 12
    assert np.abs(shown(path).astype(int) - expected).max() <= 2


def _codestream(tile: np.ndarray, *, ycbcr: bool) -> bytes:
    """A bare JPEG 2000 codestream without a transform of its own."""
    if ycbcr:
        import cv2

        tile = np.ascontiguousarray(cv2.cvtColor(tile, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])
    return imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False, reversible=True)


def _write_encoded(path: Path, tiles: list[bytes], size: Size, code: int, **more) -> None:
    """Write ready-made tiles of 256 pixels under a compression that no writer offers: patch its tag."""
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(size.height, size.width, 3),
        dtype=np.uint8,
        tile=(256, 256),
        compression="jpeg2000",
        photometric="rgb",
        metadata=None,
        description=f"Aperio Image Library v12\n{size.width}x{size.height} (256x256)|AppMag = 40|MPP = 0.25",
        **more,
    )
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(code)


def test_single_bits(tmp_path, picture):
    bits = picture[..., 0] > 150
    path = write(tmp_path / "a.tif", bits, photometric="minisblack")
    np.testing.assert_array_equal(shown(path)[..., 0], np.where(bits, 255, 0))
    path = write(tmp_path / "b.tif", bits, photometric="miniswhite")
    np.testing.assert_array_equal(shown(path)[..., 0], np.where(bits, 0, 255))


def test_white_is_zero(tmp_path, picture):
    path = write(tmp_path / "a.tif", picture[..., 0], photometric="miniswhite", tile=(64, 64))
    np.testing.assert_array_equal(shown(path)[..., 0], 255 - picture[..., 0])


def test_palette(tmp_path):
    table = np.random.default_rng(0).integers(0, 256, (3, 256), np.uint8)
    index = np.arange(200 * 100, dtype=np.uint32).reshape(200, 100).astype(np.uint8)
    path = write(tmp_path / "a.tif", index, photometric="palette", colormap=table.astype(np.uint16) * 257)
    with open_slide(path) as slide:
        assert slide.colour
    np.testing.assert_array_equal(shown(path), table.T[index])


def test_transparency_is_laid_on_white(tmp_path, picture):
    alpha = np.zeros((*picture.shape[:2], 1), np.uint8)
    alpha[100:300] = 255
    path = write(
        tmp_path / "a.tif",
        np.concatenate([picture, alpha], axis=2),
        photometric="rgb",
        extrasamples=["unassalpha"],
        compression="deflate",
        tile=(64, 64),
    )
    expected = np.where(alpha == 255, picture, 255)
    np.testing.assert_array_equal(shown(path), expected)


def test_16_bit_colour_is_shown_but_no_brightfield(tmp_path, picture):
    path = write(tmp_path / "a.tif", picture.astype(np.uint16) * 257, photometric="rgb", tile=(64, 64))
    with open_slide(path, mpp=0.5) as slide:
        assert slide.facts.channels == ("R", "G", "B")
        assert not slide.colour
        assert slide.read_at(Box(0, 0, 50, 50), 1.0).dtype == np.uint8
    np.testing.assert_array_equal(shown(path), picture.astype(np.uint16) * 257)


def test_cmyk_is_refused(tmp_path, picture):
    four = np.concatenate([picture, picture[..., :1]], axis=2)
    path = write(tmp_path / "a.tif", four, photometric="separated", tile=(64, 64))
    with pytest.raises(UnsupportedSlideError, match="CMYK"):
        open_slide(path, reader="tiff")
    with open_slide(path) as slide:  # OpenSlide turns it into RGB, and the slide says who refused
        assert slide.reader.name == "openslide"
        assert any("refused by reader tiff" in text and "CMYK" in text for text in slide.warnings)


# ------------------------------------------------------------------- pyramids
def test_pyramid_of_pages_and_of_sub_directories(tmp_path, picture):
    for sub in (0, 2):
        path = tmp_path / f"{sub}.ome.tif"
        with tifffile.TiffWriter(path, ome=bool(sub)) as tif:
            options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
            tif.write(picture, subifds=sub or None, **options)
            tif.write(picture[::2, ::2], subfiletype=1, **options)
            tif.write(picture[::4, ::4], subfiletype=1, **options)
        with open_slide(path) as slide:
            assert [level.downsample for level in slide.levels] == [1.0, 2.0, 4.0]
            for level, step in zip(slide.levels, (1, 2, 4), strict=True):
                pixels = slide.reader.window(level.index, 0, 0, Size(level.width, level.height))
                np.testing.assert_array_equal(pixels, picture[::step, ::step])


def test_aperio_levels_are_those_of_openslide(svs, write_svs, picture, tmp_path):
    """With a tiled second page, which is a level, and with a stripped one, which is the thumbnail."""
    thumbnail = tmp_path / "thumbnail.svs"
    with tifffile.TiffWriter(thumbnail) as tif:
        options = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
        text = "Aperio Image Library v12\n900x700 (128x128) JPEG/RGB Q=80|AppMag = 20|MPP = 0.5"
        tif.write(picture, tile=(128, 128), description=text, **options)
        tif.write(np.ascontiguousarray(picture[::7, ::7]), rowsperstrip=16, description=text, **options)
        tif.write(np.ascontiguousarray(picture[::4, ::4]), tile=(128, 128), description=text, **options)
    for path, associated in ((svs, ()), (thumbnail, ("thumbnail",))):
        with open_slide(path) as ours, openslide.OpenSlide(path) as theirs:
            assert [(v.width, v.height) for v in ours.levels] == list(theirs.level_dimensions)
            assert len(ours.levels) == 2
            assert ours.facts.associated == associated == tuple(theirs.associated_images)
            last = ours.reader.window(1, 0, 0, Size(*theirs.level_dimensions[1]))
            expected = theirs.read_region((0, 0), 1, theirs.level_dimensions[1]).convert("RGB")
            np.testing.assert_array_equal(last, np.asarray(expected))


def test_ome_channels_scenes_and_units(tmp_path):
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4000, (2, 3, 2, 90, 110), np.uint16)
    second = rng.integers(0, 255, (40, 50, 3), np.uint8)
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(
            first,
            tile=(32, 32),
            metadata={
                "axes": "TCZYX",
                "Name": "spot one",
                "PhysicalSizeX": 325,
                "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 0.000325,
                "PhysicalSizeYUnit": "mm",
                "Channel": {"Name": ["DAPI", "CD3", "CD8"]},
            },
        )
        tif.write(second, photometric="rgb", metadata={"axes": "YXS", "Name": "spot two"})
    with open_slide(path) as slide:
        assert slide.facts.scenes == ("spot one", "spot two")
        assert slide.facts.channels == ("DAPI", "CD3", "CD8")
        assert slide.mpp == pytest.approx(0.325)
        assert any("2 time points" in text for text in slide.warnings)
        assert any("2 focal planes" in text for text in slide.warnings)
        assert any("2 scenes" in text for text in slide.warnings)
        pixels = slide.reader.window(0, 0, 0, slide.size)
        np.testing.assert_array_equal(pixels, np.moveaxis(first[0, :, 0], 0, 2))
    with open_slide(path, scene=1) as slide:
        assert slide.colour
        assert slide.mpp is None
    np.testing.assert_array_equal(shown(path, scene=1), second)
    with pytest.raises(UsageError, match="no scene 2") as caught:
        open_slide(path, scene=2)
    assert "spot two" in str(caught.value)


def test_imagej_unit_and_hyperstack(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (4, 60, 70), np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, resolution=(2, 2), metadata={"unit": "um", "axes": "ZYX"})
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert any("first of 4 focal planes" in text for text in slide.warnings)
    np.testing.assert_array_equal(shown(path)[..., 0], stack[0])


def test_philips_sparse_tiles_and_spacing(tmp_path, picture):
    """A file like Philips's: XML in the description, and tiles that are not stored at all."""
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        '<Attribute Name="DICOM_MANUFACTURER">PHILIPS</Attribute>'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>'
        '<DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>'
        '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>'
        + "".join(
            '<DataObject ObjectType="PixelDataRepresentation">'
            '<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
            f'"{0.00025 * step}" "{0.00026 * step}"</Attribute></DataObject>'
            for step in (1, 2)
        )
        + "</Array></Attribute></DataObject></Array></Attribute></DataObject>"
    )
    path = tmp_path / "a.tiff"
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for step in (1, 2):
            tif.write(
                np.ascontiguousarray(picture[:640:step, :896:step]),
                tile=(128, 128),
                photometric="rgb",
                compression="jpeg",
                description=xml if step == 1 else None,
                software="Philips DP v1.0",
                metadata=None,
            )
    full = shown(path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = list(tif.pages[0].databytecounts)
        offsets = list(tif.pages[0].dataoffsets)
        counts[8] = offsets[8] = 0
        tif.pages[0].tags["TileByteCounts"].overwrite(counts)
        tif.pages[0].tags["TileOffsets"].overwrite(offsets)
    with open_slide(path) as slide:
        assert slide.facts.vendor == "philips"
        assert (slide.facts.mpp_x, slide.facts.mpp_y) == pytest.approx((0.26, 0.25))
    sparse = shown(path)
    assert (sparse[128:256, 128:256] == 255).all()
    sparse[128:256, 128:256] = full[128:256, 128:256]
    np.testing.assert_array_equal(sparse, full)


# ------------------------------------------------------------------------ scale
@pytest.mark.parametrize(("dpcm", "mpp"), [(40000, 0.25), (20000.0, 0.5)])
def test_resolution_tags_of_a_microscope_are_used(tmp_path, picture, dpcm, mpp):
    path = write(
        tmp_path / "a.tif", picture, photometric="rgb", resolution=(dpcm, dpcm), resolutionunit="CENTIMETER"
    )
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(mpp)
        assert slide.facts.mpp_origin == "tiff.XResolution"


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1200])
def test_resolution_tags_of_a_printer_are_not(tmp_path, picture, dpi):
    path = write(tmp_path / "a.tif", picture, photometric="rgb", resolution=(dpi, dpi), resolutionunit="INCH")
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert any("printers" in text for text in slide.warnings)


def test_what_the_user_says_counts_and_is_recorded(svs):
    with open_slide(svs, mpp=0.25) as slide:
        assert slide.info()["mpp_source"] == "user"
        assert slide.mpp == 0.25
        assert len(slide.warnings) == 2  # it contradicts the file, and the magnification


# --------------------------------------------------------------------- damage
def test_a_corrupt_tile_harms_no_other(svs, tmp_path, picture):
    with tifffile.TiffFile(svs) as tif:
        offset, count = tif.pages[0].dataoffsets[9], tif.pages[0].databytecounts[9]
    data = bytearray(svs.read_bytes())
    data[offset : offset + count] = b"\0" * count
    path = tmp_path / "a.svs"
    path.write_bytes(data)
    with open_slide(svs) as whole, open_slide(path) as slide:
        with pytest.raises(CorruptTileError, match="segment 9 at byte"):
            slide.reader.block(0, 1, 1)
        with pytest.raises(CorruptTileError, match="cannot be decoded") as caught:
            slide.read_at(Box(0, 0, 400, 400), 1.0)
        assert str(path) in str(caught.value)
        with ThreadPoolExecutor(4) as threads:
            places = [(c, r) for c in range(8) for r in range(6) if (c, r) != (1, 1)] * 3
            blocks = list(threads.map(lambda p: slide.reader.block(0, *p), places))
        for place, block in zip(places, blocks, strict=True):
            np.testing.assert_array_equal(block, whole.reader.block(0, *place))


def test_a_thumbnail_shows_what_can_be_read(picture, write_svs, tmp_path):
    path = write_svs(tmp_path / "a.svs", picture, steps=(1,))
    with open_slide(path) as slide:
        whole = slide.thumbnail(450)
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = b"\0" * count
    path.write_bytes(data)
    with open_slide(path) as slide:
        thumbnail = slide.thumbnail(450)
    assert (thumbnail[:64, :64] == 255).all()
    np.testing.assert_array_equal(thumbnail[64:], whole[64:])
    np.testing.assert_array_equal(thumbnail[:, 64:], whole[:, 64:])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_said_to_be(svs, tmp_path, share):
    data = svs.read_bytes()
    path = tmp_path / "a.svs"
    path.write_bytes(data[: int(len(data) * share)])
    try:
        slide = open_slide(path)
    except CorruptSlideError:
        return
    with slide:
        assert any("truncated" in text for text in slide.warnings) or len(slide.levels) < 2


def test_cut_strips_are_corrupt_tiles(tmp_path, picture):
    for codec in ("none", "deflate"):
        path = write(
            tmp_path / f"{codec}.tif", picture, photometric="rgb", compression=codec, rowsperstrip=100
        )
        data = path.read_bytes()
        with tifffile.TiffFile(path) as tif:
            end = tif.pages[0].dataoffsets[-1] + 10
        assert end < len(data)
        path.write_bytes(data[:end])
        with open_slide(path) as slide:
            slide.reader.block(0, 0, 0)
            with pytest.raises(CorruptTileError):
                slide.reader.block(0, 0, -(-700 // slide.reader.block_size(0).height) - 1)


def test_a_bomb_of_a_tile_is_refused_before_it_goes_off(tmp_path, picture):
    path = write(tmp_path / "a.tif", picture, photometric="rgb", compression="deflate", tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag in ("TileWidth", "TileLength", "ImageWidth", "ImageLength"):
            found = tif.pages[0].tags[tag]
            found.overwrite(65520 if found.dtype == 3 else 2**31 - 16)
    with pytest.raises(CorruptSlideError, match=r"one tile of .* the limit is 256 MiB"):
        open_slide(path)


def test_a_jpeg_larger_than_its_tile_is_refused(tmp_path, picture):
    large = imagecodecs.jpeg8_encode(picture, level=80)
    path = tmp_path / "a.svs"
    _write_encoded(path, [large], Size(256, 256), 7)
    with open_slide(path) as slide, pytest.raises(CorruptTileError, match=r"\(700, 900\) rows and columns"):
        slide.reader.block(0, 0, 0)


def test_a_jpeg_2000_larger_than_its_tile_is_refused(tmp_path, picture):
    path = tmp_path / "a.svs"
    _write_encoded(path, [_codestream(picture, ycbcr=False)], Size(256, 256), 33005)
    with open_slide(path) as slide, pytest.raises(CorruptTileError, match=r"\(700, 900\) rows and columns"):
        slide.reader.block(0, 0, 0)


def test_a_last_tile_stored_cut_is_read(tmp_path, picture):
    """Some writers cut the JPEG of the last tile to the picture."""
    tiles = [
        imagecodecs.jpeg8_encode(picture[:256, :256], level=95),
        imagecodecs.jpeg8_encode(picture[:256, 256:300], level=95),
    ]
    path = tmp_path / "a.svs"
    _write_encoded(path, tiles, Size(300, 256), 7)
    assert np.abs(shown(path).astype(int) - picture[:256, :300]).max() < 60


@pytest.mark.parametrize("offset", [4, 10**9])
def test_a_directory_that_leads_nowhere(tmp_path, offset):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", offset) + b"\0" * 100)
    with pytest.raises((CorruptSlideError, UnsupportedSlideError), match=r"a\.tif") as caught:
        open_slide(path)
    assert caught.value.mend


def test_a_closed_slide_says_so(svs):
    slide = open_slide(svs)
    slide.close()
    with pytest.raises(OSError, match="closed"):
        slide.read_at(Box(0, 0, 10, 10), 1.0)


# ---------------------------------------------------------------- conformance
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_keeps_what_a_reader_promises(tmp_path, picture, orientation):
    path = write(
        tmp_path / "a.tif",
        picture,
        photometric="rgb",
        tile=(128, 96),
        compression="jpeg",
        extratags=[(274, 3, 1, orientation, True)],
    )
    check_reader(TiffReader, path)


def test_threads_read_what_one_thread_reads(svs):
    rng = np.random.default_rng(1)
    boxes = [
        Box(*map(float, rng.integers(-50, 600, 2)), *map(float, rng.integers(20, 300, 2))) for _ in range(60)
    ]
    with open_slide(svs) as slide:
        alone = [slide.read_at(box, 1.3) for box in boxes]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda box: slide.read_at(box, 1.3), boxes))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
