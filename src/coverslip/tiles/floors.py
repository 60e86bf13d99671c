"""What no engine on this machine can beat: the bare work, without an engine around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from coverslip.slides.reader import pixel_buffer
from coverslip.tiles.grid import Tiles
from coverslip.tiles.plan import Plan

JPEG = 7
"""TIFF's number for JPEG."""


class Floor(NamedTuple):
    """Work to measure against, and what to call it."""

    name: str
    work: Callable[[], None]


def shared_out(work: Callable[[Any], None], items: Sequence[Any], threads: int) -> None:
    """Do work on items in threads, which take them in turns of 16."""
    pieces = [items[start : start + 16] for start in range(0, len(items), 16)]

    def each(piece: Sequence[Any]) -> None:
        for item in piece:
            work(item)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(each, pieces))


def decode_floor(plan: Plan, threads: int) -> Floor:
    """Return the decoding of a plan's distinct blocks, of JPEG TIFF with the bytes in memory already."""
    rows, columns = np.nonzero(plan.uses)
    jpeg = _jpeg_bytes(plan, rows * plan.grid.width + columns)
    shape = (plan.block.height, plan.block.width, 3)
    if jpeg is not None:
        return Floor(f"JPEG decode of its blocks, {threads} threads", _decoding(jpeg, shape, threads))
    out, reader, level = pixel_buffer(*shape), plan.slide.reader, plan.level.index
    blocks = list(zip(columns.tolist(), rows.tolist(), strict=True))

    def read(block: tuple[int, int]) -> None:
        reader.block(level, *block, out)

    return Floor(f"its blocks alone, {threads} threads", lambda: shared_out(read, blocks, threads))


def _decoding(
    found: tuple[bytes | None, list[bytes]], shape: tuple[int, int, int], threads: int
) -> Callable[[], None]:
    """Return the bare decoding of JPEG bytes into a buffer per thread."""
    import threading

    from imagecodecs import jpeg8_decode

    tables, data = found
    local = threading.local()

    def decode(item: bytes) -> None:
        out = getattr(local, "out", None)
        if out is None:
            out = local.out = pixel_buffer(*shape)
        jpeg8_decode(item, tables=tables, colorspace="YCBCR", outcolorspace="RGB", out=out)

    return lambda: shared_out(decode, data, threads)


def _jpeg_bytes(plan: Plan, numbers: Any) -> tuple[bytes | None, list[bytes]] | None:
    """Return tables and bytes of a JPEG TIFF's tiles, or None for any other file."""
    import tifffile

    try:
        tif = tifffile.TiffFile(plan.slide.path)
    except (tifffile.TiffFileError, OSError):
        return None
    with tif:
        series = tif.series[0]
        if plan.level.index >= len(series.levels):
            return None
        page = series.levels[plan.level.index].keyframe
        if int(page.compression) != JPEG or int(page.photometric) != tifffile.PHOTOMETRIC.YCBCR:
            return None
        handle, data = tif.filehandle, []
        for number in np.asarray(numbers).tolist():
            handle.seek(page.dataoffsets[number])
            data.append(handle.read(page.databytecounts[number]))
        return page.jpegtables, data


def openslide_floor(path: str, tiles: Tiles) -> Floor:
    """Return the plain loop over OpenSlide: a tile after the other, through PIL, as most tools do it."""
    import openslide

    places = tiles.xy.tolist()
    side = tiles.spec.size

    def loop() -> None:
        with openslide.OpenSlide(path) as slide:
            for x, y in places:
                np.asarray(slide.read_region((x, y), 0, (side, side)).convert("RGB"))

    return Floor("a plain OpenSlide loop, 1 thread", loop)


def memory_floor() -> float:
    """Return how many gigabytes a second one thread copies."""
    source = np.ones(256 << 20, np.uint8)
    target = np.zeros_like(source)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return source.nbytes / min(times) / 1e9
