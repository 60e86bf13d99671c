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
    """The source pixels that one axis touches: `first` … `first + count`, from fraction `phase`."""

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
    """How one axis is averaged, or a part of it.

    Attributes
    ----------
    phase
        Fraction of a source pixel at which output pixel 0 starts.
    pixels
        Output pixels of the part.
    scale
        Source pixels per output pixel.
    count
        Source pixels at hand.
    skip
        Output pixels before the part.
    origin
        Source pixels before those at hand.
    """

    phase: float
    pixels: int
    scale: float
    count: int
    skip: int = 0
    origin: int = 0


def parts(phase: float, pixels: int, scale: float, most: int) -> list[Axis]:
    """Cut an axis into parts of about `most` source pixels, each with the source pixels that it touches.

    Averaged part by part, every pixel comes out as it does from the whole, to the last bit.

    Examples
    --------
    >>> [(part.skip, part.pixels, part.origin, part.count) for part in parts(0.5, 5, 2.0, 6)]
    [(0, 3, 0, 7), (3, 2, 6, 5)]
    """
    step = max(1, int(most / scale))
    found = []
    for skip in range(0, pixels, step):
        length = min(step, pixels - skip)
        first = math.floor(phase + skip * scale + EXACT)
        last = math.ceil(phase + (skip + length) * scale - EXACT * max(1.0, scale))
        found.append(Axis(phase, length, scale, max(1, last - first), skip, first))
    return found


def taps(axis: Axis) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return each output pixel's first source pixel (pixels,) and the weights (taps, pixels) from there on.

    Weights of a pixel sum to 1.
    """
    edges = axis.phase + np.arange(axis.skip, axis.skip + axis.pixels + 1) * axis.scale - axis.origin
    first = np.clip(np.floor(edges[:-1] + EXACT).astype(np.intp), 0, axis.count - 1)
    reach = max(1, int((np.ceil(edges[1:] - EXACT) - first).max()))
    cells = first[None, :] + np.arange(reach)[:, None]
    covered = np.minimum(cells + 1, edges[None, 1:]) - np.maximum(cells, edges[None, :-1])
    weights = np.where(cells < axis.count, np.clip(covered, 0, None), 0.0)
    return first, weights / weights.sum(axis=0)


def resample(
    source: NDArray[Any],
    size: Size,
    scale: float,
    phase: tuple[float, float],
    *,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
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
    out
        Where to write: contiguous, of the result's shape and dtype.

    Returns
    -------
    Array (size.height, size.width, c) of the dtype of `source`, rounded to nearest for integers.
    """
    height, width = source.shape[:2]
    across, down = Axis(phase[0], size.width, scale, width), Axis(phase[1], size.height, scale, height)
    result = resample_part(source, across, down, out=out)
    if out is not None and result is not out:
        out[...] = result
        return out
    return result


def resample_part(
    source: NDArray[Any], across: Axis, down: Axis, *, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Average a part of a picture, see `resample` and `parts`; into `out` only where that is faster."""
    scale, size = across.scale, Size(across.pixels, down.pixels)
    whole = round(scale)
    aligned = across.phase == down.phase == 0.0
    if aligned and abs(scale - 1) < EXACT:
        return source[: size.height, : size.width]
    if aligned and whole > 1 and abs(scale - whole) < EXACT and _has_quick_mean(source):
        return _by_whole(source, size, whole)
    if source.dtype == np.uint8 and source.shape[2] == 3:
        return _by_kernel(source, across, down, out)
    return _by_products(source, across, down)


def _by_kernel(
    source: NDArray[np.uint8], across: Axis, down: Axis, out: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Average 8-bit colour."""
    from coverslip.slides.kernels import mean_areas

    rows = np.ascontiguousarray(source).reshape(source.shape[0], -1)
    pixels = np.empty((down.pixels, across.pixels, 3), np.uint8) if out is None else out
    mean_areas(rows, pixels.reshape(down.pixels, -1), *weighted(across), *weighted(down))
    return pixels


@lru_cache(maxsize=64)
def weighted(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return what `taps` does, the weights as (pixels, taps) with three taps or more."""
    first, weights = taps(axis)
    missing = max(0, 3 - len(weights))
    return first.astype(np.int64), np.ascontiguousarray(np.pad(weights, ((0, missing), (0, 0))).T, np.float32)


def _by_products(source: NDArray[Any], across: Axis, down: Axis) -> NDArray[Any]:
    """Average any kind of numbers."""
    import cv2

    settle_heap()
    size, (height, width, channels) = Size(across.pixels, down.pixels), source.shape
    real = np.dtype(np.float32 if source.dtype.itemsize <= 2 or source.dtype == np.float32 else np.float64)
    rows = averages(down, 1, real) @ source.reshape(height, width * channels).astype(real)
    pixels = cv2.transpose(averages(across, channels, real) @ cv2.transpose(rows))
    return _as(pixels, source.dtype).reshape(size.height, size.width, channels)


@cache
def settle_heap() -> None:
    """Make the C library keep freed memory for the next tile instead of giving it back page by page.

    glibc learns from the largest block that was mapped and freed how much to keep; one of 24 MiB, never
    touched, teaches it. Without, the page faults of a tile's temporaries cost three times its arithmetic
    (measured: 2.05 against 0.57 ms). Elsewhere it does nothing.
    """
    np.empty(24 << 20, np.uint8)


def _has_quick_mean(source: NDArray[Any]) -> bool:
    return source.dtype in (np.uint8, np.uint16, np.float32) and source.shape[2] <= 4


def _by_whole(source: NDArray[Any], size: Size, factor: int) -> NDArray[Any]:
    """Average whole factor × factor squares."""
    import cv2

    square = np.ascontiguousarray(source[: size.height * factor, : size.width * factor])
    small: NDArray[Any] = cv2.resize(square, (size.width, size.height), interpolation=cv2.INTER_AREA)
    return small.reshape(size.height, size.width, source.shape[2])


@lru_cache(maxsize=64)
def averages(axis: Axis, channels: int, real: np.dtype[Any]) -> Any:
    """Return the averaging along one axis as a sparse matrix (pixels · channels, count · channels).

    A product with it costs as much as reading the source, holds no GIL, and is the same for every phase.
    """
    from scipy.sparse import csr_array

    first, weights = taps(axis)
    reach = np.minimum(first[:, None] + np.arange(len(weights)), axis.count - 1)
    columns = (reach * channels)[:, None, :] + np.arange(channels)[None, :, None]
    values = np.broadcast_to(weights.T[:, None, :], columns.shape)
    counted = values > 0
    starts = np.concatenate([[0], counted.sum(axis=2).ravel().cumsum()])
    shape = (axis.pixels * channels, axis.count * channels)
    return csr_array((values[counted].astype(real), columns[counted], starts), shape=shape)


def _as(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `values` in `dtype`, integers rounded to nearest and kept in range."""
    import cv2

    if dtype == np.uint8:
        return np.asarray(cv2.convertScaleAbs(values))
    if not np.issubdtype(dtype, np.integer):
        return np.asarray(values, dtype)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)
