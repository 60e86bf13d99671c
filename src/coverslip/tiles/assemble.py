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
from coverslip.tiles.plan import Part, Plan

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
        self.errors[place] = error


class Assembler:
    """Makes tiles of a plan; `fill` may run in several threads at once."""

    def __init__(self, plan: Plan, blocks: Blocks, normaliser: NormaliserLike | None) -> None:
        self._plan, self._blocks, self._normaliser = plan, blocks, normaliser
        self._size = plan.tiles.spec.size
        self._scratch = threading.local()

    def fill(self, target: Target, start: int, stop: int) -> None:
        """Make the tiles at places `start` … `stop` of the batch."""
        first = target.start + start
        with Whereabouts(self._plan, first, target.start + stop):
            if self._plan.windows:
                self._by_windows(target, start, stop)
            else:
                part = self._plan.part(first, target.start + stop)
                for place in range(start, stop):
                    error = self._by_blocks(part, place - start, target.pixels[place])
                    if error is not None:
                        target.give_up(place, error)
            if self._normaliser is not None:
                self._normalise(self._normaliser, target, slice(start, stop))

    def _by_windows(self, target: Target, start: int, stop: int) -> None:
        plan = self._plan
        for place in range(start, stop):
            tile = int(plan.index[target.start + place])
            try:
                target.pixels[place] = plan.slide.read_at(plan.tiles.box(tile), plan.tiles.downsample)
            except CorruptTileError as error:
                target.give_up(place, error.message)

    def _by_blocks(self, part: Part, i: int, out: NDArray[np.uint8]) -> str | None:
        """Make one tile; return what went wrong."""
        width, height = part.width[i], part.height[i]
        phase = (part.phase_x[i], part.phase_y[i])
        if self._plan.plain and phase == (0.0, 0.0):
            return self._gather(part, i, out)
        window = self._window(height, width)
        error = self._gather(part, i, window)
        if error is None:
            out[...] = resample(window, Size(self._size, self._size), self._plan.scale, phase)
        return error

    def _gather(self, part: Part, i: int, out: NDArray[np.uint8]) -> str | None:
        """Copy what the blocks hold of a tile's window to `out`."""
        (wide, tall), level = self._plan.block, self._plan.level
        x, y = part.x[i], part.y[i]
        columns, rows = range(part.left[i], part.right[i] + 1), range(part.top[i], part.bottom[i] + 1)
        one = len(columns) == len(rows) == 1 and out.shape[:2] == (tall, wide)
        if x < 0 or y < 0 or x + out.shape[1] > level.width or y + out.shape[0] > level.height:
            out[...] = WHITE
        elif one and self._blocks.sole(columns[0], rows[0]):
            return self._blocks.into(columns[0], rows[0], out)
        wrong = None
        for row in rows:
            for column in columns:
                block = self._blocks.borrow(column, row)
                if block.pixels is None:
                    wrong = wrong or block.error
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
