"""Pictures inside a page: arrays as data URIs, and flat colour layers that lie over a thumbnail."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.report.palette import rgb_of

CLEAR = 255
"""The label that is not painted."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image ready for ``<img src>``, with its size in pixels and the words for who cannot see it."""

    uri: str
    width: int
    height: int
    alt: str


def jpeg(rgb: NDArray[np.uint8], alt: str, quality: int = 80) -> Picture:
    """Encode (h, w, 3) uint8 as JPEG."""
    return _picture(_jpeg_bytes(rgb, quality), rgb, alt)


def jpeg_within(rgb: NDArray[np.uint8], alt: str, limit: int) -> Picture:
    """Encode as JPEG of at most `limit` bytes where a quality of 30 or more reaches that."""
    for quality in (80, 70, 55, 40):
        data = _jpeg_bytes(rgb, quality)
        if len(data) <= limit:
            return _picture(data, rgb, alt)
    return _picture(_jpeg_bytes(rgb, 30), rgb, alt)


def labels_png(labels: NDArray[np.uint8], colours: Sequence[str], alt: str) -> Picture:
    """Encode a label image (h, w) as a palette PNG; `CLEAR` is transparent, label i has ``colours[i]``."""
    from PIL import Image

    image = Image.fromarray(labels)
    image.putpalette(
        [value for colour in colours for value in rgb_of(colour)] + [0] * (3 * (256 - len(colours)))
    )
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True, transparency=CLEAR)
    height, width = labels.shape
    return Picture(_uri("png", stream.getvalue()), width, height, alt)


def paint_squares(
    shape: tuple[int, int],
    xy: NDArray[np.floating],
    values: NDArray[np.uint8],
    *,
    side: float,
    gap: float = 0.0,
) -> NDArray[np.uint8]:
    """Paint squares into a label image.

    Parameters
    ----------
    shape
        (h, w) of the image.
    xy
        Corners (n, 2) in image pixels, fractions allowed.
    values
        Labels (n,); later squares cover earlier ones.
    side
        Of a square, in image pixels.
    gap
        Pixels left free at the right and bottom of squares that are at least four times as wide.

    Returns
    -------
    Array (h, w) uint8, `CLEAR` where no square lies. A square paints at least one pixel when inside.
    """
    image = np.full(shape, CLEAR, np.uint8)
    reach = side - gap if side >= 4 * gap else side
    first = np.clip(np.rint(xy), 0, None).astype(int)
    last = np.maximum(np.rint(np.asarray(xy) + reach).astype(int), first + 1)
    for (left, top), (right, bottom), value in zip(first, last, values, strict=True):
        image[top:bottom, left:right] = value
    return image


def shrink(rgb: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Make an image smaller by area averaging until its longer side is at most `longest`; never larger."""
    import cv2

    height, width = rgb.shape[:2]
    factor = max(height, width) / longest
    if factor <= 1:
        return rgb
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg_bytes(rgb: NDArray[np.uint8], quality: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def _picture(data: bytes, rgb: NDArray[np.uint8], alt: str) -> Picture:
    return Picture(_uri("jpeg", data), rgb.shape[1], rgb.shape[0], alt)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
