"""Area resampling with sub-pixel windows: each output pixel is the mean of the area that it covers.

An output pixel ``j`` of a window that starts at ``start`` covers ``[start + j·scale, start + (j+1)·scale)``
of the source, whose pixels are constant over their unit squares. Fractions of pixels count by the share
covered, so a region reads the same wherever its tile happens to start, and nothing shifts by half a pixel
between levels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size

EXACT = 1e-6
"""Two positions nearer than this share of a pixel are the same."""


def on_level(position: float, downsample: float) -> float:
    """Return where a level-0 position lies on a level, in that level's pixels.

    A whole level-0 position can name a level's pixel to half a level-0 pixel only, so one that is the
    nearest to the start of a pixel means that pixel: on a level 4.0003 times smaller, pixel 3000 starts at
    12001, not near it.

    Examples
    --------
    >>> on_level(12001, 4.0003), on_level(12003, 4.0), on_level(12000.5, 4.0)
    (3000.0, 3000.75, 3000.125)
    """
    there = position / downsample
    nearest = round(there)
    named = position == math.floor(position) and abs(there - nearest) * downsample <= 0.5 + EXACT
    return float(nearest) if named else there


class Span(NamedTuple):
    """The source pixels that one axis of a window touches: `first` … `first + count`, from fraction `phase`."""

    first: int
    count: int
    phase: float


def span(start: float, pixels: int, scale: float) -> Span:
    """Return the source pixels under `pixels` output pixels that start at `start`.

    Examples
    --------
    >>> span(10.0, 4, 1.0), span(10.25, 4, 1.5)
    (Span(first=10, count=4, phase=0.0), Span(first=10, count=7, phase=0.25))
    """
    nearest = round(start)
    begin = float(nearest) if abs(start - nearest) < EXACT * max(1.0, scale) else start
    first = math.floor(begin)
    end = begin + pixels * scale
    return Span(first, max(1, math.ceil(end - EXACT * max(1.0, scale)) - first), begin - first)


@lru_cache(maxsize=256)
def taps(phase: float, pixels: int, scale: float, count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return for each output pixel its first source pixel (pixels,) and the weights (taps, pixels) from there on.

    Weights of a pixel sum to 1.
    """
    edges = phase + np.arange(pixels + 1) * scale
    first = np.clip(np.floor(edges[:-1] + EXACT).astype(np.intp), 0, count - 1)
    reach = max(1, int((np.ceil(edges[1:] - EXACT) - first).max()))
    cells = first[None, :] + np.arange(reach)[:, None]
    covered = np.minimum(cells + 1, edges[None, 1:]) - np.maximum(cells, edges[None, :-1])
    weights = np.where(cells < count, np.clip(covered, 0, None), 0.0)
    return first, (weights / weights.sum(axis=0)).astype(np.float32)


def resample(source: NDArray[Any], size: Size, scale: float, phase: tuple[float, float]) -> NDArray[Any]:
    """Average `source` over areas of `scale` × `scale` pixels.

    Parameters
    ----------
    source
        Array (h, w, c), any real dtype; what `span` names on both axes.
    size
        Width and height of the result.
    scale
        Source pixels per output pixel, at least 1 for a mean; below 1 pixels repeat.
    phase
        Fractions (x, y) of a source pixel at which the first output pixel starts.

    Returns
    -------
    Array (size.height, size.width, c) of the dtype of `source`, rounded to nearest for integers.
    """
    if phase == (0.0, 0.0) and abs(scale - 1) < EXACT:
        return source[: size.height, : size.width]
    whole = round(scale)
    if phase == (0.0, 0.0) and whole > 1 and abs(scale - whole) < EXACT:
        return _by_whole(source, size, whole)
    if phase == (0.0, 0.0) and _is_quick(source, scale):
        return _from_start(source, size, scale)
    down = _along_rows(source, size.height, scale, phase[1])
    across = _along_rows(down.transpose(1, 0, 2), size.width, scale, phase[0]).transpose(1, 0, 2)
    if np.issubdtype(source.dtype, np.integer):
        limits = np.iinfo(source.dtype)
        across = np.clip(np.rint(across), limits.min, limits.max)
    return np.ascontiguousarray(across, dtype=source.dtype)


def _by_whole(source: NDArray[Any], size: Size, factor: int) -> NDArray[Any]:
    """Average whole factor × factor squares."""
    square = np.ascontiguousarray(source[: size.height * factor, : size.width * factor])
    small: NDArray[Any] = cv2.resize(square, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return small.reshape(size.height, size.width, source.shape[2])


def _is_quick(source: NDArray[Any], scale: float) -> bool:
    """Say whether OpenCV averages this: up to four channels, and not when it finds the size unchanged."""
    changes = max(source.shape[:2]) * (1 - 1 / scale) >= 1
    return changes and source.dtype == np.uint8 and source.shape[2] <= 4


def _from_start(source: NDArray[Any], size: Size, scale: float) -> NDArray[Any]:
    """Average areas of any size that start with the first pixel, in one pass of OpenCV.

    It leaves out slivers under 0.001 of a pixel, at most 0.13 of 255 grey levels.
    """
    cut = np.ascontiguousarray(source)
    # the factor is given, not the size: OpenCV would stretch the areas to fill the size
    small: NDArray[Any] = cv2.resize(cut, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], source.shape[2])[: size.height, : size.width]


def _along_rows(source: NDArray[Any], pixels: int, scale: float, phase: float) -> NDArray[np.float32]:
    """Average along the first axis."""
    first, weights = taps(phase, pixels, scale, source.shape[0])
    total = np.zeros((pixels, *source.shape[1:]), np.float32)
    for offset, weight in enumerate(weights):
        total += source[np.minimum(first + offset, source.shape[0] - 1)] * weight[:, None, None]
    return total
