"""Conformance checks for plug-ins: call them in the tests of a reader of your own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CoverslipError, SlideError
from coverslip.slides.reader import HEAD_BYTES, Reader, paste
from coverslip.slides.source import head_of

WINDOWS = 8
"""Random windows compared per level."""

WIDEST = 700
"""Longest side of these windows."""

NOT_A_SLIDE = (b"", b"\0" * HEAD_BYTES, b"plain text\n" * 300, bytes(range(256)) * 16)


def check_reader(kind: type[Reader], path: str | os.PathLike[str], *, seed: int = 0) -> None:
    """Check that a reader keeps what `coverslip.slides.Reader` promises, on a slide that it reads.

    Parameters
    ----------
    kind
        The reader's class.
    path
        A slide of its format, a small one.
    seed
        Of the random windows.

    Raises
    ------
    AssertionError
        Names the promise that is broken.
    """
    name = os.fspath(path)
    _check_probe(kind, name)
    reader = kind.open(name)
    try:
        require(isinstance(reader, Reader), f"{kind.__name__} lacks methods or attributes of Reader")
        _check_facts(reader)
        rng = np.random.default_rng(seed)
        for level in range(len(reader.facts.levels)):
            _check_blocks(reader, level)
            _check_windows(reader, level, rng)
        _check_associated(reader)
    finally:
        reader.close()
    _check_closed(reader)


def require(kept: bool, promise: str) -> None:
    """Raise an AssertionError that names the promise unless it is kept."""
    if not kept:
        raise AssertionError(promise)


def _check_probe(kind: type[Reader], path: str) -> None:
    head = b"" if Path(path).is_dir() else head_of(path, HEAD_BYTES)
    require(0 < kind.probe(path, head) <= 1, "probe: a slide of the format scores above 0 and up to 1")
    for other in NOT_A_SLIDE:
        require(kind.probe("no-such-file.xyz", other) == 0, f"probe: {other[:12]!r} is no slide and scores 0")


def _check_facts(reader: Reader) -> None:
    facts = reader.facts
    sizes = [level.width * level.height for level in facts.levels]
    require(len(sizes) > 0 and min(sizes) > 0, "facts: there is a level, and none is empty")
    require(sizes == sorted(sizes, reverse=True), "facts: levels are sorted, finest first")
    require([level.index for level in facts.levels] == list(range(len(sizes))), "facts: levels count from 0")
    require(facts.levels[0].downsample == 1.0, "facts: level 0 has downsample 1")
    require(len(set(facts.channels)) == len(facts.channels) > 0, "facts: channels have distinct names")
    require(np.dtype(facts.dtype).kind in "uif", "facts: dtype is a real number's")
    require(len(facts.scenes) > 0, "facts: there is a scene")


def _blocks(reader: Reader, level: int) -> tuple[int, int]:
    whole, size = reader.facts.levels[level], reader.block_size(level)
    return -(-whole.width // size.width), -(-whole.height // size.height)


def _cut(reader: Reader, level: int, column: int, row: int) -> tuple[int, int, int]:
    whole, size = reader.facts.levels[level], reader.block_size(level)
    height = min(size.height, whole.height - row * size.height)
    width = min(size.width, whole.width - column * size.width)
    return height, width, len(reader.facts.channels)


def _check_blocks(reader: Reader, level: int) -> None:
    columns, rows = _blocks(reader, level)
    size = reader.block_size(level)
    for column, row in {(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)}:
        pixels = reader.block(level, column, row)
        where = f"block ({column}, {row}) of level {level}"
        require(
            pixels.shape == _cut(reader, level, column, row), f"{where} is cut to the level: {pixels.shape}"
        )
        require(str(pixels.dtype) == reader.facts.dtype, f"{where} has the dtype of the facts")
        out = np.empty((size.height, size.width, len(reader.facts.channels)), reader.facts.dtype)
        again = reader.block(level, column, row, out)
        require(np.array_equal(again, pixels), f"{where} is the same with and without a buffer")


def _assembled(reader: Reader, level: int, corner: tuple[int, int], size: Size) -> NDArray[Any]:
    block = reader.block_size(level)
    pixels = np.empty((size.height, size.width, len(reader.facts.channels)), reader.facts.dtype)
    x, y = corner
    for row in range(y // block.height, -(-(y + size.height) // block.height)):
        for column in range(x // block.width, -(-(x + size.width) // block.width)):
            paste(pixels, reader.block(level, column, row), column * block.width - x, row * block.height - y)
    return pixels


def _check_windows(reader: Reader, level: int, rng: np.random.Generator) -> None:
    whole = reader.facts.levels[level]
    places = []
    for _ in range(WINDOWS):
        size = Size(*(int(rng.integers(1, min(side, WIDEST) + 1)) for side in (whole.width, whole.height)))
        x, y = (
            int(rng.integers(0, whole.width - size.width + 1)),
            int(rng.integers(0, whole.height - size.height + 1)),
        )
        places.append((x, y, size))
    alone = [reader.window(level, x, y, size) for x, y, size in places]
    for (x, y, size), pixels in zip(places, alone, strict=True):
        same = np.array_equal(pixels, _assembled(reader, level, (x, y), size))
        require(same, f"window {x, y, size} of level {level} equals its blocks")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda place: reader.window(level, *place), places))
    same = all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    require(same, f"windows of level {level} are the same from several threads")


def _check_associated(reader: Reader) -> None:
    for name in reader.facts.associated:
        pixels = reader.associated(name)
        require(
            pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3,
            f"{name} is (h, w, 3) uint8",
        )
    try:
        reader.associated("no such image")
    except CoverslipError:
        return
    require(False, "an unknown associated image is refused with an error of Coverslip")


def _check_closed(reader: Reader) -> None:
    try:
        reader.block(0, 0, 0)
    except SlideError:
        return
    require(False, "a closed reader raises SlideError")
