"""Slides made on the spot: tiled JPEG pyramids of noise and shapes, and readers that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from coverslip.slides import Slide, open_slide


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture in which no two places look alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def write_pyramid(
    path: Path, width: int, height: int, *, factors=(1, 4), tile: int = 64, mpp: float = 0.5
) -> Path:
    """Write a tiled JPEG pyramid."""
    base = picture(width, height)
    with tifffile.TiffWriter(path) as writer:
        for number, factor in enumerate(factors):
            pixels = (
                base
                if factor == 1
                else cv2.resize(base, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
            )
            writer.write(
                pixels,
                tile=(tile, tile),
                compression="jpeg",
                photometric="ycbcr",
                subsampling=(2, 2),
                metadata=None,
                subfiletype=int(number > 0),
                resolution=(1e4 / mpp / factor, 1e4 / mpp / factor),
                resolutionunit="CENTIMETER",
            )
    return path


@pytest.fixture(scope="session")
def pyramid(tmp_path_factory) -> Path:
    """A slide of 1000 × 700 px, levels 1 and 4, blocks of 64 px; neither side is a whole number of blocks."""
    return write_pyramid(tmp_path_factory.mktemp("slides") / "pyramid.tif", 1000, 700)


@pytest.fixture
def slide(pyramid) -> Iterator[Slide]:
    with open_slide(pyramid) as opened:
        yield opened


@pytest.fixture(scope="session")
def wide(tmp_path_factory) -> Iterator[Slide]:
    """A slide of 1700 × 1400 px that spans several strips and blocks of a map."""
    with open_slide(write_pyramid(tmp_path_factory.mktemp("slides") / "wide.tif", 1700, 1400)) as opened:
        yield opened


@pytest.fixture
def make_slide(tmp_path) -> Iterator[Callable[..., Slide]]:
    """Make and open slides; they are closed at the end."""
    opened: list[Slide] = []

    def make(width: int, height: int, **options) -> Slide:
        opened.append(open_slide(write_pyramid(tmp_path / f"{len(opened)}.tif", width, height, **options)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
