"""Learning to give every pixel a class, from regions that people drew on slides."""

from coverslip.learn.segment.drawn import DrawnSlide, read_drawn
from coverslip.learn.segment.masks import Masks

__all__ = ["DrawnSlide", "Masks", "read_drawn"]
