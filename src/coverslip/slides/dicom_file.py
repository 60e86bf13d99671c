"""One DICOM instance: what its header says, and where its frames lie."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coverslip.core.errors import CorruptSlideError, CoverslipError, UnsupportedSlideError
from coverslip.slides.dicom_decode import JPEG, FrameFormat, says_ycbcr
from coverslip.slides.source import ByteSource, LocalBytes
from coverslip.slides.stored import ADOBE_RGB, StoredJpeg

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""SOP class VL Whole Slide Microscopy Image Storage."""

SERIES = 0x0020000E
"""Tag SeriesInstanceUID."""

PIXEL_DATA = b"\xe0\x7f\x10\x00"
ITEM = b"\xfe\xff\x00\xe0"
DELIMITER = b"\xfe\xff\xdd\xe0"
UNDEFINED = 0xFFFFFFFF
ITEM_HEADER = 8
BASELINE = f"{JPEG}50"
HEAD = 1024
"""Bytes of a frame in which its markers of colour lie."""

Frame = tuple[int, int]
"""Offset and length in the file; encapsulated frames with their item headers."""


@dataclass(frozen=True)
class Instance:
    """A whole-slide microscopy instance.

    Attributes
    ----------
    header
        The data set up to the pixel data.
    flavour
        ``VOLUME``, ``THUMBNAIL``, ``LABEL``, ``OVERVIEW``; None when the file does not say.
    frames
        Offsets and lengths.
    """

    path: str
    header: Any
    source: ByteSource
    form: FrameFormat
    flavour: str | None
    encapsulated: bool
    frames: tuple[array[int], array[int]]

    @property
    def width(self) -> int:
        """Columns of the total pixel matrix."""
        return int(self.header.TotalPixelMatrixColumns)

    @property
    def height(self) -> int:
        """Rows of the total pixel matrix."""
        return int(self.header.TotalPixelMatrixRows)

    def stored(self, index: int) -> StoredJpeg | None:
        """Return where a frame's JPEG stream lies, or None when it is in another codec or in pieces."""
        form = self.form
        if form.syntax != BASELINE or form.samples != 3 or not self.encapsulated:
            return None
        offset, length = self.frames[0][index], self.frames[1][index]
        start = self.source.read(offset, ITEM_HEADER + HEAD)
        if start[:4] != ITEM or struct.unpack("<I", start[4:8])[0] + ITEM_HEADER != length:
            return None
        rgb = form.photometric == "RGB" and not says_ycbcr(start[ITEM_HEADER:])
        head = ADOBE_RGB if rgb else b""
        return StoredJpeg(self.source, offset, length, ITEM_HEADER, head, (form.rows, form.columns))

    def frame(self, index: int) -> bytes:
        """Return the bytes of a frame, without item headers."""
        offset, length = self.frames[0][index], self.frames[1][index]
        data = self.source.read(offset, length)
        if not self.encapsulated:
            return data
        size = struct.unpack("<I", data[4:8])[0] if len(data) >= ITEM_HEADER else -1
        if data[:4] == ITEM and size + ITEM_HEADER == len(data):
            return data[ITEM_HEADER:]
        return _joined(data)


@contextmanager
def header_of(path: str) -> Iterator[None]:
    """Read a header within; values that break the standard's limits, as many slides' do, pass unsaid.

    Raises
    ------
    CorruptSlideError
        When the header makes no sense.
    """
    from pydicom import config
    from pydicom.errors import BytesLengthException, InvalidDicomError

    senseless = (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        AttributeError,
        TypeError,
        IndexError,
    )
    try:
        with config.disable_value_validation():
            yield
    except CoverslipError:
        raise
    except (*senseless, struct.error, BytesLengthException, InvalidDicomError) as error:
        raise CorruptSlideError(
            f"{path}: its DICOM header cannot be read: {error}", mend="it may be damaged: copy it anew"
        ) from error


def identity(path: str) -> tuple[str, str]:
    """Return series and SOP class of a DICOM file, reading no further than these; empty where it has none."""
    from pydicom.filereader import read_partial

    with header_of(path), Path(path).open("rb") as stream:
        head = read_partial(stream, stop_when=lambda tag, *_: tag > SERIES, force=True)
        return str(head.get("SeriesInstanceUID") or ""), str(head.get("SOPClassUID") or "")


def open_instance(path: str) -> Instance:
    """Open a whole-slide microscopy instance; to be called within `header_of`.

    Raises
    ------
    UnsupportedSlideError
        When it is none, or cannot be decoded.
    CorruptSlideError
        When it is damaged.
    """
    import pydicom

    with Path(path).open("rb") as stream:
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        position = stream.tell()
    _check(header, path)
    source = LocalBytes(path)
    try:
        form = _format(header, path)
        encapsulated, frames = _frames(source, position, header, form)
    except BaseException:
        source.close()
        raise
    kind = header.get("ImageType")
    flavour = str(kind[2]) if kind is not None and len(kind) > 2 else None
    return Instance(path, header, source, form, flavour, encapsulated, frames)


