"""Shapes a person drew, in any format; to label images and back."""

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.check import Problem
from coverslip.annotations.formats import FORMATS
from coverslip.annotations.formats.source import Format
from coverslip.annotations.raster import IGNORE, Grid, rasterise
from coverslip.annotations.shape import Shape
from coverslip.annotations.trace import outline
from coverslip.annotations.vector import vectorise

__all__ = [
    "FORMATS",
    "IGNORE",
    "Annotations",
    "DrawnOn",
    "Format",
    "Grid",
    "Problem",
    "Shape",
    "outline",
    "rasterise",
    "vectorise",
]
