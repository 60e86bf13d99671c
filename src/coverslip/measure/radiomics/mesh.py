"""The surface of a mask as triangles: marching cubes with cases derived, not listed.

The classical algorithm (Lorensen & Cline 1987) reads 256 cases from a table. Here a case is traced: on each
face of the cube, the surface's edge joins the two crossed sides; where all four are crossed, the corners
inside are kept apart. The edges close to loops, and a loop is filled with triangles from one of its points.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

_CORNERS = tuple(product((0, 1), repeat=3))
Point = tuple[float, float, float]


def surface(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the triangles of a mask's surface at half height.

    Parameters
    ----------
    mask
        bool (d, h, w).
    spacing
        Side of a pixel along each axis.

    Returns
    -------
    NDArray
        float64 (n, 3, 3): for each triangle three points (z, y, x) in the unit of `spacing`, going round
        such that the normal looks outwards.
    """
    full = np.pad(mask, 1)
    case = np.zeros(tuple(n - 1 for n in full.shape), np.uint8)
    for bit, (z, y, x) in enumerate(_CORNERS):
        case |= full[z:, y:, x:][: case.shape[0], : case.shape[1], : case.shape[2]].astype(np.uint8) << bit
    cells = np.argwhere((case > 0) & (case < 255))
    kind = case[tuple(cells.T)]
    parts = [
        (cells[kind == number][:, None, None, :] + _triangles(int(number))[None]).reshape(-1, 3, 3)
        for number in np.unique(kind)
    ]
    triangles: NDArray[np.float64] = (np.concatenate(parts) - 1) * np.asarray(spacing)
    return triangles


def area(triangles: NDArray[np.float64]) -> float:
    """Return the area of all triangles."""
    a, b, c = triangles.transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def volume(triangles: NDArray[np.float64]) -> float:
    """Return the volume that a closed surface holds."""
    return _signed(triangles - triangles.mean(axis=(0, 1)))


def _signed(triangles: NDArray[np.float64]) -> float:
    a, b, c = triangles.transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@lru_cache(maxsize=256)
def _triangles(case: int) -> NDArray[np.float64]:
    """Return the triangles, (n, 3, 3), within a unit cube whose corner i is inside where bit i is set."""
    inside = {corner for bit, corner in enumerate(_CORNERS) if case >> bit & 1}
    following: dict[Point, Point] = {}
    for axis, side in product(range(3), (0, 1)):
        following.update(_face(inside, axis, side))
    found = []
    while following:
        start, point = following.popitem()
        loop = [start]
        while point != start:
            loop.append(point)
            point = following.pop(point)
        found.append(_fill(np.asarray(loop, np.float64), hold=1 if len(inside) <= 4 else -1))
    return np.concatenate(found)


def _fill(loop: NDArray[np.float64], hold: int) -> NDArray[np.float64]:
    """Return the fan of triangles that fills a loop of points (n, 3) and holds most.

    `hold` is 1 for most of the inside, −1 for most of the outside, so that a cube and its opposite get the
    same surface. Of several, that of least area. The choice does not depend on how the cube is turned.
    """
    fans = []
    for start in range(len(loop)):
        points = np.roll(loop, -start, axis=0)
        fans.append(
            np.stack([np.broadcast_to(points[0], (len(loop) - 2, 3)), points[1:-1], points[2:]], axis=1)
        )
    return max(fans, key=lambda fan: (round(hold * _signed(fan), 9), -round(area(fan), 9)))


def _face(inside: set[tuple[int, ...]], axis: int, side: int) -> list[tuple[Point, Point]]:
    """Return the surface's edges on one face, each with the inside on the same hand."""
    ring = []
    for first, second in ((0, 0), (0, 1), (1, 1), (1, 0)):
        corner = [first, second]
        corner.insert(axis, side)
        ring.append(tuple(corner))
    if (side == 1) != (axis == 1):  # seen from outside the cube every face turns the same way
        ring.reverse()
    isin = [corner in inside for corner in ring]
    middle = [_middle(ring[i], ring[(i + 1) % 4]) for i in range(4)]
    enters = [i for i in range(4) if not isin[i] and isin[(i + 1) % 4]]
    edges = []
    for i in enters:
        leave = next(j % 4 for j in range(i + 1, i + 4) if isin[j % 4] and not isin[(j + 1) % 4])
        edges.append((middle[i], middle[leave]))
    return edges


def _middle(one: tuple[int, ...], other: tuple[int, ...]) -> Point:
    z, y, x = ((a + b) / 2 for a, b in zip(one, other, strict=True))
    return (z, y, x)
