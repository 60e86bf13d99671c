"""The one mpp policy: what a slide's microns per pixel are, who says so, and what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coverslip.core.errors import ImplausibleMppError
from coverslip.core.units import MPP_AT_1X, Mpp, as_mpp, magnification_contradicts
from coverslip.slides.reader import Facts

SQUARE = 0.01
"""Pixels whose sides differ by less than this share count as square."""

AGREES = 0.05
"""A user's mpp further from the file's than this share is worth a warning."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Microns per pixel of level 0.

    Attributes
    ----------
    mpp_x, mpp_y
        None when nobody states them.
    source
        ``"file"``, ``"user"``, or None.
    warnings
        Contradictions and refusals, as sentences.
    """

    mpp_x: Mpp | None
    mpp_y: Mpp | None
    source: Literal["file", "user"] | None
    warnings: tuple[str, ...] = ()

    @property
    def mpp(self) -> Mpp | None:
        """The mean of both directions: what a region's mpp is held against."""
        if self.mpp_x is None or self.mpp_y is None:
            return None
        return Mpp((self.mpp_x + self.mpp_y) / 2)


def settle(facts: Facts, user: float | None = None) -> Scale:
    """Decide the scale of a slide: the user's word, else the file's if plausible, else none.

    Nothing is ever derived from the magnification: cameras and adapters differ. A magnification only warns.

    Raises
    ------
    ImplausibleMppError
        When the user's figure is implausible. The file's is dropped with a warning instead.

    Examples
    --------
    >>> from coverslip.slides.reader import levels_of
    >>> facts = Facts(levels_of([(100, 100)]), "generic", mpp_x=0.25, mpp_y=0.25, objective_power=20)
    >>> settle(facts).warnings[0]
    'the file says 20x, usually 0.5 mpp, but also mpp 0.25; the mpp is used'
    >>> settle(facts, user=0.5).source
    'user'
    """
    stated, doubts = _stated(facts)
    if user is not None:
        mpp = as_mpp(user)
        if stated is not None and abs(sum(stated) / 2 / mpp - 1) > AGREES:
            doubts += (f"the user says mpp {mpp:g}, the file {stated[0]:g}; the user's is used",)
        return Scale(mpp, mpp, "user", doubts + _contradiction(facts, mpp, "the user"))
    if stated is None:
        return Scale(None, None, None, doubts + _missing(facts))
    if abs(stated[0] / stated[1] - 1) > SQUARE:
        doubts += (f"pixels are not square: mpp {stated[0]:g} × {stated[1]:g}",)
    return Scale(*stated, "file", doubts + _contradiction(facts, stated[0], "also"))


def _stated(facts: Facts) -> tuple[tuple[Mpp, Mpp] | None, tuple[str, ...]]:
    if facts.mpp_x is None or facts.mpp_y is None:
        return None, ()
    try:
        return (as_mpp(facts.mpp_x), as_mpp(facts.mpp_y)), ()
    except ImplausibleMppError:
        figure = f"{facts.mpp_x:g} × {facts.mpp_y:g}"
        return None, (f"the file states an implausible mpp, {figure} ({facts.mpp_origin}); it is not used",)


def _missing(facts: Facts) -> tuple[str, ...]:
    if facts.objective_power:
        usual = MPP_AT_1X / facts.objective_power
        return (f"no mpp: the file says only {facts.objective_power:g}x, usually --mpp {usual:g}",)
    return ("no mpp: give it with --mpp before anything that needs a scale",)


def _contradiction(facts: Facts, mpp: Mpp, who: str) -> tuple[str, ...]:
    power = facts.objective_power
    if not power or not magnification_contradicts(power, mpp):
        return ()
    return (
        f"the file says {power:g}x, usually {MPP_AT_1X / power:g} mpp, but {who} mpp {mpp:g}; "
        "the mpp is used",
    )
