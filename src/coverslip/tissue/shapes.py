"""Shapes in masks: by area, by thickness, by what they touch."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@lru_cache(maxsize=32)
def disk(radius: float) -> NDArray[np.uint8]:
    """Return a disk as structuring element; at least 3 × 3 pixels.

    Examples
    --------
    >>> disk(1.0).tolist()
    [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    """
    reach = max(1, round(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    limit = max(radius, 1.0)
    return np.asarray(x * x + y * y <= limit * limit + 0.25, np.uint8)


def keep_large(mask: Mask, pixels: float) -> Mask:
    """Keep connected pieces of at least this many pixels.

    Examples
    --------
    >>> keep_large(np.array([[1, 0, 1, 1]], bool), 2).astype(int).tolist()
    [[0, 0, 1, 1]]
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return np.asarray(keep[labels], bool)


def keep_thick(mask: Mask, pixels: float) -> Mask:
    """Keep connected pieces of at least this many pixels that are somewhere three pixels wide."""
    core = cv2.erode(mask.view(np.uint8), disk(1.0)).view(bool)
    return keep_large(touching(mask, core), pixels)


def touching(mask: Mask, seeds: Mask) -> Mask:
    """Keep the connected pieces of `mask` that hold a seed (reconstruction, Vincent 1993).

    Examples
    --------
    >>> touching(np.array([[1, 1, 0, 1]], bool), np.array([[0, 1, 0, 0]], bool)).astype(int).tolist()
    [[1, 1, 0, 0]]
    """
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[labels[seeds & mask]] = True
    keep[0] = False
    return np.asarray(keep[labels], bool)


def fill_holes(mask: Mask, pixels: float) -> Mask:
    """Fill holes of fewer pixels than this; gaps that reach the image's edge are no holes.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool)
    >>> ring[1, 1] = False
    >>> bool(fill_holes(ring, 2)[1, 1]), bool(fill_holes(ring, 1)[1, 1])
    (True, False)
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    height, width = mask.shape
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    fill = inside & (stats[:, cv2.CC_STAT_AREA] < pixels)
    fill[0] = False
    return np.asarray(mask | fill[labels], bool)


def closing(mask: Mask, radius: float) -> Mask:
    """Close gaps; what lies beyond the image counts as empty, so nothing grows towards its edge.

    Examples
    --------
    >>> crack = np.ones((5, 5), bool)
    >>> crack[:, 2] = False
    >>> closing(crack, 1)[2].astype(int).tolist()
    [1, 1, 1, 1, 1]
    """
    element = disk(radius)
    margin = element.shape[0] // 2
    padded = np.pad(mask.view(np.uint8), margin)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, element)
    return closed[margin:-margin, margin:-margin].astype(bool)


def close_gaps(mask: Mask, width: float, pixels: float) -> Mask:
    """Close cracks and holes inside pieces, but leave the bays of their outlines as they are.

    A morphological closing says what could be filled; of that, each connected gap is filled whose border is
    to four fifths tissue, so a crack that opens to the glass is filled and a bay is not.

    Parameters
    ----------
    mask
        Array (h, w).
    width
        Gaps up to this many pixels wide.
    pixels
        Holes of fewer pixels than this are filled whatever their width.
    """
    closed = closing(mask, width / 2)
    filled = fill_holes(closed, pixels)
    gaps = filled & ~mask
    count, labels = cv2.connectedComponents(gaps.view(np.uint8), connectivity=4)
    beside = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    open_to = cv2.filter2D((~filled).view(np.uint8), -1, beside, borderType=cv2.BORDER_CONSTANT)
    wall = cv2.filter2D(mask.view(np.uint8), -1, beside, borderType=cv2.BORDER_CONSTANT)
    opening = np.bincount(labels[gaps], open_to[gaps], count)
    walls = np.bincount(labels[gaps], wall[gaps], count)
    keep = opening < 0.25 * walls
    keep[0] = False
    return np.asarray(mask | keep[labels], bool)


def bridge(mask: Mask, cover: Mask) -> Mask:
    """Add what `cover` hides of the mask: where the mask, closed by the cover's own width, passes under it.

    Parameters
    ----------
    mask
        What is seen, array (h, w).
    cover
        What hides it, as a marker's stroke over tissue.
    """
    if not cover.any() or not mask.any():
        return mask
    radius = float(cv2.distanceTransform(np.pad(cover, 1).view(np.uint8), cv2.DIST_L2, 5).max()) + 0.5
    near = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5) <= radius
    inner = cv2.distanceTransform(np.pad(near, 1, mode="edge").view(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return mask | (cover & (inner > radius))
