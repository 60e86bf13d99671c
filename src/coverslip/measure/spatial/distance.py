"""How far objects lie from others and from edges, in µm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.core.units import as_mpp
from coverslip.measure.spatial.window import Floats, Window


def nearest(xy: Floats, others: Floats, mpp: float, *, rank: int = 1) -> Floats:
    """Return the distance from each point to the nearest other in µm, shape (n,); inf where there is none.

    Parameters
    ----------
    xy, others
        Points in level-0 pixels, (n, 2) and (m, 2).
    rank
        2 for the second nearest, …; with ``others is xy`` the nearest is the point itself.

    Examples
    --------
    >>> nearest(np.array([[0.0, 0]]), np.array([[3.0, 4], [60, 80]]), 0.5).tolist()
    [2.5]
    """
    from scipy.spatial import cKDTree

    scale = as_mpp(mpp)
    if len(others) < rank or not len(xy):
        return np.full(len(xy), np.inf)
    found, _ = cKDTree(others).query(xy, k=[rank])
    return np.asarray(found[:, 0]) * scale


def to_edge(xy: Floats, regions: Window) -> Floats:
    """Return the distance from each point to the edge of regions in µm: below 0 inside, above 0 outside.

    Examples
    --------
    >>> from shapely import box
    >>> to_edge(np.array([[50.0, 50], [130, 50]]), Window(box(0, 0, 100, 100), 0.5)).tolist()
    [-25.0, 15.0]
    """
    return np.where(regions.contains(xy), -1, 1) * regions.edge_distance(xy)


def bands(distances: Floats, edges: Floats) -> NDArray[np.intp]:
    """Return the number of the band in which each distance lies.

    Band 0 is below ``edges[0]``, band 1 from there to below ``edges[1]``, and so on. For the invasive margin
    take ``[-500, 0, 500]`` µm: deep tumour, inner margin, outer margin, far.
    """
    return np.searchsorted(edges, distances, side="right")
