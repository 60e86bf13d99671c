"""A detector on a plain picture: its light, its scale, and piece by piece where it is large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.detect.objects import Found, together
from coverslip.models.detectors_light import light_of, stretched
from coverslip.models.detectors_run import Detector
from coverslip.models.nuclei.picture import as_colour
from coverslip.models.nuclei.scale import scale_of

CORE, MARGIN = 1024, 128
"""Side of the pieces in which larger pictures are judged, and what is seen around each, in pixels judged."""


@dataclass(frozen=True)
class Sizes:
    """How large the objects found are, for `coverslip.models.nuclei.scale.scale_of`."""

    diameters: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Look:
    """A detector that tells the sizes of objects alone."""

    detector: Detector
    diameter: float

    def find(self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0) -> Sizes:
        """Return the sides of the objects' boxes, in the pixels given; light is set before."""
        del between
        found = Found(*self.detector.found(resized((pixels * 255 + 0.5).astype(np.uint8), scale)[None])[0])
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        return Sizes(np.sqrt(np.maximum(sides.prod(axis=1), 1e-3)) / np.float32(scale), found.scores)


def in_light(detector: Detector, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture as the detector wants its light."""
    return stretched(pixels, light_of(pixels)) if detector.sight.stretch else pixels


def found_on(detector: Detector, pixels: NDArray[np.uint8]) -> Found:
    """Return the objects of a picture whose light is set, in its own pixels.

    Without an `object_px` the picture is judged as it is; else at the scale that its objects, at a
    first look, ask for. Every object belongs to the one piece on which the middle of its box lies.
    """
    scale = 1.0
    if detector.sight.object_px is not None:
        scale = scale_of(Look(detector, detector.sight.object_px), as_colour(pixels))
    seen = resized(pixels, scale)
    parts = [_owned(detector, seen, corner) for corner in _corners(seen.shape)]
    return together(parts).resized(1 / scale)


def _corners(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield x and y of the pieces of a picture; one that is little larger than a piece is not cut."""
    ends = [side if side <= CORE + MARGIN else CORE for side in shape[:2]]
    for y in range(0, shape[0], ends[0]):
        for x in range(0, shape[1], ends[1]):
            yield x, y


def _owned(detector: Detector, pixels: NDArray[np.uint8], corner: tuple[int, int]) -> Found:
    x, y = corner
    left, top = max(0, x - MARGIN), max(0, y - MARGIN)
    high, wide = (side if side <= CORE + MARGIN else CORE for side in pixels.shape[:2])
    piece = pixels[top : y + high + MARGIN, left : x + wide + MARGIN]
    found = Found(*detector.found(piece[None])[0]).moved(left, top)
    first, last = np.array([x, y]), np.array([x + wide, y + high])
    inside = ((found.centres >= first) & (found.centres < last)).all(axis=1)
    return found.take(np.flatnonzero(inside))


def resized(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return a picture (h, w, 3) with `scale` times as many pixels a side, at least 8."""
    import cv2

    high, wide = pixels.shape[:2]
    size = (max(8, round(wide * scale)), max(8, round(high * scale)))
    if size == (wide, high):
        return pixels
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
