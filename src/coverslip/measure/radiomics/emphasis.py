"""The features that four matrices share: grey level against length, size, distance or count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.feature import Feature
from coverslip.measure.radiomics.neighbours import Numbers

_GREY = "grey level"
_DEFINITIONS = (
    "Σ p / j²",
    "Σ p j²",
    "Σ p / i²",
    "Σ p i²",
    "Σ p / (i² j²)",
    "Σ p i² / j²",
    "Σ p j² / i²",
    "Σ p i² j²",
    "Σᵢ (Σⱼ n)² / N",
    "Σᵢ (Σⱼ n)² / N²",
    "Σⱼ (Σᵢ n)² / N",
    "Σⱼ (Σᵢ n)² / N²",
    "N / number of pixels",
    "Σ p (i − mean of i)²",
    "Σ p (j − mean of j)²",
    "−Σ p log₂ p",
    "Σ p²",
)
_UNITS = {13: "level²", 15: "bit"}


@dataclass(frozen=True)
class Emphasis:
    """A family of these features.

    Attributes
    ----------
    family
        Its name.
    what
        What n counts: N of them in all, p = n / N, i the grey level, j the other axis.
    names
        16 features in the order of the manual; 17 with the energy of dependence counts.
    codes
        Theirs, between spaces.
    """

    family: str
    what: str
    names: tuple[str, ...]
    codes: str

    @property
    def features(self) -> tuple[Feature, ...]:
        """The rows of the family's table."""
        rows = zip(self.names, self.codes.split(), _DEFINITIONS, strict=False)
        return tuple(
            Feature(self.family, name, code, _UNITS.get(k, ""), f"{text}; {self.what}")
            for k, (name, code, text) in enumerate(rows)
        )

    def measure(
        self,
        matrix: NDArray[np.int64],
        pixels: float | None = None,
        lengths: NDArray[np.int64] | None = None,
    ) -> Numbers:
        """Return the features of one matrix of counts, (levels, columns).

        `pixels` is the number of pixels behind it; None: every pixel is in one run or zone of length j.
        `lengths` holds the j of each column; None: 1, 2, …
        """
        i = np.arange(1, matrix.shape[0] + 1, dtype=np.float64)
        j = np.arange(1.0, matrix.shape[1] + 1) if lengths is None else lengths.astype(np.float64)
        number = float(matrix.sum())
        p = matrix / number
        grey, other = p.sum(axis=1), p.sum(axis=0)
        behind = number * float(other @ j) if pixels is None else pixels
        used = p[p > 0]
        numbers = [
            other @ j**-2,
            other @ j**2,
            grey @ i**-2,
            grey @ i**2,
            i**-2 @ p @ j**-2,
            i**2 @ p @ j**-2,
            i**-2 @ p @ j**2,
            i**2 @ p @ j**2,
            grey @ grey * number,
            grey @ grey,
            other @ other * number,
            other @ other,
            number / behind,
            grey @ (i - grey @ i) ** 2,
            other @ (j - other @ j) ** 2,
            -(used @ np.log2(used)),
            used @ used,
        ]
        return {name: float(value) for name, value in zip(self.names, numbers, strict=False)}


def names_of(near: str, far: str, grey: str, axis: str) -> tuple[str, ...]:
    """Return names three to twelve; `near` and `far` as "Short run", "Long run", `grey` what has a level."""
    low, high = f"low {_GREY}", f"high {_GREY}"
    return (
        f"{low.capitalize()} {grey} emphasis",
        f"{high.capitalize()} {grey} emphasis",
        f"{near} {low} emphasis",
        f"{near} {high} emphasis",
        f"{far} {low} emphasis",
        f"{far} {high} emphasis",
        "Grey level non-uniformity",
        "Normalised grey level non-uniformity",
        f"{axis} non-uniformity",
        f"Normalised {axis[0].lower()}{axis[1:]} non-uniformity",
    )
