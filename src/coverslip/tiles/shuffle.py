"""A random order that decodes each block once: far apart at random, near by near in time.

The grid is cut into squares of 8 × 8 tiles. Squares are shuffled; the tiles of each eight consecutive
squares are mixed. A batch thus holds tiles of about eight random places of the slide, and a square's blocks
are decoded while all its tiles are being read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.tiles.grid import Tiles

SQUARE = 8
"""Tiles along the side of a square."""

MIXED = 8
"""Squares whose tiles are mixed."""

POOL_TILES = SQUARE * SQUARE * MIXED
"""Tiles among which one is drawn."""


def square_of(tiles: Tiles) -> NDArray[np.int64]:
    """Return in which square each tile lies, numbered from 0, (n,)."""
    side = SQUARE * tiles.spec.step * tiles.downsample
    squares = np.floor(tiles.xy / side).astype(np.int64)
    _, square = np.unique(squares, axis=0, return_inverse=True)
    return square.reshape(-1).astype(np.int64)


def shuffled(tiles: Tiles, seed: int) -> NDArray[np.int64]:
    """Return a permutation of the tiles, the same for the same seed.

    Raises
    ------
    ValueError
        When the seed is negative.
    """
    rng = np.random.default_rng(seed)
    square = square_of(tiles)
    turn = rng.permutation(int(square.max()) + 1 if len(square) else 0)
    pool = turn[square] // MIXED
    return np.lexsort((rng.random(len(tiles)), pool)).astype(np.int64)
