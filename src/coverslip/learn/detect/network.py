"""A detector's boxes, chosen from the sizes of the objects that it is to find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SMALL, LARGE = 10, 95
"""Percentiles of a class's sides that the smallest and largest boxes tried are to match."""

FINE_BELOW = 16
"""Objects smaller than so many pixels want a pyramid that begins at stride 2, others at stride 4."""

FEWEST, MOST = 3, 5
"""Levels of a pyramid: with fewer it would see too little around an object."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is trained. `finest`, `levels` and `anchor` are chosen from the objects where they are not said.

    Parameters
    ----------
    backbone, width, finest, levels, anchor, at_most
        See `coverslip.models.detectors.DetectorSpec`.
    pretrained
        Begin with the backbone's published weights (backbones of timm).
    """

    backbone: str = "small"
    width: int = 64
    finest: int | None = None
    levels: int | None = None
    anchor: int | None = None
    at_most: int = 500
    pretrained: bool = False

    def fitted(self, sides: Sequence[NDArray[np.float64]]) -> Network:
        """Return the network with boxes for objects of these sides.

        Parameters
        ----------
        sides
            Of each class (n,), in pixels that the network sees: a rare class of small objects gets its boxes
            as a common one of large ones does.

        Examples
        --------
        >>> found = Network().fitted([np.array([14.0, 20.0, 24.0, 31.0])])
        >>> found.finest, found.levels, found.anchor
        (4, 3, 16)
        """
        bounds = [np.percentile(each, (SMALL, LARGE)) for each in sides if len(each)] or [(16.0, 64.0)]
        small, large = min(low for low, _ in bounds), max(high for _, high in bounds)
        anchor = self.anchor or max(4, round(float(small)))
        finest = self.finest or (2 if anchor < FINE_BELOW else 4)
        # stride 16 at least, however alike the objects are
        least = FEWEST + (finest == 2)
        wanted = 1 + math.ceil(math.log2(max(1.0, float(large) / anchor)) - 0.25)
        levels = self.levels or min(MOST, max(least, wanted))
        return replace(self, anchor=anchor, finest=finest, levels=levels)
