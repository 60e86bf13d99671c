"""A digest of a slide's content that takes milliseconds, whatever the size of the file.

A file up to 16 MiB is hashed whole. Of a larger one 64 pieces of 64 KiB are hashed, evenly spaced, the
first at the start and the last at the end, after its length: enough to tell slides apart and to notice a
changed or truncated file, not a proof against forgery. A slide of several files (a folder of DICOM
instances, MRXS with its folder) is the digest of its files' names and digests in sorted order. The scheme
is named in front, ``sha256s1:``, so that another may follow.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from coverslip.core.errors import SlideNotFoundError
from coverslip.slides.source import ByteSource, is_url, open_bytes

SCHEME = "sha256s1"
WHOLE = 16 << 20
"""Files up to this many bytes are hashed whole."""

PIECES = 64
PIECE = 64 << 10


def digest_of(path: str) -> str:
    """Return the digest of a slide's content: of a file, an address, or all files of a folder.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "a"
    ...     _ = file.write_bytes(b"slide")
    ...     digest_of(str(file))[:17]
    'sha256s1:b8a7e24e'
    """
    if is_url(path):
        return f"{SCHEME}:{_of_file(path).hexdigest()}"
    place = Path(path)
    if not place.exists():
        raise SlideNotFoundError(f"there is no file {path}", mend="check the path")
    files = _files_of(place)
    if files == [place]:
        return f"{SCHEME}:{_of_file(path).hexdigest()}"
    root = place if place.is_dir() else place.parent
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix()
        total.update(f"{name}\0{_of_file(str(file)).hexdigest()}\n".encode())
    return f"{SCHEME}:{total.hexdigest()}"


def _files_of(place: Path) -> list[Path]:
    """Return the files that make up a slide, sorted by name."""
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))
    companion = companion_folder(place)
    if companion is None:
        return [place]
    return [place, *sorted(file for file in companion.rglob("*") if file.is_file())]


def companion_folder(place: Path) -> Path | None:
    """Return the folder that holds the pixels of an MRXS or VSI file, if there is one."""
    names = {".mrxs": place.stem, ".vsi": f"_{place.stem}_"}
    name = names.get(place.suffix.lower())
    folder = place.with_name(name) if name else None
    return folder if folder is not None and folder.is_dir() else None


def _of_file(path: str) -> hashlib._Hash:
    source = open_bytes(path)
    try:
        return _of_source(source)
    finally:
        source.close()


def _of_source(source: ByteSource) -> hashlib._Hash:
    size = source.size()
    if size <= WHOLE:
        return hashlib.sha256(source.read(0, size))
    digest = hashlib.sha256(f"{size}\n".encode())
    for index in range(PIECES):
        digest.update(source.read((size - PIECE) * index // (PIECES - 1), PIECE))
    return digest
