"""Bytes of a file by range, local or remote, from any thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Protocol, cast
from urllib.parse import urlsplit

from coverslip.core.errors import SlideError, SlideNotFoundError, UsageError

PAGE = 1 << 18
"""Bytes fetched at once while the structure of a remote file is read."""

PAGES = 64
"""Pieces of a remote file's structure that are kept."""

NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Flag of Linux that makes a read fail rather than wait for a disk; 0 elsewhere."""


def is_url(path: str) -> bool:
    """Say whether `path` names a file behind fsspec.

    Examples
    --------
    >>> is_url("s3://bucket/a.svs"), is_url("C:/a.svs"), is_url("/data/a.svs")
    (True, False, False)
    """
    scheme, separator, _ = path.partition("://")
    return bool(separator) and len(scheme) > 1


class ByteSource(Protocol):
    """A file that serves ranges of its bytes to several threads at once."""

    path: str

    def size(self) -> int:
        """Return the length of the file in bytes."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`; fewer where the file ends."""
        ...

    def read_at_once(self, offset: int, count: int) -> bytes | None:
        """Return `count` bytes if they can be had without waiting for a disk or network, else None."""
        ...

    def stream(self) -> IO[bytes]:
        """Return a new seekable stream for a library that wants one; the caller closes it."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class LocalBytes:
    """A file on this machine, read with ``pread``: no shared position, so no lock."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise SlideNotFoundError(f"there is no file {path}", mend="check the path") from error
        except OSError as error:
            raise SlideError(
                f"{path} cannot be read: {error.strerror}", mend="check its permissions"
            ) from error

    def size(self) -> int:
        """Return the length of the file in bytes."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`; fewer where the file ends."""
        try:
            return os.pread(self._descriptor, count, offset)
        except OSError as error:
            why = "it is closed" if self._descriptor < 0 else error.strerror
            raise SlideError(f"{self.path} cannot be read: {why}", mend="open it again") from error

    def read_at_once(self, offset: int, count: int) -> bytes | None:
        """Return bytes that the system has in memory; None where it would have to ask the disk."""
        if not NOWAIT:
            return None
        room = bytearray(count)
        try:
            found = os.preadv(self._descriptor, [room], offset, NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell: `read` says what is wrong
            return None
        return bytes(room) if found == count else None

    def stream(self) -> IO[bytes]:
        """Return a new seekable stream."""
        return Path(self.path).open("rb")

    def close(self) -> None:
        """Let go of the file; reading afterwards fails."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RemoteBytes:
    """A file behind fsspec, read by range requests and never downloaded whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fs, self._name = _filesystem(path)
        try:
            size = self._fs.info(self._name).get("size")
        except FileNotFoundError as error:
            raise SlideNotFoundError(f"there is no file {path}", mend="check the address") from error
        except OSError as error:
            raise SlideError(
                f"{path} cannot be reached: {error}", mend="check address and network"
            ) from error
        if size is None:
            raise SlideError(
                f"{path}: the server states no length, so ranges of it cannot be asked for",
                mend="download the file and open the copy",
            )
        self._size = int(size)

    def size(self) -> int:
        """Return the length of the file in bytes."""
        return self._size

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`; fewer where the file ends."""
        end = min(offset + count, self._size)
        if end <= offset:
            return b""
        try:
            data = cast(bytes, self._fs.cat_file(self._name, start=offset, end=end))
        except OSError as error:
            raise SlideError(f"{self.path} cannot be read: {error}", mend="check the network") from error
        if len(data) > end - offset:
            raise SlideError(
                f"{self.path}: the server sent {len(data)} bytes where {end - offset} were asked for",
                mend="the server has no range requests: download the file and open the copy",
            )
        return data

    def read_at_once(self, offset: int, count: int) -> bytes | None:  # noqa: ARG002
        """Return None: a network is always waited for."""
        return None

    def stream(self) -> IO[bytes]:
        """Return a new seekable stream that keeps the pieces it has fetched."""
        options = {"block_size": PAGE, "cache_type": "blockcache", "cache_options": {"maxblocks": PAGES}}
        try:
            return cast(IO[bytes], self._fs.open(self._name, "rb", **options))
        except (OSError, ValueError) as error:
            raise SlideError(
                f"{self.path} cannot be read by ranges: {error}", mend="download it first"
            ) from error

    def close(self) -> None:
        """Do nothing: connections belong to fsspec."""


def _filesystem(path: str) -> tuple[Any, str]:
    import fsspec

    from coverslip.core.errors import MissingExtraError

    scheme = urlsplit(path).scheme
    try:
        fs, name = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise MissingExtraError.of(f"what {scheme}:// needs ({error.name or error})", "remote") from error
    except ValueError as error:
        raise UsageError(
            f"{path}: {error}", mend="use a path, https://, s3:// or another fsspec address"
        ) from error
    return fs, name


def open_bytes(path: str) -> ByteSource:
    """Open a path or address for reading by range.

    Raises
    ------
    SlideNotFoundError
        When there is no such file.
    SlideError
        When it cannot be read.
    """
    return RemoteBytes(path) if is_url(path) else LocalBytes(path)


def head_of(path: str, count: int) -> bytes:
    """Return the first `count` bytes of a file."""
    source = open_bytes(path)
    try:
        return source.read(0, count)
    finally:
        source.close()
