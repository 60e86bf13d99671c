"""See a whole slide at a coarse resolution with bounded memory, whatever levels its file has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptTileError
from coverslip.slides.slide import Slide

WINDOW = 2048
"""Level pixels along one side of what a thread reads at once: 12 MB, and whole blocks of most files."""

THREADS = 2
"""Threads that decode; the result does not depend on it."""

NEAR = 1.3
"""A level may be this much coarser than wanted and is then taken as it is."""

WHITE = 255

Result = TypeVar("Result")


class Grid(NamedTuple):
    """A resolution that costs little to read: a whole multiple of one level's pixels.

    `downsample` is level-0 pixels per grid pixel, `size` the grid pixels that cover the slide, `factor` the
    level's pixels per grid pixel.
    """

    downsample: float
    size: Size
    factor: int
    block: int
    """Level pixels along the longer side of a stored block: nothing smaller is worth trying again."""


class Window(NamedTuple):
    """A rectangle of grid pixels."""

    x: int
    y: int
    width: int
    height: int


def grid_near(slide: Slide, mpp: float) -> Grid:
    """Return the grid nearest to `mpp` microns per pixel that averages whole pixels of a level.

    It is within a factor of 1.5 of what is wanted, unless the slide itself is coarser.
    """
    wanted = max(1.0, mpp / slide.require_mpp())
    level = max((v for v in slide.levels if v.downsample <= wanted * NEAR), key=lambda v: v.downsample)
    factor = max(1, round(wanted / level.downsample))
    step = factor * level.downsample
    size = Size(math.ceil(slide.size.width / step - 1e-6), math.ceil(slide.size.height / step - 1e-6))
    return Grid(step, size, factor, max(slide.reader.block_size(level.index)))


def windows(grid: Grid, side: int = WINDOW) -> list[Window]:
    """Cut the grid into squares of about `side` level pixels, row by row."""
    step = max(1, side // grid.factor)
    width, height = grid.size
    return [
        Window(x, y, min(step, width - x), min(step, height - y))
        for y in range(0, height, step)
        for x in range(0, width, step)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What was read of a window: pixels (h, w, 3) and how many could not be decoded (they are white)."""

    window: Window
    pixels: NDArray[np.uint8]
    unreadable: int


def read(slide: Slide, grid: Grid, window: Window) -> Piece:
    """Read one window; where the file is damaged, only the damaged part stays white."""
    try:
        return Piece(window, slide.read_at(_box(grid, window), grid.downsample), 0)
    except CorruptTileError:
        pixels = np.full((window.height, window.width, 3), WHITE, np.uint8)
        if max(window.width, window.height) * grid.factor <= grid.block or max(window[2:]) == 1:
            return Piece(window, pixels, window.width * window.height)
    lost = 0
    for part in _quarters(window, max(1, grid.block // grid.factor)):
        piece = read(slide, grid, part)
        y, x = part.y - window.y, part.x - window.x
        pixels[y : y + part.height, x : x + part.width] = piece.pixels
        lost += piece.unreadable
    return Piece(window, pixels, lost)


def _quarters(window: Window, step: int) -> list[Window]:
    """Cut a window near its middle, between blocks if it holds several."""
    x, y, width, height = window
    left, top = _cut(x, width, step), _cut(y, height, step)
    parts = [
        Window(x, y, left, top),
        Window(x + left, y, width - left, top),
        Window(x, y + top, left, height - top),
        Window(x + left, y + top, width - left, height - top),
    ]
    return [part for part in parts if part.width > 0 and part.height > 0]


def _cut(start: int, length: int, step: int) -> int:
    between = round((start + length / 2) / step) * step - start
    return between if 0 < between < length else max(1, length // 2)


def _box(grid: Grid, window: Window) -> Box:
    return Box(*(value * grid.downsample for value in window))


def pieces(slide: Slide, grid: Grid, parts: Sequence[Window], threads: int = THREADS) -> Iterator[Piece]:
    """Read windows in order, a few ahead of the one in use, so memory does not grow with the slide."""
    return worked(slide, grid, parts, lambda piece: piece, threads)


def worked(
    slide: Slide, grid: Grid, parts: Sequence[Window], work: Callable[[Piece], Result], threads: int = THREADS
) -> Iterator[Result]:
    """Read windows and do `work` on each, in threads; yield the results in order."""

    def job(part: Window) -> Result:
        return work(read(slide, grid, part))

    with ThreadPoolExecutor(max_workers=threads) as pool:
        ahead = [pool.submit(job, part) for part in parts[: threads + 1]]
        try:
            for number in range(len(parts)):
                result = ahead.pop(0).result()
                if number + threads + 1 < len(parts):
                    ahead.append(pool.submit(job, parts[number + threads + 1]))
                yield result
        finally:
            for future in ahead:
                future.cancel()


def overview(slide: Slide, grid: Grid) -> tuple[NDArray[np.uint8], float]:
    """Read the whole slide at `grid`; return pixels (h, w, 3) and the share that could not be decoded."""
    pixels = np.empty((grid.size.height, grid.size.width, 3), np.uint8)
    lost = 0
    for piece in pieces(slide, grid, windows(grid)):
        x, y, width, height = piece.window
        pixels[y : y + height, x : x + width] = piece.pixels
        lost += piece.unreadable
    return pixels, lost / (pixels.shape[0] * pixels.shape[1])


def shares(window: Window, grid: Grid) -> tuple[float, float, float, float]:
    """Return where a window lies in its grid, as shares: left, top, right, bottom."""
    width, height = grid.size
    right, bottom = window.x + window.width, window.y + window.height
    return window.x / width, window.y / height, right / width, bottom / height


def enlarge(image: NDArray[Any], source: Grid, target: Grid, window: Window) -> NDArray[Any]:
    """Sample an image of one grid at the pixel centres of a window of another."""
    ratio = target.downsample / source.downsample
    columns = (np.arange(window.width) + window.x + 0.5) * ratio
    rows = (np.arange(window.height) + window.y + 0.5) * ratio
    x = np.minimum(columns.astype(np.intp), image.shape[1] - 1)
    y = np.minimum(rows.astype(np.intp), image.shape[0] - 1)
    # rows last: they are copied whole, and the result lies in memory as other code expects it, row by row
    result: NDArray[Any] = np.take(np.take(image[y[0] : y[-1] + 1], x, axis=1), y - y[0], axis=0)
    return result
