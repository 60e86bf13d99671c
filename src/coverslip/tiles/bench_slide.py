"""A slide to measure on where there is no other: noise that compresses as tissue does, on glass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coverslip.core import atomic

SIDE = 10_240
TILE = 256


def make_slide(path: Path, side: int = SIDE) -> str:
    """Write a square slide of `side` pixels, 0.5 µm each, two thirds of it textured like stained tissue.

    Its JPEG tiles take about 19 KB, as those of H&E at 20x do.
    """
    import cv2
    import tifffile

    rng = np.random.default_rng(0)
    texture = _texture(rng, 2048)
    glass = np.full((side, side, 3), 242, np.uint8)
    inner = slice(side // 10, side - side // 10)
    repeats = -(-side // 2048)
    glass[inner, inner] = np.tile(texture, (repeats, repeats, 1))[inner, inner]
    with atomic(path) as partial, tifffile.TiffWriter(partial, bigtiff=True) as tif:
        for step in (1, 4, 16):
            size = (side // step, side // step)
            pixels = glass if step == 1 else cv2.resize(glass, size, interpolation=cv2.INTER_AREA)
            # tifffile takes what it stores: JPEG's luma and chroma, which OpenCV orders otherwise
            stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
            tif.write(
                stored,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 80},
                subsampling=(2, 2),
                resolution=(2e4 / step, 2e4 / step),
                resolutionunit="CENTIMETER",
                metadata=None,
                subfiletype=0 if step == 1 else 1,
            )
    return str(path)


def _texture(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Return pink and purple blotches with grain."""
    import cv2

    coarse, fine = (
        cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), sigma) * sigma * 3.5
        for sigma in (6.0, 1.2)
    )
    haematoxylin, eosin = np.clip(0.35 + 0.25 * coarse + 0.12 * fine, 0, 2), np.clip(0.4 - 0.2 * coarse, 0, 2)
    density = haematoxylin[..., None] * np.array([0.65, 0.70, 0.29], np.float32)
    density += eosin[..., None] * np.array([0.07, 0.99, 0.11], np.float32)
    density += rng.normal(0, 0.02, density.shape).astype(np.float32)
    return np.asarray(np.clip(245 * 10**-density, 0, 255), np.uint8)
