"""How wide a margin a trained network needs, measured: the theory's answer is several times too wide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.segment.feed import Pixels
from coverslip.learn.segment.places import Places
from coverslip.models.segmenters_run import Segmenter

CLOSE = 1e-4
"""Probabilities that differ by less are the same."""

LOOK = 3
"""Places that are looked at."""

WIDEST = 256
"""No margin is wider, in pixels."""


def measured_margin(segmenter: Segmenter, pixels: Pixels, places: Places, *, widest: int = WIDEST) -> int:
    """Return the narrowest margin at which what is kept of a tile is as in one pass over a larger picture.

    A multiple of the network's `Segmenter.multiple`, at most `widest` (which networks that pool over the
    whole tile, or resize by its corners, never satisfy: DeepLabV3+, FPN, SegFormer).
    """
    step = segmenter.multiple
    widest = max(step, widest // step * step)
    needed = 0
    for row in np.linspace(0, len(places) - 1, min(LOOK, len(places))).astype(int):
        slide, (x, y) = int(places.slide[row]), places.xy[row].tolist()
        around = pixels.read(slide, x - 2 * widest, y - 2 * widest, 5 * widest)
        needed = max(needed, reach_of(segmenter, around, widest))
    return min(widest, -(-needed // step) * step)


def reach_of(segmenter: Segmenter, picture: NDArray[np.uint8], cut: int) -> int:
    """Return how far from an edge, in pixels, results change when `cut` pixels are cut off all around."""
    whole = segmenter.probabilities(picture[None])[0]
    inner = segmenter.probabilities(picture[None, cut:-cut, cut:-cut])[0]
    changed = np.abs(whole[:, cut:-cut, cut:-cut] - inner).max(axis=0) > CLOSE
    if not changed.any():
        return 0
    high, wide = changed.shape
    rows, columns = np.nonzero(changed)
    from_edge = np.minimum.reduce([rows, columns, high - 1 - rows, wide - 1 - columns])
    return int(from_edge.max()) + 1
