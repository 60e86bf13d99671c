"""What models give that end in a label image, as `Found`: outlines run along the borders of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations import outline
from coverslip.models.nuclei.intensity import scaled
from coverslip.models.nuclei.layout import RAYS
from coverslip.models.nuclei.reading import Found

Normalise = Literal["slide", "tile"]
"""Whose intensities become 0 and 1: the slide's, so that neighbouring tiles agree, or each tile's own."""

USUAL_UM = 11.0
"""Diameter of a usual nucleus, in µm, as with our own network."""


@dataclass(frozen=True)
class FoundLabels(Found):
    """Nuclei of any form; `stars` are circles as large."""

    def polygons(self) -> NDArray[Any]:
        """Return the outline of the largest area of each label, without holes, as a shapely Polygon, (n,)."""
        from scipy.ndimage import find_objects

        out = np.empty(len(self), object)
        for row, (down, across) in enumerate(find_objects(self.labels, max_label=len(self))):
            mask = self.labels[down, across] == row + 1
            out[row] = outline(mask, (across.start, down.start))
        return out


def found_of(
    labels: NDArray[Any], shape: tuple[int, int], scores: NDArray[np.floating[Any]] | None = None
) -> FoundLabels:
    """Return what a label image shows, in a picture of `shape` = (h, w) pixels.

    Parameters
    ----------
    labels
        (h', w') of whole numbers: 0, or the number of the nucleus; numbers may be missing.
    scores
        Of the nuclei 1, 2, …; None where the model has none: 1 for all.
    """
    import cv2

    labels = np.asarray(labels).astype(np.int32)
    if labels.shape != shape:
        labels = np.asarray(cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=1)[1:]) + 1
    number = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    number[there] = np.arange(1, len(there) + 1)
    labels = number[labels]
    y, x = np.nonzero(labels)
    of = labels[y, x] - 1
    areas = np.bincount(of, minlength=len(there)).astype(np.float64)
    centres = np.stack([np.bincount(of, at, len(there)) for at in (x, y)], axis=1) / areas[:, None] + 0.5
    stars = np.empty((len(there), 2 + RAYS), np.float32)
    stars[:, :2], stars[:, 2:] = centres - 0.5, np.sqrt(areas / np.pi)[:, None]
    sure = np.ones(len(there)) if scores is None else np.asarray(scores)[there - 1]
    return FoundLabels(labels, stars, centres, areas, sure.astype(np.float32))


def levelled(
    pixels: NDArray[np.float32],
    between: tuple[float, float],
    how: Normalise,
    percentiles: tuple[float, float],
) -> NDArray[np.float32]:
    """Return pixels (h, w, c) on the scale that a model expects.

    Parameters
    ----------
    percentiles
        Of each channel of the tile, where `how` is ``"tile"``.
    """
    if how == "slide":
        return scaled(pixels, between)
    low, high = np.percentile(pixels, percentiles, axis=(0, 1)).astype(np.float32)
    return np.asarray((pixels - low) / np.maximum(high - low, np.float32(1e-3)), np.float32)
