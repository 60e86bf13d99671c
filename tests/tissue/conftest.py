"""Slides made of arrays: no file, no phantom, any pyramid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from coverslip.core import Size
from coverslip.core.errors import CorruptTileError
from coverslip.slides.reader import BlockReader, Facts, levels_of
from coverslip.slides.slide import Slide


class ArrayReader(BlockReader):
    """Serves an array in blocks of 256 pixels; `broken` blocks of level 0 cannot be decoded."""

    name = "array"
    needs = "nothing"
    formats = "arrays"

    def __init__(self, rgb, mpp, factors, broken, **facts: Any) -> None:
        height, width = rgb.shape[:2]
        area = cv2.INTER_AREA
        self.images = [cv2.resize(rgb, (width // f, height // f), interpolation=area) for f in factors]
        sizes = [(image.shape[1], image.shape[0]) for image in self.images]
        self.facts = Facts(levels_of(sizes), "array", mpp_x=mpp, mpp_y=mpp, mpp_origin="test", **facts)
        self.broken = broken
        self.decoded = [0 for _ in factors]

    def block_size(self, level):
        del level
        return Size(256, 256)

    def block(self, level, column, row, out=None):
        del out  # the array's own pixels are served
        if level == 0 and (column, row) in self.broken:
            raise CorruptTileError(f"block {column}, {row} is damaged")
        self.decoded[level] += 1
        return self.images[level][row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]

    def close(self):
        pass


@pytest.fixture
def slide_of() -> Callable[..., Slide]:
    """Return a function that makes a slide of an array (h, w, 3)."""

    def make(rgb, mpp=0.5, factors=(1,), broken=(), **facts):
        return Slide("array.tif", ArrayReader(rgb, mpp, factors, set(broken), **facts))

    return make


def glass(height: int, width: int, colour=(243, 242, 240)) -> np.ndarray:
    """Return clean glass with a camera's noise."""
    noise = np.random.default_rng(1).normal(0, 1.2, (height, width, 3))
    return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)


def stained(height: int, width: int, strength: float = 1.0, seed: int = 2) -> np.ndarray:
    """Return a texture of eosin with haematoxylin spots, as transmitted light relative to glass (h, w, 3)."""
    rng = np.random.default_rng(seed)
    eosin = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 1)
    eosin = 0.35 + 1.0 * (eosin - eosin.mean())
    nuclei = cv2.GaussianBlur((rng.random((height, width)) < 0.0015).astype(np.float32), (0, 0), 5) * 120
    haematoxylin = (nuclei > 0.4) * np.float32(0.8)
    density = eosin[..., None] * np.float32((0.07, 0.99, 0.11)) + haematoxylin[..., None] * np.float32(
        (0.65, 0.70, 0.29)
    )
    return 10 ** (-strength * np.clip(density, 0, None))


@pytest.fixture
def painted() -> Callable[..., np.ndarray]:
    """Return a function that stains the mask's pixels (h, w) on clean glass."""

    def paint(mask, strength=1.0, colour=(243, 242, 240)):
        light = stained(*mask.shape, strength)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1)[..., None]
        return np.clip(glass(*mask.shape, colour) * (1 - soft + soft * light), 0, 255).astype(np.uint8)

    return paint
