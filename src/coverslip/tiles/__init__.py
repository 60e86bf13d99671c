"""Lay a grid of tiles on a slide, stream their pixels, stitch results back."""

from coverslip.tiles.canvas import Canvas
from coverslip.tiles.grid import GridSpec, Tiles, lay, place
from coverslip.tiles.mapfile import MapSpec
from coverslip.tiles.stream import Batch, stream

__all__ = ["Batch", "Canvas", "GridSpec", "MapSpec", "Tiles", "lay", "place", "stream"]
