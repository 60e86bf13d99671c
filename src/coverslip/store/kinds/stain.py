"""The stains of a slide as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coverslip.core.errors import StainError
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix
from coverslip.store.header import Header, damaged
from coverslip.store.kinds.base import Kind, read_json, write_json


@dataclass(frozen=True)
class SlideStain:
    """How a slide is stained.

    Attributes
    ----------
    method
        Of the fit: ``"macenko"``, ``"vahadane"``, or the name of a fixed matrix.
    stains
        Vectors and strengths.
    tiles
        How many tiles gave pixels to the fit.
    """

    method: str
    stains: StainMatrix
    tiles: int = 0

    @property
    def angle(self) -> float:
        """Angle between the first two stains, in degrees; small means poorly told apart."""
        first, second = self.stains.array[:2]
        return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))

    @property
    def angles_to_standard(self) -> dict[str, float]:
        """Angle of each stain to its vector of Ruifrok and Johnston, in degrees, by name."""
        standard = RUIFROK_JOHNSTON["HED"]
        known = dict(zip(standard.names, standard.array, strict=True))
        return {
            name: float(np.degrees(np.arccos(np.clip(vector @ known[name], -1, 1))))
            for name, vector in zip(self.stains.names, self.stains.array, strict=True)
            if name in known
        }


def _write(paths: tuple[Path, ...], value: SlideStain, header: Header) -> None:
    body = {
        "method": value.method,
        "tiles": value.tiles,
        "stains": value.stains.to_dict(),
        "angle": value.angle,
        "angles_to_standard": value.angles_to_standard,
    }
    write_json(paths[0], header, body)


def _read(paths: tuple[Path, ...], _header: Header) -> SlideStain:
    values = read_json(paths[0])
    try:
        return SlideStain(values["method"], StainMatrix.from_dict(values["stains"]), values["tiles"])
    except (KeyError, TypeError, StainError) as error:
        raise damaged(paths[0], error) from error


STAIN = Kind("stain", 1, (".json",), _write, _read)
