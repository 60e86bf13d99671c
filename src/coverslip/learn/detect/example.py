"""A picture with its objects, and what is done to it before the network sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError

LEAST_SHARE = 0.25
"""An object that a crop cuts down to less than this share of its area is not asked for."""


@dataclass(frozen=True, eq=False)
class Example:
    """A picture and the objects on it.

    Attributes
    ----------
    pixels
        (h, w, 3) uint8.
    boxes
        (n, 4) float32: left, top, right, bottom in pixels of the picture.
    classes
        (n,) int64, from 1 on (0 is the background).
    labels
        (h, w) int32: which object each pixel shows, ``1 + row`` of `boxes`, 0 for none; None where only boxes
        were drawn.
    name
        For messages.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    labels: NDArray[np.int32] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.classes), 4):
            raise UsageError(
                f"{self.name}: {len(self.classes)} classes and boxes of shape {self.boxes.shape} do not "
                "belong "
                "together: expected (n, 4)"
            )
        if self.labels is not None and self.labels.shape != self.pixels.shape[:2]:
            high, wide = self.pixels.shape[:2]
            raise UsageError(
                f"{self.name}: the mask has {self.labels.shape[1]} × {self.labels.shape[0]} pixels and the "
                f"picture {wide} × {high}",
                mend="give the mask of this picture, in its size",
            )

    def __len__(self) -> int:
        return len(self.classes)


def from_labels(
    pixels: NDArray[np.uint8],
    labels: NDArray[Any],
    *,
    classes: NDArray[np.int64] | None = None,
    name: str = "",
) -> Example:
    """Make an example of an instance label image; numbers without pixels are left out.

    Parameters
    ----------
    classes
        Class of the labels 1, 2, …; all 1 when None.

    Examples
    --------
    >>> picture = np.zeros((4, 6, 3), np.uint8)
    >>> labels = np.zeros((4, 6), np.int32)
    >>> labels[1:3, 2:5] = 7
    >>> from_labels(picture, labels).boxes.tolist()
    [[2.0, 1.0, 5.0, 3.0]]
    """
    from scipy.ndimage import find_objects

    given = np.asarray(labels)
    if given.ndim != 2 or given.dtype.kind not in "iu":
        raise UsageError(f"{name}: {given.dtype} {given.shape} is no label image: expected (h, w) integers")
    places = find_objects(given.astype(np.int32))
    rows = [(number, place) for number, place in enumerate(places, 1) if place is not None]
    lookup = np.zeros(len(places) + 1, np.int32)
    lookup[[number for number, _ in rows]] = np.arange(1, len(rows) + 1)
    boxes = np.array([(x.start, y.start, x.stop, y.stop) for _, (y, x) in rows], np.float32).reshape(-1, 4)
    kinds = np.ones(len(places), np.int64) if classes is None else np.asarray(classes, np.int64)
    mine = kinds[[number - 1 for number, _ in rows]] if rows else np.empty(0, np.int64)
    return Example(pixels, boxes, mine, lookup[given], name)


def crop(example: Example, corner: tuple[int, int], side: int, *, scale: float = 1.0) -> Example:
    """Cut a square out, after scaling; what lies over the edge is white (black on dark pictures).

    Parameters
    ----------
    corner
        x and y of the upper left pixel, in pixels of the scaled picture; may be negative.
    side
        Of the result, in pixels.
    scale
        Above 1 enlarges.
    """
    import cv2

    x, y = corner
    matrix = np.array([[scale, 0, -x + (scale - 1) / 2], [0, scale, -y + (scale - 1) / 2]], np.float64)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    outside = int(np.median(example.pixels[::8, ::8]))
    pixels = _warped(example.pixels, matrix, side, how=how, fill=(outside,) * 3)
    boxes = example.boxes * np.float32(scale) - np.array([x, y, x, y], np.float32)
    cut = np.clip(boxes, 0, side)
    whole = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    seen = np.prod(np.maximum(cut[:, 2:] - cut[:, :2], 0), axis=1)
    keep = (seen >= LEAST_SHARE * whole) & (np.min(cut[:, 2:] - cut[:, :2], axis=1, initial=np.inf) >= 2)
    if example.labels is None:
        return Example(pixels, cut[keep], example.classes[keep], None, example.name)
    kept = np.concatenate([[0], np.where(keep, np.arange(1, len(keep) + 1), 0)]).astype(np.int32)
    labels = _warped(kept[example.labels].astype(np.float32), matrix, side, how=cv2.INTER_NEAREST, fill=0)
    return from_labels(pixels, labels.astype(np.int32), classes=example.classes, name=example.name)


