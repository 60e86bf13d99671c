"""Which pixels lie in which object, for many polygons at once and also where they overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.objects.rings import Floats, Rings

Indices = NDArray[np.intp]


def pixels_in(
    rings: Rings, shape: tuple[int, int], *, corner: tuple[float, float] = (0.0, 0.0), step: float = 1.0
) -> tuple[Indices, Indices]:
    """Return every pair of object and pixel such that the pixel's centre lies in the object.

    Parameters
    ----------
    rings
        Of n objects, in level-0 pixels; holes are left out, as any point inside an even number of rings.
    shape
        Height and width of the image.
    corner
        Its upper left corner ``(x, y)`` in level-0 pixels.
    step
        Level-0 pixels per pixel of the image.

    Returns
    -------
    objects, pixels
        Row of the object, and index into the flattened image; in the order of the objects.

    Examples
    --------
    >>> from shapely import box
    >>> import numpy as np
    >>> rings = Rings.of(np.array([box(0, 0, 4, 2), box(2, 0, 5, 2)], object))
    >>> [part.tolist() for part in pixels_in(rings, (2, 3), step=2.0)]
    [[0, 0, 1], [0, 1, 1]]
    """
    ring = np.repeat(np.arange(len(rings.starts)), rings.lengths)
    owner = rings.owners[ring]
    place = (rings.origins - corner)[owner]
    begin, end = (rings.xy + place) / step, (rings.following + place) / step
    down = begin[:, 1] > end[:, 1]
    upper, lower = np.where(down[:, None], end, begin), np.where(down[:, None], begin, end)
    rows, x, objects = _crossings(upper, lower, owner, shape[0])
    order = np.lexsort((x, rows, objects))
    rows, x, objects = rows[order], x[order], objects[order]
    first = np.clip(np.ceil(x[0::2] - 0.5), 0, shape[1]).astype(np.intp)
    last = np.clip(np.ceil(x[1::2] - 0.5), 0, shape[1]).astype(np.intp)
    counts = last - first
    offsets = np.repeat(rows[0::2] * shape[1] + first - (np.cumsum(counts) - counts), counts)
    return np.repeat(objects[0::2], counts), offsets + np.arange(counts.sum())


def _crossings(upper: Floats, lower: Floats, owner: Indices, height: int) -> tuple[Indices, Floats, Indices]:
    """Return row, x and object of each place where an edge crosses the middle of a row of pixels."""
    first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.intp)
    counts = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.intp) - first
    edge = np.repeat(np.arange(len(owner)), counts)
    rows = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    flat = lower[:, 1] - upper[:, 1]
    slope = np.divide(lower[:, 0] - upper[:, 0], flat, out=np.zeros(len(flat)), where=flat > 0)
    x = upper[edge, 0] + (rows + 0.5 - upper[edge, 1]) * slope[edge]
    return rows, x, owner[edge]
