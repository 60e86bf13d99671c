"""Files that are whole or not there: written under a temporary name and renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"
"""Ending of a file that is being written; never mistaken for a result."""

_UMASK = os.umask(0o022)
os.umask(_UMASK)  # it can only be read by setting it


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, else remove it.

    Where a library (safetensors) writes the file for its owner alone, it gets the permissions of any other
    new file: the rest of a group is to read what one of them made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder) / "a.txt") as partial:
    ...         _ = partial.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{PARTIAL}{target.suffix}")
    try:
        yield partial
        _open_to_others(partial)
        _sync(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _open_to_others(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems know no permissions
        if path.stat().st_mode & 0o077 == 0:
            path.chmod(0o666 & ~_UMASK)


def _sync(path: Path) -> None:
    """Make sure the content is on the disk before the name says so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
