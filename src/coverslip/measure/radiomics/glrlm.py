"""Grey level run lengths: how long a level goes on in a direction (IBSI 3.7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.emphasis import Emphasis, names_of
from coverslip.measure.radiomics.feature import Values
from coverslip.measure.radiomics.neighbours import DIMENSIONS, strides, with_direction

_RUNS = Emphasis(
    "glrlm",
    "n(i, j) counts runs of level i that are j pixels long",
    (
        "Short runs emphasis",
        "Long runs emphasis",
        *names_of("Short run", "Long run", "run", "Run length"),
        "Run percentage",
        "Grey level variance",
        "Run length variance",
        "Run entropy",
    ),
    "22OV W4KF V3SW G3QZ HTZT GD3A IVPO 3KUM R5YN OVBL W92Y IC23 9ZK5 8CE5 SXLW HJ9O",
)

GLRLM = _RUNS.features
"""The family ``glrlm``."""


def glrlm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of grey level run lengths."""
    return with_direction(levels, dimensions, runs, _RUNS.measure, GLRLM)


def runs(levels: Levels, deep: bool) -> NDArray[np.int64]:
    """Count runs: (slices, 4, n, longest), or (1, 13, n, longest) over slices."""
    slices = 1 if deep else levels.grid.shape[0]
    longest = max(levels.grid.shape)
    steps = strides(levels, deep=deep)
    counts = np.empty((slices, len(steps), levels.count, longest), np.int64)
    for k, step in enumerate(steps):
        level, length, where = _runs_along(levels.grid.ravel(), step)
        code = (level - 1) * longest + length - 1
        if not deep:
            code += where // levels.grid[0].size * (levels.count * longest)
        counts[:, k] = np.bincount(code, minlength=counts[:, k].size).reshape(counts[:, k].shape)
    return counts


def _runs_along(flat: NDArray[np.int32], step: int) -> tuple[NDArray[np.int64], ...]:
    """Return level, length and first place of each run of pixels that lie `step` places apart."""
    rows = -(-flat.size // step) + 1  # one row of zeros at the end keeps lines apart
    lines = np.zeros(rows * step, np.int32)
    lines[: flat.size] = flat
    lines = lines.reshape(rows, step).T.ravel()
    starts = np.flatnonzero(np.diff(lines, prepend=-1))
    length = np.diff(starts, append=lines.size)
    used = lines[starts] > 0
    starts, length = starts[used], length[used]
    where = starts % rows * step + starts // rows
    return lines[starts].astype(np.int64), length, where
