"""Shapes in masks: by area, by thickness, by what they touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Box = tuple[slice, slice]


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
    outlines, owners = _outlines(mask)
    areas = _within(outlines, owners < 0)
    sizes = areas.copy()
    holes = np.flatnonzero(owners >= 0)
    np.subtract.at(sizes, owners[holes], areas[holes])
    return _without(mask, outlines, owners, (owners < 0) & (sizes < pixels))


def _outlines(mask: Mask) -> tuple[Sequence[NDArray[Any]], NDArray[np.intp]]:
    """Trace the pieces (8-connected) and holes of a mask; several times faster than labelling its pixels.

    Returns
    -------
    Outlines through the centres of the pieces' pixels, and for each outline -1, or for a hole the number of
    the outline of the piece around it.
    """
    given = np.ascontiguousarray(mask).view(np.uint8)
    outlines, tree = cv2.findContours(given, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    owners = np.empty(0, np.intp) if tree is None else np.asarray(tree[0][:, 3], np.intp)
    return outlines, owners


def _within(outlines: Sequence[NDArray[Any]], whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count the pixels on and inside each outline where `whole`, else only inside it (Pick 1899)."""
    if not len(outlines):
        return np.empty(0)
    x, y = np.concatenate(outlines)[:, 0].T.astype(np.int64)
    length = np.array([len(outline) for outline in outlines])
    start = length.cumsum() - length
    following = np.arange(1, len(x) + 1)
    following[start + length - 1] = start
    across, down = x[following] - x, y[following] - y
    steps = np.add.reduceat(np.maximum(np.abs(across), np.abs(down)), start)
    area = np.abs(np.add.reduceat(x * down - y * across, start)) / 2
    return np.asarray(area + 1 + np.where(whole, 0.5, -0.5) * steps)


def _without(mask: Mask, outlines: Sequence[NDArray[Any]], owners: NDArray[np.intp], drop: Mask) -> Mask:
    """Return a copy without the pieces to drop, but with what lies in their holes."""
    result = np.array(mask, bool, order="C")
    parts = {number: [outlines[number]] for number in np.flatnonzero(drop).tolist()}
    for number in np.flatnonzero((owners >= 0) & drop[owners]).tolist():
        parts[int(owners[number])].append(outlines[number])
    for part in parts.values():
        cv2.drawContours(result.view(np.uint8), part, -1, 0, cv2.FILLED)
    return result


def each_piece(mask: Mask, margin: int, least: float = 0) -> Iterator[tuple[Box, Mask]]:
    """Cut out the connected pieces of a mask one by one, so that work on them needs little memory.

    Parameters
    ----------
    margin
        Pixels around each piece, as far as the mask reaches.
    least
        Pieces whose box has a shorter diagonal are passed over.

    Yields
    ------
    The slices (rows, columns) of the piece's surroundings, and the piece alone on them.

    Examples
    --------
    >>> mask = np.array([[1, 0, 0, 0], [0, 0, 0, 1]], bool)
    >>> [(rows.start, columns.start, piece.shape) for (rows, columns), piece in each_piece(mask, 1)]
    [(0, 2, (2, 2)), (0, 0, (2, 2))]
    """
    outlines, owners = _outlines(mask)
    parts = {number: [outlines[number]] for number in np.flatnonzero(owners < 0).tolist()}
    for number in np.flatnonzero(owners >= 0).tolist():
        parts[int(owners[number])].append(outlines[number])
    for part in parts.values():
        x, y, width, height = cv2.boundingRect(part[0])
        if np.hypot(width, height) < least:
            continue
        left, top = max(0, x - margin), max(0, y - margin)
        box = (slice(top, y + height + margin), slice(left, x + width + margin))
        piece = np.zeros(mask[box].shape, np.uint8)
        cv2.drawContours(piece, part, -1, 1, cv2.FILLED, offset=(-left, -top))
        for hole in part[1:]:
            cv2.drawContours(piece, [hole], -1, 1, 1, offset=(-left, -top))
        yield box, piece.view(bool) & mask[box]


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
    outlines, owners = _outlines(mask)
    # numbers of 16 bits, where they are enough, take half the memory
    depth = cv2.CV_16U if len(outlines) < 1 << 16 else cv2.CV_32S
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=depth)
    keep = np.zeros(count, bool)
    keep[labels[seeds & mask]] = True
    places = np.array([outline[0, 0] for outline in outlines], np.intp).reshape(-1, 2)
    return _without(mask, outlines, owners, (owners < 0) & ~keep[labels[places[:, 1], places[:, 0]]])


def fill_holes(mask: Mask, pixels: float) -> Mask:
    """Fill holes of fewer pixels than this; gaps that reach the image's edge are no holes.

    What lies in a hole belongs to it: it is filled with all that it holds.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool)
    >>> ring[1, 1] = False
    >>> bool(fill_holes(ring, 2)[1, 1]), bool(fill_holes(ring, 1)[1, 1])
    (True, False)
    """
    outlines, owners = _outlines(mask)
    small = (owners >= 0) & (_within(outlines, np.zeros(len(outlines), np.bool_)) < pixels)
    result = np.array(mask, bool, order="C")
    for number in np.flatnonzero(small).tolist():
        cv2.drawContours(result.view(np.uint8), [outlines[number]], -1, 1, cv2.FILLED)
    return result


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
    places = np.flatnonzero(gaps)
    owners = labels.reshape(-1)[places]
    open_to, wall = (
        cv2.filter2D(side.view(np.uint8), -1, beside, borderType=cv2.BORDER_CONSTANT).reshape(-1)[places]
        for side in (~filled, mask)
    )
    keep = np.bincount(owners, open_to, count) < 0.25 * np.bincount(owners, wall, count)
    result = np.array(mask, bool, order="C")
    result.reshape(-1)[places] = keep[owners]
    return result


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
