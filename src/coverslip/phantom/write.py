"""Phantoms as files: Aperio-like SVS and OME-TIFF, written block by block in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core import atomic, unknown
from coverslip.core.errors import UsageError
from coverslip.phantom.nuclei import BLOCK
from coverslip.phantom.phantom import FIELD_BLOCKS, Phantom

TILE = {"svs": 256, "ome": 512}
"""Side of a file's tiles by format."""

FACTOR = 4
"""Each level is this much smaller than the one before, as Aperio's are."""

SMALL = 1024
"""No further level is made of one whose longer side is at most this."""

Progress = Callable[[float], None]


def write_slide(
    phantom: Phantom,
    path: str | os.PathLike[str],
    *,
    format: Literal["svs", "ome"] = "svs",
    quality: int = 85,
    threads: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Write a phantom to a file, whole or not at all.

    Parameters
    ----------
    format
        ``"svs"``: tiled JPEG (YCbCr 4:2:0) with levels 1, 4, 16 …, thumbnail, label and macro, described as
        Aperio scanners do. ``"ome"``: OME-TIFF with the levels as sub-images.
    quality
        Of the JPEG tiles, 1 … 100.
    threads
        How many blocks are painted at once; the pixels do not depend on it.
    progress
        Called with the share done, 0 … 1.

    Returns
    -------
    `path`.

    Raises
    ------
    UsageError
        When quality or threads cannot be served.
    UnknownNameError
        When there is no such format.
    """
    if format not in TILE:
        raise unknown("slide format", format, TILE)
    if not 1 <= quality <= 100 or threads < 1:
        raise UsageError(f"quality {quality} and threads {threads}: expected 1 to 100 and at least 1")
    target = Path(path)
    with atomic(target) as partial, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        pyramid = _Pyramid.of(phantom, TILE[format], quality, Path(folder))
        with pyramid, ThreadPoolExecutor(threads) as pool:
            (_write_svs if format == "svs" else _write_ome)(
                pyramid, partial, _painted(pyramid, pool, progress)
            )
    return target


@dataclass
class _Level:
    """One level on its way to the file: rows wait until they fill tiles, tiles wait in a spool file."""

    width: int
    height: int
    tile: int
    quality: int
    spool: IO[bytes]
    lengths: list[int]
    waiting: NDArray[np.uint8] | None = None
    below: _Level | None = None

    def add(self, rows: NDArray[np.uint8]) -> None:
        """Take the next rows of pixels, (any, width, 3)."""
        if self.below is not None:
            self.below.add(shrink(rows, self.below.width))
        rows = rows if self.waiting is None else np.concatenate([self.waiting, rows])
        while rows.shape[0] >= self.tile:
            self._spool(rows[: self.tile])
            rows = rows[self.tile :]
        self.waiting = rows.copy()

    def finish(self) -> None:
        """Write the last, partial row of tiles."""
        if self.waiting is not None and self.waiting.shape[0]:
            self._spool(self.waiting)
        self.waiting = None
        if self.below is not None:
            self.below.finish()

    def _spool(self, rows: NDArray[np.uint8]) -> None:
        for left in range(0, self.width, self.tile):
            data = encode(padded(rows[:, left : left + self.tile], self.tile), self.quality)
            self.spool.write(data)
            self.lengths.append(len(data))

    def tiles(self) -> Iterator[bytes]:
        """Yield the encoded tiles row by row."""
        self.spool.seek(0)
        for length in self.lengths:
            yield self.spool.read(length)


class _Pyramid:
    """The levels of a phantom below the finest, which fill while the finest is written."""

    def __init__(self, phantom: Phantom, tile: int, quality: int, levels: list[_Level]) -> None:
        self.phantom, self.tile, self.quality, self.levels = phantom, tile, quality, levels
        self.glass: dict[tuple[int, int], tuple[list[list[bytes]], NDArray[np.uint8]]] = {}

    @classmethod
    def of(cls, phantom: Phantom, tile: int, quality: int, folder: Path) -> _Pyramid:
        width, height = phantom.size
        levels: list[_Level] = []
        while max(width, height) > SMALL and min(width, height) >= 4 * FACTOR:
            width, height = width // FACTOR, height // FACTOR
            spool = (folder / f"level{len(levels)}").open("w+b")
            levels.append(_Level(width, height, tile, quality, spool, []))
        for level, below in pairwise(levels):
            level.below = below
        return cls(phantom, tile, quality, levels)

    def __enter__(self) -> _Pyramid:
        return self

    def __exit__(self, *exc: object) -> None:
        for level in self.levels:
            level.spool.close()

    def block(self, column: int, row: int) -> tuple[list[list[bytes]], NDArray[np.uint8]]:
        """Paint and encode one block: its tiles by row, and its pixels `FACTOR` times smaller."""
        phantom = self.phantom
        width = min(BLOCK, phantom.spec.width - column * BLOCK)
        height = min(BLOCK, phantom.spec.height - row * BLOCK)
        glass = phantom.is_glass(column, row) and width == height == BLOCK
        key = (column % FIELD_BLOCKS, row % FIELD_BLOCKS)
        if glass and key in self.glass:
            return self.glass[key]
        pixels = phantom.paint(column, row)[:height, :width]
        tiles = [
            [
                encode(
                    padded(pixels[top : top + self.tile, left : left + self.tile], self.tile), self.quality
                )
                for left in range(0, width, self.tile)
            ]
            for top in range(0, height, self.tile)
        ]
        done = tiles, shrink(pixels, width // FACTOR)
        if glass:
            self.glass[key] = done
        return done


def _painted(pyramid: _Pyramid, pool: ThreadPoolExecutor, progress: Progress | None) -> Iterator[bytes]:
    """Yield the finest level's encoded tiles row by row, and feed the other levels."""
    width, height = pyramid.phantom.size
    columns, rows = -(-width // BLOCK), -(-height // BLOCK)
    for row in range(rows):
        blocks = list(pool.map(pyramid.block, range(columns), [row] * columns))
        if pyramid.levels:
            # before the tiles leave: whoever takes the last one never comes back for more
            small = np.concatenate([small for _, small in blocks], axis=1)
            pyramid.levels[0].add(small[:, : pyramid.levels[0].width])
            if row == rows - 1:
                pyramid.levels[0].finish()
        if progress is not None:
            progress((row + 1) / rows)
        for line in range(len(blocks[0][0])):
            for tiles, _ in blocks:
                yield from tiles[line]


def shrink(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Average squares of `FACTOR` pixels; an incomplete last row or column is dropped."""
    height = pixels.shape[0] // FACTOR
    if not height or not width:
        return np.empty((height, width, 3), np.uint8)
    whole = np.ascontiguousarray(pixels[: height * FACTOR, : width * FACTOR])
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, 3)


def padded(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a whole tile: what is missing right and below repeats the edge, which JPEG likes."""
    height, width = pixels.shape[:2]
    if (height, width) == (side, side):
        return np.ascontiguousarray(pixels)
    return np.pad(pixels, ((0, side - height), (0, side - width), (0, 0)), mode="edge")


def encode(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Return a tile as JPEG, YCbCr 4:2:0."""
    from imagecodecs import jpeg8_encode

    return bytes(
        jpeg8_encode(pixels, level=quality, colorspace="RGB", outcolorspace="YCBCR", subsampling=(2, 2))
    )


def decoded(level: _Level) -> NDArray[np.uint8]:
    """Return a whole level's pixels, from its encoded tiles."""
    from imagecodecs import jpeg8_decode

    side, columns = level.tile, -(-level.width // level.tile)
    rows = -(-level.height // side)
    picture = np.empty((rows * side, columns * side, 3), np.uint8)
    for number, data in enumerate(level.tiles()):
        top, left = number // columns * side, number % columns * side
        picture[top : top + side, left : left + side] = jpeg8_decode(data)
    return picture[: level.height, : level.width]


def _thumbnail(pyramid: _Pyramid, longest: int) -> NDArray[np.uint8]:
    """Return the whole slide with its longer side `longest` at most, from the coarsest level."""
    from coverslip.core import Box

    width, height = pyramid.phantom.size
    whole = (
        decoded(pyramid.levels[-1]) if pyramid.levels else pyramid.phantom.render(Box(0, 0, width, height))
    )
    factor = min(1.0, longest / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.ascontiguousarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))


def _jpeg_tiles(width: int, height: int, tile: int) -> dict[str, Any]:
    """Return what tifffile must know to write tiles that are encoded already."""
    return {
        "shape": (height, width, 3),
        "dtype": np.uint8,
        "tile": (tile, tile),
        "photometric": "ycbcr",
        "compression": "jpeg",
        "subsampling": (2, 2),
    }


def _large(phantom: Phantom) -> bool:
    """Say whether the file may grow beyond what classic TIFF can address."""
    spec = phantom.spec
    return spec.width * spec.height * (0.05 + 0.7 * spec.tissue_share) > 3e9


def _write_svs(pyramid: _Pyramid, path: Path, finest: Iterator[bytes]) -> None:
    """Write pages in Aperio's order: finest level, thumbnail, other levels, label, macro."""
    from tifffile import TiffWriter

    width, height = pyramid.phantom.size
    per_cm = (1e4 / pyramid.phantom.spec.mpp,) * 2
    common: dict[str, Any] = {
        "metadata": None,
        "software": False,
        "resolution": per_cm,
        "resolutionunit": "CENTIMETER",
    }
    plain: dict[str, Any] = {"metadata": None, "software": False, "photometric": "rgb"}
    with TiffWriter(path, bigtiff=_large(pyramid.phantom)) as file:
        text = _described(pyramid)
        file.write(finest, description=text, **_jpeg_tiles(width, height, pyramid.tile), **common)
        thumbnail = _thumbnail(pyramid, 768)
        scaled = f"-> {thumbnail.shape[1]}x{thumbnail.shape[0]} - "
        jpeg = {"compression": "jpeg", "compressionargs": {"level": 85}}
        file.write(thumbnail, description=_described(pyramid, scaled), **jpeg, **plain)
        for level in pyramid.levels:
            scaled = f"-> {level.width}x{level.height} JPEG/RGB Q={pyramid.quality}"
            layout = _jpeg_tiles(level.width, level.height, pyramid.tile)
            file.write(level.tiles(), description=_described(pyramid, scaled), **layout, **common)
        label = _label_picture(pyramid.phantom.seed)
        text = f"{LIBRARY}label {label.shape[1]}x{label.shape[0]}"
        file.write(label, description=text, compression="lzw", predictor=True, subfiletype=1, **plain)
        macro = _macro_picture(label, thumbnail)
        text = f"{LIBRARY}macro {macro.shape[1]}x{macro.shape[0]}"
        file.write(macro, description=text, subfiletype=9, **jpeg, **plain)


LIBRARY = "Aperio Image Library v12.0.0 \r\n"
"""How descriptions begin that Aperio's and other readers know; the phantom says what it is further on."""


def _described(pyramid: _Pyramid, scaled: str | None = None) -> str:
    """Return the description of a page as Aperio's scanners write it."""
    width, height = pyramid.phantom.size
    mpp = pyramid.phantom.spec.mpp
    tile = f"({pyramid.tile}x{pyramid.tile})"
    size = f"{width}x{height} [0,0 {width}x{height}] {tile} {scaled or f'JPEG/RGB Q={pyramid.quality}'}"
    facts = {
        "AppMag": f"{10 / mpp:g}",
        "MPP": f"{mpp:g}",
        "ScanScope ID": "COVERSLIP",
        "Filename": "phantom",
        "User": "coverslip.phantom",
        "ImageID": str(pyramid.phantom.seed),
        "OriginalWidth": str(width),
        "OriginalHeight": str(height),
    }
    return f"{LIBRARY}{size}|" + "|".join(f"{name} = {value}" for name, value in facts.items())


def _label_picture(seed: int) -> NDArray[np.uint8]:
    """Return the paper label."""
    label = np.full((420, 400, 3), (238, 236, 228), np.uint8)
    for number, text in enumerate(("PHANTOM", f"seed {seed}", "not a patient")):
        cv2.putText(
            label, text, (30, 130 + 80 * number), cv2.FONT_HERSHEY_SIMPLEX, 1.35, (40, 40, 70), 3, cv2.LINE_AA
        )
    return label


def _macro_picture(label: NDArray[np.uint8], thumbnail: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the slide as a whole: label left, tissue right."""
    macro = np.full((430, 1280, 3), (226, 228, 228), np.uint8)
    macro[5:425, 6:406] = label
    factor = min(840 / thumbnail.shape[1], 400 / thumbnail.shape[0])
    size = max(1, int(thumbnail.shape[1] * factor)), max(1, int(thumbnail.shape[0] * factor))
    small = cv2.resize(thumbnail, size, interpolation=cv2.INTER_AREA)
    top, left = (430 - size[1]) // 2, 420 + (850 - size[0]) // 2
    macro[top : top + size[1], left : left + size[0]] = small
    return macro


def _write_ome(pyramid: _Pyramid, path: Path, finest: Iterator[bytes]) -> None:
    """Write an OME-TIFF whose coarser levels are sub-images of the finest."""
    from tifffile import TiffWriter

    width, height = pyramid.phantom.size
    mpp = pyramid.phantom.spec.mpp
    metadata = {
        "axes": "YXS",
        "Name": f"phantom {pyramid.phantom.seed}",
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
    }
    with TiffWriter(path, bigtiff=_large(pyramid.phantom), ome=True) as file:
        layout = _jpeg_tiles(width, height, pyramid.tile)
        file.write(finest, subifds=len(pyramid.levels), metadata=metadata, **layout)
        for level in pyramid.levels:
            layout = _jpeg_tiles(level.width, level.height, pyramid.tile)
            file.write(level.tiles(), subfiletype=1, metadata=None, **layout)
