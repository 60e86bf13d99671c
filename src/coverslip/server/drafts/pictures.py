"""Pictures of regions, with a scale bar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.report.numbers import length
from coverslip.report.plots import nice_step
from coverslip.server.pyramid import jpeg
from coverslip.slides import Slide

SIDE = 900
"""Pixels of the longer side."""

MARGIN = 0.25
"""Of a region's size, shown around it on each side."""

LEAST_PX = 64


@dataclass(frozen=True)
class RegionPicture:
    """A picture of a region.

    Attributes
    ----------
    data
        JPEG.
    width, height
        In pixels.
    bar
        What the scale bar says; None where the slide has no scale.
    mpp
        Microns per pixel of the picture.
    """

    data: bytes
    width: int
    height: int
    bar: str | None
    mpp: float | None


def picture_of(slide: Slide, box: Box, *, side: int = SIDE, outlined: bool = True) -> RegionPicture:
    """Return a region with what lies around it, a frame and a scale bar.

    Parameters
    ----------
    box
        In level-0 pixels.
    side
        Pixels of the picture's longer side; a region is never shown larger than it was scanned.
    outlined
        Draw a frame around the region.

    Raises
    ------
    UsageError
        When the region lies beyond the slide.
    """
    shown = _shown(slide, box)
    step = max(1.0, max(shown.width, shown.height) / side)
    pixels = slide.read_at(shown, step)
    picture = np.ascontiguousarray(pixels)
    if outlined:
        _frame(picture, box, shown, step)
    mpp = None if slide.mpp is None else float(slide.mpp) * step
    bar = None if mpp is None else _bar(picture, mpp)
    return RegionPicture(jpeg(picture), picture.shape[1], picture.shape[0], bar, mpp)


def _shown(slide: Slide, box: Box) -> Box:
    width, height = slide.size
    if box.x >= width or box.y >= height or box.x + box.width <= 0 or box.y + box.height <= 0:
        raise UsageError(f"the region at {box.x:g}, {box.y:g} lies beyond the slide", mend="draw it anew")
    wide, high = (max(LEAST_PX, size * (1 + 2 * MARGIN)) for size in (box.width, box.height))
    x, y = box.x + box.width / 2 - wide / 2, box.y + box.height / 2 - high / 2
    left, top = max(0.0, x), max(0.0, y)
    return Box(left, top, min(x + wide, width) - left, min(y + high, height) - top)


def _frame(picture: NDArray[np.uint8], box: Box, shown: Box, step: float) -> None:
    import cv2

    first = (round((box.x - shown.x) / step), round((box.y - shown.y) / step))
    last = (round((box.x + box.width - shown.x) / step), round((box.y + box.height - shown.y) / step))
    thin = max(1, round(max(picture.shape) / 450))
    for colour, thick in (((255, 255, 255), thin + 2), ((0, 90, 200), thin)):
        cv2.rectangle(picture, first, last, colour, thick, cv2.LINE_AA)


def _bar(picture: NDArray[np.uint8], mpp: float) -> str:
    """Draw a bar of a round length, about a fifth of the width, bottom right; return what it says."""
    from PIL import Image, ImageDraw

    height, width = picture.shape[:2]
    um = nice_step(width * mpp, 5)
    long, text, size = round(um / mpp), plain_spaces(length(um)), max(12, width // 40)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = font_of(size)
    wide = max(long, round(draw.textlength(text, font=font)))
    x, y = width - wide - 2 * size, height - round(2.9 * size)
    draw.rectangle((x, y, width - size, height - size // 2), fill="white")
    middle = (x + width - size) / 2
    draw.rectangle(
        (middle - long / 2, height - size, middle + long / 2, height - size + max(2, size // 5)), fill="black"
    )
    draw.text((middle, y + size * 0.9), text, font=font, fill="black", anchor="mm")
    picture[:] = np.asarray(image)
    return text


def plain_spaces(text: str) -> str:
    """Return a text with thin spaces, which the typeface lacks, as plain ones."""
    return text.replace("\u202f", " ").replace("\u2009", " ")


@cache
def font_of(size: int) -> Any:
    """Return the typeface of pictures and PDFs, Bitstream Vera, which comes with ReportLab."""
    from PIL import ImageFont

    return ImageFont.truetype(str(typeface("Vera")), size)


def typeface(name: str) -> Path:
    """Return the file of a typeface that comes with ReportLab.

    Raises
    ------
    MissingExtraError
        When ReportLab is not installed.
    """
    from coverslip.core.errors import MissingExtraError

    try:
        import reportlab
    except ImportError as error:
        raise MissingExtraError.of("reportlab", "server") from error
    return Path(reportlab.__file__).parent / "fonts" / f"{name}.ttf"
