"""The outline of one small object, along the borders of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import GeometryError


def outline(mask: NDArray[np.bool_], origin: tuple[float, float] = (0, 0)) -> Any:
    """Return the largest connected area of a mask, without holes, as a shapely Polygon.

    It runs along the borders of pixels, as outlines of `coverslip.annotations.vectorise` do, and is fast for
    one small object. Pixels that meet only at a corner are not connected.

    Parameters
    ----------
    mask
        (h, w); True inside.
    origin
        x and y of its upper left corner.

    Raises
    ------
    GeometryError
        When no pixel is inside.

    Examples
    --------
    >>> outline(np.array([[True, True, False], [True, False, True]]), (10, 0)).area
    3.0
    """
    import cv2
    import shapely

    from coverslip.annotations.kernels import walk

    inside = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
    inside[1:-1, 1:-1] = mask
    count, parts = cv2.connectedComponents(inside, connectivity=4)
    if count < 2:
        raise GeometryError("an empty mask has no outline: expected pixels inside")
    if count > 2:
        largest = 1 + int(np.bincount(parts.ravel())[1:].argmax())
        inside = np.ascontiguousarray(parts == largest).view(np.uint8)
    corners = np.empty((2 * inside.size, 2), np.int32)
    ring = corners[: walk(inside, corners)].astype(np.float64) - 1
    polygon = shapely.Polygon(ring + origin)
    if not polygon.is_valid:  # it meets itself at a corner: what it shuts in there is a hole
        polygon = max(shapely.get_parts(shapely.make_valid(polygon)), key=lambda part: part.area)
        polygon = shapely.Polygon(polygon.exterior)
    return polygon
