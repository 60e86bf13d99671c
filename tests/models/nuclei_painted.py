"""Known nuclei, painted on slides that need no file, and a detector that sees them as they are."""

# ruff: noqa: ARG002 - readers and detectors take what their protocols say, whether they need it or not
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.models.nuclei.reading import Found
from coverslip.slides import Slide
from coverslip.slides.reader import BlockReader, Facts, Level

BLOCK, SHIFT = 512, 6
DARK, LIGHT = 60, 240


def discs(size: Size, pitch: int, seed: int) -> NDArray[np.float64]:
    """Return (x, y, radius) of discs that do not touch, one per cell of a grid."""
    rng = np.random.default_rng(seed)
    across, down = size.width // pitch, size.height // pitch
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(down)), axis=-1).reshape(-1, 2)
    centres = (grid + 0.5) * pitch + rng.uniform(-0.18, 0.18, (len(grid), 2)) * pitch
    return np.column_stack([centres, rng.uniform(0.16, 0.28, len(grid)) * pitch])


@dataclass
class PaintedReader(BlockReader):
    """Paints each block when it is asked for."""

    facts: Facts
    truth: NDArray[np.float64]
    name: ClassVar[str] = "painted"

    def __post_init__(self) -> None:
        order = np.argsort(self.truth[:, 1], kind="stable")
        self.truth = self.truth[order]

    @classmethod
    def of(cls, size: Size, mpp: float, truth: NDArray[np.float64]) -> PaintedReader:
        return cls(Facts((Level(0, size.width, size.height, 1.0),), "painted", mpp, mpp, "painted"), truth)

    def block_size(self, level: int) -> Size:
        return Size(BLOCK, BLOCK)

    def block(self, level: int, column: int, row: int, out: NDArray | None = None) -> NDArray:
        top, left = row * BLOCK, column * BLOCK
        height = min(BLOCK, self.facts.levels[0].height - top)
        width = min(BLOCK, self.facts.levels[0].width - left)
        pixels = np.full((height, width, 3), LIGHT, np.uint8)
        first, last = np.searchsorted(self.truth[:, 1], (top - 64, top + height + 64))
        near = self.truth[first:last]
        near = near[(near[:, 0] > left - 64) & (near[:, 0] < left + width + 64)]
        for x, y, radius in near:
            centre = (round((x - left - 0.5) * 2**SHIFT), round((y - top - 0.5) * 2**SHIFT))
            cv2.circle(pixels, centre, round(radius * 2**SHIFT), (DARK,) * 3, -1, cv2.LINE_8, SHIFT)
        return pixels

    def associated(self, name: str) -> NDArray[np.uint8]:
        raise KeyError(name)

    def close(self) -> None:
        return None


@dataclass(frozen=True)
class Sees:
    """Takes every dark spot for a nucleus."""

    mpp: float = 0.5
    diameter: float = 12.0
    margin: int = 64

    def find(self, pixels: NDArray[np.float32], between: tuple[float, float], scale: float = 1.0) -> Found:
        dark = (pixels[..., 0] < (DARK + LIGHT) / 2 / 255).astype(np.uint8)
        count, labels, facts, centres = cv2.connectedComponentsWithStats(dark, connectivity=4)
        areas = facts[1:, cv2.CC_STAT_AREA].astype(float)
        stars = np.empty((count - 1, 34), np.float32)
        stars[:, :2], stars[:, 2:] = centres[1:], np.sqrt(areas / np.pi)[:, None]
        return Found(labels, stars, centres[1:] + 0.5, areas, np.ones(count - 1, np.float32))


def painted_slide(size: Size, truth: NDArray[np.float64], mpp: float = 0.5) -> Slide:
    return Slide("painted.tif", PaintedReader.of(size, mpp, truth))
