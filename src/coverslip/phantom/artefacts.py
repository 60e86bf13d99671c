"""Artefacts: pen, folds, bubbles, blur and the like, at places drawn from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.layout import Layout
from coverslip.phantom.noise import key_of, uniforms
from coverslip.phantom.spec import KINDS, PhantomSpec

TRIES = 96
"""Places tried before an artefact is put where it fits least badly."""

EDGE = 16.0
"""Longest straight edge of an artefact's outline, in pixels."""

INKS = {
    "blue": (0.93, 0.55, 0.10),
    "green": (0.90, 0.28, 0.55),
    "black": (0.62, 0.60, 0.58),
    "red": (0.06, 0.80, 0.72),
}
"""Optical density of pen inks in red, green and blue at strength 1."""


@dataclass(frozen=True)
class Artefact:
    """One artefact.

    Attributes
    ----------
    kind
        See `coverslip.phantom.spec.KINDS`.
    polygon
        shapely geometry in level-0 pixels: where the artefact counts as present.
    look
        What the painter needs to know.
    reach
        Pixels beyond the polygon's bounds that may look different, too.
    """

    kind: str
    polygon: Any
    look: dict[str, Any] = field(default_factory=dict)
    reach: float = 16.0


@dataclass(frozen=True)
class _Plan:
    """What a kind's maker may use to place one artefact: `u` holds 16 numbers in [0, 1)."""

    spec: PhantomSpec
    layout: Layout
    u: NDArray[np.float64]
    tries: NDArray[np.float64]
    taken: tuple[Any, ...]

    @property
    def side(self) -> float:
        """The slide's shorter side."""
        return float(min(self.spec.width, self.spec.height))

    def px(self, microns: float) -> float:
        """Turn microns into pixels."""
        return microns / self.spec.mpp

    def in_tissue(self, radius: float) -> tuple[float, float]:
        """Return a place in tissue, `radius` off its edge and other artefacts where that can be."""
        from shapely import distance, points

        left, top, right, bottom = self.layout.tissue.bounds
        x = left + self.tries[0] * (right - left)
        y = top + self.tries[1] * (bottom - top)
        score = np.minimum(self.layout.distances["tissue"].at(x, y), 0.6 * radius)
        places = points(x, y)
        for other in self.taken:
            score = np.minimum(score, distance(other, places) - 1.2 * radius)
        best = int(np.argmax(score))
        return float(x[best]), float(y[best])


def place_artefacts(spec: PhantomSpec, seed: int, layout: Layout) -> tuple[Artefact, ...]:
    """Place all artefacts that a spec asks for; those within tissue only where there is any."""
    from shapely import segmentize

    found: list[Artefact] = []
    for kind in KINDS:
        count = spec.count(kind)
        if not count or (layout.tissue.is_empty and kind in IN_TISSUE):
            continue
        u = uniforms(key_of(seed, f"artefact {kind}"), np.arange(count), np.zeros(count, int), 16)
        for number in range(count):
            tries = uniforms(
                key_of(seed, f"place {kind} {number}"), np.arange(TRIES), np.zeros(TRIES, int), 2
            )
            taken = tuple(other.polygon for other in found if other.kind in (*IN_TISSUE, "bubble"))
            made = MAKERS[kind](_Plan(spec, layout, u[:, number], tries, taken))
            # short edges: OpenCV rounds the rows of an edge's ends, which would turn long flat ones
            found.append(replace(made, polygon=segmentize(made.polygon, EDGE)))
    return tuple(found)


def _blob(plan: _Plan, radius: float) -> Any:
    """Return a round-ish polygon in tissue."""
    from shapely.geometry import Polygon

    x, y = plan.in_tissue(radius)
    theta = np.arange(72) * 2 * np.pi / 72
    waves = sum((0.14 / k) * np.cos(k * theta + 7 * plan.u[8 + k]) for k in (1, 2, 3, 5))
    rho = radius * (1 + np.asarray(waves))
    squeeze = 0.7 + 0.3 * plan.u[8]
    return Polygon(np.stack([x + rho * np.cos(theta), y + rho * squeeze * np.sin(theta)], -1)).buffer(0)


def _curve(plan: _Plan, middle: tuple[float, float], length: float, bend: float) -> NDArray[np.float64]:
    """Return a gently bent line (n, 2) through a point."""
    t = np.linspace(-0.5, 0.5, 48)
    angle = plan.u[0] * 2 * np.pi
    across = length * bend * ((plan.u[1] - 0.5) * (4 * t**2 - 0.3) + 0.25 * np.sin(5 * t + 6 * plan.u[2]))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack(
        [middle[0] + cos * t * length - sin * across, middle[1] + sin * t * length + cos * across], -1
    )


def _blur(plan: _Plan) -> Artefact:
    radius = max(plan.side * (0.06 + 0.05 * plan.u[0]), plan.px(60))
    sigma = float(np.clip(plan.px(2.0 + 2.2 * plan.u[1]), 2.0, 12.0))
    return Artefact("blur", _blob(plan, radius), {"sigma": sigma, "soft": plan.px(5)}, reach=plan.px(25))


def _over(plan: _Plan) -> Artefact:
    radius = plan.side * (0.06 + 0.05 * plan.u[0])
    return Artefact(
        "over_stained", _blob(plan, radius), {"factor": 2.1 + 0.5 * plan.u[1], "soft": plan.px(12)}, 64
    )


