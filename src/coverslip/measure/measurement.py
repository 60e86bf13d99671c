"""What a measurement is called, what it counts in, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number that a tile gets.

    Attributes
    ----------
    name
        Unique; the column's name.
    unit
        ``"decades"`` of optical density, ``"share"`` (0 … 1), ``"µm"``, ``"µm²"``, ``"1/mm²"``, or ``""`` for
        a pure number.
    description
        What it is, and its value where it is not defined. It is always finite.
    source
        Who defined it.
    """

    name: str
    unit: str
    description: str
    source: str = "Coverslip"
