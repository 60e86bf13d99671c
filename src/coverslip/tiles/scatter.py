"""Deal blocks out to tiles: each is decoded once into the cache and copied at once to all tiles over it.

Decoded blocks that wait for their tiles lie in memory and must be read again; dealt out while they are in the
cache, they never do. Batches must therefore be begun as far ahead as a block reaches: a row of tiles or two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CorruptTileError
from coverslip.slides.reader import address, pixel_buffer
from coverslip.tiles.assemble import MANY, Target, Whereabouts, beyond, cut
from coverslip.tiles.blocks import NormaliserLike, normalise, what_is_wrong
from coverslip.tiles.plan import Plan

PIECE = 16
"""Most blocks that one thread deals out in a row."""

MOST_PAIRS = 1 << 23
"""Of more pairs of a block and a tile no list is made: it takes some tens of bytes a pair in the making."""


class Pairs(NamedTuple):
    """Which tiles lie over which blocks.

    Blocks are in the order in which tiles need them first; block ``b`` has the places (in the order of the
    plan) ``place[start[b] : start[b + 1]]``, rising.
    """

    column: NDArray[np.int32]
    row: NDArray[np.int32]
    start: NDArray[np.int64]
    place: NDArray[np.int32]

    @classmethod
    def of(cls, xy: NDArray[np.int32], plan: Plan) -> Self:
        """Pair the blocks of a plan with tiles at level pixels `xy` (n, 2)."""
        (left, across), (top, down) = _blocks(xy[:, 0], plan, 0), _blocks(xy[:, 1], plan, 1)
        count = (across * down).astype(np.int64)
        place = np.repeat(np.arange(len(xy), dtype=np.int32), count)
        within = np.arange(len(place), dtype=np.int64) - np.repeat(count.cumsum() - count, count)
        wide = across[place]
        row, column = top[place] + (within // wide), left[place] + (within % wide)
        block = row * plan.grid.width + column
        order = np.argsort(block, kind="stable")
        block, place = block[order], place[order]
        start = np.flatnonzero(np.diff(block, prepend=-1))
        return cls._first_needed_first(block[start], start, place, plan.grid.width)

    @classmethod
    def _first_needed_first(
        cls, block: NDArray[np.int64], start: NDArray[np.int64], place: NDArray[np.int32], columns: int
    ) -> Self:
        length = np.diff(start, append=len(place))
        order = np.argsort(place[start], kind="stable")
        begin = np.append(0, length[order].cumsum()).astype(np.int64)
        moved = np.repeat(start[order] - begin[:-1], length[order]) + np.arange(len(place))
        row, column = np.divmod(block[order], columns)
        return cls(column.astype(np.int32), row.astype(np.int32), begin, place[moved])


def _blocks(start: NDArray[np.int32], plan: Plan, axis: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the first block that each tile touches along an axis, and how many."""
    side, limit = plan.block[axis], plan.level.height if axis else plan.level.width
    first = np.maximum(start, 0) // side
    last = (np.minimum(start + plan.tiles.spec.size, limit) - 1) // side
    return first.astype(np.int32), np.maximum(last - first + 1, 0).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Deal:
    """What to deal out, worked out before any pixel is read.

    Attributes
    ----------
    xy
        Where tiles start on the level, (n, 2).
    first
        For each batch its first new block, and the number of blocks at the end (batches + 1,).
    last
        For each batch the last one that its new blocks, or those of batches before it, reach (batches,).
    """

    plan: Plan
    xy: NDArray[np.int32]
    pairs: Pairs
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @classmethod
    def of(cls, plan: Plan) -> Deal | None:
        """Work it out; None for tiles that are not plain copies of the level's pixels, and for too many."""
        if not plan.plain or plan.direct or not len(plan.index):
            return None
        (x, _, phase_x), (y, _, phase_y) = plan.tile_spans(0), plan.tile_spans(1)
        per_tile = np.prod([1 + -(-plan.tiles.spec.size // side) for side in plan.block])
        if phase_x.any() or phase_y.any() or len(x) * per_tile > MOST_PAIRS:
            return None
        xy = np.stack([x, y], axis=1).astype(np.int32)
        pairs = Pairs.of(xy, plan)
        batches = -(-len(x) // plan.batch_size)
        needed = pairs.place[pairs.start[:-1]] // plan.batch_size
        first = np.searchsorted(needed, np.arange(batches + 1))
        last = np.arange(batches)
        np.maximum.at(last, needed, pairs.place[pairs.start[1:] - 1] // plan.batch_size)
        return cls(plan, xy, pairs, first, np.maximum.accumulate(last))

    def most_at_once(self, depth: int) -> int:
        """Return how many batches are in memory at once when `depth` are worked on."""
        batches = len(self.last)
        busy = np.flatnonzero(np.diff(self.first))
        oldest = np.arange(batches)
        newest = np.append(busy, [batches - 1] * depth)[np.searchsorted(busy, oldest) + depth - 1]
        return int((self.last[np.maximum(newest, oldest)] - oldest).max()) + 1


class Dealer:
    """Makes the tiles of a deal; the work that it gives may run in several threads at once."""

    def __init__(self, deal: Deal, normaliser: NormaliserLike | None, ahead: int) -> None:
        self.ahead = ahead
        self._deal, self._plan, self._normaliser = deal, deal.plan, normaliser
        self._local = threading.local()
        self._targets: dict[int, Target] = {}
        self._addresses = np.zeros(len(deal.last), np.int64)
        self._past = _dealing_past() if len(deal.xy) >= MANY else None
        self._block, self._level = self._plan.slide.reader.block, self._plan.level.index
        self._alike = self._plan.block == (self._plan.tiles.spec.size, self._plan.tiles.spec.size)
        self.past = self._plan.copied and self._past is not None
        """True when pixels are copied to the batch past the cache."""

    def last(self, batch: int) -> int:
        """Return the last batch that the work for `batch` writes to."""
        return int(self._deal.last[batch])

    def begin(self, target: Target) -> None:
        """Take the memory of a batch; its work, and that of earlier ones, may then begin."""
        number, stop = target.start // self._plan.batch_size, target.start + len(target.missing)
        self._targets[number] = target
        self._addresses[number] = address(target.pixels)
        x, y = self._deal.xy[target.start : stop].T
        far, level = self._plan.tiles.spec.size, self._plan.level
        outside = (x < 0) | (y < 0) | (x + far > level.width) | (y + far > level.height)
        if outside.any():
            target.pixels[outside] = beyond(self._normaliser)

    def work(self, target: Target, threads: int) -> list[Callable[[], None]]:
        """Return pieces of work; a batch is done when its own and those of all earlier batches are."""
        first, stop = self._deal.first[target.start // self._plan.batch_size :][:2].tolist()
        step = min(PIECE, max(1, -(-(stop - first) // (2 * threads))))
        return [partial(self._fill, begin, min(begin + step, stop)) for begin in range(first, stop, step)]

    def end(self, target: Target) -> None:
        """Let go of a batch that is done."""
        del self._targets[target.start // self._plan.batch_size]
        target.whiten()

    def _fill(self, first: int, stop: int) -> None:
        """Decode some blocks and deal them out."""
        pairs, size = self._deal.pairs, self._plan.block
        bounds = pairs.start[first : stop + 1].tolist()
        columns, rows = pairs.column[first:stop].tolist(), pairs.row[first:stop].tolist()
        places = pairs.place[bounds[0] : bounds[-1]]
        with Whereabouts(self._plan, int(places.min()), int(places.max()) + 1):
            for column, row, begin, end in zip(columns, rows, bounds[:-1], bounds[1:], strict=True):
                corner = column * size.width, row * size.height
                place = self._filled(begin, corner) if end - begin == 1 else None
                try:
                    pixels = self._read(column, row, self._buffer() if place is None else place)
                except CorruptTileError as error:
                    self._give_up((begin, end), what_is_wrong(self._plan, (column, row), error))
                    continue
                if pixels is not place:
                    self._deal_out(pixels, (begin, end), corner)

    def _read(self, column: int, row: int, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a block in its final colours; `out` itself if it lies there and fills it."""
        pixels = self._block(self._level, column, row, out)
        if pixels is out and self._normaliser is None:
            return out
        if pixels.shape == out.shape and np.may_share_memory(pixels, out):
            pixels = out
        elif self._normaliser is not None:
            pixels = pixels.copy()  # may be the reader's own, or cut
        normalise(self._normaliser, pixels)
        return pixels

    def _filled(self, pair: int, corner: tuple[int, int]) -> NDArray[np.uint8] | None:
        """Return the pixels of the one tile over a block if the block fills them exactly, else None."""
        place = self._deal.pairs.place.item(pair)
        (x, y), (wide, tall), level = corner, self._plan.block, self._plan.level
        whole = self._alike and x + wide <= level.width and y + tall <= level.height
        if not whole or corner != tuple(self._deal.xy[place].tolist()):
            return None
        batch, within = divmod(place, self._plan.batch_size)
        tile: NDArray[np.uint8] = self._targets[batch].pixels[within]
        return tile

    def _deal_out(self, block: NDArray[np.uint8], pairs: tuple[int, int], corner: tuple[int, int]) -> None:
        """Copy a block to the tiles of its pairs."""
        deal, batch_size, places = self._deal, self._plan.batch_size, self._deal.pairs.place[slice(*pairs)]
        if self._past is not None:
            whole = block if block.strides[1:] == (3, 1) else block.copy()
            own = getattr(self._local, "block", None) is block
            at = self._local.at if own else address(whole)
            into = (self._addresses, batch_size, self._plan.tiles.spec.size)
            self._past((at, whole.strides[0], *whole.shape[:2]), corner, places, deal.xy, *into)
            return
        for place in places.tolist():
            batch, within = divmod(place, batch_size)
            offset = corner[0] - deal.xy.item(place, 0), corner[1] - deal.xy.item(place, 1)
            cut(block, self._targets[batch].pixels[within : within + 1], offset, 1)

    def _give_up(self, pairs: tuple[int, int], error: str) -> None:
        for place in self._deal.pairs.place[slice(*pairs)].tolist():
            batch, within = divmod(place, self._plan.batch_size)
            self._targets[batch].give_up(within, error)

    def _buffer(self) -> NDArray[np.uint8]:
        """Return this thread's memory for one block."""
        found: NDArray[np.uint8] | None = getattr(self._local, "block", None)
        if found is None:
            found = self._local.block = pixel_buffer(self._plan.block.height, self._plan.block.width)
            self._local.at = address(found)
        return found


def _dealing_past() -> Callable[..., None]:
    """Return the compiled copy past the cache; loading it takes a while."""
    from coverslip.tiles.kernels import deal_out

    return deal_out
