"""Numbers of objects: nuclei, glands, regions."""

from coverslip.measure.objects.shape import SHAPES, Columns, shapes

__all__ = ["SHAPES", "Columns", "shapes"]
