"""The stains of a slide as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coverslip.core.errors import StainError
from coverslip.stain.matrices import RUIFROK_JOHNSTON, StainMatrix
from coverslip.stain.normalise import Normaliser
from coverslip.stain.targets import load_target
from coverslip.store.header import Header, damaged
from coverslip.store.kinds.base import Kind, read_json, write_json

TRANSFER = {"macenko", "vahadane"}
"""Methods whose fit a target of the same method can be set against."""


@dataclass(frozen=True)
class SlideStain:
    """How a slide is stained, and what its colours are normalised to.

    Attributes
    ----------
    method
        Of the fit: ``"macenko"``, ``"vahadane"``, or the name of a fixed matrix.
    stains
        Vectors, strengths, and the glass.
    target
        Name or path of the stain target.
    tiles
        How many tiles gave pixels to the fit.
    """

    method: str
    stains: StainMatrix
    target: str = "cmu-1"
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

    def normaliser(self) -> Normaliser:
        """Return what gives this slide's tiles the colours of the target.

        Raises
        ------
        StainError
            For a fixed matrix, against which no target was fitted.
        """
        if self.method not in TRANSFER:
            raise StainError(
                f"{self.method} is a fixed matrix, and targets are fitted by macenko or vahadane",
                mend="run the stage stain with method macenko or vahadane",
            )
        return Normaliser.to_target(self.method, self.stains, load_target(self.target))


def _write(paths: tuple[Path, ...], value: SlideStain, header: Header) -> None:
    body = {
        "method": value.method,
        "target": value.target,
        "tiles": value.tiles,
        "stains": value.stains.to_dict(),
        "angle": value.angle,
        "angles_to_standard": value.angles_to_standard,
    }
    write_json(paths[0], header, body)


def _read(paths: tuple[Path, ...], _header: Header) -> SlideStain:
    values = read_json(paths[0])
    try:
        stains = StainMatrix.from_dict(values["stains"])
        return SlideStain(values["method"], stains, target=values["target"], tiles=values["tiles"])
    except (KeyError, TypeError, StainError) as error:
        raise damaged(paths[0], error) from error


STAIN = Kind("stain", 1, (".json",), _write, _read)
