"""Cut tiles out of blocks: what the threads of a stream do."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptTileError, SlideError
from coverslip.slides.reader import paste
from coverslip.slides.resample import resample
from coverslip.tiles.blocks import Blocks
from coverslip.tiles.plan import Plan, Window

WHITE = 255


class NormaliserLike(Protocol):
    """What a stream asks of a stain normaliser; those of `coverslip.stain` are ones."""

    def apply(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return `rgb` (…, 3) normalised, in `out` when it is given; each pixel by itself."""
        ...


@dataclass
class Target:
    """Where the tiles of a batch go: `pixels` (n, size, size, 3), `missing` (n,), and what went wrong."""

    start: int
    pixels: NDArray[np.uint8]
    missing: NDArray[np.bool_]
    errors: dict[int, str] = field(default_factory=dict)

    def give_up(self, place: int, error: str) -> None:
        """Mark the tile at `place` as missing."""
        self.pixels[place] = WHITE
        self.missing[place] = True
        self.errors.setdefault(place, error)


class Assembler:
    """Makes tiles of a plan; `fill` may run in several threads at once."""

    def __init__(self, plan: Plan, blocks: Blocks, normaliser: NormaliserLike | None) -> None:
        self._plan, self._blocks, self._normaliser = plan, blocks, normaliser
        self._size = plan.tiles.spec.size
        self._scratch = threading.local()

    def fill(self, target: Target, windows: list[Window]) -> None:
        """Make the tiles of some windows, which follow each other."""
        with Whereabouts(self._plan, windows[0].start, windows[-1].stop):
            for window in windows:
                if self._plan.direct:
                    self._direct(target, window)
                else:
                    self._from_blocks(target, window)
            if self._normaliser is not None:
                places = slice(windows[0].start - target.start, windows[-1].stop - target.start)
                self._normalise(self._normaliser, target, places)

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
        """Read a window and make its tiles: one as it is or resampled, or several cut out of it."""
        first, last = window.start - target.start, window.stop - target.start
        plain = self._plan.plain and window.phase == (0.0, 0.0)
        if plain and last - first == 1:
            wrong = self._gather(window, target.pixels[first])
        else:
            pixels = self._window(window.height, window.width)
            wrong = self._gather(window, pixels)
            if plain:
                target.pixels[first:last] = side_by_side(pixels, last - first, self._plan.step)
            else:
                size = Size(self._size, self._size)
                target.pixels[first] = resample(pixels, size, self._plan.scale, window.phase)
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

    def _gather(self, window: Window, out: NDArray[np.uint8]) -> list[tuple[int, str]]:
        """Copy what the blocks hold of a window to `out`; return columns of bad blocks, and what is wrong."""
        (wide, tall), level = self._plan.block, self._plan.level
        x, y, columns, rows = window.x, window.y, window.columns, window.rows
        one = len(columns) == len(rows) == 1 and out.shape[:2] == (tall, wide)
        if x < 0 or y < 0 or x + out.shape[1] > level.width or y + out.shape[0] > level.height:
            out[...] = WHITE
        elif one and self._blocks.sole(columns[0], rows[0]):
            error = self._blocks.into(columns[0], rows[0], out)
            return [] if error is None else [(columns[0], error)]
        wrong = []
        for row in rows:
            for column in columns:
                block = self._blocks.borrow(column, row)
                if block.pixels is None:
                    wrong.append((column, str(block.error)))
                else:
                    paste(out, block.pixels, column * wide - x, row * tall - y)
                self._blocks.give_back(column, row)
        return wrong

    def _window(self, height: int, width: int) -> NDArray[np.uint8]:
        """Return this thread's scratch array."""
        scratch: NDArray[np.uint8] | None = getattr(self._scratch, "pixels", None)
        if scratch is None or scratch.size < height * width * 3:
            scratch = self._scratch.pixels = np.empty((height + 2) * (width + 2) * 3, np.uint8)
        return scratch[: height * width * 3].reshape(height, width, 3)

    @staticmethod
    def _normalise(normaliser: NormaliserLike, target: Target, places: slice) -> None:
        pixels, missing = target.pixels[places], target.missing[places]
        done = normaliser.apply(pixels, out=pixels)
        if done is not pixels and not np.may_share_memory(done, pixels):
            pixels[...] = done
        if missing.any():
            pixels[missing] = WHITE


def side_by_side(pixels: NDArray[np.uint8], count: int, step: int) -> NDArray[np.uint8]:
    """Return a view (count, h, h, 3) of the squares that start `step` pixels apart in `pixels` (h, w, 3).

    Examples
    --------
    >>> side_by_side(np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 3, 1)[:, 0, 0, 0].tolist()
    [0, 3, 6]
    """
    height = pixels.shape[0]
    down, across, sample = pixels.strides
    shape, strides = (count, height, height, 3), (step * across, down, across, sample)
    return np.lib.stride_tricks.as_strided(pixels, shape, strides, writeable=False)


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
