"""How a tile's colours are shown: as scanned, by the scanner's profile, or one stain alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown

STAINS = {"haematoxylin": "H&E", "eosin": "H&E", "dab": "H-DAB"}
"""Stains that can be shown alone, and the pair that each is separated with."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a tile is shown.

    Attributes
    ----------
    icc
        Apply the slide's colour profile.
    decode
        Decode even where the stored bytes would do, so that damage within them is found.
    stain
        Show one stain alone, a name of `STAINS`.

    Raises
    ------
    UnknownNameError
        When there is no such stain.
    """

    icc: bool = False
    decode: bool = False
    stain: str | None = None

    def __post_init__(self) -> None:
        if self.stain is not None and self.stain not in STAINS:
            raise unknown("stain", self.stain, STAINS)

    @property
    def as_stored(self) -> bool:
        """True when the stored bytes will do."""
        return not (self.icc or self.decode or self.stain)

    @classmethod
    def parse(cls, query: bytes) -> Shown:
        """Read an address's question.

        Examples
        --------
        >>> Shown.parse(b"icc=1&stain=dab")
        Shown(icc=True, decode=False, stain='dab')
        """
        if b"=" not in query:
            return AS_STORED
        asked = parse_qs(query.decode("latin-1"))
        return cls(asked.get("icc") == ["1"], asked.get("decode") == ["1"], asked.get("stain", [None])[0])

    def coloured(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return pixels (h, w, 3) with all stains but the chosen one taken out."""
        from coverslip.stain import from_od, to_od

        if self.stain is None:
            return rgb
        return from_od(to_od(rgb) @ _alone(self.stain))


AS_STORED = Shown()


@cache
def _alone(name: str) -> NDArray[np.float32]:
    """Return the matrix (3, 3) that keeps one stain of an optical density."""
    from coverslip.stain import RUIFROK_JOHNSTON
    from coverslip.stain.separation import unmixing

    stains = RUIFROK_JOHNSTON[STAINS[name]]
    index = [one.lower() for one in stains.names].index(name)
    kept: NDArray[np.float32] = np.outer(unmixing(stains)[:, index], stains.array[index]).astype(np.float32)
    return kept