def _check(header: Any, path: str) -> None:
    kind = str(header.get("SOPClassUID", ""))
    if kind != WSI:
        name = getattr(header.get("SOPClassUID"), "name", "") or "no SOP class"
        raise UnsupportedSlideError(
            f"{path} is DICOM but no whole-slide image: {name}",
            mend="name an instance of VL Whole Slide Microscopy",
        )
    needed = (
        "TotalPixelMatrixColumns",
        "TotalPixelMatrixRows",
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "BitsAllocated",
    )
    missing = [name for name in (*needed, "PhotometricInterpretation") if header.get(name) in (None, "", 0)]
    if missing:
        raise CorruptSlideError(f"{path}: its header has no {', '.join(missing)}", mend="copy the slide anew")


def _format(header: Any, path: str) -> FrameFormat:
    meta = getattr(header, "file_meta", None)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    if not syntax:
        raise CorruptSlideError(
            f"{path} names no transfer syntax: its pixels cannot be told", mend="export it anew"
        )
    bits, signed = int(header.BitsAllocated), int(header.get("PixelRepresentation") or 0)
    if bits not in (8, 16, 32):
        raise UnsupportedSlideError(
            f"{path} has {bits} bits per sample: expected 8, 16 or 32", mend="convert it"
        )
    return FrameFormat(
        syntax=syntax,
        photometric=str(header.PhotometricInterpretation),
        rows=int(header.Rows),
        columns=int(header.Columns),
        samples=int(header.SamplesPerPixel),
        dtype=np.dtype(f"{'i' if signed else 'u'}{bits // 8}"),
        stored=int(header.get("BitsStored") or bits),
        planar=bool(header.get("PlanarConfiguration") or 0),
    )


# --------------------------------------------------------------------- frames
def _frames(
    source: ByteSource, position: int, header: Any, form: FrameFormat
) -> tuple[bool, tuple[array[int], array[int]]]:
    count = int(header.get("NumberOfFrames") or 1)
    start, length = _pixel_data(source, position, header)
    if length != UNDEFINED:
        size = form.rows * form.columns * form.samples * form.dtype.itemsize
        if start + size * count > source.size():
            raise CorruptSlideError(
                f"{source.path} ends within its pixels: {count} frames of {size} bytes from {start}, "
                f"but the file has {source.size()}",
                mend="it is truncated: copy it anew",
            )
        offsets = array("q", range(start, start + size * count, size))
        return False, (offsets, array("q", [size]) * count)
    offsets = _tabled(source, start, header, count) or _scanned(source, start, count)
    ends = array("q", [*offsets[1:], _end(source, offsets[-1])])
    return True, (offsets, array("q", (end - at for at, end in zip(offsets, ends, strict=True))))


def _pixel_data(source: ByteSource, position: int, header: Any) -> tuple[int, int]:
    """Return where the value of the pixel data element starts, and its length."""
    head = source.read(position, 12)
    if head[:4] != PIXEL_DATA or len(head) < 12:
        raise CorruptSlideError(f"{source.path} has no pixel data", mend="it may be truncated: copy it anew")
    if header.is_implicit_VR:
        return position + 8, int(struct.unpack("<I", head[4:8])[0])
    return position + 12, int(struct.unpack("<I", head[8:12])[0])


def _item(source: ByteSource, position: int) -> tuple[bytes, int]:
    head = source.read(position, ITEM_HEADER)
    if len(head) < ITEM_HEADER or head[:4] not in (ITEM, DELIMITER):
        raise CorruptSlideError(
            f"{source.path}: no DICOM item at byte {position} of {source.size()}",
            mend="it is damaged: copy it anew",
        )
    return head[:4], int(struct.unpack("<I", head[4:8])[0])


def _tabled(source: ByteSource, start: int, header: Any, count: int) -> array[int] | None:
    """Return frame offsets from the extended or the basic offset table, if one is filled."""
    _, length = _item(source, start)
    first = start + ITEM_HEADER + length
    extended = header.get("ExtendedOffsetTable")
    if extended:
        relative = np.frombuffer(extended, "<u8")
    elif length:
        relative = np.frombuffer(source.read(start + ITEM_HEADER, length), "<u4")
    else:
        return None
    if len(relative) != count:
        raise CorruptSlideError(
            f"{source.path}: an offset table of {len(relative)} for {count} frames", mend="export it anew"
        )
    return array("q", (int(offset) + first for offset in relative))


def _scanned(source: ByteSource, start: int, count: int) -> array[int]:
    """Return frame offsets by walking over the items; each frame is one, unless there is one frame only."""
    _, length = _item(source, start)
    position = start + ITEM_HEADER + length
    found = array("q")
    while (item := _item(source, position))[0] == ITEM:
        found.append(position)
        position += ITEM_HEADER + item[1]
        if position >= source.size() and len(found) >= count:
            break
    if count == 1 and found:
        return found[:1]
    if len(found) != count:
        raise CorruptSlideError(
            f"{source.path}: {len(found)} fragments for {count} frames and no offset table",
            mend="export it anew",
        )
    return found


def _end(source: ByteSource, position: int) -> int:
    """Return where the fragments from `position` to the sequence delimiter end."""
    size = source.size()
    while position < size:
        kind, length = _item(source, position)
        if kind == DELIMITER:
            return position
        position += ITEM_HEADER + length
    return size


def _joined(data: bytes) -> bytes:
    """Return the content of one item after the other."""
    parts, place = [], 0
    while data[place : place + 4] == ITEM:
        length = int(struct.unpack("<I", data[place + 4 : place + 8])[0])
        parts.append(data[place + ITEM_HEADER : place + ITEM_HEADER + length])
        place += ITEM_HEADER + length
    return b"".join(parts)
