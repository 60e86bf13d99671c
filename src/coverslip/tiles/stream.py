"""The one loop that reads tiles: each block decoded once, in threads, in a fixed order and bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.slides.slide import Slide
from coverslip.tiles.assemble import GROUP, Assembler, Target
from coverslip.tiles.blocks import KEEP_BYTES, Blocks, NormaliserLike
from coverslip.tiles.buffers import Pool
from coverslip.tiles.grid import Tiles
from coverslip.tiles.plan import Plan
from coverslip.tiles.scatter import Deal, Dealer
from coverslip.tiles.shuffle import POOL_TILES, shuffled


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
    maker = _dealer(plan, normaliser, keep, depth) or _assembler(plan, normaliser, keep, near)
    return _batches(plan, maker, threads, depth=depth)


class Maker(Protocol):
    """What fills batches with pixels."""

    past: bool
    """True when pixels are copied to the batch past the cache."""
    ahead: int
    """Most batches in memory besides those that are worked on."""

    def last(self, batch: int) -> int:
        """Return the last batch that the work for `batch` writes to."""
        ...

    def begin(self, target: Target) -> None:
        """Take the memory of a batch before any work writes to it."""
        ...

    def work(self, target: Target, threads: int) -> list[Callable[[], None]]:
        """Return pieces of work; a batch is done when its own and those of all earlier batches are."""
        ...

    def end(self, target: Target) -> None:
        """Finish a batch that is done."""
        ...


def _dealer(plan: Plan, normaliser: NormaliserLike | None, keep: int, depth: int) -> Dealer | None:
    """Return what deals blocks out, or None where it cannot or would take more than `keep` bytes."""
    if normaliser is not None and not plan.normalised_early:
        return None
    deal = Deal.of(plan)
    if deal is None:
        return None
    batch_bytes = 3 * plan.batch_size * plan.tiles.spec.size**2
    ahead = max(0, deal.most_at_once(depth) - depth)
    return Dealer(deal, normaliser, ahead) if ahead * batch_bytes <= keep else None


def _assembler(plan: Plan, normaliser: NormaliserLike | None, keep: int, near: int) -> Assembler:
    """Return what keeps decoded blocks until all their tiles are made."""
    # a few blocks of 4096 px fill the memory that hundreds of 256 px take
    near = min(near, max(2 * plan.reach, keep // (3 * plan.block.width * plan.block.height)))
    early = normaliser if plan.normalised_early else None
    return Assembler(plan, Blocks(plan, keep=keep, near=near, normaliser=early), normaliser)


def _batches(plan: Plan, maker: Maker, threads: int, *, depth: int) -> Iterator[Batch]:
    """Keep `depth` batches in the making and yield the oldest when it is done."""
    batch_size, size, count = plan.batch_size, plan.tiles.spec.size, len(plan.index)
    buffers = Pool((batch_size, size, size, 3), most=maker.ahead + depth + 2, lines=maker.past)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="coverslip-tiles")
    numbers, starts = itertools.count(), deque(range(0, count, batch_size))
    ready: deque[Target] = deque()
    waiting: deque[tuple[Target, list[Future[None]]]] = deque()

    def begin() -> None:
        last = maker.last(next(numbers)) * batch_size
        while starts and starts[0] <= last:
            start = starts.popleft()
            length = min(batch_size, count - start)
            ready.append(Target(start, buffers.take()[:length], np.zeros(length, np.bool_)))
            maker.begin(ready[-1])
        target = ready.popleft()
        waiting.append((target, [executor.submit(piece) for piece in maker.work(target, threads)]))

    def refill() -> None:
        """Begin batches; one without work of its own, which earlier ones filled, counts as none."""
        busy = sum(1 for _, futures in waiting if futures)
        while busy < depth and (ready or (starts and len(waiting) < depth)):
            begin()
            busy += bool(waiting[-1][1])

    try:
        refill()
        while waiting:
            target, futures = waiting.popleft()
            for future in futures:
                future.result()
            refill()
            maker.end(target)
            yield _finished(plan, target)
            del target
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        buffers.close()


def _finished(plan: Plan, target: Target) -> Batch:
    index = plan.index[target.start : target.start + len(target.missing)]
    errors = dict.fromkeys(target.errors[place] for place in sorted(target.errors))
    return Batch(index, target.pixels, target.missing, tuple(errors))
