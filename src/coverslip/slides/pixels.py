"""From a box and a downsample to pixels: choose a level, read what is touched, average, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Size
from coverslip.core.errors import CorruptTileError
from coverslip.slides.reader import Level, Reader, paste
from coverslip.slides.resample import EXACT, Axis, on_level, parts, resample_part, span

PIECE = 2048
"""Source pixels along each side that are read and averaged at once."""

AT_ONCE = 4096 * 4096
"""Up to this many source pixels a box is read in one piece."""


def best_level(levels: Sequence[Level], downsample: float) -> Level:
    """Return the coarsest level that is at least as fine as `downsample`, so that nothing is enlarged."""
    fine = [level for level in levels if level.downsample <= downsample * (1 + EXACT)]
    return max(fine, key=lambda level: level.downsample, default=levels[0])


def read_box(
    reader: Reader, box: Box, downsample: float, *, fill: int, tolerant: bool = False
) -> NDArray[Any]:
    """Read a box at level-0 pixels per output pixel.

    However large the box and however far the nearest level, no more than a few pieces of `PIECE` source
    pixels a side are held beside the result.

    Parameters
    ----------
    fill
        What lies outside the slide.
    tolerant
        Give blocks that cannot be decoded as `fill` instead of raising, as long as some can.

    Returns
    -------
    Array (h, w, c) of the slide's dtype.

    Raises
    ------
    CorruptTileError
        When a block cannot be decoded, unless `tolerant`.
    """
    level = best_level(reader.facts.levels, downsample)
    size, scale = box.pixels(downsample), downsample / level.downsample
    columns = span(on_level(box.x, level.downsample), size.width, scale)
    rows = span(on_level(box.y, level.downsample), size.height, scale)
    view = _View(reader, level, fill, tolerant)
    corner = (columns.first, rows.first)
    if columns.count * rows.count <= AT_ONCE or abs(scale - 1) < EXACT:
        across = Axis(columns.phase, size.width, scale, columns.count)
        whole = view.averaged(corner, across, Axis(rows.phase, size.height, scale, rows.count))
        view.check()
        return whole
    whole = np.empty((size.height, size.width, len(reader.facts.channels)), reader.facts.dtype)
    for down in parts(rows.phase, size.height, scale, PIECE):
        for across in parts(columns.phase, size.width, scale, PIECE):
            paste(whole, view.averaged(corner, across, down), across.skip, down.skip)
    view.check()
    return whole


class _View:
    """One level of a slide, with `fill` all around."""

    def __init__(self, reader: Reader, level: Level, fill: int, tolerant: bool) -> None:
        self._reader, self._level, self._fill, self._tolerant = reader, level, fill, tolerant
        self._decoded = 0
        self._failure: CorruptTileError | None = None

    def check(self) -> None:
        """Raise when not one block could be decoded: then there is nothing to tolerate."""
        if self._failure is not None and not self._decoded:
            raise self._failure

    def averaged(self, corner: tuple[int, int], across: Axis, down: Axis) -> NDArray[Any]:
        """Return a part of the picture that starts at the level pixel `corner`."""
        x, y = corner[0] + across.origin, corner[1] + down.origin
        return resample_part(self.window(x, y, Size(across.count, down.count)), across, down)

    def window(self, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read level pixels, padded where the window leaves the level."""
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + size.width, self._level.width), min(y + size.height, self._level.height)
        inside = Size(right - left, bottom - top)
        if inside == size:
            return self._inside(x, y, size)
        pixels = self._filled(size)
        if inside.width > 0 and inside.height > 0:
            paste(pixels, self._inside(left, top, inside), left - x, top - y)
        return pixels

    def _filled(self, size: Size) -> NDArray[Any]:
        facts = self._reader.facts
        return np.full((size.height, size.width, len(facts.channels)), self._fill, facts.dtype)

    def _inside(self, x: int, y: int, size: Size) -> NDArray[Any]:
        try:
            pixels = self._reader.window(self._level.index, x, y, size)
            self._decoded += 1
            return pixels
        except CorruptTileError as error:
            if not self._tolerant:
                raise
            self._failure = error
        return self._what_is_left(x, y, size)

    def _what_is_left(self, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read block by block, leaving out those that cannot be decoded."""
        pixels = self._filled(size)
        width, height = self._reader.block_size(self._level.index)
        for row in range(y // height, -(-(y + size.height) // height)):
            for column in range(x // width, -(-(x + size.width) // width)):
                try:
                    block = self._reader.block(self._level.index, column, row)
                except CorruptTileError:
                    continue
                self._decoded += 1
                paste(pixels, block, column * width - x, row * height - y)
        return pixels
