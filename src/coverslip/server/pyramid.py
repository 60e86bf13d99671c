"""A slide as a viewer asks for it: levels of tiles, each a small picture.

The levels are the file's own where it stores tiles, so that JPEG tiles go out as they are; between and above
them, levels are made by the tile engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptTileError, UsageError
from coverslip.server.shown import AS_STORED, Shown
from coverslip.slides import Slide
from coverslip.slides.reader import Reader
from coverslip.slides.stored import StoresJpeg

TILE = 512
"""Side of tiles where the file has none that serve."""

SMALLEST, LARGEST = 128, 1024
"""Sides of stored tiles that are served as they are."""

STEP = 4.0
"""Largest ratio between levels: beyond it a viewer would fetch too many tiles for one screen."""

LAST = 512
"""The coarsest level is no larger than this, so that a whole slide is one small request."""

QUALITY = 85
"""Of JPEG tiles that are made here."""

JPEG = "image/jpeg"

GREY, LINE = 200, 150
"""A tile that cannot be decoded is grey, with a cross."""


@dataclass(frozen=True, slots=True)
class ServedLevel:
    """A resolution that is served.

    Attributes
    ----------
    index
        0 is the finest.
    width, height
        In pixels of the level.
    downsample
        Level-0 pixels per pixel.
    tile_width, tile_height
        Of all tiles but those at the right and bottom edge, which are cut.
    stored
        The file's own level whose blocks are these tiles; None where they are made.
    """

    index: int
    width: int
    height: int
    downsample: float
    tile_width: int
    tile_height: int
    stored: int | None = None

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        """Tiles in a column."""
        return -(-self.height // self.tile_height)

    def tile_size(self, column: int, row: int) -> Size:
        """Return width and height of a tile."""
        width = min(self.tile_width, self.width - column * self.tile_width)
        return Size(width, min(self.tile_height, self.height - row * self.tile_height))

    def to_dict(self) -> dict[str, Any]:
        """Return what a viewer needs to know."""
        return {
            "index": self.index,
            "width": self.width,
            "height": self.height,
            "downsample": self.downsample,
            "tile_width": self.tile_width,
            "tile_height": self.tile_height,
        }


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture.

    Attributes
    ----------
    data, media_type
        Bytes and what they are.
    damaged
        Why it could not be made of the slide's pixels, or None.
    """

    data: bytes
    media_type: str = JPEG
    damaged: str | None = None


class Pyramid:
    """The tiles of one open slide. Safe to use from several threads.

    Parameters
    ----------
    slide
        An open slide; who opened it closes it.
    """

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self.levels = served_levels(slide)
        self._stores = slide.reader if isinstance(slide.reader, StoresJpeg) and slide.colour else None

    def level(self, index: int) -> ServedLevel:
        """Return a level.

        Raises
        ------
        UsageError
            When there is none of that index.
        """
        if not 0 <= index < len(self.levels):
            raise UsageError(
                f"there is no level {index}", mend=f"this slide has levels 0 to {len(self.levels) - 1}"
            )
        return self.levels[index]

    def check(self, level: int, column: int, row: int) -> ServedLevel:
        """Return the level of a tile that is there.

        Raises
        ------
        UsageError
            When there is no such level or tile.
        """
        found = self.level(level)
        if not (0 <= column < found.columns and 0 <= row < found.rows):
            raise UsageError(
                f"there is no tile {column}, {row} on level {level}",
                mend=f"its columns are 0 to {found.columns - 1}, its rows 0 to {found.rows - 1}",
            )
        return found

    def at_once(self, level: int, column: int, row: int) -> bytes | None:
        """Return a tile's stored JPEG if its bytes are in memory; None where work or waiting is needed.

        Raises
        ------
        UsageError
            When there is no such tile.
        """
        found = self.check(level, column, row)
        if self._stores is None or found.stored is None:
            return None
        try:
            stored = self._stores.stored(found.stored, column, row)
            return None if stored is None else stored.read_at_once()
        except CorruptTileError:
            return None

    def tile(self, level: int, column: int, row: int, *, shown: Shown = AS_STORED) -> Picture:
        """Return a tile as JPEG.

        Raises
        ------
        UsageError
            When there is no such tile.
        """
        found = self.check(level, column, row)
        try:
            if shown.as_stored and (stored := self._stored(found, column, row)) is not None:
                return Picture(stored)
            return Picture(jpeg(shown.coloured(self._pixels(found, column, row, icc=shown.icc))))
        except CorruptTileError as error:
            return Picture(jpeg(crossed(found.tile_size(column, row))), damaged=error.message)

    def _stored(self, level: ServedLevel, column: int, row: int) -> bytes | None:
        if self._stores is None or level.stored is None:
            return None
        stored = self._stores.stored(level.stored, column, row)
        return None if stored is None else stored.read()

    def _pixels(self, level: ServedLevel, column: int, row: int, *, icc: bool) -> NDArray[np.uint8]:
        size = level.tile_size(column, row)
        if level.stored is not None and self.slide.colour and not icc:
            return self.slide.reader.block(level.stored, column, row)[: size.height, : size.width]
        step = level.downsample
        corner = (column * level.tile_width * step, row * level.tile_height * step)
        return self.slide.read_at(Box(*corner, size.width * step, size.height * step), step, icc=icc)


def served_levels(slide: Slide) -> tuple[ServedLevel, ...]:
    """Return the levels of a slide as they are served: stored ones, and made ones where a step is missing."""
    found: list[ServedLevel] = []
    width, height = slide.size
    steps = [level.downsample for level in slide.levels]
    for level, following in zip(slide.levels, [*steps[1:], math.inf], strict=True):
        tile = native_tile(slide.reader, level.index)
        side = tile or Size(TILE, TILE)
        stored = None if tile is None else level.index
        found.append(
            ServedLevel(len(found), level.width, level.height, level.downsample, *side, stored=stored)
        )
        step = level.downsample
        while following / step > STEP and max(width, height) / step > LAST:
            step *= 2
            size = Size(max(1, math.floor(width / step)), max(1, math.floor(height / step)))
            found.append(ServedLevel(len(found), *size, step, TILE, TILE))
    return tuple(found)


def native_tile(reader: Reader, level: int) -> Size | None:
    """Return the size of a level's blocks when they serve as tiles."""
    block = reader.block_size(level)
    serves = min(block) >= SMALLEST and max(block) <= LARGEST and not reader.windows
    return block if serves else None


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode RGB pixels (h, w, 3)."""
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=QUALITY, subsampling="420"))


def smaller(picture: bytes, shown: Size, side: int) -> bytes:
    """Return the part of a JPEG that is shown, with its longer side `side` pixels or less."""
    import cv2
    import imagecodecs

    pixels = imagecodecs.jpeg8_decode(picture)[: shown.height, : shown.width]
    ratio = min(1.0, side / max(shown))
    size = max(1, round(shown.width * ratio)), max(1, round(shown.height * ratio))
    return jpeg(np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)))


def crossed(size: Size) -> NDArray[np.uint8]:
    """Return a grey picture with a cross: here is something that cannot be shown."""
    import cv2

    picture = np.full((size.height, size.width, 3), GREY, np.uint8)
    right, bottom = size.width - 1, size.height - 1
    cv2.line(picture, (0, 0), (right, bottom), (LINE,) * 3, 2)
    cv2.line(picture, (0, bottom), (right, 0), (LINE,) * 3, 2)
    return picture
