"""Neighbouring grey level dependence: how many neighbours share a pixel's level (IBSI 3.11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.emphasis import Emphasis, names_of
from coverslip.measure.radiomics.feature import Values
from coverslip.measure.radiomics.neighbours import DIMENSIONS, Numbers, strides, without_direction

_low_first = names_of("Low dependence", "High dependence", "count", "Dependence count")

_DEPENDENCE = Emphasis(
    "ngldm",
    "n(i, j) counts pixels of level i of which j − 1 neighbours have level i",
    (
        "Low dependence emphasis",
        "High dependence emphasis",
        *_low_first,
        "Dependence count percentage",
        "Grey level variance",
        "Dependence count variance",
        "Dependence count entropy",
        "Dependence count energy",
    ),
    "SODN IMOQ TL9H OAE7 EQ3F JA6D NBZI 9QMG FP8K 5SPA Z87G OKJI 6XV8 1PFV DNX2 FCBV CAS9",
)

NGLDM = _DEPENDENCE.features
"""The family ``ngldm``."""


def ngldm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of grey level dependence at distance 1, coarseness 0."""
    return without_direction(levels, dimensions, dependences, _measure, NGLDM)


def dependences(levels: Levels, deep: bool) -> NDArray[np.int64]:
    """Count pixels: (slices, n, 9), or (1, n, 27) over slices."""
    flat = levels.grid.ravel()
    alike = np.zeros(flat.size, np.int64)
    steps = strides(levels, deep=deep)
    for step in steps:
        same = flat[:-step] == flat[step:]
        alike[:-step] += same
        alike[step:] += same
    inside = np.flatnonzero(flat)
    slices, most = (1 if deep else levels.grid.shape[0]), 2 * len(steps) + 1
    row = flat[inside] - 1 + (0 if deep else inside // levels.grid[0].size * levels.count)
    place = row * most + alike[inside]
    return np.bincount(place, minlength=slices * levels.count * most).reshape(slices, levels.count, most)


def _measure(matrix: NDArray[np.int64]) -> Numbers:
    return _DEPENDENCE.measure(matrix, float(matrix.sum()))
