"""What a detector found on a tile, as polygons in pixels of the tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURE = 0.5
"""A pixel of a mask belongs to the object from this probability on."""

LEAST_VERTICES = 3


@dataclass(frozen=True, eq=False)
class Found:
    """Objects of one tile.

    Attributes
    ----------
    boxes
        (n, 4) float32: left, top, right, bottom in pixels of the tile.
    labels
        (n,) int32: class, from 0 on.
    scores
        (n,) float32.
    masks
        (n, s, s) float32: probability within each box; None of a detector of boxes.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    masks: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def centres(self) -> NDArray[np.float32]:
        """Middles of the boxes, (n, 2)."""
        middles: NDArray[np.float32] = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        return middles

    def moved(self, x: float, y: float) -> Found:
        """Return them `x` pixels to the right and `y` down."""
        return replace(self, boxes=self.boxes + np.array([x, y, x, y], np.float32))

    def resized(self, scale: float) -> Found:
        """Return them as in a picture with `scale` times as many pixels a side."""
        return self if scale == 1 else replace(self, boxes=self.boxes * np.float32(scale))

    def take(self, rows: NDArray[Any]) -> Found:
        """Return some of them."""
        masks = None if self.masks is None else self.masks[rows]
        return Found(self.boxes[rows], self.labels[rows], self.scores[rows], masks)


def together(parts: Sequence[Found]) -> Found:
    """Return the objects of several parts of one picture, one part at least, the parts' order kept."""
    masks = [part.masks for part in parts if part.masks is not None]
    return Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(masks) if masks else None,
    )


def drawn(box: NDArray[np.float32], mask: NDArray[np.float32]) -> tuple[NDArray[np.bool_], int, int]:
    """Draw a mask at the scale of its box: pixels (h, w) and the place of the first, (x, y).

    Examples
    --------
    >>> pixels, x, y = drawn(np.array([2.0, 1.0, 6.0, 4.0], np.float32), np.ones((28, 28), np.float32))
    >>> pixels.shape, bool(pixels.all()), (x, y)
    ((3, 4), True, (2, 1))
    """
    import cv2

    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    right, bottom = max(int(np.ceil(box[2])), left + 1), max(int(np.ceil(box[3])), top + 1)
    side = mask.shape[0]
    # middle of pixel (x, y) of the tile -> place in the mask, whose cells divide the box evenly
    x = (np.arange(left, right) + 0.5 - box[0]) / max(float(box[2] - box[0]), 1e-3) * side - 0.5
    y = (np.arange(top, bottom) + 0.5 - box[1]) / max(float(box[3] - box[1]), 1e-3) * side - 0.5
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    share = cv2.remap(mask, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return share >= SURE, left, top


def polygons(found: Found) -> list[Any]:
    """Return the outline of each object as a shapely Polygon, its box where it has no mask."""
    import shapely

    boxes = shapely.box(*found.boxes.T.astype(np.float64))
    if found.masks is None:
        return list(boxes)
    return [
        _outline(box, mask, fallback)
        for box, mask, fallback in zip(found.boxes, found.masks, boxes, strict=True)
    ]


def _outline(box: NDArray[np.float32], mask: NDArray[np.float32], fallback: Any) -> Any:
    """Trace the largest part of a mask along the borders of its pixels."""
    import cv2
    import shapely

    pixels, x, y = drawn(box, mask)
    # pixels twice as large: contours run through middles of pixels, and these are on the borders of the first
    double = cv2.resize(pixels.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(double, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return fallback
    largest = max(contours, key=cv2.contourArea)[:, 0].astype(np.float64)
    if len(largest) < LEAST_VERTICES:
        return fallback
    outline = shapely.Polygon((largest + 0.5) / 2 + (x, y)).buffer(0.25, join_style="mitre")
    return outline if outline.geom_type == "Polygon" and outline.area > 0 else fallback


def label_image(found: Found, size: tuple[int, int]) -> NDArray[np.uint16]:
    """Paint objects as numbers 1, 2 … in the order of `found`, (h, w); the surer one lies on top.

    Parameters
    ----------
    size
        Width and height.
    """
    width, height = size
    labels = np.zeros((height, width), np.uint16)
    for row in np.argsort(found.scores, kind="stable").tolist():
        pixels, x, y = _pixels(found, row)
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + pixels.shape[1], width), min(y + pixels.shape[0], height)
        if x0 < x1 and y0 < y1:
            labels[y0:y1, x0:x1][pixels[y0 - y : y1 - y, x0 - x : x1 - x]] = row + 1
    return labels


def _pixels(found: Found, row: int) -> tuple[NDArray[np.bool_], int, int]:
    if found.masks is not None:
        return drawn(found.boxes[row], found.masks[row])
    left, top, right, bottom = (round(float(v)) for v in found.boxes[row])
    return np.ones((max(1, bottom - top), max(1, right - left)), np.bool_), left, top


def apart(found: Found, *, overlap: float) -> Found:
    """Leave out objects that share more than `overlap` of the smaller's pixels with a surer one.

    Greedy, surest first, all classes alike: networks suppress twins within a class only, and by their boxes,
    which slanting neighbours may share while their masks do not. Without masks the boxes' pixels are taken.
    """
    if not len(found):
        return found
    low = np.floor(found.boxes[:, :2].min(axis=0)).astype(int)
    wide, high = (np.ceil(found.boxes[:, 2:].max(axis=0)).astype(int) - low + 2).tolist()
    owner = np.full((high, wide), -1, np.int32)
    areas = np.zeros(len(found), np.int64)
    kept: list[int] = []
    for row in np.argsort(-found.scores, kind="stable").tolist():
        pixels, x, y = _pixels(found, row)
        place = slice(y - low[1], y - low[1] + len(pixels)), slice(x - low[0], x - low[0] + pixels.shape[1])
        there = owner[place]
        areas[row] = pixels.sum()
        others, shared = np.unique(there[pixels & (there >= 0)], return_counts=True)
        if (shared > overlap * np.minimum(areas[others], areas[row])).any():
            continue
        there[pixels & (there < 0)] = row
        kept.append(row)
    return found.take(np.array(sorted(kept), np.int64))
