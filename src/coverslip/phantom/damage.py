"""Harm done to a file on purpose, for tests of how damage is met."""

from __future__ import annotations

import os
from pathlib import Path

from coverslip.core.errors import UsageError


def damage_tile(path: str | os.PathLike[str], level: int, column: int, row: int) -> None:
    """Overwrite the bytes of one tile of a TIFF in place, so that it cannot be decoded.

    Raises
    ------
    UsageError
        When the file has no such level or tile.
    """
    from tifffile import TiffFile

    with TiffFile(path) as file:
        levels = file.series[0].levels
        if not 0 <= level < len(levels):
            raise UsageError(f"level {level} is not there: {path} has {len(levels)}")
        page = levels[level].pages[0]
        columns, rows = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
        if not (0 <= column < columns and 0 <= row < rows):
            raise UsageError(f"tile ({column}, {row}) is not there: level {level} has {columns} × {rows}")
        number = row * columns + column
        offset, length = page.dataoffsets[number], page.databytecounts[number]
    with Path(path).open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"\x00" * length)
