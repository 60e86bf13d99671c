"""Grey levels: intensities sorted into bins numbered from 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.radiomics.region import Region

MOST_LEVELS = 1024
"""A co-occurrence matrix of more levels than this says nothing and fills the memory."""


@dataclass(frozen=True, slots=True)
class FixedBinNumber:
    """`bins` bins of equal width from the lowest to the highest intensity of the region (FBN, K15C)."""

    bins: int = 32

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise UsageError(f"{self.bins} bins; expected at least 2")

    def levels(self, region: Region) -> NDArray[np.int64]:
        """Return the level of each measured pixel, (n,)."""
        values = region.values
        share = (values - values.min()) / (values.max() - values.min())
        levels: NDArray[np.int64] = np.minimum(np.floor(self.bins * share).astype(np.int64) + 1, self.bins)
        return levels

    def count(self, found: int) -> int:  # noqa: ARG002  the number of bins is given
        """Return the number of levels."""
        return self.bins


@dataclass(frozen=True, slots=True)
class FixedBinSize:
    """Bins of `width`, in the unit of the picture, from `lowest` on (FBS, Q3RU).

    `lowest` None stands for the lowest intensity of the region; give a number to compare regions.
    """

    width: float
    lowest: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.width) and self.width > 0):
            raise UsageError(f"bins of width {self.width}; expected a number > 0")

    def levels(self, region: Region) -> NDArray[np.int64]:
        """Return the level of each measured pixel, (n,)."""
        values = region.values
        start = values.min() if self.lowest is None else self.lowest
        if values.min() < start:
            raise UsageError(
                f"the region's lowest intensity {values.min():g} is under the first bin's start {start:g}",
                mend="give a lower start, or leave these pixels out: within=(start, …)",
            )
        return np.floor((values - start) / self.width).astype(np.int64) + 1

    def count(self, found: int) -> int:
        """Return the number of levels, given the highest one `found`."""
        return found


@dataclass(frozen=True, slots=True)
class AsLevels:
    """The picture holds grey levels already: whole numbers from 1."""

    def levels(self, region: Region) -> NDArray[np.int64]:
        """Return the level of each measured pixel, (n,)."""
        values = region.values
        if values.min() < 1 or (values != np.floor(values)).any():
            raise UsageError(
                f"intensities from {values.min():g} to {values.max():g} are not all whole numbers from 1",
                mend="discretise: FixedBinNumber(32) or FixedBinSize(width)",
            )
        return values.astype(np.int64)

    def count(self, found: int) -> int:
        """Return the number of levels, given the highest one `found`."""
        return found


Discretise = FixedBinNumber | FixedBinSize | AsLevels


@dataclass(frozen=True, eq=False)
class Levels:
    """A region in grey levels; make it with `discretise`.

    Attributes
    ----------
    grid
        int32 (d, h + 2, w + 2): the level of each pixel of the mask's box, 0 outside the region and in the
        frame of one pixel around each slice.
    count
        The number of levels, N_g.
    shape
        The morphological mask, bool, shaped as `grid`.
    """

    grid: NDArray[np.int32]
    count: int
    shape: NDArray[np.bool_]

    @property
    def values(self) -> NDArray[np.int32]:
        """The levels of the region, (n,)."""
        return self.grid[self.grid > 0]


def discretise(region: Region, how: Discretise) -> Levels:
    """Sort a region's intensities into grey levels.

    Raises
    ------
    UsageError
        More than `MOST_LEVELS` levels, or an intensity below the first bin.

    Examples
    --------
    >>> region = Region.of([[0, 10], [20, 40]], [[1, 1], [1, 1]], spacing=1)
    >>> discretise(region, FixedBinNumber(4)).values.tolist()
    [1, 2, 3, 4]
    """
    found = how.levels(region)
    if found.max() > MOST_LEVELS:
        raise UsageError(
            f"{how} gives {found.max()} grey levels; expected at most {MOST_LEVELS}",
            mend="take wider bins, or FixedBinNumber(32)",
        )
    full = np.zeros(region.mask.shape, np.int32)
    full[region.mask] = found
    box = _box(region.shape)
    frame = ((0, 0), (1, 1), (1, 1))
    return Levels(np.pad(full[box], frame), how.count(int(found.max())), np.pad(region.shape[box], frame))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    spans = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero(mask.any(axis=others))
        spans.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(spans)
