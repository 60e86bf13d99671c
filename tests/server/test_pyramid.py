"""Served levels and tiles: what a viewer puts together is the slide."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from coverslip import open_slide
from coverslip.core.errors import UsageError
from coverslip.server.pyramid import LAST, STEP, Pyramid

Picture = Callable[[int, int], np.ndarray]
Write = Callable[..., Path]


def put_together(pyramid: Pyramid, index: int) -> np.ndarray:
    level = pyramid.level(index)
    whole = np.zeros((level.height, level.width, 3), np.uint8)
    for row in range(level.rows):
        for column in range(level.columns):
            tile = imagecodecs.jpeg8_decode(pyramid.tile(index, column, row).data)
            size = level.tile_size(column, row)
            assert tile.shape == (size.height, size.width, 3)
            y, x = row * level.tile_height, column * level.tile_width
            whole[y : y + size.height, x : x + size.width] = tile
    return whole


@pytest.mark.parametrize("tile", [256, None], ids=["tiled", "stripped"])
def test_every_level_is_the_slide(tmp_path: Path, picture: Picture, tile: int | None) -> None:
    path = tmp_path / "a.tif"
    options = {"tile": (tile, tile), "compression": "jpeg"} if tile else {}
    tifffile.imwrite(path, picture(1500, 2100), photometric="rgb", **options)
    with open_slide(path, mpp=0.5) as slide:
        pyramid = Pyramid(slide)
        assert [round(level.downsample, 3) for level in pyramid.levels] == [1, 2, 4, 8]
        for level in pyramid.levels:
            box_mean = slide.thumbnail(2100) if level.index == 0 else None
            shown = put_together(pyramid, level.index).astype(int)
            if box_mean is not None:
                assert np.abs(shown - box_mean).mean() < 4
            small = picture(1500, 2100)[:: int(level.downsample), :: int(level.downsample)]
            small = small[: shown.shape[0], : shown.shape[1]]
            assert np.abs(shown - small).mean() < 12, f"level {level.index} shows something else"


def test_steps_are_small_and_the_last_level_too(tmp_path: Path, jpeg_slide: Write) -> None:
    with open_slide(jpeg_slide(tmp_path / "a.tif", 3000, 9000), mpp=0.5) as slide:
        levels = Pyramid(slide).levels
    steps = [b.downsample / a.downsample for a, b in itertools.pairwise(levels)]
    assert max(steps) <= STEP
    assert max(levels[-1].width, levels[-1].height) <= LAST


def test_a_place_that_is_not_there_is_refused(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        pyramid = Pyramid(slide)
        for place in [(0, 9, 0), (0, 0, 6), (9, 0, 0), (-1, 0, 0), (0, -1, 0)]:
            with pytest.raises(UsageError, match="there is no"):
                pyramid.tile(*place)


def test_stored_bytes_are_sent_as_they_are(slide_path: Path) -> None:
    with tifffile.TiffFile(slide_path) as tif:
        page = tif.pages[0]
        stored = slide_path.read_bytes()[page.dataoffsets[1] :][: page.databytecounts[1]]
    with open_slide(slide_path) as slide:
        sent = Pyramid(slide).tile(0, 1, 0).data
    assert sent.endswith(stored[2:])
    assert len(sent) < len(stored) + 1000


def test_damage_is_a_grey_cross_and_the_rest_is_fine(tmp_path: Path, jpeg_slide: Write) -> None:
    path = jpeg_slide(tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages[0].dataoffsets[1], tif.pages[0].databytecounts[1]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * count)
    with open_slide(path) as slide:
        pyramid = Pyramid(slide)
        assert pyramid.at_once(0, 1, 0) is None
        damaged, fine = pyramid.tile(0, 1, 0), pyramid.tile(0, 2, 0)
    assert damaged.damaged is not None
    assert fine.damaged is None
    pixels = imagecodecs.jpeg8_decode(damaged.data)
    assert abs(int(np.median(pixels)) - 200) < 3
    assert pixels[128, 128].mean() < 180, "the cross"
