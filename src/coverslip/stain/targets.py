"""Targets: the colours that slides are normalised to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError
from coverslip.core.files import atomic
from coverslip.core.names import unknown
from coverslip.stain.density import WHITE, Background
from coverslip.stain.methods import METHODS, method

BUILT_IN = ("cmu-1", "nct-crc")
"""Names of the targets that come with the package; each file states where its numbers come from."""

KIND, VERSION = "coverslip stain target", 1


@dataclass(frozen=True, slots=True)
class StainTarget:
    """What each method found on the slide whose colours others shall take.

    Parameters
    ----------
    name
        Its name in results.
    source
        Where the pixels came from, and under which licence.
    fits
        Per method, plain values as its fit's ``to_dict`` gives them.

    Examples
    --------
    >>> load_target("cmu-1").fitted("macenko").names
    ('haematoxylin', 'eosin')
    """

    name: str
    source: str
    fits: Mapping[str, Mapping[str, Any]]

    def fitted(self, name: str) -> Any:
        """Return what the method `name` found.

        Raises
        ------
        UnknownNameError
            When there is no such method, or the target was not fitted by it.
        """
        kind = method(name).fitted
        if name not in self.fits:
            raise unknown(f"fit in the target {self.name!r} by", name, self.fits)
        return kind.from_dict(self.fits[name])

    def to_json(self) -> str:
        """Return the target as JSON text."""
        values = {
            "type": KIND,
            "version": VERSION,
            "name": self.name,
            "source": self.source,
            "fits": {key: dict(value) for key, value in self.fits.items()},
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> StainTarget:
        """Rebuild from `to_json`.

        Raises
        ------
        StainError
            When the text holds no target, or one of a later version.
        """
        try:
            values = json.loads(text)
            if values["type"] != KIND or values["version"] > VERSION:
                raise StainError(
                    f"this is {values['type']!r} version {values['version']}: "
                    f"expected {KIND!r} version {VERSION}",
                    mend="install a newer Coverslip, or make the target again",
                )
            return cls(str(values["name"]), str(values["source"]), dict(values["fits"]))
        except StainError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StainError(
                f"this is no stain target: {error!r}", mend="make it again with fit_target"
            ) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the target to a JSON file."""
        with atomic(path) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")


def load_target(name_or_path: str | os.PathLike[str]) -> StainTarget:
    """Return a target that comes with the package, or the one in a JSON file.

    Raises
    ------
    UnknownNameError
        When it is neither a name of `BUILT_IN` nor a file.
    StainError
        When the file holds no target.
    """
    if str(name_or_path) in BUILT_IN:
        folder = resources.files("coverslip.stain") / "builtin"
        return StainTarget.from_json((folder / f"{name_or_path}.json").read_text(encoding="utf-8"))
    if not Path(name_or_path).is_file():
        raise unknown("stain target or file", str(name_or_path), BUILT_IN)
    return StainTarget.from_json(Path(name_or_path).read_text(encoding="utf-8"))


def target_digest(name_or_path: str | os.PathLike[str]) -> str | None:
    """Return the SHA-256 of a target's file as ``sha256:…``; None for one that comes with the package."""
    if str(name_or_path) in BUILT_IN:
        return None
    with Path(name_or_path).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def fit_target(
    name: str, pixels: NDArray[np.uint8], background: Background = WHITE, *, source: str = ""
) -> StainTarget:
    """Make a target of pixels whose colours others shall take, fitted by every method built in.

    Parameters
    ----------
    name
        Its name in results.
    pixels
        uint8 (…, 3) from the tissue of the target.
    background
        Intensity of its glass.
    source
        Where the pixels come from, and under which licence.

    Raises
    ------
    StainError
        When the pixels do not show haematoxylin and eosin.
    """
    fits = {key: entry.fit(pixels, background).to_dict() for key, entry in METHODS.items()}
    return StainTarget(name, source, fits)
