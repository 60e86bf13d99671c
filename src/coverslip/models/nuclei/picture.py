"""Nuclei of a plain picture: grey, colour or 16-bit, of any size, at any scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.nuclei.detector import Detector
from coverslip.models.nuclei.intensity import levels
from coverslip.models.nuclei.reading import Found
from coverslip.models.nuclei.scale import scale_of

CORE = 1024
"""Pixels of a side of the pieces in which large pictures are judged."""


@dataclass(frozen=True)
class PictureNuclei:
    """Nuclei of a picture.

    Attributes
    ----------
    labels
        int32 (h, w): 0, or the number of the nucleus.
    scores
        float32 (n,).
    scale
        By what factor the picture was resized to be judged.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    scale: float

    def __len__(self) -> int:
        return len(self.scores)


def nuclei_of_picture(
    detector: Detector, picture: NDArray[np.generic], *, mpp: float | None = None
) -> PictureNuclei:
    """Find the nuclei of a picture.

    Parameters
    ----------
    picture
        Grey (h, w) or (h, w, 1), colour (h, w, 3), or colour with opacity (h, w, 4), which is ignored; uint8,
        uint16, or float from 0 to 1.
    mpp
        Microns per pixel of the picture. None: its scale is judged from the size of its nuclei.

    Raises
    ------
    UsageError
        When it is no such picture, or smaller than 8 pixels a side.
    """
    pixels = as_colour(picture)
    scale = scale_of(detector, pixels) if mpp is None else mpp / detector.mpp
    labels = np.zeros(pixels.shape[:2], np.int32)
    scores: list[NDArray[np.float32]] = []
    for found, (top, left) in owned(detector, pixels, scale):
        there = labels[top : top + found.labels.shape[0], left : left + found.labels.shape[1]]
        free = (found.labels > 0) & (there == 0)
        there[free] = found.labels[free] + sum(map(len, scores))
        scores.append(found.scores)
    return _seen(labels, np.concatenate(scores), scale)


def owned(
    detector: Detector, pixels: NDArray[np.float32], scale: float
) -> Iterator[tuple[Found, tuple[int, int]]]:
    """Judge a picture piece by piece; yield each piece's own nuclei, and (row, column) of its first pixel.

    A piece is seen with the detector's margin around it and owns the nuclei whose centre lies on it.
    """
    between = levels(pixels)
    core, margin = round(CORE / scale), round(detector.margin / scale)
    for top in range(0, pixels.shape[0], core):
        for left in range(0, pixels.shape[1], core):
            low, near = max(0, top - margin), max(0, left - margin)
            piece = pixels[low : top + core + margin, near : left + core + margin]
            found = detector.find(piece, between, scale)
            x, y = (found.centres + np.array([near, low])).T
            own = (x >= left) & (x < left + core) & (y >= top) & (y < top + core)
            yield found.take(own), (low, near)


def as_colour(picture: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a picture as float32 (h, w, 3) from 0 to 1 of its depth.

    Raises
    ------
    UsageError
        When it is none.

    Examples
    --------
    >>> round(float(as_colour(np.full((8, 8), 51, np.uint8)).max()), 3)
    0.2
    """
    shape = picture.shape
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
        raise UsageError(
            f"a picture of shape {shape} cannot be judged: expected (h, w), (h, w, 3) or (h, w, 4)",
            mend="choose one plane of a stack, or one channel",
        )
    if min(shape[:2]) < 8:
        raise UsageError(f"a picture of {shape[1]} × {shape[0]} pixels is too small: 8 a side are the least")
    full = {"|u1": 255.0, "<u2": 65535.0, ">u2": 65535.0}.get(picture.dtype.str)
    if full is None and picture.dtype.kind != "f":
        raise UsageError(f"pixels of {picture.dtype} cannot be judged: expected uint8, uint16 or float")
    pixels = picture[..., :3].astype(np.float32) / np.float32(full or 1)
    if not np.isfinite(pixels).all():
        raise UsageError("the picture has pixels that are no numbers", mend="fill them first")
    return np.ascontiguousarray(np.broadcast_to(pixels, (*shape[:2], 3)))


def _seen(labels: NDArray[np.int32], scores: NDArray[np.float32], scale: float) -> PictureNuclei:
    """Leave out nuclei that lost all their pixels to a neighbour's piece."""
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(scores) + 1)[1:]) + 1
    number = np.zeros(len(scores) + 1, np.int32)
    number[there] = np.arange(1, len(there) + 1)
    return PictureNuclei(number[labels], scores[there - 1], scale)
