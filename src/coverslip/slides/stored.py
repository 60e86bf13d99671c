"""Blocks as the file stores them, for a viewer that shows JPEG itself: nothing is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from coverslip.core.errors import CorruptTileError
from coverslip.slides.codestream import picture_size
from coverslip.slides.source import ByteSource

START, END = b"\xff\xd8", b"\xff\xd9"
"""The first and last marker of a JPEG stream (ITU T.81, table B.1)."""

ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""An Adobe marker that says "no colour transform": without it a browser takes three components for YCbCr."""

PADDING = 64
"""Bytes that may follow the end of a stream: files pad tiles to even or aligned lengths."""


@dataclass(frozen=True, slots=True)
class StoredJpeg:
    """Where a block's JPEG stream lies, and what must come before it to make it whole.

    Attributes
    ----------
    source
        Bytes of the file.
    offset, count
        Of the block in it.
    skip
        Bytes at its start that are no JPEG: a DICOM item's header.
    head
        Markers to put right after the stream's first: shared tables, the colour space.
    size
        Rows and columns that the picture must have.
    """

    source: ByteSource
    offset: int
    count: int
    skip: int
    head: bytes
    size: tuple[int, int]

    def read(self) -> bytes:
        """Return the whole JPEG stream.

        Raises
        ------
        CorruptTileError
            When the bytes are no whole JPEG stream of the block's size.
        """
        return self._whole(self.source.read(self.offset, self.count))

    def read_at_once(self) -> bytes | None:
        """Return the stream if its bytes are in memory already, else None; never waits for a disk."""
        data = self.source.read_at_once(self.offset, self.count)
        return None if data is None else self._whole(data)

    def _whole(self, data: bytes) -> bytes:
        stream = data[self.skip :] if self.skip else data
        place = f"bytes {self.offset} to {self.offset + self.count}"
        if len(data) < self.count or not stream.startswith(START) or END not in stream[-PADDING:]:
            raise CorruptTileError(f"{place} are no whole JPEG stream")
        if (found := picture_size(stream)) != self.size:
            raise CorruptTileError(f"{place} hold a JPEG of {found} rows and columns, not {self.size}")
        return START + self.head + stream[2:] if self.head else stream


@runtime_checkable
class StoresJpeg(Protocol):
    """A reader whose blocks may lie in the file as JPEG."""

    def stored(self, level: int, column: int, row: int) -> StoredJpeg | None:
        """Return where the block's stream lies.

        None when a browser would not show it as `Reader.block` does: another codec, another colour model, a
        block that reaches beyond the picture, or one that the file leaves empty.
        """
        ...
