"""The eight ways in which a stored picture can lie (TIFF tag 274, EXIF), as pure functions of coordinates."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from coverslip.core import Size


class Turn(NamedTuple):
    """How to get from the stored picture to the shown one: flip stored axes, then transpose."""

    flip_x: bool
    flip_y: bool
    transpose: bool


TURNS = {
    1: Turn(False, False, False),
    2: Turn(True, False, False),
    3: Turn(True, True, False),
    4: Turn(False, True, False),
    5: Turn(False, False, True),
    6: Turn(False, True, True),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}
"""TIFF 6.0, section 8, Orientation: where row 0 and column 0 of the stored picture are shown."""


def shown_size(stored: Size, orientation: int) -> Size:
    """Return the size as shown.

    Examples
    --------
    >>> shown_size(Size(180, 120), 6)
    Size(width=120, height=180)
    """
    return Size(stored.height, stored.width) if TURNS[orientation].transpose else stored


def stored_window(x: int, y: int, size: Size, stored: Size, orientation: int) -> tuple[int, int, Size]:
    """Return corner and size, in the stored picture, of a window of the shown one.

    Examples
    --------
    >>> stored_window(0, 0, Size(2, 1), Size(180, 120), 3)
    (178, 119, Size(width=2, height=1))
    """
    turn = TURNS[orientation]
    if turn.transpose:
        x, y, size = y, x, Size(size.height, size.width)
    left = stored.width - x - size.width if turn.flip_x else x
    top = stored.height - y - size.height if turn.flip_y else y
    return left, top, size


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored pixels (h, w, c) into shown ones, as a view.

    Examples
    --------
    >>> import numpy as np
    >>> turned(np.array([[1, 2], [3, 4]])[..., None], 6)[..., 0].tolist()
    [[3, 1], [4, 2]]
    """
    turn = TURNS[orientation]
    flipped = pixels[:: -1 if turn.flip_y else 1, :: -1 if turn.flip_x else 1]
    return flipped.transpose(1, 0, 2) if turn.transpose else flipped
