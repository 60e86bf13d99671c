"""Build a gigapixel slide out of the pixels of a real one, to measure on.

    python benchmarks/slide.py SOURCE.svs OUT.svs [--width 60000] [--height 50000] [--jpeg2000]

The densest square of the source, mirrored in both directions, fills three blobs of tissue with lumens;
around them is the source's glass with noise. So texture and the size of the JPEG tiles are real, the layout
is not. The result looks like an Aperio SVS: 256 px JPEG tiles of quality 80 with 4:2:0 colour, levels 1, 4,
16 and 64. With ``--jpeg2000`` its tiles are JPEG 2000 as Aperio stores them (33005).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial as partial_of
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from coverslip.core import Box, atomic
from coverslip.slides import open_slide

TILE = 256
QUALITY = 80
MPP = 0.5
COARSE = 64
"""The outline of the tissue is drawn at 1 / 64."""

BLOBS = ((0.27, 0.42, 0.19, 0.30), (0.71, 0.29, 0.20, 0.19), (0.67, 0.75, 0.23, 0.16))
"""Middle x, y and radii x, y of the pieces of tissue, as shares of the slide."""


def densest_square(pixels: NDArray[np.uint8], share: float = 0.9, step: int = 16) -> NDArray[np.uint8]:
    """Return the largest square of which at least `share` is coloured, or everything."""
    small = cv2.resize(pixels, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    coloured = (cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1] > 25).astype(np.uint8)
    total = cv2.integral(coloured)
    for side in range(min(coloured.shape), 8, -2):
        filled = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
        if filled.max() >= share * side * side:
            y, x = np.unravel_index(filled.argmax(), filled.shape)
            return pixels[y * step : (y + side) * step, x * step : (x + side) * step]
    return pixels


def outline(width: int, height: int, seed: int = 7) -> NDArray[np.uint8]:
    """Return where tissue is (1) at 1 / `COARSE`."""
    rng = np.random.default_rng(seed)
    rows, columns = -(-height // COARSE), -(-width // COARSE)
    y, x = np.mgrid[0:rows, 0:columns] / np.array([rows, columns]).reshape(2, 1, 1)
    tissue = np.zeros((rows, columns), np.bool_)
    for cx, cy, rx, ry in BLOBS:
        angle, radius = np.arctan2((y - cy) / ry, (x - cx) / rx), np.hypot((y - cy) / ry, (x - cx) / rx)
        waves = [0.1 / k**0.5 * np.sin(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5, 9, 17)]
        tissue |= radius < 1 + np.sum(waves, axis=0)
    noise = cv2.GaussianBlur(rng.standard_normal((rows, columns)).astype(np.float32), (0, 0), 9)
    return (tissue & (noise < 2 * noise.std())).astype(np.uint8)


@dataclass(frozen=True)
class Painter:
    """Makes rows of level 0."""

    plane: NDArray[np.uint8]
    glass: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    width: int

    @classmethod
    def of(cls, source: NDArray[np.uint8], width: int, height: int) -> Painter:
        """Take tissue and glass from a picture."""
        square = densest_square(source)
        twice = np.concatenate([square, square[:, ::-1]], axis=1)
        pale = source.min(axis=2)
        colour = source[pale >= np.percentile(pale, 97)].mean(axis=0)
        noise = np.random.default_rng(1).normal(0, 1, (512, 512, 1))
        glass = np.clip(colour + noise, 0, 255).astype(np.uint8)
        return cls(np.concatenate([twice, twice[::-1]]), glass, outline(width, height), width)

    def rows(self, y: int, count: int) -> NDArray[np.uint8]:
        """Return rows y … y + count, (count, width, 3)."""
        tissue, glass = (
            np.take(
                np.take(part, range(y, y + count), axis=0, mode="wrap"), np.arange(self.width), 1, mode="wrap"
            )
            for part in (self.plane, self.glass)
        )
        below = min(self.mask.shape[0], (y + count) // COARSE + 2)
        near = self.mask[max(0, y // COARSE - 1) : below].astype(np.float32)
        large = cv2.resize(
            near, (near.shape[1] * COARSE, near.shape[0] * COARSE), interpolation=cv2.INTER_LINEAR
        )
        top = y - max(0, y // COARSE - 1) * COARSE
        return np.where(large[top : top + count, : self.width, None] > 0.5, tissue, glass)


def whole(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a tile of full size, the last pixels repeated where it is cut."""
    down, across = TILE - tile.shape[0], TILE - tile.shape[1]
    full = np.pad(tile, ((0, down), (0, across), (0, 0)), mode="edge") if down or across else tile
    return np.ascontiguousarray(full)


