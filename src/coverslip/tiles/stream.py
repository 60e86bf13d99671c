"""The one loop that reads tiles: each block decoded once, in threads, in a fixed order and bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.slides.slide import Slide
from coverslip.tiles.assemble import Assembler, Target
from coverslip.tiles.blocks import KEEP_BYTES, Blocks, NormaliserLike
from coverslip.tiles.buffers import Pool
from coverslip.tiles.grid import Tiles
from coverslip.tiles.plan import Plan, Window
from coverslip.tiles.shuffle import POOL_TILES, shuffled

GROUP = 8
"""Neighbouring tiles that one thread makes in a row: their common blocks are then still in its cache."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some tiles of a stream.

    Attributes
    ----------
    index
        Which of the tiles, (n,) int64.
    pixels
        (n, size, size, 3) uint8. Yours to keep and to change.
    missing
        True for tiles that touch a damaged block, (n,); their pixels are white.
    errors
        What was wrong, each said once.
    """

    index: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    missing: NDArray[np.bool_]
    errors: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)


def stream(
    slide: Slide,
    tiles: Tiles,
    *,
    batch_size: int = 64,
    threads: int = 2,
    normaliser: NormaliserLike | None = None,
    depth: int = 3,
    shuffle: int | None = None,
) -> Iterator[Batch]:
    """Read tiles, pixel for pixel as `Slide.read_at` does, as fast as their blocks can be decoded.

    Parameters
    ----------
    batch_size
        Tiles per batch; the last one may have fewer.
    threads
        Threads that decode. They do not hold the interpreter's lock while they do.
    normaliser
        Applied in these threads to all pixels, also beyond the slide's edge; missing tiles stay white.
    depth
        Batches that are made ahead; memory is about ``(depth + 2) · batch_size`` tiles and 256 MiB of blocks.
    shuffle
        A seed: tiles come at random, near ones near in time so that blocks are still decoded once
        (see `coverslip.tiles.shuffle`). None: in the order of `tiles`.

    Yields
    ------
    Batch
        In a fixed order, whatever the threads do.

    Raises
    ------
    StainError
        When the slide is not 8-bit colour.
    UsageError
        When a number is below 1.
    SlideError
        When the file cannot be read (a damaged block only marks the tiles that touch it).
    """
    for name, value in (("batch_size", batch_size), ("threads", threads), ("depth", depth)):
        if value < 1:
            raise UsageError(f"{name} {value} is too small: expected 1 or more")
    slide.require_colour()
    order = np.arange(len(tiles), dtype=np.int64) if shuffle is None else shuffled(tiles, shuffle)
    plan = Plan.of(slide, tiles, order, batch_size)
    keep = KEEP_BYTES if shuffle is None else KEEP_BYTES // 2
    near = 4 * plan.reach + GROUP * threads if shuffle is None else max(4 * plan.reach, POOL_TILES)
    # a few blocks of 4096 px fill the memory that hundreds of 256 px take
    near = min(near, max(2 * plan.reach, keep // (3 * plan.block.width * plan.block.height)))
    early = normaliser if plan.normalised_early else None
    assembler = Assembler(plan, Blocks(plan, keep=keep, near=near, normaliser=early), normaliser)
    return _batches(plan, assembler, threads, depth=depth)


def grouped(windows: list[Window]) -> list[list[Window]]:
    """Split windows into pieces of work of about `GROUP` tiles."""
    groups: list[list[Window]] = [[]]
    for window in windows:
        if groups[-1] and window.stop - groups[-1][0].start > GROUP:
            groups.append([])
        groups[-1].append(window)
    return groups


def _batches(plan: Plan, assembler: Assembler, threads: int, *, depth: int) -> Iterator[Batch]:
    """Keep `depth` batches in the making and yield the oldest when it is done."""
    batch_size, size = plan.batch_size, plan.tiles.spec.size
    buffers = Pool((batch_size, size, size, 3), most=depth + 2, lines=assembler.past)
    starts = deque(range(0, len(plan.index), batch_size))
    executor = ThreadPoolExecutor(threads, thread_name_prefix="coverslip-tiles")
    waiting: deque[tuple[Target, list[Future[None]]]] = deque()

    def begin() -> None:
        start = starts.popleft()
        count = min(batch_size, len(plan.index) - start)
        target = Target(start, buffers.take()[:count], np.zeros(count, np.bool_))
        groups = grouped(plan.windows(start, start + count))
        waiting.append((target, [executor.submit(assembler.fill, target, group) for group in groups]))

    try:
        while starts or waiting:
            while starts and len(waiting) < depth:
                begin()
            target, futures = waiting.popleft()
            for future in futures:
                future.result()
            if starts:
                begin()
            yield _finished(plan, target)
            del target
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _finished(plan: Plan, target: Target) -> Batch:
    index = plan.index[target.start : target.start + len(target.missing)]
    errors = dict.fromkeys(target.errors[place] for place in sorted(target.errors))
    return Batch(index, target.pixels, target.missing, tuple(errors))
