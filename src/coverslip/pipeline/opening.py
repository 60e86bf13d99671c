"""What the runner itself makes of a slide: its facts, its identity, its thumbnail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError
from coverslip.pipeline.record import THUMBNAIL_PX
from coverslip.slides import Slide, SlideSource, open_slide
from coverslip.store import SlideRoot

MOST_LOST = 0.1
"""Share of a slide that may be unreadable; beyond it, it is not a damaged tile but a damaged slide."""


@contextlib.contextmanager
def opened(source: SlideSource) -> Iterator[Slide]:
    """Open a slide under the name that it has in the run."""
    with open_slide(source.path, mpp=source.mpp) as slide:
        slide.id = source.id
        yield slide


def root_of(slide: Slide) -> SlideRoot:
    """Return what identifies a slide."""
    scale = slide.scale
    return SlideRoot(slide.digest, *slide.size, slide.reader.name, scale.mpp, scale.source)


class Seen(NamedTuple):
    """A whole slide at a glance: pixels (h, w, 3), and the share of them that could not be read."""

    pixels: NDArray[np.uint8]
    lost: float


def thumbnail_of(slide: Slide, max_size: int = THUMBNAIL_PX) -> Seen:
    """Look at the whole slide, its longer side about `max_size` pixels.

    It is read piece by piece, so that memory stays bounded on slides without a pyramid; what is damaged in
    the file stays white.

    Raises
    ------
    CorruptSlideError
        When more than `MOST_LOST` of it cannot be read.
    """
    from coverslip.tissue.overview import Grid, overview

    width, height = slide.size
    step = max(1.0, max(width, height) / max_size)
    level = slide.best_level(step)
    factor = max(1, round(step / level.downsample))
    downsample = factor * level.downsample
    size = Size(max(1, round(width / downsample)), max(1, round(height / downsample)))
    block = max(slide.reader.block_size(level.index))
    pixels, lost = overview(slide, Grid(downsample, size, factor, block))
    if lost > MOST_LOST:
        raise CorruptSlideError(
            f"{lost:.0%} of {slide.path} cannot be read: it is damaged or truncated",
            mend="copy the file anew",
        )
    return Seen(pixels, lost)
