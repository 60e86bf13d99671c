"""Nuclei by a classical detector: dark in haematoxylin, round, split where they touch.

Smoothed haematoxylin over a threshold (Otsu's, held within bounds of the slide's strength) and over the mean
of its surroundings gives the mask; peaks of the smoothed distance to its edge give one seed per nucleus; a
watershed on that distance draws the borders. It needs no training and no GPU. It is for counting and for
comparing tiles: touching nuclei of odd shapes are better served by a trained segmenter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.flood import flood
from coverslip.measure.planes import Planes, prepare
from coverslip.measure.shapes import describe
from coverslip.stain.matrices import StainMatrix

SMOOTH = 0.5
"""µm, standard deviation of the smoothing of haematoxylin."""

SURROUNDINGS = 20.0
"""µm, side of the square whose mean a nucleus must exceed."""

LEAST, SURE = 0.22, 0.55
"""Bounds of the threshold, as shares of the slide's haematoxylin strength."""

HILL = 0.75
"""µm, standard deviation of the smoothing of the distance to the edge."""

SEED_DISTANCE = 2.0
"""µm to either side in which a seed is the only one."""

SMALLEST, LARGEST = 9.0, 400.0
"""µm² that a nucleus may have."""


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of a tile.

    Attributes
    ----------
    labels
        int32 (h, w) over the tile's own pixels: 0, or the row of the table plus 1.
    table
        Columns of equal length, see `coverslip.measure.shapes.COLUMNS`. Coordinates are in pixels of the
        tile, (0, 0) its corner; lengths and areas in µm.
    """

    labels: NDArray[np.int32]
    table: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.table["x"])


def detect_nuclei(rgb: NDArray[np.uint8], mpp: float, stains: StainMatrix) -> Nuclei:
    """Find nuclei in a tile.

    Parameters
    ----------
    rgb
        uint8 (h, w, 3).
    mpp
        Microns per pixel of the tile, at most 1.05.
    stains
        Of the slide; the first is the nuclear stain, and its strength sets the threshold's bounds.

    Raises
    ------
    UsageError
        When `rgb` is not uint8 (h, w, 3), or under 8 µm a side.
    ImplausibleMppError
        When nuclei cannot be seen at this scale.

    Examples
    --------
    >>> from coverslip.stain import RUIFROK_JOHNSTON, recombine
    >>> y, x = np.mgrid[:128, :128]
    >>> amounts = np.zeros((128, 128, 2), np.float32)
    >>> amounts[..., 0] = (np.hypot(x - 40, y - 50) < 7) + (np.hypot(x - 90, y - 80) < 7)
    >>> nuclei = detect_nuclei(recombine(amounts, RUIFROK_JOHNSTON["H&E"]), 0.5, RUIFROK_JOHNSTON["H&E"])
    >>> nuclei.table["x"].round().tolist(), nuclei.table["y"].round().tolist()
    ([40.0, 90.0], [50.0, 80.0])
    """
    import cv2

    planes = prepare(rgb, mpp, stains)
    nuclei = find(planes)
    height, width = rgb.shape[:2]
    across, down = width / nuclei.labels.shape[1], height / nuclei.labels.shape[0]
    labels = nuclei.labels
    if labels.shape != (height, width):
        labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    table = {**nuclei.table, "x": nuclei.table["x"] * across, "y": nuclei.table["y"] * down}
    return Nuclei(np.asarray(labels, np.int32), table)


def find(planes: Planes) -> Nuclei:
    """Find nuclei in a prepared tile, in its pixels."""
    mask = _mask(planes)
    labels = _split(mask, planes)
    return Nuclei(*describe(labels, planes, (SMALLEST, LARGEST)))


def _mask(planes: Planes) -> NDArray[np.uint8]:
    """Return 255 where nuclei are."""
    import cv2

    sigma = SMOOTH / planes.mpp
    smooth = cv2.GaussianBlur(planes.haematoxylin8, (0, 0), sigma)
    side = 2 * (planes.pixels(SURROUNDINGS) // 2) + 1
    around = cv2.blur(smooth, (side, side), borderType=cv2.BORDER_REFLECT)
    level = planes.strength[0] * 100
    otsu, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    threshold = float(np.clip(otsu, LEAST * level, SURE * level))
    mask = cv2.compare(smooth, threshold, cv2.CMP_GT)
    mask &= cv2.compare(smooth, around, cv2.CMP_GT)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disk(planes.pixels(0.75)))
    return _filled(mask, planes)


def _filled(mask: NDArray[np.uint8], planes: Planes) -> NDArray[np.uint8]:
    """Fill holes that are smaller than a small nucleus."""
    import cv2

    _, labels = cv2.connectedComponents(cv2.bitwise_not(mask), connectivity=4, ltype=cv2.CV_32S)
    small = np.bincount(labels.ravel()) < 2 * SMALLEST / planes.mpp**2
    small[0] = False  # the mask itself
    if small.any():
        mask = mask | (small[labels] * np.uint8(255))
    return mask


def _split(mask: NDArray[np.uint8], planes: Planes) -> NDArray[np.int32]:
    """Label the nuclei of a mask; those that touch by a watershed on the distance to the edge."""
    import cv2

    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    hills = np.asarray(cv2.GaussianBlur(distance, (0, 0), HILL / planes.mpp), np.float32)
    top = cv2.dilate(hills, _disk(planes.pixels(SEED_DISTANCE)))
    peaks = cv2.bitwise_and(cv2.compare(hills, top, cv2.CMP_GE), mask)
    _, seeds = cv2.connectedComponents(peaks, connectivity=8, ltype=cv2.CV_32S)
    return flood(hills, np.asarray(seeds, np.int32), mask)


@lru_cache(maxsize=32)
def _disk(radius: int) -> NDArray[np.uint8]:
    import cv2

    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
