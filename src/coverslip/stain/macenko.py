"""Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009.

The densities of stained pixels lie in a plane; its outermost directions are the stains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.stain.density import WHITE, Background
from coverslip.stain.matrices import StainMatrix
from coverslip.stain.sample import as_he, directions, stained

EXTREME = 1.0
"""Percentile of the angles that counts as outermost, from either side."""


def fit_macenko(
    pixels: NDArray[np.uint8], background: Background = WHITE, *, percentile: float = EXTREME
) -> StainMatrix:
    """Find haematoxylin and eosin in pixels of a slide.

    Parameters
    ----------
    pixels
        uint8 (…, 3) from the tissue of the whole slide; glass is dropped.
    background
        Intensity of empty glass.
    percentile
        Of the angles in the plane of the stains, from either side.

    Raises
    ------
    StainError
        When there is too little stain, one stain only, or a brown one.

    Examples
    --------
    >>> from coverslip.stain import RUIFROK_JOHNSTON, recombine
    >>> amounts = np.random.default_rng(0).exponential(0.4, (5000, 2)).astype(np.float32)
    >>> truth = RUIFROK_JOHNSTON["H&E"]
    >>> max(fit_macenko(recombine(amounts, truth)).angles_to(truth)) < 3
    True
    """
    od = stained(pixels, background)
    plane, angles = directions(od)
    low, high = np.percentile(angles, [percentile, 100 - percentile])
    vectors = np.stack([plane @ [np.cos(angle), np.sin(angle)] for angle in (low, high)])
    return as_he(vectors, od, background)
