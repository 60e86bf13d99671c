"""Stars chosen, cut to the pixel map, and outlined; compiled, without the GIL.

A star is a row of float32: x and y of its centre, then its radii, all in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coverslip.core.compiled import compiled, inlined


@compiled("int64(float32[:, ::1], float64, int64[:, ::1])")
def peaks(score: Any, least: float, out: Any) -> int:
    """Collect the places (row, column) that reach `least` and that none of the eight around exceeds.

    Of equal neighbours the first is taken. Returns how many were put into `out`.
    """
    rows, columns = score.shape
    count = 0
    for i in range(rows):
        for j in range(columns):
            own = score[i, j]
            if own < least:
                continue
            top = True
            for v in range(max(0, i - 1), min(rows, i + 2)):
                for u in range(max(0, j - 1), min(columns, j + 2)):
                    other = score[v, u]
                    if other > own or (other == own and (v < i or (v == i and u < j))):
                        top = False
            if top:
                out[count, 0], out[count, 1] = i, j
                count += 1
    return count


@inlined
def share_of_radius(dx: float, dy: float, star: Any) -> float:
    """Return the distance (dx, dy) from a star's centre as a share of its radius in that direction."""
    rays = star.shape[0] - 2
    turn = np.arctan2(dy, dx) * (rays / (2 * np.pi))
    if turn < 0:
        turn += rays
    first = int(turn)
    part = turn - first
    radius = (1 - part) * star[2 + first % rays] + part * star[2 + (first + 1) % rays]
    share: float = np.sqrt(dx * dx + dy * dy) / max(radius, 1e-3)
    return share


@inlined
def cells_of(star: Any, cell: float, shape: Any, cells: Any) -> int:
    """Collect the cells (row, column) of a coarse canvas whose first pixel lies in a star; count them."""
    x, y, reach = star[0], star[1], star[2:].max()
    top, bottom = max(0, int((y - reach) / cell)), min(shape[0] - 1, int((y + reach) / cell) + 1)
    left, right = max(0, int((x - reach) / cell)), min(shape[1] - 1, int((x + reach) / cell) + 1)
    count = 0
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            if share_of_radius(j * cell - x, i * cell - y, star) <= 1:
                cells[count, 0], cells[count, 1] = i, j
                count += 1
    return count


@compiled("int64(float32[:, ::1], UniTuple(int64, 2), float64, float64, int64[::1])")
def suppress(stars: Any, shape: Any, cell: float, share: float, kept: Any) -> int:
    """Keep stars, best first, that share no more than `share` of the smaller with any kept before.

    Areas are counted in cells of `cell` pixels on a canvas of `shape` cells. `kept` receives the rows that
    stay; returns how many do.
    """
    canvas = np.zeros(shape, np.int32)
    area = np.zeros(stars.shape[0] + 1, np.int32)
    common = np.zeros(stars.shape[0] + 1, np.int32)
    cells = np.empty((shape[0] * shape[1], 2), np.int32)
    count = 0
    for s in range(stars.shape[0]):
        n = cells_of(stars[s], cell, shape, cells)
        for c in range(n):
            common[canvas[cells[c, 0], cells[c, 1]]] += 1
        clear = n > 0
        for c in range(n):
            other = canvas[cells[c, 0], cells[c, 1]]
            if other > 0 and common[other] > share * min(n, area[other]):
                clear = False
        for c in range(n):
            common[canvas[cells[c, 0], cells[c, 1]]] = 0
        if not clear:
            continue
        kept[count] = s
        count += 1
        area[count] = n
        for c in range(n):
            if canvas[cells[c, 0], cells[c, 1]] == 0:
                canvas[cells[c, 0], cells[c, 1]] = count
    return count


@compiled("void(float32[:, ::1], float32[:, ::1], UniTuple(float64, 2), float32[:, ::1], int32[:, ::1])")
def cut(nucleus: Any, stars: Any, limits: Any, near: Any, labels: Any) -> None:
    """Give each pixel that is nucleus to the star it lies deepest in.

    `limits` are the least value of `nucleus` and how many radii out a pixel may lie. `near` starts as
    infinity and ends as each pixel's share of its star's radius; `labels` starts as 0.
    """
    height, width = labels.shape
    least, reach = limits
    for s in range(stars.shape[0]):
        x, y = stars[s, 0], stars[s, 1]
        far = stars[s, 2:].max() * reach
        for i in range(max(0, int(y - far)), min(height, int(y + far) + 2)):
            for j in range(max(0, int(x - far)), min(width, int(x + far) + 2)):
                if nucleus[i, j] < least:
                    continue
                depth = share_of_radius(j - x, i - y, stars[s])
                if depth <= reach and depth < near[i, j]:
                    near[i, j] = depth
                    labels[i, j] = s + 1


@compiled("void(int32[:, ::1], float32[:, ::1], float64[:, ::1])")
def sums(labels: Any, nucleus: Any, out: Any) -> None:
    """Add up per object, a row each of `out`: its pixels, their x, their y, and their `nucleus`."""
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            s = labels[i, j] - 1
            if s >= 0:
                out[s, 0] += 1
                out[s, 1] += j
                out[s, 2] += i
                out[s, 3] += nucleus[i, j]


@compiled("void(int32[:, ::1], float32[:, ::1], float32[:, ::1], float32[:, :, ::1])")
def outlines(labels: Any, stars: Any, directions: Any, out: Any) -> None:
    """Walk from each star's centre to the edge of its label, in quarter pixels.

    `out` is (n, rays, 2) as (x, y), counted from the corner of the first pixel: its centre is (0.5, 0.5).
    Where the centre does not bear the label, the star itself is the outline.
    """
    height, width = labels.shape
    for s in range(stars.shape[0]):
        x, y = stars[s, 0] + 0.5, stars[s, 1] + 0.5
        inside = labels[min(height - 1, int(y)), min(width - 1, int(x))] == s + 1
        for k in range(directions.shape[0]):
            dx, dy = directions[k, 0], directions[k, 1]
            far = stars[s, 2 + k]
            if inside:
                far = np.float32(0.25)
                while True:
                    u, v = x + (far + 0.25) * dx, y + (far + 0.25) * dy
                    if u < 0 or v < 0 or u >= width or v >= height or labels[int(v), int(u)] != s + 1:
                        break
                    far += np.float32(0.25)
                far += np.float32(0.125)
            out[s, k, 0] = x + far * dx
            out[s, k, 1] = y + far * dy
