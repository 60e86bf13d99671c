"""The class of every pixel of a slide as drawn, made block by block when asked for, and kept small."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import IGNORE, Annotations, Grid, rasterise
from coverslip.core import Size
from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.learn.segment.drawn import DrawnSlide

BLOCK = 1024
"""Pixels of a block's side."""


class Masks:
    """Labels of a slide's pixels at one mpp.

    Blocks are rasterised by the area rule of `coverslip.annotations.rasterise`, so a region's share of the
    pixels is its share of the area; they are kept compressed, a thousandth of their size.

    Parameters
    ----------
    drawn
        The shapes; class ``i`` of `classes` becomes label ``i``.
    size
        Of the slide's level 0.
    downsample
        Level-0 pixels per pixel of the masks; any number.
    classes
        Names, the topmost first where shapes overlap unless `priority` says otherwise.
    background
        Class of what nobody drew on; None leaves it unknown (`IGNORE`), as is all beyond the slide's edge.

    Examples
    --------
    >>> from shapely import box
    >>> from coverslip.annotations import Shape
    >>> drawn = Annotations((Shape("1", "rectangle", box(0, 0, 8, 4), "tumour"),))
    >>> Masks(drawn, Size(16, 8), 4.0, ["stroma", "tumour"]).window(0, 0, 5, 2).tolist()
    [[1, 1, 255, 255, 255], [255, 255, 255, 255, 255]]
    """

    def __init__(
        self,
        drawn: Annotations,
        size: Size,
        downsample: float,
        classes: Sequence[str],
        *,
        priority: Sequence[str] | None = None,
        background: str | None = None,
    ) -> None:
        self._drawn, self._classes = drawn, tuple(classes)
        self._priority, self._background = priority, background
        self.downsample = downsample
        self.size = Size(*(max(1, math.ceil(side / downsample - 1e-6)) for side in size))
        self._kept: dict[tuple[int, int], bytes] = {}

    @classmethod
    def of(
        cls,
        slide: DrawnSlide,
        mpp: float,
        classes: Sequence[str],
        *,
        priority: Sequence[str] | None = None,
        background: str | None = None,
    ) -> Masks:
        """Return the masks of a slide at `mpp`.

        Raises
        ------
        UsageError
            When `mpp` is finer than the slide: there would be nothing to learn from.
        """
        downsample = mpp / slide.mpp
        if downsample < 0.99:
            raise UsageError(
                f"{slide.source.id} has {slide.mpp:g} µm per pixel, and {mpp:g}, which is finer, was asked "
                "for",
                mend=f"take mpp: {slide.mpp:g} or more; nothing is enlarged",
            )
        # within 1 % of the slide's own scale its pixels are taken as they are, as everywhere
        downsample = 1.0 if downsample < 1.01 else downsample
        return cls(slide.drawn, slide.size, downsample, classes, priority=priority, background=background)

    def window(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return the labels (height, width) from pixel (x, y) on; it may reach over the edge."""
        found = np.full((height, width), IGNORE, np.uint8)
        left, right = max(x, 0), min(x + width, self.size.width)
        top, bottom = max(y, 0), min(y + height, self.size.height)
        if left >= right or top >= bottom:
            return found
        for row in range(top // BLOCK, (bottom - 1) // BLOCK + 1):
            for column in range(left // BLOCK, (right - 1) // BLOCK + 1):
                block = self._block(column, row)
                y0, x0 = row * BLOCK, column * BLOCK
                rows = slice(max(top, y0), min(bottom, y0 + block.shape[0]))
                columns = slice(max(left, x0), min(right, x0 + block.shape[1]))
                part = block[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
                found[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] = part
        return found

    def _block(self, column: int, row: int) -> NDArray[np.uint8]:
        width = min(BLOCK, self.size.width - column * BLOCK)
        height = min(BLOCK, self.size.height - row * BLOCK)
        if (column, row) not in self._kept:
            step = BLOCK * self.downsample
            grid = Grid(Size(width, height), self.downsample, (column * step, row * step))
            labels = rasterise(
                self._drawn,
                grid,
                classes=self._classes,
                priority=self._priority,
                background=self._background,
            )
            self._kept[column, row] = zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1)
        raw = zlib.decompress(self._kept[column, row])
        return np.frombuffer(raw, np.uint8).reshape(height, width)
