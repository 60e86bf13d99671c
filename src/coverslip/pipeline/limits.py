"""What a step of a recipe is limited to: ``within`` regions and ``where`` tests, read and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from coverslip.core.errors import RecipeError

AT_LEAST, AT_MOST = "at_least", "at_most"
BOUNDS = {"within": (AT_LEAST,), "where": (AT_LEAST, AT_MOST)}
"""Words beside the name of a step that each kind of limit knows."""

EXAMPLES = {"within": "within: {segment: tumour}", "where": "where: {classify: tumour, at_least: 0.5}"}


@dataclass(frozen=True, slots=True)
class Limit:
    """One condition under which tiles, objects and regions reach a step.

    Attributes
    ----------
    kind
        ``"within"``: they lie in regions that an earlier step found. ``"where"``: they pass a test on what an
        earlier step found.
    step
        Name of the earlier step.
    what
        Classes, any of which will do, or for ``"where"`` one measurement; empty for any class.
    at_least, at_most
        For ``"within"`` the least share of a tile that lies in the regions (None: a touch is enough). For
        ``"where"`` the bounds of a probability, score or measurement, both included.
    """

    kind: Literal["within", "where"]
    step: str
    what: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def of(cls, kind: Literal["within", "where"], value: Any) -> Self:
        """Read one condition, ``"segment"`` or ``{"segment": "tumour", "at_least": 0.5}``.

        Raises
        ------
        RecipeError
            When it is none.
        """
        if isinstance(value, str) and value:
            return cls(kind, value)
        if not isinstance(value, Mapping):
            raise _no_limit(kind, value)
        steps = [key for key in value if key not in BOUNDS[kind]]
        if len(steps) != 1 or not isinstance(steps[0], str):
            raise _no_limit(kind, value)
        bounds = {name: _bound(kind, name, value[name]) for name in BOUNDS[kind] if name in value}
        made = cls(kind, steps[0], _names(kind, value[steps[0]]), **bounds)
        made._check()
        return made

    def _check(self) -> None:
        low, high = self.at_least, self.at_most
        if self.kind == "within" and low is not None and not 0 <= low <= 1:
            raise RecipeError(f"within {self.step}: at_least {low:g} is no share", mend="give 0 to 1")
        if low is not None and high is not None and low > high:
            raise RecipeError(
                f"where {self.step}: nothing is at least {low:g} and at most {high:g}", mend="swap them"
            )
        if self.kind == "where" and not self.what and (low is not None or high is not None):
            raise RecipeError(
                f"where {self.step}: at_least and at_most need a class or a measurement",
                mend=f"write where: {{{self.step}: CLASS, at_least: 0.5}}",
            )

    def to_plain(self) -> dict[str, Any]:
        """Return plain values that `of` takes."""
        what: Any = self.what[0] if len(self.what) == 1 else list(self.what) or None
        bounds = {AT_LEAST: self.at_least, AT_MOST: self.at_most}
        return {self.step: what} | {name: bound for name, bound in bounds.items() if bound is not None}

    def __str__(self) -> str:
        said = f"{self.kind} {self.step}" + (f": {' or '.join(self.what)}" if self.what else "")
        said += "" if self.at_least is None else f", at least {self.at_least:g}"
        return said + ("" if self.at_most is None else f", at most {self.at_most:g}")


def limits_of(kind: Literal["within", "where"], value: Any) -> tuple[Limit, ...]:
    """Read the value of ``within`` or ``where``: nothing, one condition, or a list of which all must hold.

    Examples
    --------
    >>> [str(limit) for limit in limits_of("where", {"gate": ["tumour", "stroma"], "at_least": 0.5})]
    ['where gate: tumour or stroma, at least 0.5']
    >>> [str(limit) for limit in limits_of("within", ["tissue", {"segment": "tumour"}])]
    ['within tissue', 'within segment: tumour']
    """
    return tuple(_limits(kind, value))


def _limits(kind: Literal["within", "where"], value: Any) -> Iterator[Limit]:
    if value is None:
        return
    for part in value if isinstance(value, list | tuple) else [value]:
        yield part if isinstance(part, Limit) and part.kind == kind else Limit.of(kind, part)


def _names(kind: str, value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else () if value is None else (value,)
    if not all(isinstance(name, str) and name for name in names):
        raise _no_limit(kind, value)
    return tuple(names)


def _bound(kind: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecipeError(f"{kind}: {name} is {value!r}, expected a number", mend=f"write {EXAMPLES[kind]}")
    return float(value)


def _no_limit(kind: str, value: Any) -> RecipeError:
    return RecipeError(
        f"{kind}: {value!r} names no one step and what it found",
        mend=f"write {EXAMPLES[kind]}; for several conditions, a list of them",
    )
