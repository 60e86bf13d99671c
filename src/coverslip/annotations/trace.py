"""The outline of one small object, along the borders of its pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.compiled import compiled
from coverslip.core.errors import GeometryError


@compiled("int64(uint8[:, ::1], int32[:, ::1])")
def _walk(mask: Any, out: Any) -> int:
    """Walk around the first pixel's area with it to the right; collect the corners as (x, y), count them.

    `mask` has a border of zeros. Where two pixels meet at a corner alone, the walk stays with its own.
    """
    height, width = mask.shape
    x, y = 0, 0
    for at in range(height * width):
        if mask[at // width, at % width]:
            y, x = at // width, at % width
            break
    left, top, dx, dy, count = x, y, 1, 0, 0
    while True:
        out[count, 0], out[count, 1] = x, y
        count += 1
        while True:  # along the edge until it turns
            x, y = x + dx, y + dy
            ahead_right = mask[y + (dx + dy - 1) // 2, x + (dx - dy - 1) // 2]
            ahead_left = mask[y + (dy - dx - 1) // 2, x + (dx + dy - 1) // 2]
            if not ahead_right:
                dx, dy = -dy, dx
                break
            if ahead_left:
                dx, dy = dy, -dx
                break
        if x == left and y == top:
            return count


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

    inside = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)
    inside[1:-1, 1:-1] = mask
    count, parts = cv2.connectedComponents(inside, connectivity=4)
    if count < 2:
        raise GeometryError("an empty mask has no outline: expected pixels inside")
    if count > 2:
        largest = 1 + int(np.bincount(parts.ravel())[1:].argmax())
        inside = np.ascontiguousarray(parts == largest).view(np.uint8)
    corners = np.empty((2 * inside.size, 2), np.int32)
    ring = corners[: _walk(inside, corners)].astype(np.float64) - 1
    polygon = shapely.Polygon(ring + origin)
    if not polygon.is_valid:  # it meets itself at a corner: what it shuts in there is a hole
        polygon = max(shapely.get_parts(shapely.make_valid(polygon)), key=lambda part: part.area)
        polygon = shapely.Polygon(polygon.exterior)
    return polygon
