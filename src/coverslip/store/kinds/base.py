"""What a kind of artefact is, and the JSON that several kinds share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coverslip.core.errors import StoreError
from coverslip.store.header import NAME, Header, damaged


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of one type lie on the disk.

    Attributes
    ----------
    type
        As written into the files' headers.
    version
        Raised when a file of the previous version can no longer be read in the same way.
    suffixes
        One per file; a value may need several. The first is the one whose presence counts: it is renamed
        last.
    write
        ``write(paths, value, header)``, one path per suffix.
    read
        ``read(paths, header)`` returns the value.
    write_stream
        ``write_stream(partial, stream, header)`` adds a stream to what `partial` holds of it and returns the
        complete file; None for a kind that cannot be streamed.
    kept
        ``kept(partial, fingerprint)`` returns how far a stream came; None for a kind that cannot be streamed.
    """

    type: str
    version: int
    suffixes: tuple[str, ...]
    write: Callable[[tuple[Path, ...], Any, Header], None]
    read: Callable[[tuple[Path, ...], Header], Any]
    write_stream: Callable[[Path, Any, Header], Path] | None = None
    kept: Callable[[Path, str], int] | None = None

    def check(self, header: Header, path: Path) -> None:
        """Refuse a file of another type or of a version that this release cannot read.

        Raises
        ------
        StoreError
            With the way out.
        """
        if header.type != self.type:
            raise StoreError(
                f"{path} is of type {header.type!r}, expected {self.type!r}",
                mend="move it away and run again: it is made anew",
            )
        if header.version > self.version:
            raise StoreError(
                f"{path} is {self.type} version {header.version}, written by coverslip "
                f"{header.provenance.coverslip}; this release reads up to version {self.version}",
                mend="pip install --upgrade coverslip",
            )


def write_json(path: Path, header: Header, body: Mapping[str, Any]) -> None:
    """Write a JSON object whose first member is the header, joined with what `body` has under that name."""
    values = {**finite(body)}
    values = {NAME: header.to_dict() | values.pop(NAME, {}), **values}
    path.write_text(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, without the header's part of it.

    Raises
    ------
    StoreError
        When it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(values, dict):
        raise damaged(path, "expected a JSON object")
    ours = values.pop(NAME, {})
    rest = {key: value for key, value in ours.items() if key not in Header.__dataclass_fields__}
    return {NAME: rest, **values} if rest else values


def finite(value: Any) -> Any:
    """Turn numpy scalars and tuples into plain ones, and NaN and infinity, which JSON has not, into null.

    Examples
    --------
    >>> finite({"a": (1.5, float("nan"))})
    {'a': [1.5, None]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
