"""Colour augmentation: the stains of a tile a little stronger, weaker or spread, as another laboratory would.

Tellez et al., Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference to train
distilled stain-invariant convolutional networks, IEEE TMI 37 (2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.stain.chain import Chain, od_chain
from coverslip.stain.density import check_rgb
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix

SIGMA = 0.05
"""The authors' light setting."""


def augment_hed(
    rgb: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    sigma: float = SIGMA,
    shift: float | None = None,
    stains: StainMatrix = RUIFROK_JOHNSTON["HED"],
) -> NDArray[np.uint8]:
    """Return tiles whose stains are scaled and shifted at random, each tile by its own draw.

    Each amount becomes ``amount · a + b``, with `a` uniform in 1 ± `sigma` and `b` uniform in ± `shift`, one
    of each per stain and tile.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3) or (n, h, w, 3).
    rng
        Source of the draws; the same state gives the same result.
    sigma
        0 … 1.
    shift
        In decades, from 0; as `sigma` when None.
    stains
        Space of the augmentation; two stains are completed by their residual.

    Raises
    ------
    UsageError
        When `rgb` is not of these shapes, or `sigma` or `shift` is out of range.

    Examples
    --------
    >>> tile = np.full((4, 4, 3), (150, 90, 160), np.uint8)
    >>> bool((augment_hed(tile, np.random.default_rng(0), sigma=0) == tile).all())
    True
    """
    check_rgb(rgb)
    spread = sigma if shift is None else shift
    if rgb.ndim not in {3, 4} or not 0 <= sigma <= 1 or not 0 <= spread < np.inf:
        raise UsageError(
            f"pixels {rgb.shape}, sigma {sigma!r}, shift {spread!r}: "
            "expected (h, w, 3) or (n, h, w, 3), sigma 0 to 1, shift from 0"
        )
    tiles = rgb if rgb.ndim == 4 else rgb[None]
    out = np.empty(tiles.shape, np.uint8)
    whole = stains.complete()
    for tile, target in zip(tiles, out, strict=True):
        _draw(whole, rng, (sigma, spread))(tile, target)
    return out.reshape(rgb.shape)


def _draw(stains: StainMatrix, rng: np.random.Generator, spread: tuple[float, float]) -> Chain:
    scale = rng.uniform(1 - spread[0], 1 + spread[0], 3)
    shift = rng.uniform(-spread[1], spread[1], 3)
    vectors = stains.array
    matrix = np.linalg.inv(vectors) @ np.diag(scale) @ vectors
    return od_chain(matrix.T, stains.background, tuple((shift @ vectors).tolist()))
