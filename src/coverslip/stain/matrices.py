"""What stains absorb: a vector of optical density per stain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError
from coverslip.stain.density import WHITE, as_background

PARALLEL = 2.0
"""Two vectors closer than this many degrees cannot be told apart in 8 bits."""

RESIDUAL = "residual"
"""Name of what is no stain: the direction that two stains leave."""

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class StainMatrix:
    """Stains of a slide: names, unit vectors of optical density, typical strengths and the glass.

    Construction scales the vectors to length 1 and refuses what cannot separate stains.

    Parameters
    ----------
    names
        2 or 3 names; for H&E ``("haematoxylin", "eosin")``, in this order.
    vectors
        One (red, green, blue) vector of optical density per name, not negative but for a `RESIDUAL`.
    max_concentrations
        Strength of each stain at its 99th percentile, in decades along its vector; normalisers match these.
    background
        Red, green and blue of empty glass, 1 … 255.

    Raises
    ------
    StainError
        When numbers and names do not match, a vector is zero or negative, or two are within 2°.

    Examples
    --------
    >>> stains = RUIFROK_JOHNSTON["H&E"]
    >>> stains.names
    ('haematoxylin', 'eosin')
    >>> StainMatrix.from_json(stains.to_json()) == stains
    True
    """

    names: tuple[str, ...]
    vectors: tuple[Vector, ...]
    max_concentrations: tuple[float, ...] = ()
    background: Vector = (WHITE, WHITE, WHITE)

    def __post_init__(self) -> None:
        array = np.asarray(self.vectors, dtype=np.float64)
        _check_vectors(self.names, array)
        lengths = np.linalg.norm(array, axis=1, keepdims=True)
        unit = array / np.where(
            np.abs(lengths - 1) < 1e-9, 1, lengths
        )  # so that JSON gives the same bits back
        _check_angles(self.names, unit)
        strengths = tuple(float(c) for c in self.max_concentrations) or (1.0,) * len(self.names)
        if len(strengths) != len(self.names) or not all(0 < c < np.inf for c in strengths):
            raise StainError(
                f"max_concentrations {strengths}: expected one number above 0 for each of {self.names}"
            )
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "vectors", tuple(tuple(row) for row in unit.tolist()))
        object.__setattr__(self, "max_concentrations", strengths)
        object.__setattr__(self, "background", as_background(self.background))

    @property
    def array(self) -> NDArray[np.float64]:
        """The vectors as an array (k, 3) of unit rows."""
        return np.array(self.vectors)

    def complete(self) -> StainMatrix:
        """Return three stains: itself, or with a third, `RESIDUAL`, at right angles to the two.

        The residual takes what the two stains cannot explain; its vector may have negative numbers.
        """
        if len(self.names) == 3:
            return self
        residual = np.cross(*self.array)
        names, vectors = (*self.names, RESIDUAL), (*self.vectors, _vector(residual.tolist()))
        return StainMatrix(names, vectors, (*self.max_concentrations, 1.0), self.background)

    def angles_to(self, other: StainMatrix) -> tuple[float, ...]:
        """Return the angle in degrees between each of our vectors and the other's of the same place."""
        cosine = np.clip((self.array * other.array[: len(self.names)]).sum(axis=1), -1, 1)
        return tuple(np.degrees(np.arccos(cosine)).tolist())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "names": list(self.names),
            "vectors": [list(row) for row in self.vectors],
            "max_concentrations": list(self.max_concentrations),
            "background": list(self.background),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StainMatrix:
        """Rebuild from `to_dict`.

        Raises
        ------
        StainError
            When a value is missing or of the wrong kind.
        """
        try:
            return cls(
                tuple(str(name) for name in values["names"]),
                tuple(_vector(row) for row in values["vectors"]),
                tuple(float(c) for c in values["max_concentrations"]),
                _vector(values["background"]),
            )
        except StainError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StainError(
                f"these are no stains: {error!r}", mend="fit the stains of the slide again"
            ) from error

    def to_json(self) -> str:
        """Return the stains as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> StainMatrix:
        """Rebuild from `to_json`; raises `StainError` when the text holds no stains."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise StainError(f"the stains are not readable JSON: {error}") from error
        return cls.from_dict(values)


def _vector(values: Sequence[float]) -> Vector:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _check_vectors(names: tuple[str, ...], array: NDArray[np.float64]) -> None:
    if len(names) not in {2, 3} or len(set(names)) != len(names) or array.shape != (len(names), 3):
        raise StainError(
            f"{len(names)} names {names} and vectors {array.shape}: expected 2 or 3 stains of 3 channels"
        )
    stains = array[[name != RESIDUAL for name in names]]
    if not np.all(np.isfinite(array)) or stains.min() < 0 or np.linalg.norm(array, axis=1).min() == 0:
        raise StainError(
            f"stain vectors {array.tolist()}: a stain absorbs, so expected numbers from 0, not all 0"
        )


def _check_angles(names: tuple[str, ...], unit: NDArray[np.float64]) -> None:
    for first in range(len(names)):
        for second in range(first):
            angle = np.degrees(np.arccos(np.clip(unit[first] @ unit[second], -1, 1)))
            if angle < PARALLEL:
                raise StainError(
                    f"{names[second]} and {names[first]} are {angle:.1f}° apart: they cannot be told apart",
                    mend="the slide may have a single stain; use a fixed matrix of RUIFROK_JOHNSTON",
                )


_HAEMATOXYLIN, _EOSIN, _DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)

RUIFROK_JOHNSTON: Mapping[str, StainMatrix] = MappingProxyType(
    {
        "H&E": StainMatrix(("haematoxylin", "eosin"), (_HAEMATOXYLIN, _EOSIN)),
        "H-DAB": StainMatrix(("haematoxylin", "dab"), (_HAEMATOXYLIN, _DAB)),
        "HED": StainMatrix(("haematoxylin", "eosin", "dab"), (_HAEMATOXYLIN, _EOSIN, _DAB)),
    }
)
"""Fixed vectors of Ruifrok & Johnston, Anal Quant Cytol Histol 23:291-299 (2001), scaled to length 1."""
