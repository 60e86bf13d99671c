"""ICC profiles and display composites."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from coverslip.core import Box, Region
from coverslip.core.errors import CorruptSlideError, StainError, UnknownNameError, UsageError
from coverslip.slides import open_slide
from coverslip.slides.colour import ColourTransform, channel_colours, composite
from coverslip.slides.reader import Facts, levels_of


def facts(*channels: str, dtype: str = "uint16") -> Facts:
    return Facts(levels_of([(4, 4)]), "made", channels=channels, dtype=dtype)


def test_a_profile_changes_colours_as_pillow_does(test_data):
    path = test_data / "slides/generic_tiff/openslide_boxes.tiff"
    with open_slide(path) as slide:
        box = Box(0, 0, 300, 250)
        plain, corrected = slide.read_at(box, 1.0), slide.read_at(box, 1.0, icc=True)
        assert slide.info()["icc"] == {"bytes": 588}
        import io

        profile = ImageCms.ImageCmsProfile(io.BytesIO(slide.facts.icc))
    expected = ImageCms.profileToProfile(
        Image.fromarray(plain), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    np.testing.assert_array_equal(corrected, np.asarray(expected))


def test_no_profile_and_a_broken_one():
    with pytest.raises(UsageError, match="no ICC profile") as caught:
        ColourTransform.from_profile(None, "a.svs")
    assert "icc=False" in caught.value.mend
    with pytest.raises(CorruptSlideError, match="cannot be used"):
        ColourTransform.from_profile(b"no profile" * 20, "a.svs")


def test_channels_add_up_in_their_colours():
    pixels = np.zeros((1, 3, 2), np.uint16)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = (100, 0), (0, 200), (50, 100)
    limits = np.array([[0, 100], [0, 200]], np.float32)
    shown = composite(pixels, facts("FITC", "Cy5"), limits)
    assert shown.tolist() == [[[0, 255, 0], [255, 0, 0], [128, 128, 0]]]


def test_grey_is_shown_as_it_is():
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    shown = composite(pixels, facts("grey", dtype="uint8"), np.array([[3, 5]], np.float32))
    np.testing.assert_array_equal(shown, np.repeat(pixels, 3, axis=2))


def test_a_flat_channel_divides_by_nothing():
    shown = composite(np.full((2, 2, 1), 7, np.uint16), facts("grey"), np.array([[7, 7]], np.float32))
    assert shown.max() == 0


def test_colours_of_many_channels_differ():
    colours = channel_colours(tuple(f"marker {i}" for i in range(12)))
    assert len({tuple(colour) for colour in colours.tolist()}) == 12


def test_16_bit_channels_are_read_by_name(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 60000, (3, 200, 300), np.uint16)
    path = tmp_path / "a.ome.tif"
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "CD3", "CD8"]},
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(path, pixels, tile=(64, 64), photometric="minisblack", metadata=metadata)
    with open_slide(path) as slide:
        region = Region(Box(10, 20, 50, 40), 0.5)
        read = slide.read_channels(region, ("CD8", "DAPI"))
        np.testing.assert_array_equal(read, np.moveaxis(pixels[[2, 0], 20:60, 10:60], 0, 2))
        assert slide.read_channels(region).shape == (40, 50, 3)
        with pytest.raises(UnknownNameError, match="did you mean 'CD8'"):
            slide.read_channels(region, ("CD9",))
        with pytest.raises(StainError):
            slide.require_colour()
        shown = slide.read(Region(Box(-10, -10, 20, 20), 0.5))
        assert shown.dtype == np.uint8
        assert (shown[:10] == 0).all()  # outside is black
