"""Where the pixels of a TIFF lie: levels made of planes, planes made of segments of bytes."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import CorruptSlideError, CorruptTileError
from coverslip.slides.reader import paste
from coverslip.slides.source import ByteSource
from coverslip.slides.stored import StoredJpeg
from coverslip.slides.tiff_decode import (
    DECODE_ERRORS,
    Convert,
    Decode,
    converter,
    decoder,
    is_raw_rows,
    jpeg_head,
    segment_shape,
)

TOO_FEW = 100
"""An uncompressed picture of this many times the file's bytes is a mistake, not a truncated file."""

BAND = 256
"""Rows of a stripped picture that are read as one block."""


@dataclass(frozen=True)
class Plane:
    """One page's pixels, or one sample of a page that stores samples apart.

    Attributes
    ----------
    length
        Of the file in bytes.
    size
        As stored.
    block
        Width and height of a block: a tile, or a band of strips.
    columns
        Blocks per row.
    strips
        Segments per block: 1 for tiles.
    offsets, counts
        Where the segments lie; a count of 0 is an empty segment.
    samples
        Per pixel, as shown.
    jpeg_head
        What makes a block's bytes a JPEG stream that any program shows; None where nothing can.
    """

    source: ByteSource
    length: int
    size: Size
    block: Size
    columns: int
    strips: int
    offsets: array[int]
    counts: array[int]
    first: int
    samples: int
    dtype: np.dtype[Any]
    fill: int
    decode: Decode
    convert: Convert | None
    jpeg_head: bytes | None = None

    def stored(self, column: int, row: int) -> StoredJpeg | None:
        """Return where a block's JPEG stream lies, see `coverslip.slides.stored.StoresJpeg`."""
        inside = (column + 1) * self.block.width <= self.size.width
        inside = inside and (row + 1) * self.block.height <= self.size.height
        if self.jpeg_head is None or not inside:
            return None
        index = row * self.columns + column
        if self.counts[index] == 0:
            return None
        rows_columns = (self.block.height, self.block.width)
        return StoredJpeg(self.source, *self._place(index), 0, self.jpeg_head, rows_columns)

    def read(self, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode a block, cut to the size of the picture, as (h, w, samples)."""
        index = row * self.columns + column
        if self.strips == 1:
            pixels = self._segment(index, out if self.convert is None else None)
        else:
            last = min((index + 1) * self.strips, -(-self.size.height * self.strips // self.block.height))
            pixels = np.concatenate([self._segment(i, None) for i in range(index * self.strips, last)])
        height = min(self.block.height, self.size.height - row * self.block.height)
        width = min(self.block.width, self.size.width - column * self.block.width)
        if pixels.shape[0] > height or pixels.shape[1] > width:
            return pixels[:height, :width]
        return pixels

    def beyond_the_end(self) -> int:
        """Return how many segments are not wholly in the file."""
        ends = np.asarray(self.offsets) + np.asarray(self.counts)
        return int(np.count_nonzero((ends > self.length) | (np.asarray(self.offsets) < 0)))

    def _segment(self, index: int, out: NDArray[Any] | None) -> NDArray[Any]:
        if self.counts[index] == 0:
            return self._empty(index)
        offset, count = self._place(index)
        data = self.source.read(offset, count)
        try:
            pixels = self.decode(data, self.first + index, out)
        except (*DECODE_ERRORS, CorruptTileError) as error:
            raise CorruptTileError(f"segment {index} at byte {offset}: {error}") from error
        return pixels if self.convert is None else self.convert(pixels)

    def _place(self, index: int) -> tuple[int, int]:
        offset, count = self.offsets[index], self.counts[index]
        if offset < 0 or offset + count > self.length:
            raise CorruptTileError(
                f"segment {index}: bytes {offset} to {offset + count} of {self.length} in the file"
            )
        return offset, count

    def _empty(self, index: int) -> NDArray[Any]:
        rows = self.block.height // self.strips
        rows = min(rows, self.size.height - index // self.columns * rows)
        return np.full((rows, self.block.width, self.samples), self.fill, self.dtype)


@dataclass(frozen=True)
class RawRows:
    """A stripped, uncompressed picture: any rows are read straight from the file."""

    source: ByteSource
    size: Size
    block: Size
    offsets: NDArray[np.int64]
    stored: np.dtype[Any]
    stored_samples: int
    samples: int
    dtype: np.dtype[Any]
    convert: Convert | None

    def read(self, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:  # noqa: ARG002
        """Read a band of rows as (h, w, samples)."""
        first = row * self.block.height
        offsets = self.offsets[first : first + self.block.height]
        length = self.size.width * self.stored_samples * self.stored.itemsize
        if column or len(offsets) < min(self.block.height, self.size.height - first):
            raise CorruptTileError(f"rows from {first}: the file names no place for all of them")
        if offsets[-1] - offsets[0] == (len(offsets) - 1) * length:
            data = self.source.read(int(offsets[0]), length * len(offsets))
        else:
            data = b"".join(self.source.read(int(offset), length) for offset in offsets)
        if len(data) < length * len(offsets):
            raise CorruptTileError(f"rows from {first}: the file ends within them")
        pixels = np.frombuffer(data, self.stored).reshape(len(offsets), self.size.width, self.stored_samples)
        native = pixels.astype(
            self.dtype if self.convert is None else self.stored.newbyteorder("="), copy=False
        )
        return native if self.convert is None else self.convert(native)

    def beyond_the_end(self) -> int:
        """Return how many rows are not wholly in the file."""
        length = self.size.width * self.stored_samples * self.stored.itemsize
        missing = self.size.height - len(self.offsets)
        return missing + int(np.count_nonzero(self.offsets + length > self.source.size()))


AnyPlane = Plane | RawRows


def planes_of(source: ByteSource, page: Any, *, palette: bool) -> list[AnyPlane]:
    """Return the planes of a page: one, or one per sample when samples are stored apart."""
    key = page.keyframe
    count = key.samplesperpixel if key.planarconfig == 2 else 1
    offsets, counts = array("q", page.dataoffsets), array("q", page.databytecounts)
    per = len(offsets) // count
    convert = converter(key, palette=palette)
    return [
        _plane(
            source, key, (offsets[i * per : (i + 1) * per], counts[i * per : (i + 1) * per]), i * per, convert
        )
        for i in range(count)
    ]


def _plane(
    source: ByteSource,
    key: tifffile.TiffPage,
    segments: tuple[array[int], array[int]],
    first: int,
    convert: Convert | None,
) -> AnyPlane:
    if is_raw_rows(key):
        return _raw_rows(source, key, segments[0], convert)
    height, width, stored_samples = segment_shape(key)
    size = Size(key.imagewidth, key.imagelength)
    samples, dtype = shown(key, stored_samples, convert)
    strips = 1 if key.is_tiled else max(1, BAND // height)
    columns = -(-size.width // width)
    expected, named = columns * -(-size.height // height), min(len(part) for part in segments)
    if named < expected:
        raise CorruptSlideError(
            f"{source.path} names {named} of {expected} tiles or strips of {size.width} × {size.height} px",
            mend="the file is damaged: copy it anew",
        )
    return Plane(
        source=source,
        length=source.size(),
        size=size,
        block=Size(width, height * strips),
        columns=columns,
        strips=strips,
        offsets=segments[0],
        counts=segments[1],
        first=first,
        samples=samples,
        dtype=dtype,
        fill=255 if samples == 3 and dtype == np.uint8 else 0,
        decode=decoder(key),
        convert=convert,
        jpeg_head=jpeg_head(key) if strips == 1 and key.is_tiled and convert is None else None,
    )


def _raw_rows(
    source: ByteSource, key: tifffile.TiffPage, strips: array[int], convert: Convert | None
) -> RawRows:
    height, width, stored_samples = segment_shape(key)
    size = Size(width, key.imagelength)
    samples, dtype = shown(key, stored_samples, convert)
    stored = np.dtype(key.dtype).newbyteorder(key.parent.byteorder)
    row_bytes = stored.itemsize * stored_samples * width
    if size.height * row_bytes > TOO_FEW * source.size():
        raise CorruptSlideError(
            f"{source.path} states {width} × {size.height} uncompressed px, {size.height * row_bytes:,} "
            f"bytes, but has {source.size():,}",
            mend="the file is damaged: copy it anew",
        )
    rows = _row_offsets(strips, height, size, row_bytes)
    block = Size(width, min(BAND, size.height))
    return RawRows(source, size, block, rows, stored, stored_samples, samples, dtype, convert)


def shown(key: tifffile.TiffPage, samples: int, convert: Convert | None) -> tuple[int, np.dtype[Any]]:
    """Return samples per pixel and dtype after conversion."""
    dtype = np.dtype(key.dtype).newbyteorder("=")
    if convert is None:
        return samples, dtype
    probe = convert(np.zeros((1, 1, samples), dtype))
    return probe.shape[2], probe.dtype


def _row_offsets(strips: array[int], rows_per_strip: int, size: Size, row_bytes: int) -> NDArray[np.int64]:
    starts = np.asarray(strips, np.int64)
    rows = np.arange(min(size.height, len(starts) * rows_per_strip))
    return np.asarray(starts[rows // rows_per_strip] + rows % rows_per_strip * row_bytes)


@dataclass(frozen=True)
class LevelLayout:
    """One level: its planes side by side make the channels."""

    planes: tuple[AnyPlane, ...]

    @property
    def size(self) -> Size:
        """Width and height as stored."""
        return self.planes[0].size

    @property
    def block(self) -> Size:
        """Width and height of blocks as stored."""
        return self.planes[0].block

    @property
    def samples(self) -> int:
        """Number of channels."""
        return sum(plane.samples for plane in self.planes)

    def stored(self, column: int, row: int) -> StoredJpeg | None:
        """Return where a block's JPEG stream lies, see `coverslip.slides.stored.StoresJpeg`."""
        only = self.planes[0]
        return only.stored(column, row) if len(self.planes) == 1 and isinstance(only, Plane) else None

    def read(self, column: int, row: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Decode a block of all channels, as (h, w, c)."""
        if len(self.planes) == 1:
            return self.planes[0].read(column, row, out)
        return np.concatenate([plane.read(column, row) for plane in self.planes], axis=2)

    def window(self, x: int, y: int, size: Size) -> NDArray[Any]:
        """Read a rectangle of stored pixels that lies wholly inside."""
        pixels = np.empty((size.height, size.width, self.samples), self.planes[0].dtype)
        width, height = self.block
        for row in range(y // height, -(-(y + size.height) // height)):
            for column in range(x // width, -(-(x + size.width) // width)):
                paste(pixels, self.read(column, row), column * width - x, row * height - y)
        return pixels
