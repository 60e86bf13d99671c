"""Blocks decoded once, shared by the threads that cut tiles out of them, and then forgotten."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import CorruptTileError
from coverslip.slides.reader import pixel_buffer
from coverslip.tiles.plan import Plan

KEEP_BYTES = 256 * 2**20
"""Decoded blocks kept for later tiles; beyond it a block may be decoded a second time."""


class NormaliserLike(Protocol):
    """What a stream asks of a stain normaliser; those of `coverslip.stain` are ones."""

    def apply(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return `rgb` (…, 3) normalised, in `out` when it is given; each pixel by itself."""
        ...


def normalise(normaliser: NormaliserLike | None, pixels: NDArray[np.uint8]) -> None:
    """Normalise contiguous pixels in place."""
    if normaliser is None:
        return
    done = normaliser.apply(pixels, out=pixels)
    if done is not pixels and not np.may_share_memory(done, pixels):
        pixels[...] = done


def what_is_wrong(plan: Plan, block: tuple[int, int], error: CorruptTileError) -> str:
    """Say which block (column, row) of a plan cannot be decoded, and why."""
    corner = tuple(
        round(number * side * plan.level.downsample) for number, side in zip(block, plan.block, strict=True)
    )
    where = f"block {block} of level {plan.level.index}, at {corner} of level 0"
    return f"{plan.slide.path}: {where}, cannot be decoded: {error.message}"


class Block:
    """One decoded block: `pixels` (h, w, 3), or the `error` that says why there are none."""

    __slots__ = ("buffer", "clock", "error", "gate", "pixels")

    def __init__(self) -> None:
        self.gate = threading.Lock()
        self.gate.acquire()  # released when the block is decoded
        self.pixels: NDArray[np.uint8] | None = None
        self.buffer: NDArray[np.uint8] | None = None
        self.error: str | None = None
        self.clock = 0


class Blocks:
    """The blocks of a plan's level.

    Every tile of the plan borrows each block that it touches once and gives it back. The first borrower
    decodes, a second one waits for it; after the last one the memory is used for the next block. Above
    `keep` bytes, blocks that were not among the last `near` borrowed are dropped and decoded again when
    their turn comes.

    Parameters
    ----------
    keep
        Bytes of decoded blocks to keep.
    near
        Blocks that are kept in any case because tiles close by will want them at once.
    normaliser
        Applied to each block as soon as it is decoded.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        keep: int = KEEP_BYTES,
        near: int = 64,
        normaliser: NormaliserLike | None = None,
    ) -> None:
        self._normaliser = normaliser
        self._reader, self._level, self._plan = plan.slide.reader, plan.level.index, plan
        self._shape = (plan.block.height, plan.block.width, 3)
        self._bytes = 3 * plan.block.height * plan.block.width
        self._most = max(1, keep // self._bytes)
        self._near = near
        self._uses = plan.uses.copy()
        self._lock = threading.Lock()
        self._blocks: dict[tuple[int, int], Block] = {}
        self._free: list[NDArray[np.uint8]] = []
        self._recent: deque[tuple[tuple[int, int], int]] = deque()
        self._clock = 0
        self.decoded = 0

    def sole(self, column: int, row: int) -> bool:
        """Say whether a block has a single borrowing left and is not decoded yet."""
        return self._uses.item(row, column) == 1 and (column, row) not in self._blocks

    def borrow(self, column: int, row: int) -> Block:
        """Return a block, decoding it if nobody has."""
        key = (column, row)
        with self._lock:
            block = self._blocks.get(key)
            if block is None:
                fresh = self._blocks[key] = Block()
                buffer = self._free.pop() if self._free else None
                self.decoded += 1
        if block is None:
            self._decode(fresh, key, buffer)
            return fresh
        if block.gate.locked():
            with block.gate:  # another thread is decoding it
                pass
        return block

    def give_back(self, column: int, row: int) -> None:
        """End one borrowing."""
        key = (column, row)
        with self._lock:
            left = self._uses.item(row, column) - 1
            self._uses[row, column] = left
            block = self._blocks.get(key)
            if block is None:  # dropped for want of memory while it was borrowed
                return
            if left:
                self._trim(key, block)
                return
            del self._blocks[key]
            if block.buffer is not None:
                self._free.append(block.buffer)

    def into(self, column: int, row: int, out: NDArray[np.uint8]) -> str | None:
        """Decode a block of one borrower straight to its place; return what went wrong."""
        with self._lock:
            self.decoded += 1
            self._uses[row, column] = 0
        try:
            pixels = self._reader.block(self._level, column, row, out)
        except CorruptTileError as error:
            return what_is_wrong(self._plan, (column, row), error)
        if not np.may_share_memory(pixels, out):
            out[...] = pixels
        normalise(self._normaliser, out)
        return None

    def _decode(self, block: Block, key: tuple[int, int], buffer: NDArray[np.uint8] | None) -> None:
        block.error = "another error ended the stream"  # what a waiting thread sees if that is how this ends
        try:
            if buffer is None:
                buffer = pixel_buffer(*self._shape)
            pixels = self._reader.block(self._level, *key, buffer)
            block.buffer = buffer if np.may_share_memory(pixels, buffer) else None
            if block.buffer is None or not pixels.flags.c_contiguous:
                pixels = pixels.copy() if self._normaliser else pixels  # may be the reader's own
            normalise(self._normaliser, pixels)
            block.pixels, block.error = pixels, None
        except CorruptTileError as error:
            block.buffer, block.error = buffer, what_is_wrong(self._plan, key, error)
        finally:
            block.gate.release()

    def _trim(self, key: tuple[int, int], block: Block) -> None:
        """Note a borrowing; drop what was borrowed longest ago of the recent ones if there is too much."""
        self._clock += 1
        block.clock = self._clock
        self._recent.append((key, self._clock))
        if len(self._recent) <= self._near:
            return
        oldest, clock = self._recent.popleft()
        old = self._blocks.get(oldest)
        idle = old is not None and old.clock == clock and not old.gate.locked()
        if idle and len(self._blocks) > self._most:
            del self._blocks[oldest]  # its memory is left to whoever may still copy from it
