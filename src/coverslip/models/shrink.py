"""A whole slide as one small picture: at a stated mpp, or fitted to a stated size; padded, never skewed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import MppError
from coverslip.models.picture_classifier import fitted

if TYPE_CHECKING:
    from coverslip.slides import Slide

WHITE = 255

ROWS = 256
"""Rows of the picture that are read at once: memory stays bounded on slides without a pyramid."""


def shrunk_slide(slide: Slide, side: int, mpp: float | None = None) -> NDArray[np.uint8]:
    """Return a slide as uint8 (side, side, 3), white where there is none of it.

    Parameters
    ----------
    side
        Of the picture, in pixels.
    mpp
        Microns per pixel of the picture; None fits the slide's longer side to `side`.

    Raises
    ------
    MppError
        When the slide is coarser than `mpp`, or larger than `side` pixels at it.
    MissingMppError
        When an mpp is asked for and the slide has none.
    """
    if mpp is None:
        width, height = slide.size
        return fitted(_read(slide, max(1.0, max(width, height) / side)), side)
    downsample = check_fit(slide, side, mpp)
    pixels = _read(slide, max(1.0, downsample))[:side, :side]
    square = np.full((side, side, 3), WHITE, np.uint8)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square


def check_fit(slide: Slide, side: int, mpp: float) -> float:
    """Return the downsample at which a slide has `mpp`.

    Raises
    ------
    MppError
        When the slide is coarser than `mpp`, or larger than `side` pixels at it.
    MissingMppError
        When the slide has no mpp.
    """
    width, height = slide.size
    downsample = mpp / slide.require_mpp()
    if downsample < 1 - 1e-6:
        raise MppError(
            f"{slide.path} has {slide.require_mpp():g} µm per pixel, and {mpp:g} is finer",
            mend="ask for a coarser mpp; nothing is enlarged",
        )
    wanted = math.ceil(max(width, height) / downsample - 1e-6)
    if wanted > side:
        raise MppError(
            f"{slide.path} has {wanted} pixels at mpp {mpp:g}, more than size {side}",
            mend=f"say size: {wanted} or more, or a coarser mpp",
        )
    return downsample


def _read(slide: Slide, downsample: float) -> NDArray[np.uint8]:
    """Read the whole slide in strips."""
    width, height = slide.size
    step, top, strips = ROWS * downsample, 0.0, []
    while height - top > 0.5 * downsample or not strips:
        strips.append(slide.read_at(Box(0, top, width, min(step, height - top)), downsample))
        top += step
    return np.concatenate(strips)
