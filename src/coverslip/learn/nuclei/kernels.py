"""What the network is to say of a label image, pixel by pixel; compiled, without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from coverslip.core.compiled import compiled

REACH = 160
"""Half pixels after which a ray ends, whatever it meets."""


@compiled("void(int32[:, :], int64[:, :], float32[:, ::1], float32[:, ::1])")
def radii(labels: Any, points: Any, directions: Any, out: Any) -> None:
    """Walk from each point (x, y), which lies in a nucleus, to its edge, in half pixels."""
    height, width = labels.shape
    for i in range(points.shape[0]):
        own = labels[points[i, 1], points[i, 0]]
        for k in range(directions.shape[0]):
            dx, dy, t = directions[k, 0] * 0.5, directions[k, 1] * 0.5, 1
            while t < REACH:
                x, y = round(points[i, 0] + t * dx), round(points[i, 1] + t * dy)
                if x < 0 or y < 0 or x >= width or y >= height or labels[y, x] != own:
                    break
                t += 1
            out[i, k] = t * 0.5


@compiled("void(int32[:, :], uint8[:, ::1])")
def contours(labels: Any, out: Any) -> None:
    """Mark the pixels of nuclei that touch, by a corner or an edge, anything else."""
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0:
                continue
            for v in range(max(0, y - 1), min(height, y + 2)):
                for u in range(max(0, x - 1), min(width, x + 2)):
                    if labels[v, u] != own:
                        out[y, x] = 1


@compiled("void(int32[:, :], float32[:, :], float64[:, ::1])")
def objects(labels: Any, depth: Any, facts: Any) -> None:
    """Sum per nucleus: pixels, greatest depth, and x and y weighted by the depth squared (with its sum)."""
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            own = labels[y, x]
            if own == 0:
                continue
            d = depth[y, x]
            facts[own, 0] += 1
            facts[own, 1] = max(facts[own, 1], d)
            facts[own, 2] += d * d * x
            facts[own, 3] += d * d * y
            facts[own, 4] += d * d


def directions(rays: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the unit vectors (rays, 2) as (x, y), from (1, 0) on, clockwise on the screen."""
    angle = np.arange(rays) * (2 * np.pi / rays)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
