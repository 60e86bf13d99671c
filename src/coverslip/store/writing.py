"""Write files and folders whole or not at all, and say plainly when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from coverslip.core.errors import CoverslipError, StoreError
from coverslip.core.files import PARTIAL

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STREAM = ".stream" + PARTIAL
"""In the name of a streamed file that is not complete; an interrupted run leaves it to be resumed."""


@contextlib.contextmanager
def whole(targets: tuple[Path, ...]) -> Iterator[tuple[Path, ...]]:
    """Yield temporary paths beside `targets`; rename them when the block ends well, the first one last.

    What is written may be a file or a folder.
    """
    token = secrets.token_hex(4)
    partials = tuple(t.with_name(f".{t.stem}.{token}{PARTIAL}{t.suffix}") for t in targets)
    with disk_full_said(targets[0]):
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partials
            for partial, target in reversed(list(zip(partials, targets, strict=True))):
                settle(partial, target)
        finally:
            for partial in partials:
                remove(partial)


def settle(partial: Path, target: Path) -> None:
    """Bring `partial` to the disk and give it its name; an older folder of that name makes way."""
    _sync(partial)
    if target.is_dir():
        old = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{PARTIAL}{target.suffix}")
        target.rename(old)
        partial.rename(target)
        remove(old)
    else:
        partial.replace(target)


def stream_path(target: Path) -> Path:
    """Return where a streamed file grows until it is complete."""
    return target.with_name(f".{target.stem}{STREAM}{target.suffix}")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, *, streams: bool = False) -> None:
    """Remove what interrupted writers left under `folder`; streams, which can be resumed, only if asked."""
    for path in list(folder.rglob(f".*{PARTIAL}*")):
        if streams or STREAM not in path.name or path.name.endswith(".next"):
            remove(path)


def _sync(path: Path) -> None:
    for part in [*path.rglob("*"), path] if path.is_dir() else [path]:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def disk_full_said(path: Path) -> Iterator[None]:
    """Turn whatever a library makes of a full disk into one plain error.

    Raises
    ------
    StoreError
        When the disk, the quota or the file size limit is reached.
    """
    try:
        yield
    except CoverslipError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # HDF5 reports it as any of these
        if not is_full(error):
            raise
        raise StoreError(
            f"the disk is full: {path} could not be written; what was written before is whole",
            mend="free some space and run the same command again: it goes on where it stopped",
        ) from error


def is_full(error: BaseException) -> bool:
    """Say whether `error`, or what caused it, means that there is no room left."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        if any(f"errno = {code}," in str(seen) or os.strerror(code) in str(seen) for code in FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