def _under(plan: _Plan) -> Artefact:
    radius = plan.side * (0.06 + 0.05 * plan.u[0])
    return Artefact(
        "under_stained", _blob(plan, radius), {"factor": 0.22 + 0.1 * plan.u[1], "soft": plan.px(12)}, 64
    )


def _fold(plan: _Plan) -> Artefact:
    from shapely.geometry import LineString

    length = plan.side * (0.16 + 0.16 * plan.u[3])
    width = plan.px(22 + 34 * plan.u[4])
    line = LineString(_curve(plan, plan.in_tissue(length / 4), length, 0.25))
    ribbon = line.buffer(width / 2, cap_style="round") & plan.layout.tissue
    shift = tuple(int(np.rint(v * width / 16)) * 16 or 16 for v in (0.9 + plan.u[5], 0.5 - 1.4 * plan.u[6]))
    return Artefact("fold", ribbon, {"shift": shift, "soft": plan.px(1.5)}, 64)


def _pen(plan: _Plan) -> Artefact:
    from shapely.geometry import LineString

    spec, u = plan.spec, plan.u
    width = float(np.clip(plan.side * (0.016 + 0.014 * u[3]), plan.px(24), plan.px(1500)))
    names = sorted(INKS)
    strength = 1.5 + 0.8 * u[5] if u[6] < 0.5 else 0.35 + 0.4 * u[5]
    middle = spec.width * (0.15 + 0.7 * u[7]), spec.height * (0.15 + 0.7 * u[8])
    line = _curve(plan, middle, plan.side * (0.3 + 0.35 * u[9]), 0.55 if u[10] < 0.6 else 1.6)
    polygon = LineString(line).buffer(width / 2) & _slide(spec)
    look = {
        "ink": INKS[names[int(u[4] * len(names))]],
        "strength": strength,
        "soft": plan.px(2.5),
        "width": width,
    }
    return Artefact("pen", polygon, look, reach=plan.px(20))


def _slide(spec: PhantomSpec) -> Any:
    from shapely.geometry import box

    return box(0, 0, spec.width, spec.height)


def _bubble(plan: _Plan) -> Artefact:
    from shapely.geometry import Point

    radius = float(np.clip(plan.side * (0.05 + 0.04 * plan.u[0]), plan.px(50), plan.px(1500)))
    x, y = plan.in_tissue(radius) if not plan.layout.tissue.is_empty else _anywhere(plan)
    look = {"x": x, "y": y, "radius": radius, "rim": max(plan.px(5.0), 0.045 * radius)}
    return Artefact("bubble", Point(x, y).buffer(radius, quad_segs=24), look, reach=plan.px(30))


def _anywhere(plan: _Plan) -> tuple[float, float]:
    return plan.spec.width * (0.1 + 0.8 * plan.u[7]), plan.spec.height * (0.1 + 0.8 * plan.u[8])


def _dust(plan: _Plan) -> Artefact:
    from shapely.geometry import LineString, Polygon

    u = plan.u
    look = {
        "darkness": 0.55 + 0.4 * u[3],
        "soft": plan.px(0.8 + 2.5 * u[4]),
        "tint": (0.9, 0.95 + 0.05 * u[5], 1.0),
    }
    place = _anywhere(plan)
    if u[6] < 0.35:
        polygon = LineString(_curve(plan, place, plan.px(90 + 260 * u[9]), 0.7)).buffer(
            plan.px(1.5 + 2.5 * u[10])
        )
    else:
        theta = np.arange(14) * 2 * np.pi / 14
        rho = plan.px(5 + 22 * u[9] ** 2) * (
            1 + 0.35 * np.cos(2 * theta + 7 * u[11]) + 0.25 * np.cos(5 * theta + u[12])
        )
        polygon = Polygon(np.stack([place[0] + rho * np.cos(theta), place[1] + rho * np.sin(theta)], -1))
    return Artefact("dust", polygon & _slide(plan.spec), look, reach=plan.px(16))


def _edge(plan: _Plan) -> Artefact:
    from shapely.geometry import LineString

    spec, u = plan.spec, plan.u
    near = (0.010 + 0.015 * u[0], 0.010 + 0.015 * u[1])
    if u[2] < 0.5:
        at = [value if u[3] < 0.5 else 1 - value for value in near]
        line = LineString([(at[0] * spec.width, 0), (at[1] * spec.width, spec.height)])
    else:
        at = [value if u[3] < 0.5 else 1 - value for value in near]
        line = LineString([(0, at[0] * spec.height), (spec.width, at[1] * spec.height)])
    width = plan.px(4 + 5 * u[4])
    look = {"darkness": 0.35 + 0.4 * u[5], "soft": plan.px(1.2), "tint": (1.0, 0.98, 0.95)}
    return Artefact(
        "coverslip_edge", line.buffer(width / 2, cap_style="flat") & _slide(spec), look, plan.px(14)
    )


IN_TISSUE = frozenset({"blur", "fold", "over_stained", "under_stained"})
"""Kinds that cannot be without tissue."""

MAKERS: dict[str, Callable[[_Plan], Artefact]] = {
    "blur": _blur,
    "pen": _pen,
    "fold": _fold,
    "bubble": _bubble,
    "over_stained": _over,
    "under_stained": _under,
    "dust": _dust,
    "coverslip_edge": _edge,
}
