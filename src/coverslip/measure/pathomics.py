"""Pathomics: the numbers that every tile gets, without a network.

`PATHOMICS` lists them in the order of the columns. All are finite, also on empty tiles: what is not defined
there has the value its description states. A tile is brought to 0.5 µm per pixel first, so that the numbers
of slides of different scanners compare; lengths are in µm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure import amounts, architecture, texture
from coverslip.measure.measurement import Measurement
from coverslip.measure.nuclei import find
from coverslip.measure.planes import prepare
from coverslip.stain.matrices import StainMatrix

PATHOMICS: tuple[Measurement, ...] = (
    *amounts.MEASUREMENTS,
    *amounts.COLOUR,
    *texture.MEASUREMENTS,
    *architecture.POPULATION,
    *architecture.ARRANGEMENT,
    *architecture.FABRIC,
)
"""What is measured, in the order of the columns."""


def measure_tile(rgb: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> NDArray[np.float32]:
    """Measure one tile.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3), at least 8 µm a side.
    mpp
        Microns per pixel of the tile, at most 1.05.
    stains
        Of the slide: nuclear stain first.

    Returns
    -------
    numpy.ndarray
        float32 (len(PATHOMICS),), all finite.

    Raises
    ------
    UsageError
        When `rgb` is not uint8 (h, w, 3), or too small.
    ImplausibleMppError
        When nuclei cannot be seen at this scale.

    Examples
    --------
    >>> from coverslip.stain import RUIFROK_JOHNSTON
    >>> values = measure_tile(np.full((64, 64, 3), 255, np.uint8), 0.5, RUIFROK_JOHNSTON["H&E"])
    >>> values.shape == (len(PATHOMICS),), float(values[0])
    (True, 0.0)
    """
    planes = prepare(rgb, mpp, stains)
    nuclei = find(planes)
    values = [
        *amounts.measure(planes),
        *amounts.measure_colour(planes),
        *texture.measure(planes),
        *architecture.measure_population(planes, nuclei),
        *architecture.measure_arrangement(planes, nuclei),
        *architecture.measure_fabric(planes),
    ]
    return np.asarray(values, np.float32)


def measure_tiles(tiles: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> NDArray[np.float32]:
    """Measure a batch, uint8 (n, h, w, 3), as `measure_tile`; returns float32 (n, len(PATHOMICS))."""
    if tiles.ndim != 4:
        raise UsageError(f"tiles are {tiles.shape}: expected (n, h, w, 3)")
    out = np.empty((len(tiles), len(PATHOMICS)), np.float32)
    for row, tile in zip(out, tiles, strict=True):
        row[:] = measure_tile(tile, mpp, stains)
    return out
