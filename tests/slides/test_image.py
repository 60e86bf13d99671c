"""Plain pictures as slides."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptSlideError, UnsupportedSlideError
from coverslip.slides import image, open_slide, tiff_decode
from coverslip.slides.image import ImageReader
from coverslip.testing import check_reader


@pytest.fixture
def large() -> np.ndarray:
    """2301 × 1707 pixels: odd on two levels."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (214, 288, 3), np.uint8), np.ones((8, 8, 1), np.uint8))[:1707, :2301]


def halved(pixels: np.ndarray) -> np.ndarray:
    even = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge").astype(
        int
    )
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_pyramid_of_a_picture(tmp_path, large, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(large).save(path, lossless=True) if kind == "webp" else Image.fromarray(large).save(path)
    expected = np.asarray(Image.open(path).convert("RGB"))
    with open_slide(path) as slide:
        assert slide.reader.name == "image"
        assert [(v.width, v.height, v.downsample) for v in slide.levels] == [
            (2301, 1707, 1.0), (1151, 854, 2.0), (576, 427, 4.0),
        ]  # fmt: skip
        np.testing.assert_array_equal(slide.reader.window(0, 0, 0, slide.size), expected)
        for level in slide.levels[1:]:
            expected = halved(expected)
            pixels = slide.reader.window(level.index, 0, 0, Size(level.width, level.height))
            assert np.abs(pixels - expected).max() <= 0.5 * level.index
            expected = pixels
    check_reader(ImageReader, path)


def test_the_temporary_file_gives_the_same_pixels_and_goes(tmp_path, large, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(large)))
    with open_slide(path) as slide:
        inside = [slide.reader.window(v.index, 0, 0, Size(v.width, v.height)) for v in slide.levels]
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(image, "IN_MEMORY", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with open_slide(path) as slide:
        for level, pixels in zip(slide.levels, inside, strict=True):
            assert isinstance(slide.reader._level(level.index), np.memmap)
            whole = slide.reader.window(level.index, 0, 0, Size(level.width, level.height))
            np.testing.assert_array_equal(whole, pixels)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, picture, orientation):
    path = tmp_path / "a.jpg"
    stored = Image.fromarray(picture[:100, :160])
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.reader.window(0, 0, 0, slide.size), expected)


def test_grey_16_bit_palette_and_transparency(tmp_path, picture):
    grey = np.ascontiguousarray(picture[..., 0])
    deep = grey.astype(np.uint16) * 200
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(picture).quantize(64).save(tmp_path / "palette.png")
    clear = np.dstack([picture, np.where(np.arange(900) < 450, 0, 255)[None].repeat(700, 0).astype(np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")

    def pixels(name):
        with open_slide(tmp_path / name) as slide:
            return slide.facts.channels, slide.reader.window(0, 0, 0, slide.size)

    assert pixels("grey.png")[0] == ("grey",)
    np.testing.assert_array_equal(pixels("grey.png")[1][..., 0], grey)
    np.testing.assert_array_equal(pixels("deep.png")[1][..., 0], deep)
    expected = np.asarray(Image.open(tmp_path / "palette.png").convert("RGB"))
    np.testing.assert_array_equal(pixels("palette.png")[1], expected)
    shown = pixels("clear.png")[1]
    assert (shown[:, :450] == 255).all()
    np.testing.assert_array_equal(shown[:, 450:], picture[:, 450:])


def test_icc_is_reported(tmp_path, picture):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=profile)
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.facts.icc == profile
        plain, corrected = (slide.read_at(Box(0, 0, 90, 90), 1.0, icc=icc) for icc in (False, True))
        assert np.abs(plain.astype(int) - corrected).max() <= 1


def test_cmyk_is_refused(tmp_path, picture):
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(UnsupportedSlideError, match="mode CMYK"):
        open_slide(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_truncated_picture(tmp_path, picture, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(picture).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(CorruptSlideError, match=r"a\."), open_slide(path) as slide:
        slide.thumbnail(100)


def test_too_large_is_refused_with_the_mend(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(picture))
    monkeypatch.setattr(image, "MAX_PIXELS", 10_000)
    with pytest.raises(UnsupportedSlideError, match="900 × 700 px in one piece") as caught:
        open_slide(path)
    assert "--pyramid" in caught.value.mend


def test_a_tiff_in_one_huge_strip_is_a_picture(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", compression="deflate", rowsperstrip=700)
    monkeypatch.setattr(tiff_decode, "MAX_SEGMENT", 100_000)
    with open_slide(path) as slide:
        assert slide.reader.name == "image"
        assert any("one strip of 900 × 700 px" in text for text in slide.warnings)
        np.testing.assert_array_equal(slide.reader.window(0, 0, 0, slide.size), picture)


def test_threads_share_one_decoding(tmp_path, large):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(large)))
    with open_slide(path) as slide, ThreadPoolExecutor(4) as threads:
        windows = list(threads.map(lambda x: slide.reader.window(0, x, x, Size(50, 50)), range(0, 1000, 50)))
    for x, window in zip(range(0, 1000, 50), windows, strict=True):
        np.testing.assert_array_equal(window, large[x : x + 50, x : x + 50])
