"""What the runner itself makes of a slide: its facts, its identity, its thumbnail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.pipeline.record import THUMBNAIL_PX
from coverslip.slides import Slide, SlideSource, open_slide
from coverslip.store import SlideRoot


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


def thumbnail_of(slide: Slide, max_size: int = THUMBNAIL_PX) -> NDArray[np.uint8]:
    """Return the whole slide, its longer side about `max_size` pixels, as (h, w, 3).

    It is read piece by piece, so that memory stays bounded on slides without a pyramid; what is damaged in
    the file stays white.
    """
    from coverslip.tissue.overview import Grid, overview

    width, height = slide.size
    step = max(1.0, max(width, height) / max_size)
    level = slide.best_level(step)
    factor = max(1, round(step / level.downsample))
    downsample = factor * level.downsample
    size = Size(max(1, round(width / downsample)), max(1, round(height / downsample)))
    block = max(slide.reader.block_size(level.index))
    pixels: NDArray[np.uint8] = overview(slide, Grid(downsample, size, factor, block))[0]
    return pixels
