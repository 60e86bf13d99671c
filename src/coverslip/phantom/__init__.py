"""Synthetic whole slides with known ground truth.

`make` gives a `Phantom` from a `PhantomSpec` and a seed; `write_slide` streams it to a file.
"""

from coverslip.phantom.atlas import CLASSES
from coverslip.phantom.damage import damage_tile
from coverslip.phantom.demo import write_demo_set, write_demo_slide
from coverslip.phantom.nuclei import NUCLEUS
from coverslip.phantom.phantom import Phantom, make
from coverslip.phantom.presets import varied
from coverslip.phantom.spec import KINDS, PhantomSpec
from coverslip.phantom.truth import Truth
from coverslip.phantom.write import write_slide

__all__ = [
    "CLASSES",
    "KINDS",
    "NUCLEUS",
    "Phantom",
    "PhantomSpec",
    "Truth",
    "damage_tile",
    "make",
    "varied",
    "write_demo_set",
    "write_demo_slide",
    "write_slide",
]
