"""Numbers from pixels and nuclei, and what can be seen in them."""

from coverslip.measure.lookalike import Lookalike, lookalike
from coverslip.measure.measurement import Measurement
from coverslip.measure.nuclei import Nuclei, detect_nuclei
from coverslip.measure.pathomics import PATHOMICS, measure_tile, measure_tiles

__all__ = [
    "PATHOMICS",
    "Lookalike",
    "Measurement",
    "Nuclei",
    "detect_nuclei",
    "lookalike",
    "measure_tile",
    "measure_tiles",
]