def jpeg(tile: NDArray[np.uint8]) -> bytes:
    """Return a tile as JPEG."""
    options = {"subsampling": "420", "colorspace": "RGB", "outcolorspace": "YCBCR"}
    return bytes(imagecodecs.jpeg8_encode(whole(tile), level=QUALITY, **options))


def jpeg2000(tile: NDArray[np.uint8]) -> bytes:
    """Return a tile as a JPEG 2000 stream of about the size of its JPEG."""
    return bytes(imagecodecs.jpeg2k_encode(whole(tile), level=36, codecformat="J2K", mct=True))


Encode = Callable[[NDArray[np.uint8]], bytes]


def encoded(pixels: NDArray[np.uint8], pool: ThreadPoolExecutor, encode: Encode) -> Iterator[bytes]:
    """Yield the tiles of a picture."""
    for y in range(0, pixels.shape[0], TILE):
        row = pixels[y : y + TILE]
        yield from pool.map(encode, [row[:, x : x + TILE] for x in range(0, row.shape[1], TILE)])


def base(
    painter: Painter, quarter: NDArray[np.uint8], height: int, tiles: Callable[..., Iterator[bytes]]
) -> Iterator[bytes]:
    """Yield the tiles of level 0, and fill the level at 1 / 4 on the way."""
    for y in range(0, height, TILE):
        rows = painter.rows(y, min(TILE, height - y))
        small = cv2.resize(rows, (quarter.shape[1], -(-rows.shape[0] // 4)), interpolation=cv2.INTER_AREA)
        quarter[y // 4 : y // 4 + small.shape[0]] = small
        yield from tiles(rows)


def fourth(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture at a quarter of its size."""
    size = (-(-pixels.shape[1] // 4), -(-pixels.shape[0] // 4))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def write(source: NDArray[np.uint8], path: Path, size: tuple[int, int], *, encode: Encode = jpeg) -> None:
    """Write the slide, `size` wide and high."""
    width, height = size
    painter = Painter.of(source, width, height)
    quarter = np.empty((-(-height // 4), -(-width // 4), 3), np.uint8)
    with (
        atomic(path) as partial,
        ThreadPoolExecutor() as pool,
        tifffile.TiffWriter(partial, bigtiff=True) as tif,
    ):
        tiles = partial_of(encoded, pool=pool, encode=encode)
        codec = {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 2)}
        if encode is jpeg2000:
            codec = {"photometric": "rgb", "compression": "APERIO_JP2000_RGB"}

        def page(made: Iterator[bytes], shape: tuple[int, int], step: int, text: str) -> None:
            density = 1e4 / MPP / step
            tif.write(
                made,
                shape=(*shape, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                **codec,
                resolution=(density, density),
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
                description=f"Aperio Image Library v11.2.1 \r\n{text}|AppMag = {10 / MPP:g}|MPP = {MPP:.4f}",
            )

        across = f"{width}x{height}"
        text = f"{across} [0,0 {across}] ({TILE}x{TILE}) JPEG/RGB Q={QUALITY}"
        page(base(painter, quarter, height, tiles), (height, width), 1, text)
        levels = [quarter, fourth(quarter), fourth(fourth(quarter))]
        tif.write(levels[1], photometric="rgb", rowsperstrip=16, metadata=None, software=False,
                  description=f"Aperio Image Library v11.2.1 \r\n{across} -> thumbnail")  # fmt: skip
        for step, level in zip((4, 16, 64), levels, strict=True):
            shape = (level.shape[0], level.shape[1])
            text = f"{across} ({TILE}x{TILE}) -> {shape[1]}x{shape[0]} JPEG/RGB Q={QUALITY}"
            page(tiles(level), shape, step, text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a slide with some dense tissue, e.g. CMU-1-Small-Region.svs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=60_000)
    parser.add_argument("--height", type=int, default=50_000)
    parser.add_argument("--jpeg2000", action="store_true")
    chosen = parser.parse_args()
    with open_slide(chosen.source) as slide:
        pixels = slide.read_at(Box(0, 0, *slide.size), 1.0)
    encode = jpeg2000 if chosen.jpeg2000 else jpeg
    write(pixels, chosen.out, (chosen.width, chosen.height), encode=encode)


if __name__ == "__main__":
    main()
