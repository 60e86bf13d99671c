"""Cut tiles out of blocks: what the threads of a stream do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptTileError, SlideError
from coverslip.slides.resample import resample
from coverslip.tiles.blocks import Blocks, NormaliserLike, normalise
from coverslip.tiles.plan import Plan, Window

WHITE = 255

MANY = 512
"""From so many tiles on, copying past the cache is worth the 0.5 s that its compiled code takes to load."""


GROUP = 8
"""Neighbouring tiles that one thread makes in a row: their common blocks are then still in its cache."""

Cut = Callable[[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int], int], None]


@dataclass
class Target:
    """Where the tiles of a batch go: `pixels` (n, size, size, 3), `missing` (n,), and what went wrong."""

    start: int
    pixels: NDArray[np.uint8]
    missing: NDArray[np.bool_]
    errors: dict[int, str] = field(default_factory=dict)

    def give_up(self, place: int, error: str) -> None:
        """Mark the tile at `place` as missing."""
        self.missing[place] = True
        self.errors.setdefault(place, error)

    def whiten(self) -> None:
        """Make missing tiles white, whatever was written to them."""
        if self.missing.any():
            self.pixels[self.missing] = WHITE


def beyond(normaliser: NormaliserLike | None) -> NDArray[np.uint8]:
    """Return the colour beyond the slide's edge, (3,): white, as the normaliser makes it."""
    white = np.full((1, 1, 3), WHITE, np.uint8)
    normalise(normaliser, white)
    colour: NDArray[np.uint8] = white[0, 0]
    return colour


def grouped(windows: list[Window]) -> list[list[Window]]:
    """Split windows into pieces of work of about `GROUP` tiles."""
    groups: list[list[Window]] = [[]]
    for window in windows:
        if groups[-1] and window.stop - groups[-1][0].start > GROUP:
            groups.append([])
        groups[-1].append(window)
    return groups


