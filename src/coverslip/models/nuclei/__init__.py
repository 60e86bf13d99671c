"""Nuclei: the shipped network, how its maps are read, and nuclei of pictures and of slides."""

from coverslip.models.nuclei.detector import Detector, load_nuclei
from coverslip.models.nuclei.picture import PictureNuclei, nuclei_of_picture
from coverslip.models.nuclei.reading import Found, Reading
from coverslip.models.nuclei.slide import nuclei_of_slide

__all__ = [
    "Detector",
    "Found",
    "PictureNuclei",
    "Reading",
    "load_nuclei",
    "nuclei_of_picture",
    "nuclei_of_slide",
]
