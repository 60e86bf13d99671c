"""Area resampling with sub-pixel windows: each output pixel is the mean of the area that it covers.

An output pixel ``j`` of a window that starts at ``start`` covers ``[start + j·scale, start + (j+1)·scale)``
of the source, whose pixels are constant over their unit squares. Fractions of pixels count by the share
covered, so a region reads the same wherever its tile happens to start, and nothing shifts by half a pixel
between levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Span:
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


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is averaged: `pixels` of `scale` source pixels each, from fraction `phase` of `count` pixels."""

    phase: float
    pixels: int
    scale: float
    count: int


def taps(phase: float, pixels: int, scale: float, count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return for each output pixel its first source pixel (pixels,) and the weights (taps, pixels) from there on.

    Weights of a pixel sum to 1.
    """
    edges = phase + np.arange(pixels + 1) * scale
    first = np.clip(np.floor(edges[:-1] + EXACT).astype(np.intp), 0, count - 1)
    reach = max(1, int((np.ceil(edges[1:] - EXACT) - first).max()))
    cells = first[None, :] + np.arange(reach)[:, None]
    covered = np.minimum(cells + 1, edges[None, 1:]) - np.maximum(cells, edges[None, :-1])
    weights = np.where(cells < count, np.clip(covered, 0, None), 0.0)
    return first, weights / weights.sum(axis=0)


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
    if phase == (0.0, 0.0) and whole > 1 and abs(scale - whole) < EXACT and _has_quick_mean(source):
        return _by_whole(source, size, whole)
    settle_heap()
    height, width, channels = source.shape
    real = np.dtype(np.float32 if source.dtype.itemsize <= 2 or source.dtype == np.float32 else np.float64)
    down = averages(Axis(phase[1], size.height, scale, height), 1, real)
    across = averages(Axis(phase[0], size.width, scale, width), channels, real)
    rows = down @ source.reshape(height, width * channels).astype(real)
    pixels = cv2.transpose(across @ cv2.transpose(rows))
    return _as(pixels, source.dtype).reshape(size.height, size.width, channels)


@cache
def settle_heap() -> None:
    """Make the C library keep freed memory for the next tile instead of giving it back page by page.

    glibc learns from the largest block that was mapped and freed how much to keep; one of 24 MiB, never touched,
    teaches it. Without, the page faults of a tile's temporaries cost three times its arithmetic (measured: 2.05
    against 0.57 ms). Elsewhere it does nothing.
    """
    np.empty(24 << 20, np.uint8)


def _has_quick_mean(source: NDArray[Any]) -> bool:
    return source.dtype in (np.uint8, np.uint16, np.float32) and source.shape[2] <= 4


def _by_whole(source: NDArray[Any], size: Size, factor: int) -> NDArray[Any]:
    """Average whole factor × factor squares."""
    square = np.ascontiguousarray(source[: size.height * factor, : size.width * factor])
    small: NDArray[Any] = cv2.resize(square, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return small.reshape(size.height, size.width, source.shape[2])


@lru_cache(maxsize=64)
def averages(axis: Axis, channels: int, real: np.dtype[Any]) -> Any:
    """Return the averaging along one axis as a sparse matrix (pixels · channels, count · channels).

    A product with it costs as much as reading the source, holds no GIL, and is the same for every phase.
    """
    from scipy.sparse import csr_array

    first, weights = taps(axis.phase, axis.pixels, axis.scale, axis.count)
    reach = np.minimum(first[:, None] + np.arange(len(weights)), axis.count - 1)
    columns = (reach * channels)[:, None, :] + np.arange(channels)[None, :, None]
    values = np.broadcast_to(weights.T[:, None, :], columns.shape)
    counted = values > 0
    starts = np.concatenate([[0], counted.sum(axis=2).ravel().cumsum()])
    shape = (axis.pixels * channels, axis.count * channels)
    return csr_array((values[counted].astype(real), columns[counted], starts), shape=shape)


def _as(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `values` in `dtype`, integers rounded to nearest and kept in range."""
    if dtype == np.uint8:
        return np.asarray(cv2.convertScaleAbs(values))
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
