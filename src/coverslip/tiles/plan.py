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

RUN = 8
"""Most neighbours that are cut out of one window."""


class Spans(NamedTuple):
    """For one axis, the level pixels that each window touches (n,), and the blocks that hold them.

    `low` … `high` are the first and last block; ``low > high`` says that the window lies off the slide.
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


class Window(NamedTuple):
    """A rectangle of level pixels to read, and the tiles of the order that lie in it.

    `columns` and `rows` are the blocks that hold it. More than one tile lie side by side, `Plan.step` apart.
    """

    start: int
    stop: int
    x: int
    y: int
    width: int
    height: int
    phase: tuple[float, float]
    columns: range
    rows: range


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
    batch_size
        Windows hold tiles of one batch only.
    """

    slide: Slide
    tiles: Tiles
    index: NDArray[np.int64]
    batch_size: int
    level: Level
    scale: float
    block: Size

    @classmethod
    def of(cls, slide: Slide, tiles: Tiles, index: NDArray[np.int64], batch_size: int = 64) -> Plan:
        """Plan to read the tiles at `index`, in that order."""
        level = slide.best_level(tiles.downsample)
        scale = tiles.downsample / level.downsample
        return cls(slide, tiles, index, batch_size, level, scale, slide.reader.block_size(level.index))

    @property
    def plain(self) -> bool:
        """True when tile pixels are pixels of the level, so that nothing is resampled."""
        return abs(self.scale - 1) < EXACT

    @property
    def step(self) -> int:
        """Pixels from one tile of a window to the next."""
        return self.tiles.spec.step

    @cached_property
    def runs(self) -> NDArray[np.int64]:
        """Where in the order the tiles of each window start, and the end (m + 1,).

        Neighbours that touch or overlap share a window: its blocks are asked for once.
        """
        count = len(self.index)
        place = np.arange(count)
        if self.plain and self.step <= self.tiles.spec.size and count:
            x, _, phase_x = self.tile_spans(0)
            y, _, phase_y = self.tile_spans(1)
            joined = np.zeros(count, np.bool_)
            joined[1:] = (np.diff(x) == self.step) & (np.diff(y) == 0)
            joined &= (phase_x == 0) & (phase_y == 0) & (place % self.batch_size != 0)
            begin = np.maximum.accumulate(np.where(joined, 0, place))
            place = np.flatnonzero((place - begin) % RUN == 0)
        return np.append(place, count).astype(np.int64)

    def tile_spans(self, axis: int) -> tuple[NDArray[np.float64], ...]:
        """Return what `spans` does, of the tiles along an axis, on the level."""
        starts = on_level(self.tiles.xy[self.index, axis], self.level.downsample)
        return spans(starts, self.tiles.spec.size, self.scale)

    @cached_property
    def across(self) -> Spans:
        """What the windows touch from left to right."""
        return self._spans(0, (np.diff(self.runs) - 1) * self.step, self.block.width)

    @cached_property
    def down(self) -> Spans:
        """What the windows touch from top to bottom."""
        return self._spans(1, np.int64(0), self.block.height)

    def _spans(self, axis: int, more: NDArray[np.int64] | np.int64, block: int) -> Spans:
        first, extent, phase = (part[self.runs[:-1]] for part in self.tile_spans(axis))
        extent = extent + more
        limit = self.level.height if axis else self.level.width
        low = np.maximum(first, 0) // block
        high = (np.minimum(first + extent, limit) - 1) // block
        whole = [part.astype(np.int32) for part in (first, extent, low, high)]
        return Spans(whole[0], whole[1], phase, whole[2], whole[3])

    @cached_property
    def grid(self) -> Size:
        """Columns and rows of blocks at the level."""
        return Size(-(-self.level.width // self.block.width), -(-self.level.height // self.block.height))

    @cached_property
    def uses(self) -> NDArray[np.int32]:
        """How many windows touch each block, (rows, columns): corner increments, summed up."""
        columns, rows = self.grid
        change = np.zeros((rows + 1, columns + 1), np.int32)
        on = (self.across.low <= self.across.high) & (self.down.low <= self.down.high)
        left, right = self.across.low[on], self.across.high[on] + 1
        top, bottom = self.down.low[on], self.down.high[on] + 1
        for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(change, (row, column), sign)
        return np.ascontiguousarray(change.cumsum(0).cumsum(1)[:-1, :-1], dtype=np.int32)

    @cached_property
    def direct(self) -> bool:
        """True when reading the windows one by one costs fewer pixels than decoding all blocks once."""
        if not self.slide.reader.windows:
            return False
        blocks = np.count_nonzero(self.uses) * self.block.width * self.block.height
        wanted = self.across.extent.astype(np.int64) @ self.down.extent.astype(np.int64)
        return bool(blocks > wanted)

    @cached_property
    def copied(self) -> bool:
        """True when most tiles are copied out of blocks: they are neither resampled nor blocks themselves."""
        if not self.plain:
            return False
        size = self.tiles.spec.size
        if self.step < size or self.block != Size(size, size):
            return True
        whole = (self.across.first % size == 0) & (self.down.first % size == 0)
        return bool(np.count_nonzero(whole) < 0.5 * len(whole))

    @cached_property
    def normalised_early(self) -> bool:
        """True when normalising blocks is less work than normalising tiles, or little more.

        A block is at hand in the cache when it is decoded. Means of colours must be taken first.
        """
        if not self.plain or self.direct or self.across.phase.any() or self.down.phase.any():
            return False
        blocks = np.count_nonzero(self.uses) * self.block.width * self.block.height
        return bool(blocks <= 1.25 * len(self.index) * self.tiles.spec.size**2)

    @property
    def reach(self) -> int:
        """Most blocks that one window touches."""
        if not len(self.index):
            return 0
        wide = self.across.high - self.across.low + 1
        tall = self.down.high - self.down.low + 1
        return int(max(wide.max(), 0) * max(tall.max(), 0))

    def windows(self, start: int, stop: int) -> list[Window]:
        """Return the windows of the tiles `start` … `stop` of the order, which begin and end with one."""
        low, high = np.searchsorted(self.runs, (start, stop)).tolist()
        bounds = self.runs[low : high + 1].tolist()
        parts = [field[low:high].tolist() for spans in (self.across, self.down) for field in spans]
        return [
            Window(first, last, x, y, width, height, (px, py), range(left, right + 1), range(top, bottom + 1))
            for first, last, x, width, px, left, right, y, height, py, top, bottom in zip(
                bounds[:-1], bounds[1:], *parts, strict=True
            )
        ]
