"""Where on a slide: boxes in level-0 pixels, and regions that say how finely to look.

Points are ``(x, y)``, arrays ``(h, w, c)``. A coordinate that leaves a function is in level-0 pixels.
Pixel ``i`` covers the half-open interval ``[i, i + 1)``; so at a downsample ``d`` output pixel ``j`` of a box
at ``x`` covers ``[x + j·d, x + (j + 1)·d)`` of level 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from coverslip.core.errors import GeometryError
from coverslip.core.units import Mpp, as_mpp


class Size(NamedTuple):
    """A width and a height in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """An axis-parallel rectangle in level-0 pixels; it may reach over the slide's edge.

    Fractions of a pixel are allowed: 256 pixels at 0.5 mpp are 256.5 of a slide scanned at 0.499.

    Examples
    --------
    >>> Box(10, 20, 100, 50).right, Box(10, 20, 100, 50).bottom
    (110, 70)
    >>> Box(0, 0, 10, 10).intersection(Box(5, 5, 10, 10))
    Box(x=5, y=5, width=5, height=5)
    """

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.width, self.height)
        if not all(math.isfinite(value) for value in values) or self.width <= 0 or self.height <= 0:
            raise GeometryError(f"{values} is no box: expected finite x, y and a width and height above 0")

    @property
    def right(self) -> float:
        """The first x that the box no longer covers."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The first y that the box no longer covers."""
        return self.y + self.height

    def intersection(self, other: Box) -> Box | None:
        """Return what both cover, or None."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Box(x, y, width, height) if width > 0 and height > 0 else None

    def pixels(self, downsample: float) -> Size:
        """Return how many pixels the box has at `downsample` (level-0 pixels per pixel); at least 1 × 1."""
        return Size(max(1, round(self.width / downsample)), max(1, round(self.height / downsample)))


@dataclass(frozen=True, slots=True)
class Region:
    """What to look at and how finely; a hashable value.

    Examples
    --------
    >>> Region(Box(0, 0, 1024, 1024), mpp=0.5).mpp
    0.5
    """

    box: Box
    mpp: Mpp

    def __init__(self, box: Box, mpp: float) -> None:
        object.__setattr__(self, "box", box)
        object.__setattr__(self, "mpp", as_mpp(mpp))
