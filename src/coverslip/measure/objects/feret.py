"""Greatest and least width of convex hulls, exactly, without a loop over objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.objects.rings import Floats

PAIRS = 2_000_000
"""Pairs of vertices that are held at once."""


def ferets(hulls: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the greatest and the least distance of parallel lines that enclose each hull, shape (n,).

    The greatest is between two vertices; the least has a line along an edge (Freeman & Shapira 1975). NaN for
    hulls that are no polygon.

    Examples
    --------
    >>> from shapely import box
    >>> [value.tolist() for value in ferets(np.array([box(0, 0, 3, 4)], object))]
    [[5.0], [3.0]]
    """
    import shapely

    widest, narrowest = np.full(len(hulls), np.nan), np.full(len(hulls), np.nan)
    xy, owner = shapely.get_coordinates(hulls, return_index=True)
    counts = np.bincount(owner, minlength=len(hulls))
    starts = np.cumsum(counts) - counts
    solid = shapely.get_type_id(hulls) == 3
    for size in _sizes(counts[solid]):
        rows = np.flatnonzero(solid & (counts <= size) & (counts > size // 2))
        step = max(1, PAIRS // size**2)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            places = starts[some, None] + np.minimum(np.arange(size), counts[some, None] - 1)
            widest[some], narrowest[some] = _widths(xy[places])
    return widest, narrowest


def _sizes(counts: NDArray[np.intp]) -> list[int]:
    """Return powers of two such that each count is over half of one and not over it."""
    return sorted({1 << (int(count) - 1).bit_length() for count in np.unique(counts)})


def _widths(corners: Floats) -> tuple[Floats, Floats]:
    """Return both widths of closed hulls, shape (m, k, 2), the last vertex repeated as often as needed."""
    local = corners - corners[:, :1]
    squares = np.einsum("mkc,mkc->mk", local, local)
    pairs = squares[:, :, None] + squares[:, None, :] - 2 * local @ local.transpose(0, 2, 1)
    edges = np.diff(local, axis=1)
    lengths = np.hypot(edges[..., 0], edges[..., 1])
    normals = np.stack([-edges[..., 1], edges[..., 0]], axis=-1)
    reach = normals @ local.transpose(0, 2, 1)
    span = np.divide(
        reach.max(2) - reach.min(2), lengths, out=np.full(lengths.shape, np.inf), where=lengths > 0
    )
    return np.sqrt(np.maximum(pairs.max((1, 2)), 0)), span.min(1)