class Assembler:
    """Makes tiles of a plan; `fill` may run in several threads at once."""

    ahead = 0

    def __init__(self, plan: Plan, blocks: Blocks, normaliser: NormaliserLike | None) -> None:
        self._plan, self._blocks, self._normaliser = plan, blocks, normaliser
        self._size = plan.tiles.spec.size
        self._scratch = threading.local()
        self._late = normaliser is not None and not plan.normalised_early
        self.past = plan.copied and len(plan.index) >= MANY and not self._late
        """True when pixels are copied to the batch past the cache."""

    def last(self, batch: int) -> int:
        """Return the last batch that the work for `batch` writes to: itself."""
        return batch

    def begin(self, target: Target) -> None:
        """Do nothing: work names its batch."""

    def work(self, target: Target, threads: int) -> list[Callable[[], None]]:  # noqa: ARG002 - as `Dealer.work`
        """Return pieces of work; the batch is done when they are."""
        windows = self._plan.windows(target.start, target.start + len(target.missing))
        return [partial(self.fill, target, group) for group in grouped(windows)]

    def end(self, target: Target) -> None:
        """Finish a batch that is done."""
        target.whiten()

    def fill(self, target: Target, windows: list[Window]) -> None:
        """Make the tiles of some windows, which follow each other."""
        with Whereabouts(self._plan, windows[0].start, windows[-1].stop):
            for window in windows:
                if self._plan.direct:
                    self._direct(target, window)
                else:
                    self._from_blocks(target, window)
            if self._late:
                made = slice(windows[0].start - target.start, windows[-1].stop - target.start)
                normalise(self._normaliser, target.pixels[made])

    def _direct(self, target: Target, window: Window) -> None:
        plan = self._plan
        for place in range(window.start, window.stop):
            tile = int(plan.index[place])
            try:
                pixels = plan.slide.read_at(plan.tiles.box(tile), plan.tiles.downsample)
                target.pixels[place - target.start] = pixels
            except CorruptTileError as error:
                target.give_up(place - target.start, error.message)

    def _from_blocks(self, target: Target, window: Window) -> None:
        """Make the tiles of a window: copied out of its blocks, or resampled."""
        tiles = target.pixels[window.start - target.start : window.stop - target.start]
        if self._plan.plain and window.phase == (0.0, 0.0):
            wrong = self._share_out(window, tiles, cut_past if self.past else cut)
        else:
            pixels = self._window(window.height, window.width)
            wrong = self._share_out(window, pixels[None], cut)
            if not wrong:
                size = Size(self._size, self._size)
                resample(pixels, size, self._plan.scale, window.phase, out=tiles[0])
        for column, error in wrong:
            self._give_up(target, window, column, error)

    def _give_up(self, target: Target, window: Window, column: int, error: str) -> None:
        """Mark the tiles of a window that touch a column of blocks."""
        wide = self._plan.block.width
        for place in range(window.start, window.stop):
            x = window.x + (place - window.start) * self._plan.step
            width = window.width if window.stop - window.start == 1 else self._size
            if column * wide < x + width and (column + 1) * wide > x:
                target.give_up(place - target.start, error)

    def _share_out(self, window: Window, tiles: NDArray[np.uint8], copy: Cut) -> list[tuple[int, str]]:
        """Copy what the blocks of a window hold to `tiles` (n, h, w, 3), which lie `Plan.step` pixels apart.

        Parameters
        ----------
        copy
            `cut` or `cut_past`.

        Returns
        -------
        Columns of bad blocks, and what is wrong with them.
        """
        (wide, tall), level = self._plan.block, self._plan.level
        x, y = window.x, window.y
        inside = x >= 0 <= y and x + window.width <= level.width and y + window.height <= level.height
        if not inside:
            tiles[...] = self._beyond
        wrong = []
        for row in window.rows:
            for column in window.columns:
                at = column * wide - x, row * tall - y
                error = self._whole(column, row, at, tiles) if inside else None
                if error is None:
                    block = self._blocks.borrow(column, row)
                    if block.pixels is None:
                        error = block.error
                    else:
                        copy(block.pixels, tiles, at, self._plan.step)
                    self._blocks.give_back(column, row)
                if error:
                    wrong.append((column, error))
        return wrong

    def _whole(self, column: int, row: int, at: tuple[int, int], tiles: NDArray[np.uint8]) -> str | None:
        """Decode a block straight into the tile that it alone fills, and return "" or what went wrong.

        None when there is no such tile.
        """
        (wide, tall), (place, off) = self._plan.block, divmod(at[0], self._plan.step)
        fits = off == 0 and at[1] == 0 and tiles.shape[1:3] == (tall, wide) and 0 <= place < len(tiles)
        if not fits or self._plan.step < wide or not self._blocks.sole(column, row):
            return None
        return self._blocks.into(column, row, tiles[place]) or ""

    def _window(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return this thread's scratch array."""
        scratch: NDArray[np.uint8] | None = getattr(self._scratch, "pixels", None)
        if scratch is None or scratch.size < height * width * 3:
            scratch = self._scratch.pixels = np.empty((height + 2) * (width + 2) * 3, np.uint8)
        return scratch[: height * width * 3].reshape(height, width, 3)

    @cached_property
    def _beyond(self) -> NDArray[np.uint8]:
        return beyond(None if self._late else self._normaliser)


def cut(block: NDArray[np.uint8], tiles: NDArray[np.uint8], at: tuple[int, int], step: int) -> None:
    """Copy a block to all `tiles` (n, h, w, 3) that it touches.

    Parameters
    ----------
    at
        Corner (x, y) of the block, seen from the first tile's; the others follow to the right.
    step
        Pixels from one tile to the next.

    Examples
    --------
    >>> tiles = np.zeros((2, 1, 3, 1), np.uint8)
    >>> cut(np.array([[[1], [2], [3]]], np.uint8), tiles, (1, 0), 2)
    >>> tiles[..., 0].tolist()
    [[[0, 1, 2]], [[2, 3, 0]]]
    """
    (left, top), (high, wide) = at, block.shape[:2]
    count, height, width = tiles.shape[:3]
    first, last = max(top, 0), min(top + high, height)
    if first >= last:  # the level ends above the tiles
        return
    for place in range(max(0, (left - width) // step + 1), min(count, (left + wide - 1) // step + 1)):
        shift = left - place * step
        begin, end = max(shift, 0), min(shift + wide, width)
        tiles[place, first:last, begin:end] = block[first - top : last - top, begin - shift : end - shift]


def cut_past(block: NDArray[np.uint8], tiles: NDArray[np.uint8], at: tuple[int, int], step: int) -> None:
    """Do what `cut` does, past the cache: for tiles that are not read at once."""
    from coverslip.tiles import kernels

    usable = block.strides[1:] == (3, 1) and block.flags.writeable  # as the kernel was compiled for
    kernels.cut_past(block if usable else block.copy(), tiles, *at, step)


class Whereabouts(AbstractContextManager["Whereabouts"]):
    """Adds slide and region to whatever goes wrong while tiles `first` … `stop` of the order are made."""

    def __init__(self, plan: Plan, first: int, stop: int) -> None:
        self._plan, self._places = plan, (first, stop)

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        plan, (first, stop) = self._plan, self._places
        index = plan.index[first:stop]
        low = plan.tiles.xy[index].min(axis=0).tolist()
        high = (plan.tiles.xy[index].max(axis=0) + plan.tiles.side_px).tolist()
        where = f"{plan.slide.path}: tiles {index[0]} to {index[-1]} between {low} and {high} of level 0"
        if isinstance(error, OSError):
            raise SlideError(f"{where} cannot be read: {error}", mend=getattr(error, "mend", None)) from error
        error.add_note(f"while reading {where}")
