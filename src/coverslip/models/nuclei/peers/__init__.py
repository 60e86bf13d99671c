"""Nuclei models of others behind the same door: ``stardist:PATH``, ``cellpose:PATH``, ``instanseg:PATH``.

Each module holds one frozen dataclass of options and one detector. The packages are extras; the weights come
from the user and have licences of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from coverslip.core import unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.models.network import file_digest
from coverslip.models.nuclei.detector import Detector

PEERS: Mapping[str, str] = {
    "cellpose": "coverslip.models.nuclei.peers.cellpose:CellposeDetector",
    "instanseg": "coverslip.models.nuclei.peers.instanseg:InstanSegDetector",
    "stardist": "coverslip.models.nuclei.peers.stardist:StarDistDetector",
}
"""Name before the colon → the detector; it has ``options``, a dataclass, and ``open(path, options)``."""


class PeerModel(NamedTuple):
    """A model of another's, as a recipe names it."""

    kind: str
    path: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the file, or of all files of the folder with their names, as ``sha256:…``.

        Raises
        ------
        StoreError
            When there is nothing.
        """
        if self.path.is_file():
            return file_digest(str(self.path))
        files = sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else []
        if not files:
            raise StoreError(f"there is no {self.kind} model at {self.path}", mend="check the path")
        lines = (f"{p.relative_to(self.path).as_posix()} {file_digest(str(p))}\n" for p in files)
        return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()

    def open(self, options: Mapping[str, Any]) -> Detector:
        """Load it.

        Raises
        ------
        UsageError
            When an option is unknown, of another type, or missing.
        MissingExtraError
            When its package is not installed.
        StoreError
            When it cannot be read.
        """
        detector: Detector = self._detector().open(self.path, self.check(options))
        return detector

    def check(self, options: Mapping[str, Any]) -> Any:
        """Return the options as its dataclass, without loading anything; raises as `open` does."""
        return checked(self._detector().options, options, self.kind)

    def _detector(self) -> Any:
        module, _, name = PEERS[self.kind].partition(":")
        return getattr(import_module(module), name)


def peer_of(model: str | None) -> PeerModel | None:
    """Return the peer that `model` names; None for a model folder of ours.

    Raises
    ------
    UnknownNameError
        When there is no such peer, and no such folder; the nearest match is in the message.

    Examples
    --------
    >>> peer_of("stardist:models/he").kind, peer_of("RUN/models/nuclei")
    ('stardist', None)
    """
    kind, colon, path = (model or "").partition(":")
    if not colon or (kind not in PEERS and (len(kind) == 1 or Path(str(model)).exists())):
        return None  # a path may hold a colon, and one on Windows begins with a drive
    if kind not in PEERS:
        raise unknown("kind of nuclei model", kind, PEERS)
    return PeerModel(kind, Path(path))


def checked(kind: type[Any], options: Mapping[str, Any], whose: str) -> Any:
    """Return `options` as the dataclass `kind`.

    Raises
    ------
    UsageError
        When one is unknown (with the nearest match), of another type, or missing.
    """
    from pydantic import TypeAdapter, ValidationError

    names = [field.name for field in fields(kind)]
    for name in options:
        if name not in names:
            error = unknown(f"option of {whose}", str(name), names)
            raise UsageError(error.message, mend=error.mend)
    try:
        return TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        mend = f"say it: --set 'nuclei.options={{{name}: …}}'"
        raise UsageError(f"option {name!r} of {whose}: {first['msg'].lower()}", mend=mend) from error
