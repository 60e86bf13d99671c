"""Sizes in the headers of compressed pictures, read before anything is decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FRAME_HEADERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_CODESTREAM = b"\xff\x4f\xff\x51"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns of a JPEG, JPEG-LS or JPEG 2000 stream, or None when the header is not found.

    The frame header of JPEG is that of ITU T.81, B.2.2, of JPEG-LS T.87, C.2.2, the SIZ marker of JPEG 2000
    that of T.800, A.5.1.
    """
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    start = data.find(_CODESTREAM, 0, 4096)
    if start < 0 or len(data) < start + 24:
        return None
    right, bottom, left, top = (_number(data, start + 8 + 4 * index, 4) for index in range(4))
    return bottom - top, right - left


def chroma_is_coarse(data: bytes) -> bool:
    """Say whether a JPEG 2000 stream stores its second component at fewer pixels than its first."""
    start = data.find(_CODESTREAM, 0, 4096)
    steps = data[start + 43 : start + 45]  # XRsiz and YRsiz of component 1
    return start >= 0 and len(steps) == 2 and max(steps) > 1


def rgb_of_ycbcr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn YCbCr (h, w, 3) of the full range into RGB (ITU-T T.871)."""
    import cv2

    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB))


def _jpeg(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _FRAME_HEADERS:
            return _number(data, place + 5, 2), _number(data, place + 7, 2)
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        place += 2 + _number(data, place + 2, 2)
    return None


def _number(data: bytes, place: int, size: int) -> int:
    return int.from_bytes(data[place : place + size], "big")
