"""Plan a stream: which blocks of the file each tile needs, and how often each block is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.slides.reader import Level
from coverslip.slides.resample import EXACT
from coverslip.slides.slide import Slide
from coverslip.tiles.grid import Tiles


class Spans(NamedTuple):
    """For one axis, the level pixels that each tile touches (n,), and the blocks that hold them.

    `low` … `high` are the first and last block; ``low > high`` says that the tile lies off the slide.
    """

    first: NDArray[np.int32]
    extent: NDArray[np.int32]
    phase: NDArray[np.float64]
    low: NDArray[np.int32]
    high: NDArray[np.int32]


def on_level(positions: NDArray[np.int32], downsample: float) -> NDArray[np.float64]:
    """Do what `coverslip.slides.resample.on_level` does, for many whole positions at once."""
    there = positions / downsample
    nearest = np.rint(there)
    return np.where(np.abs(there - nearest) * downsample <= 0.5 + EXACT, nearest, there)


def spans(starts: NDArray[np.float64], pixels: int, scale: float) -> tuple[NDArray[np.float64], ...]:
    """Do what `coverslip.slides.resample.span` does, for many positions at once.

    Returns
    -------
    first, count, phase, each (n,).
    """
    slack = EXACT * max(1.0, scale)
    nearest = np.rint(starts)
    begin = np.where(np.abs(starts - nearest) < slack, nearest, starts)
    first = np.floor(begin)
    count = np.maximum(1, np.ceil(begin + pixels * scale - slack) - first)
    return first, count, begin - first


class Part(NamedTuple):
    """What some tiles of the order touch, as plain lists: the inner loop reads them one by one."""

    x: list[int]
    width: list[int]
    phase_x: list[float]
    left: list[int]
    right: list[int]
    y: list[int]
    height: list[int]
    phase_y: list[float]
    top: list[int]
    bottom: list[int]


@dataclass(frozen=True)
class Plan:
    """What to read for `tiles`, in the order of `index`.

    Attributes
    ----------
    level
        The level that is read, chosen as `Slide.read_at` does.
    scale
        Pixels of that level per tile pixel, at least 1 unless the level is finer by rounding only.
    block
        Width and height of the level's blocks.
    """

    slide: Slide
    tiles: Tiles
    index: NDArray[np.int64]
    level: Level
    scale: float
    block: Size

    @classmethod
    def of(cls, slide: Slide, tiles: Tiles, index: NDArray[np.int64]) -> Plan:
        """Plan to read the tiles at `index`, in that order."""
        level = slide.best_level(tiles.downsample)
        scale = tiles.downsample / level.downsample
        return cls(slide, tiles, index, level, scale, slide.reader.block_size(level.index))

    @cached_property
    def across(self) -> Spans:
        """What the tiles touch from left to right."""
        return self._spans(0, self.level.width, self.block.width)

    @cached_property
    def down(self) -> Spans:
        """What the tiles touch from top to bottom."""
        return self._spans(1, self.level.height, self.block.height)

    def _spans(self, axis: int, extent: int, block: int) -> Spans:
        starts = on_level(self.tiles.xy[self.index, axis], self.level.downsample)
        first, count, phase = spans(starts, self.tiles.spec.size, self.scale)
        low = np.maximum(first, 0) // block
        high = (np.minimum(first + count, extent) - 1) // block
        whole = [part.astype(np.int32) for part in (first, count, low, high)]
        return Spans(whole[0], whole[1], phase, whole[2], whole[3])

    @cached_property
    def grid(self) -> Size:
        """Columns and rows of blocks at the level."""
        return Size(-(-self.level.width // self.block.width), -(-self.level.height // self.block.height))

    @cached_property
    def uses(self) -> NDArray[np.int32]:
        """How many tiles touch each block, (rows, columns): corner increments, summed up."""
        columns, rows = self.grid
        change = np.zeros((rows + 1, columns + 1), np.int32)
        on = (self.across.low <= self.across.high) & (self.down.low <= self.down.high)
        left, right = self.across.low[on], self.across.high[on] + 1
        top, bottom = self.down.low[on], self.down.high[on] + 1
        for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(change, (row, column), sign)
        return np.ascontiguousarray(change.cumsum(0).cumsum(1)[:-1, :-1], dtype=np.int32)

    @cached_property
    def windows(self) -> bool:
        """True when reading each tile's window costs fewer pixels than decoding all blocks once."""
        if not self.slide.reader.windows:
            return False
        blocks = np.count_nonzero(self.uses) * self.block.width * self.block.height
        wanted = self.across.extent.astype(np.int64) @ self.down.extent.astype(np.int64)
        return bool(blocks > wanted)

    @property
    def plain(self) -> bool:
        """True when tile pixels are pixels of the level, so that nothing is resampled."""
        return abs(self.scale - 1) < EXACT

    @property
    def reach(self) -> int:
        """Most blocks that one tile touches."""
        if not len(self.index):
            return 0
        wide = self.across.high - self.across.low + 1
        tall = self.down.high - self.down.low + 1
        return int(max(wide.max(), 0) * max(tall.max(), 0))

    def part(self, start: int, stop: int) -> Part:
        """Return what tiles `start` … `stop` of the order touch."""
        return Part(*(field[start:stop].tolist() for spans in (self.across, self.down) for field in spans))
