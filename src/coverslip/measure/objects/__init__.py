"""Numbers of objects: nuclei, glands, regions."""

from coverslip.measure.objects.measured import measured
from coverslip.measure.objects.pixels import PixelSpec, stains
from coverslip.measure.objects.shape import SHAPES, Columns, shapes

__all__ = ["SHAPES", "Columns", "PixelSpec", "measured", "shapes", "stains"]
