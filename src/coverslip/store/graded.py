"""Tiles that know how they fare: what `coverslip run` writes as ``tiles.parquet``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import GeometryError
from coverslip.tiles.grid import Tiles


@dataclass(frozen=True, eq=False, repr=False)
class GradedTiles(Tiles):
    """Tiles with the share of each that every quality flag covers.

    Attributes
    ----------
    quality
        By flag (``blur``, ``pen``, …) and as ``usable``, float32, shape (n,), from 0 to 1. Empty when the
        quality was not assessed.
    """

    quality: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = {
            name: np.shape(share) for name, share in self.quality.items() if np.shape(share) != (len(self),)
        }
        if wrong:
            raise GeometryError(f"quality of {len(self)} tiles has shapes {wrong}: expected ({len(self)},)")

    @classmethod
    def of(cls, tiles: Tiles, quality: Mapping[str, NDArray[np.float32]] | None = None) -> Self:
        """Make graded tiles of plain ones."""
        place = (tiles.xy, tiles.spec, tiles.mpp, tiles.downsample, tiles.tissue, tiles.columns, tiles.rows)
        return cls(*place, quality=dict(quality or {}))

    def take(self, index: ArrayLike) -> Self:
        """Return the tiles at `index` (integers or booleans), in that order."""
        chosen = np.asarray(index)
        chosen = chosen if chosen.dtype == np.bool_ else chosen.astype(np.int64)
        shares = {name: np.asarray(share)[chosen] for name, share in self.quality.items()}
        return type(self).of(super().take(chosen), shares)