def whole(example: Example, scale: float) -> Example:
    """Resize an example, pixels and boxes; its mask is left out unless the scale is 1."""
    import cv2

    if scale == 1:
        return example
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    high, wide = (max(1, round(side * scale)) for side in example.pixels.shape[:2])
    pixels = cv2.resize(example.pixels, (wide, high), interpolation=how)
    return Example(pixels, example.boxes * np.float32(scale), example.classes, None, example.name)


def _warped(
    picture: NDArray[Any], matrix: NDArray[np.float64], side: int, *, how: int, fill: Any
) -> NDArray[Any]:
    import cv2

    # INTER_AREA is not known to warps: a picture that shrinks is made small first
    if how == cv2.INTER_AREA:
        scale = float(matrix[0, 0])
        wide, high = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        small = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
        shift = np.array([[1, 0, matrix[0, 2] - (scale - 1) / 2], [0, 1, matrix[1, 2] - (scale - 1) / 2]])
        return _warped(small, shift, side, how=cv2.INTER_NEAREST, fill=fill)
    found: NDArray[Any] = cv2.warpAffine(
        picture, matrix, (side, side), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    return found


def turned(example: Example, quarter: int, *, mirror: bool) -> Example:
    """Turn by quarters of a circle, anticlockwise, after mirroring left and right.

    Examples
    --------
    >>> labels = np.zeros((2, 3), np.int32)
    >>> labels[0, 0] = 1
    >>> turned(from_labels(np.zeros((2, 3, 3), np.uint8), labels), 1, mirror=False).boxes.tolist()
    [[0.0, 2.0, 1.0, 3.0]]
    """
    pixels, labels, boxes = example.pixels, example.labels, example.boxes
    if mirror:
        pixels = pixels[:, ::-1]
        labels = None if labels is None else labels[:, ::-1]
        wide = pixels.shape[1]
        boxes = np.stack([wide - boxes[:, 2], boxes[:, 1], wide - boxes[:, 0], boxes[:, 3]], axis=1)
    for _ in range(quarter % 4):
        wide = pixels.shape[1]
        pixels = np.rot90(pixels)
        labels = None if labels is None else np.rot90(labels)
        boxes = np.stack([boxes[:, 1], wide - boxes[:, 2], boxes[:, 3], wide - boxes[:, 0]], axis=1)
    return replace(
        example,
        pixels=np.ascontiguousarray(pixels),
        labels=None if labels is None else np.ascontiguousarray(labels),
        boxes=np.ascontiguousarray(boxes, np.float32),
    )


def recoloured(pixels: NDArray[np.uint8], rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Change brightness, contrast and the balance of colours at random.

    Parameters
    ----------
    strength
        0 for none; 0.2 changes each channel's gain and the gamma by up to a fifth.
    """
    if strength <= 0:
        return pixels
    gain = rng.uniform(1 - strength / 2, 1 + strength / 2, 3) * rng.uniform(1 - strength, 1 + strength)
    gamma = np.exp(rng.uniform(-2 * strength, 2 * strength))
    levels = (np.arange(256) / 255) ** gamma
    table = np.clip(levels[:, None] * gain * 255, 0, 255).astype(np.uint8)
    return np.stack([table[pixels[..., channel], channel] for channel in range(3)], axis=-1)
