"""How much of each pixel polygons cover, exactly.

Signed areas are accumulated along the edges, as in the anti-aliased rasterisers of fonts (Levien 2014, after
LibArt): each piece of an edge adds its height to all pixels on its right and a trapezium to its own pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def coverage(geometry: Any, width: int, height: int) -> NDArray[np.float64]:
    """Return the share of each pixel that valid polygons cover.

    Parameters
    ----------
    geometry
        A valid polygon or multipolygon in pixels of the result; it may reach over the edge.
    width, height
        Of the result.

    Returns
    -------
    Array (height, width) from 0 to 1.

    Examples
    --------
    >>> from shapely import box
    >>> coverage(box(0.5, 0, 2, 0.25), 3, 1).tolist()
    [[0.125, 0.25, 0.0]]
    """
    edges = _edges(geometry, width, height)
    if not len(edges):
        return np.zeros((height, width))
    x, y = _pieces(edges)
    rise = y[:, 1] - y[:, 0]
    middle = x.mean(axis=1)
    row = np.floor(y.mean(axis=1)).astype(np.intp)
    column = np.clip(np.floor(middle), 0, width).astype(np.intp)
    inside = (row >= 0) & (row < height) & (rise != 0)
    share = np.where(middle < 0, 0.0, np.where(column >= width, 0.0, middle - column))
    cell = (row * (width + 2) + column)[inside]
    length = height * (width + 2)
    flat: NDArray[Any] = np.bincount(cell, (rise * (1 - share))[inside], length)
    flat += np.bincount(cell + 1, (rise * share)[inside], length)
    area: NDArray[Any] = np.cumsum(flat.reshape(height, width + 2), axis=1)[:, :width]
    np.clip(area, 0.0, 1.0, out=area)
    return area


def _edges(geometry: Any, width: int, height: int) -> NDArray[np.float64]:
    """Return the edges (n, 2 ends, 2), the inside always on the same hand."""
    import shapely

    rings = shapely.get_rings(shapely.get_parts(shapely.normalize(geometry)))
    points, owner = shapely.get_coordinates(rings, return_index=True)
    same = owner[1:] == owner[:-1]
    edges = np.stack([points[:-1][same], points[1:][same]], axis=1)
    low, high = edges[..., 1].min(axis=1), edges[..., 1].max(axis=1)
    left = edges[..., 0].min(axis=1)
    # what lies above, below or on the right of the picture covers none of it
    near: NDArray[np.float64] = edges[(high > 0) & (low < height) & (left < width) & (high > low)]
    return near


def _pieces(edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut edges at the borders of pixels; return x and y of both ends of every piece, (m, 2) each."""
    start, step = edges[:, 0], edges[:, 1] - edges[:, 0]
    owners, shares = [np.arange(len(edges))] * 2, [np.zeros(len(edges)), np.ones(len(edges))]
    for axis in (0, 1):
        low, high = np.sort(edges[..., axis], axis=1).T
        first = np.floor(low) + 1
        count = np.maximum(0, np.ceil(high) - first).astype(np.intp)
        owner = np.repeat(np.arange(len(edges)), count)
        border = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + first[owner]
        owners.append(owner)
        shares.append((border - start[owner, axis]) / step[owner, axis])
    owner, share = np.concatenate(owners), np.clip(np.concatenate(shares), 0.0, 1.0)
    order = np.lexsort((share, owner))
    owner, share = owner[order], share[order]
    points = start[owner] + share[:, None] * step[owner]
    points = np.where((share == 1.0)[:, None], edges[owner, 1], points)
    same = owner[1:] == owner[:-1]
    x = np.stack([points[:-1, 0][same], points[1:, 0][same]], axis=1)
    return x, np.stack([points[:-1, 1][same], points[1:, 1][same]], axis=1)
