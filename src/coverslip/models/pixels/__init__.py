"""Pixel classifiers: what a pixel shows, from the stains around it at several scales.

A small network on Gaussian means and spreads of haematoxylin and the second stain. It learns from a few drawn
areas in a minute on one core and runs as fast as a slide can be read, where a segmenter would take a GPU. It
sees texture and density, not form: what only form tells apart needs a segmenter (``coverslip train``).
"""

from coverslip.models.pixels.features import FEATURES, features_of, margin_px
from coverslip.models.pixels.model import PixelModel, fit_pixels, shipped

__all__ = ["FEATURES", "PixelModel", "features_of", "fit_pixels", "margin_px", "shipped"]
