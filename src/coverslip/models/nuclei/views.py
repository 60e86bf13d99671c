"""A picture judged as it is and mirrored: the mean is steadier than one look."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.layout import GRID, PLANES, RAYS

Floats = NDArray[np.float32]

MIRRORS = ((False, False), (True, False), (False, True), (True, True))
"""Whether a view is mirrored (left to right, top to bottom)."""

EDGE = 16
"""Pixels around the picture that views need: the outermost are not seen by all of them."""


def judged(
    whole: Floats, look: Callable[[Floats], tuple[Floats, Floats]], views: int
) -> tuple[Floats, Floats]:
    """Return maps of a picture as a mean over `views` mirrors.

    Parameters
    ----------
    whole
        (h + 1, w + 1, c); h and w are multiples of the network's stride. The row and the column more keep
        grid points on grid points when the picture is mirrored.
    look
        From a picture (h, w, c) to planes (PLANES, h, w) and radii (h / GRID, w / GRID, RAYS).

    Returns
    -------
    planes (PLANES, h + 1, w + 1) and radii (h / GRID + 1, w / GRID + 1, RAYS); the outermost row and column
    of each side are not valid.
    """
    height, width = whole.shape[0] - 1, whole.shape[1] - 1
    planes = np.zeros((PLANES, height + 1, width + 1), np.float32)
    radii = np.zeros((height // GRID + 1, width // GRID + 1, RAYS), np.float32)
    for across, down in MIRRORS[:views]:
        turned = whole[:: -1 if down else 1, :: -1 if across else 1][:height, :width]
        one, far = look(np.ascontiguousarray(turned))
        rows = slice(1, None) if down else slice(0, -1)
        columns = slice(1, None) if across else slice(0, -1)
        back = (slice(None, None, -1 if down else 1), slice(None, None, -1 if across else 1))
        planes[:, rows, columns] += one[:, *back] / views
        radii[rows, columns] += far[back][..., rays_mirrored(RAYS, across=across, down=down)] / views
    return planes, radii


def rays_mirrored(rays: int, *, across: bool, down: bool) -> NDArray[np.int64]:
    """Return which ray of a mirrored picture lies where each ray of the picture does.

    Examples
    --------
    >>> rays_mirrored(4, across=True, down=False).tolist()
    [2, 1, 0, 3]
    """
    ray = np.arange(rays)
    if across:
        ray = rays // 2 - ray
    if down:
        ray = -ray
    return ray % rays
