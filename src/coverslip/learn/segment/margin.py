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
        whole = _probabilities(segmenter, pixels, (slide, x - 2 * widest, y - 2 * widest, 5 * widest))
        inner = _probabilities(segmenter, pixels, (slide, x - widest, y - widest, 3 * widest))
        needed = max(needed, reach_of(whole, inner, widest))
    return min(widest, -(-needed // step) * step)


def _probabilities(
    segmenter: Segmenter, pixels: Pixels, at: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    view = pixels.view(*at)
    return segmenter.probabilities(pixels.read(*at)[None], None if view is None else view[None])[0]


def reach_of(whole: NDArray[np.float32], inner: NDArray[np.float32], cut: int) -> int:
    """Return how far from an edge, in pixels, results (k, h, w) change when `cut` pixels are cut off around.

    Parameters
    ----------
    whole, inner
        Of the picture, and of the picture without these pixels.
    """
    changed = np.abs(whole[:, cut:-cut, cut:-cut] - inner).max(axis=0) > CLOSE
    if not changed.any():
        return 0
    high, wide = changed.shape
    rows, columns = np.nonzero(changed)
    from_edge = np.minimum.reduce([rows, columns, high - 1 - rows, wide - 1 - columns])
    return int(from_edge.max()) + 1
