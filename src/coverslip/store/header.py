"""What every file of a run says about itself, and where each container keeps it.

The header is a JSON object ``{"type", "version", "provenance"}``. JSON and GeoJSON files hold it as their
first member ``coverslip``; Parquet in the file metadata, HDF5 and OME-Zarr in the root attributes, JPEG in
its comment, HTML in a comment after the doctype, each under the name ``coverslip``. None of that keeps other
software from reading the files, and all of it can be read without reading the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from coverslip.core.errors import StoreError
from coverslip.store.provenance import Provenance

NAME = "coverslip"
_HEAD = re.compile(r'\s*\{\s*"coverslip"\s*:\s*')
_COMMENT = re.compile(r"<!--coverslip (\{.*?\})-->", re.DOTALL)
_HEAD_CHARS = 1 << 16


@dataclass(frozen=True, slots=True)
class Header:
    """Type, type version and provenance of one file."""

    type: str
    version: int
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"type": self.type, "version": self.version, "provenance": self.provenance.to_dict()}

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Rebuild from `to_dict`.

        Raises
        ------
        StoreError
            When something is missing from it.
        """
        try:
            return cls(values["type"], values["version"], Provenance.from_dict(values["provenance"]))
        except (KeyError, TypeError) as error:
            raise damaged(path, f"its header lacks {error}") from error


def damaged(path: Path, why: object) -> StoreError:
    """Make the error for a file that is not what its name says."""
    return StoreError(
        f"{path} cannot be read: {why}",
        mend="delete it and run again: only this and what was made from it is recomputed",
    )


def read_header(path: Path) -> Header:
    """Read the header of a file of a run, without its data.

    Raises
    ------
    StoreError
        When the file is damaged or was not written by Coverslip.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise StoreError(
            f"{path}: no file of a run ends in {suffix!r}; expected one of {', '.join(_READERS)}"
        )
    try:
        values = _READERS[suffix](path)
    except (OSError, ValueError, KeyError, LookupError) as error:
        raise damaged(path, error) from error
    if not isinstance(values, dict):
        raise damaged(path, "it carries no Coverslip header")
    return Header.from_dict(values, path)


def in_comment(header: Header) -> str:
    """Return the header as an HTML comment; two hyphens, which would end it, are escaped."""
    return f"<!--{NAME} {header.to_json().replace('--', chr(92) + 'u002d' + chr(92) + 'u002d')}-->"


def _from_json(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        text = file.read(_HEAD_CHARS)
        start = _HEAD.match(text)
        if start is None:  # another program has written the file anew and sorted it differently
            return json.loads(text + file.read()).get(NAME)
        while True:
            try:
                return json.JSONDecoder().raw_decode(text, start.end())[0]
            except ValueError:
                more = file.read(_HEAD_CHARS)
                if not more:
                    raise
                text += more


def _from_html(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        found = _COMMENT.search(file.read(_HEAD_CHARS))
    return None if found is None else json.loads(found[1])


def _from_parquet(path: Path) -> Any:
    from pyarrow import parquet

    metadata = parquet.read_schema(path).metadata or {}
    return json.loads(metadata.get(NAME.encode(), b"null"))


def _from_h5(path: Path) -> Any:
    import h5py

    with h5py.File(path, "r") as file:
        return json.loads(file.attrs.get(NAME, "null"))


def _from_jpeg(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return json.loads(image.info.get("comment", b"null"))


def _from_zarr(path: Path) -> Any:
    attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
    return attributes.get(NAME)


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _from_json,
    ".geojson": _from_json,
    ".html": _from_html,
    ".parquet": _from_parquet,
    ".h5": _from_h5,
    ".jpg": _from_jpeg,
    ".zarr": _from_zarr,
}
