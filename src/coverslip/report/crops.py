"""Small pieces of a slide, read for a page; what cannot be decoded is left out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import SlideError
from coverslip.report.pictures import Picture, jpeg
from coverslip.slides.slide import Slide

SIDE = 112
"""Of an example picture, in pixels."""

QUALITY = 72
"""JPEG quality of an example: about 4 kB each."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square of the slide in level-0 pixels."""

    x: float
    y: float
    side: float


def pixels(slide: Slide | None, square: Square, size: int = SIDE) -> NDArray[np.uint8] | None:
    """Read a square as (size, size, 3); None without a slide, or where its pixels cannot be decoded."""
    if slide is None:
        return None
    try:
        return slide.read_at(Box(square.x, square.y, square.side, square.side), square.side / size)
    except SlideError:
        return None


def examples(slide: Slide | None, squares: Iterable[Square], alt: str) -> tuple[Picture, ...]:
    """Read squares as pictures of `SIDE` pixels."""
    read = (pixels(slide, square) for square in squares)
    return tuple(jpeg(rgb, alt, QUALITY) for rgb in read if rgb is not None)


def squares_at(xy: NDArray[np.number], side: float, rows: Iterable[int]) -> list[Square]:
    """Return the squares of chosen rows of corners (n, 2)."""
    return [Square(float(xy[row, 0]), float(xy[row, 1]), side) for row in rows]


def spread(count: int, wanted: int) -> list[int]:
    """Choose up to `wanted` of `count` rows, evenly spread and the same every time.

    Examples
    --------
    >>> spread(10, 3), spread(2, 3), spread(0, 3)
    ([1, 5, 8], [0, 1], [])
    """
    if count <= wanted:
        return list(range(count))
    return [int((2 * i + 1) * count / (2 * wanted)) for i in range(wanted)]
