"""The loop of tracing, compiled."""

from __future__ import annotations

from typing import Any

from coverslip.core.compiled import compiled


@compiled("int64(uint8[:, ::1], int32[:, ::1])")
def walk(mask: Any, out: Any) -> int:
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
