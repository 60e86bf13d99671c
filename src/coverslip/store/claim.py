"""One run at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from coverslip.core.errors import StoreError

LOCK = ".lock"
BUSY = (errno.EACCES, errno.EAGAIN)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` while the block lasts; the system lets go when the process ends.

    Where the file system knows no locks, nothing is kept out.

    Raises
    ------
    StoreError
        When another run is at work there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in BUSY:
                raise StoreError(
                    f"another run is at work in {folder}",
                    mend="wait for it (`coverslip status` says how far it is), or use another -o RUN",
                ) from error
        yield
