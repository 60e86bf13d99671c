"""The one loop that stitches: overlapping results of tiles, blended into a pyramid on disk strip by strip.

Memory holds the strips that tiles still to come can touch, and of these only the blocks that some tile
touched: it grows with the slide's width and the tile's height, never with its area.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core import Size
from coverslip.core.errors import UsageError
from coverslip.slides.slide import Slide
from coverslip.tiles.blend import Blend, Job, blend_of
from coverslip.tiles.grid import Tiles
from coverslip.tiles.mapfile import BLOCK, Extent, MapFile, MapSpec
from coverslip.tiles.pyramid import halve


def places(tiles: Tiles) -> NDArray[np.int64]:
    """Return where tiles start on their map, (x, y) in map pixels, (n, 2).

    Tiles of a grid lie exactly one stride apart, even where their corners on the slide had to be rounded.
    """
    there = tiles.xy / tiles.downsample
    grid = np.stack([tiles.columns, tiles.rows], axis=1).astype(np.int64) * tiles.spec.step
    laid = bool(np.all(np.abs(there - grid) <= 1))
    return grid if laid else np.floor(there + 0.5).astype(np.int64)


class Canvas:
    """A map in the making.

    Results are added in any order, best in that of the tiles: a strip is written and forgotten when no tile
    to come touches it. After an interruption the same call continues after the last good strip: `todo` says
    which tiles are still needed, and the result is the same to the last bit.

    Parameters
    ----------
    path
        Folder of the map, by custom ``….ome.zarr``.
    tiles
        All tiles whose results will be added.
    spec
        What the map holds.
    threads
        Threads that blend, compress and write.

    Raises
    ------
    ExistsError
        When the map is finished already.
    StoreError
        When something else lies at `path`, or the disk does not take it.

    Examples
    --------
    ::

        with Canvas("tumour.ome.zarr", slide, tiles, MapSpec(("stroma", "tumour"))) as canvas:
            for batch in stream(slide, tiles.take(canvas.todo)):
                canvas.add(canvas.todo[batch.index], model(batch.pixels), missing=batch.missing)
    """

    def __init__(
        self, path: str | Path, slide: Slide, tiles: Tiles, spec: MapSpec, *, threads: int = 2
    ) -> None:
        if threads < 1:
            raise UsageError(f"threads {threads} is too few: expected 1 or more")
        self._tiles, self._spec = tiles, spec
        self._places = places(tiles)
        size = Size(*(max(1, math.ceil(side / tiles.downsample - 1e-6)) for side in slide.size))
        extent = Extent(size, tiles.downsample, tiles.mpp)
        self._file = MapFile(path, spec, extent, fingerprint=_fingerprint(slide, tiles, spec))
        self._blend: Blend = blend_of(spec, tiles.spec.size)
        top = np.maximum(self._places[:, 1], 0) // BLOCK.height
        bottom = (np.minimum(self._places[:, 1] + tiles.spec.size, size.height) - 1) // BLOCK.height
        self._touched = np.stack([top, bottom], axis=1)
        self._waiting = self._count_waiting()
        self._added = np.zeros(len(tiles), np.bool_)
        self._blocks: dict[int, dict[int, NDArray[np.float32]]] = defaultdict(dict)
        self._free: list[NDArray[np.float32]] = []
        self._rows: list[dict[int, NDArray[Any]]] = [self._half_done(i) for i in range(len(self._file.sizes))]
        self.todo: NDArray[np.int64] = np.flatnonzero(bottom >= self._file.closed).astype(np.int64)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="coverslip-canvas")
        self._threads = threads

    @property
    def path(self) -> Path:
        """The map's folder."""
        return self._file.path

    # ------------------------------------------------------------------ add
    def add(self, index: ArrayLike, values: NDArray[Any], missing: ArrayLike | None = None) -> None:
        """Blend the results of some tiles.

        Parameters
        ----------
        index
            Which tiles, (n,).
        values
            Probabilities (n, k, size, size), float or uint8 (255 for 1); labels (n, size, size) uint8.
        missing
            True for tiles without a result, (n,); they leave no trace.

        Raises
        ------
        UsageError
            For another shape, or a tile that was added before.
        StoreError
            When the disk is full.
        """
        rows = np.atleast_1d(np.asarray(index, np.int64))
        values = self._blend.check(values, len(rows))
        if self._added[rows].any() or len(np.unique(rows)) != len(rows):
            raise UsageError(
                f"tiles {rows[self._added[rows]].tolist()[:5]} were added before", mend="once each"
            )
        self._added[rows] = True
        keep = np.ones(len(rows), np.bool_) if missing is None else ~np.asarray(missing, np.bool_)
        jobs = [job for i in np.flatnonzero(keep).tolist() for job in self._jobs(int(rows[i]), i)]
        parts = np.linspace(0, self._blend.planes, min(self._threads, self._blend.planes) + 1).astype(int)
        self._each(lambda part: self._blend.add(values, jobs, slice(*part)), pairwise(parts.tolist()))
        for first, last in self._touched[rows].tolist():
            self._waiting[first : last + 1] -= 1
        self._close_done()

    def _jobs(self, tile: int, i: int) -> list[Job]:
        """Return what to do for each open block that a tile touches."""
        x, y = self._places[tile].tolist()
        side, (width, height) = self._tiles.spec.size, self._file.extent.size
        left, right = max(x, 0), min(x + side, width)
        top, bottom = max(y, self._file.closed * BLOCK.height, 0), min(y + side, height)
        jobs: list[Job] = []
        for row, (y0, y1) in _pieces(top, bottom, BLOCK.height):
            for column, (x0, x1) in _pieces(left, right, BLOCK.width):
                dy, dx = row * BLOCK.height, column * BLOCK.width
                place = (slice(y0 - dy, y1 - dy), slice(x0 - dx, x1 - dx))
                part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
                jobs.append((i, self._block(row, column), place, part))
        return jobs

    def _block(self, row: int, column: int) -> NDArray[np.float32]:
        blocks = self._blocks[row]
        if column not in blocks:
            blocks[column] = self._free.pop() if self._free else self._blend.block()
            blocks[column].fill(0)
        return blocks[column]

    def _count_waiting(self) -> NDArray[np.int64]:
        """Return how many tiles touch each strip."""
        first, last = self._touched.T
        on = last >= first
        change = np.zeros(self._file.strips + 1, np.int64)
        np.add.at(change, first[on], 1)
        np.add.at(change, last[on] + 1, -1)
        return change.cumsum()[:-1]

    # ---------------------------------------------------------------- close
    def _close_done(self) -> None:
        while self._file.closed < self._file.strips and self._waiting[self._file.closed] == 0:
            strip = self._file.closed
            blocks = self._blocks.pop(strip, {})
            done = dict(zip(blocks, self._each(self._blend.finish, blocks.values()), strict=True))
            self._free.extend(blocks.values())
            self._write_row(0, strip, done)
            self._file.mark(strip + 1)

    def _write_row(self, level: int, row: int, blocks: dict[int, NDArray[Any]]) -> None:
        """Write a row of blocks, and the row of the next level when its second half is there."""
        self._each(lambda item: self._file.write(level, item[0], row, item[1]), blocks.items())
        if level + 1 == len(self._file.sizes):
            return
        upper = self._rows[level] if row % 2 else {}
        last = (row + 1) * BLOCK.height >= self._file.sizes[level].height
        if row % 2 == 0 and not last:
            self._rows[level] = blocks
            return
        self._rows[level] = {}
        pair = [upper, blocks] if row % 2 else [blocks, {}]
        columns = sorted({column // 2 for half in pair for column in half})
        made = self._each(lambda column: self._coarser(level, column, row // 2, pair), columns)
        self._write_row(level + 1, row // 2, dict(zip(columns, made, strict=True)))

    def _coarser(
        self, level: int, column: int, row: int, pair: list[dict[int, NDArray[Any]]]
    ) -> NDArray[Any]:
        """Make a block of the next level from the up to four below it."""
        whole = np.zeros((self._spec.planes, BLOCK.height, BLOCK.width), self._spec.dtype)
        for down, half in enumerate(pair):
            for across in (0, 1):
                block = half.get(2 * column + across)
                if block is None:
                    continue
                height, width = self._file.inside(level, 2 * column + across, 2 * row + down)
                small = halve(block[:, :height, :width], labels=self._spec.kind == "labels")
                y, x = down * BLOCK.height // 2, across * BLOCK.width // 2
                whole[:, y : y + small.shape[1], x : x + small.shape[2]] = small
        return whole

    def _half_done(self, level: int) -> dict[int, NDArray[Any]]:
        """Read back the row of a level whose fellow was not there yet when the work was interrupted."""
        closed, height = self._file.closed, self._file.sizes[level].height
        for _ in range(level):
            closed //= 2
        if closed % 2 == 0 or closed * BLOCK.height >= height:
            return {}
        columns = range(math.ceil(self._file.sizes[level].width / BLOCK.width))
        blocks = {column: self._file.read(level, column, closed - 1) for column in columns}
        return {column: block for column, block in blocks.items() if block.any()}

    def _each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self._pool.map(work, items))

    # ----------------------------------------------------------------- life
    def finish(self) -> None:
        """Write what is left.

        Raises
        ------
        UsageError
            When results of tiles are still to come.
        """
        self._close_done()
        left = self.todo[~self._added[self.todo]]
        if len(left):
            raise UsageError(
                f"{len(left)} of {len(self._tiles)} tiles have no result yet, the first is {left[0]}",
                mend="add them, or say that they are missing",
            )
        self.close()

    def close(self) -> None:
        """Stop; good strips stay, and the same call continues from there."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()
        self._free.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish()
        else:
            self.close()


def _pieces(start: int, stop: int, side: int) -> list[tuple[int, tuple[int, int]]]:
    """Cut start … stop at multiples of `side`: (which, (from, to)).

    Examples
    --------
    >>> _pieces(200, 600, 256)
    [(0, (200, 256)), (1, (256, 512)), (2, (512, 600))]
    """
    numbers = range(start // side, -(-stop // side)) if stop > start else range(0)
    return [(i, (max(start, i * side), min(stop, (i + 1) * side))) for i in numbers]


def _fingerprint(slide: Slide, tiles: Tiles, spec: MapSpec) -> str:
    """Return a digest of all that makes a map, but the results."""
    what = hashlib.sha256(repr((slide.digest, slide.size, tiles.spec, tiles.downsample, spec)).encode())
    what.update(tiles.xy.tobytes())
    return what.hexdigest()
