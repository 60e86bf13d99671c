"""Microns per pixel, and the magnification written on an objective.

Magnification is accepted at the door only: inside, a resolution is always an mpp.
"""

from __future__ import annotations

import math
import re
from typing import NewType

from coverslip.core.errors import ImplausibleMppError, MppError

Mpp = NewType("Mpp", float)
"""Microns per pixel of the pixels being talked about."""

FINEST_MPP = 0.01
"""Below this a light microscope resolves nothing; such a figure is a mistake of units."""

COARSEST_MPP = 200.0
"""Above this a slide (75 mm) would be under 400 pixels wide; such a figure is a mistake of units."""

MPP_AT_1X = 10.0
"""20x ≈ 0.5 µm per pixel and 40x ≈ 0.25: scanners' common convention, magnification = 10 / mpp."""


def as_mpp(value: float) -> Mpp:
    """Check a number of microns per pixel.

    Raises
    ------
    ImplausibleMppError
        When `value` is not finite or outside 0.01 … 200 µm.

    Examples
    --------
    >>> as_mpp(0.5)
    0.5
    """
    number = float(value)
    if not (math.isfinite(number) and FINEST_MPP <= number <= COARSEST_MPP):
        raise ImplausibleMppError(
            f"mpp {value!r} is implausible: expected {FINEST_MPP} to {COARSEST_MPP} microns per pixel",
            mend="give the microns per pixel of level 0, e.g. --mpp 0.5",
        )
    return Mpp(number)


def mpp_of_magnification(magnification: float) -> Mpp:
    """Turn a magnification into the mpp it conventionally stands for.

    Examples
    --------
    >>> mpp_of_magnification(20)
    0.5
    """
    return as_mpp(MPP_AT_1X / magnification) if magnification else as_mpp(math.inf)


def parse_mpp(text: str | float) -> Mpp:
    """Read ``0.5``, ``"0.5"`` or ``"20x"`` as microns per pixel.

    Examples
    --------
    >>> parse_mpp("20x"), parse_mpp("0.25")
    (0.5, 0.25)
    """
    if isinstance(text, (int, float)):
        return as_mpp(text)
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([xX×]?)\s*", text)
    if match is None:
        raise MppError(f"cannot read {text!r} as a resolution", mend="write 0.5 (microns per pixel) or 20x")
    number = float(match[1])
    return mpp_of_magnification(number) if match[2] else as_mpp(number)


def magnification_contradicts(magnification: float, mpp: float) -> bool:
    """Say whether objective power and mpp differ by more than a camera adapter explains (factor 1.6).

    Examples
    --------
    >>> magnification_contradicts(20, 0.499), magnification_contradicts(40, 0.5)
    (False, True)
    """
    ratio = MPP_AT_1X / (magnification * mpp)
    return not 1 / 1.6 <= ratio <= 1.6
