"""What the first bytes of a file say, and the first directory of a TIFF: for probing, without any library."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath

from coverslip.slides.digest import companion_folder
from coverslip.slides.source import is_url, open_bytes

NDPI_TAG = 65420
DESCRIPTION, SOFTWARE, XMP = 270, 305, 700
TEXT = 4096
"""Bytes of a text tag that are looked at."""


def is_tiff(head: bytes) -> bool:
    r"""Say whether a file starts as a TIFF or BigTIFF.

    Examples
    --------
    >>> is_tiff(b"II*\0rest"), is_tiff(b"IJrE")
    (True, False)
    """
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_dicom(head: bytes) -> bool:
    """Say whether a file starts as DICOM: with its mark, or, without a preamble, in group 2 or 8."""
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x02\0", b"\x08\0") and head[4:6] in (b"UL", b"OB", b"CS", b"UI", b"SH", b"DA")


def picture_kind(head: bytes) -> str | None:
    """Return ``"jpeg"``, ``"png"`` or ``"webp"`` for a plain picture, else None."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return None


def tiff_kind(path: str, head: bytes) -> str:
    """Return ``"ndpi"``, ``"scn"``, ``"bif"``, ``"trestle"`` or ``"vsi"``, or ``"tiff"`` for any other.

    Content decides where it can; a damaged directory gives ``"tiff"``.
    """
    tags = first_tags(path, head)
    if NDPI_TAG in tags:
        return "ndpi"
    description, software, xmp = (tags.get(number, b"") for number in (DESCRIPTION, SOFTWARE, XMP))
    if b"leica-microsystems.com/scn" in description:
        return "scn"
    if b"iScan" in xmp:
        return "bif"
    if software.startswith(b"MedScan"):
        return "trestle"
    return "vsi" if _is_vsi(path) else "tiff"


def _is_vsi(path: str) -> bool:
    if is_url(path):
        return PurePosixPath(path).suffix.lower() == ".vsi"
    place = Path(path)
    return place.suffix.lower() == ".vsi" or companion_folder(place.with_suffix(".vsi")) is not None


def first_tags(path: str, head: bytes) -> dict[int, bytes]:
    """Return the tags of a TIFF's first directory: text and bytes as such, others as an empty string."""
    source = open_bytes(path)
    try:
        return _Directory(source.read, head).tags()
    except struct.error:
        return {}
    finally:
        source.close()


class _Directory:
    """The first directory of a TIFF, read with as few requests as can be."""

    def __init__(self, read: object, head: bytes) -> None:
        self._read = read
        self._order = "<" if head[:2] == b"II" else ">"
        self._big = head[2:4] in (b"+\0", b"\0+")
        self._head = head

    def _bytes(self, offset: int, count: int) -> bytes:
        if offset + count <= len(self._head):
            return self._head[offset : offset + count]
        return self._read(offset, count)  # type: ignore[operator,no-any-return]

    def tags(self) -> dict[int, bytes]:
        """Return number → content of text and byte tags, empty for all others."""
        start = self._number("Q", self._head[8:16]) if self._big else self._number("I", self._head[4:8])
        wide = 8 if self._big else 2
        count = self._number("Q" if self._big else "H", self._bytes(start, wide))
        size = 20 if self._big else 12
        entries = self._bytes(start + wide, min(count, 1000) * size)
        return dict(self._entry(entries[i : i + size]) for i in range(0, len(entries) - size + 1, size))

    def _entry(self, entry: bytes) -> tuple[int, bytes]:
        number, kind = struct.unpack(f"{self._order}HH", entry[:4])
        if kind not in (1, 2, 7) or number not in (DESCRIPTION, SOFTWARE, XMP):
            return number, b""
        form, field, inline = ("Q", entry[12:20], 8) if self._big else ("I", entry[8:12], 4)
        count = self._number(form, entry[4:12] if self._big else entry[4:8])
        content = (
            field[:count] if count <= inline else self._bytes(self._number(form, field), min(count, TEXT))
        )
        return number, content

    def _number(self, form: str, data: bytes) -> int:
        return int(struct.unpack(self._order + form, data)[0])
