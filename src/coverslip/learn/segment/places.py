"""Where tiles are cut: places with annotated pixels, drawn by class and by how hard they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import IGNORE
from coverslip.learn.segment.masks import Masks

LEAST_KNOWN = 0.02
"""A place with a smaller share of annotated pixels is left out."""


@dataclass(frozen=True, eq=False)
class Places:
    """Squares of a grid over the slides that hold annotated pixels.

    Attributes
    ----------
    slide
        Which slide, (n,) int64.
    xy
        Corner in pixels of its masks, (n, 2) int64.
    share
        Share of the square that each class covers, (n, k) float64.
    side
        Of the squares, in pixels.
    """

    slide: NDArray[np.int64]
    xy: NDArray[np.int64]
    share: NDArray[np.float64]
    side: int

    @classmethod
    def of(cls, masks: Sequence[Masks], side: int, classes: int) -> Self:
        """Go over all slides; the last squares of a row and column reach over the edge."""
        slides, corners, shares = [], [], []
        for number, mask in enumerate(masks):
            for y in range(0, mask.size.height, side):
                for x in range(0, mask.size.width, side):
                    counts = np.bincount(mask.window(x, y, side, side).ravel(), minlength=IGNORE + 1)
                    share = counts[:classes] / side**2
                    if share.sum() >= LEAST_KNOWN:
                        slides.append(number)
                        corners.append((x, y))
                        shares.append(share)
        return cls(
            np.array(slides, np.int64),
            np.array(corners, np.int64).reshape(-1, 2),
            np.array(shares).reshape(-1, classes),
            side,
        )

    def __len__(self) -> int:
        return len(self.slide)

    @property
    def area(self) -> NDArray[np.float64]:
        """Annotated squares' worth of each class, (k,)."""
        total: NDArray[np.float64] = self.share.sum(axis=0)
        return total

    def take(self, rows: NDArray[np.int64]) -> Places:
        """Return some of the places."""
        return Places(self.slide[rows], self.xy[rows], self.share[rows], self.side)

    def chances(self, hardness: NDArray[np.float64], *, balance: bool, hard: float) -> NDArray[np.float64]:
        """Return how likely each place is drawn, (n,), sum 1.

        Parameters
        ----------
        hardness
            Recent loss at each place, (n,); NaN where it was not seen yet.
        balance
            Every class is drawn alike, a place of it in proportion to the class's share there; else all
            places are alike.
        hard
            0 draws places whatever their loss; 1 in proportion to it.

        Examples
        --------
        >>> share = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
        >>> places = Places(np.zeros(3, int), np.zeros((3, 2), int), share, 8)
        >>> places.chances(np.full(3, np.nan), balance=True, hard=0).round(3).tolist()
        [0.2, 0.2, 0.6]
        """
        chance = np.full(len(self), 1 / max(1, len(self)))
        if balance:
            there = self.area > 0
            chance = (self.share[:, there] / self.area[there]).mean(axis=1)
        seen = ~np.isnan(hardness)
        if hard > 0 and seen.any():
            typical = max(float(hardness[seen].mean()), 1e-9)
            relative = np.where(seen, hardness / typical, 1.0)
            chance = chance * ((1 - hard) + hard * np.clip(relative, 0.1, 10))
        total = chance.sum()
        return chance / total if total else chance
