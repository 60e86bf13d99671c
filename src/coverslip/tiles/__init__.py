"""Lay a grid of tiles on a slide, stream their pixels, stitch results back."""

from coverslip.tiles.grid import GridSpec, Tiles, lay, place
from coverslip.tiles.stream import Batch, stream

__all__ = ["Batch", "GridSpec", "Tiles", "lay", "place", "stream"]
