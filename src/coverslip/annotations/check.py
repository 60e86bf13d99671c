"""What can be wrong with annotations, listed all at once; and repairs for those who ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coverslip.annotations.shape import Shape, kind_of
from coverslip.core import Size
from coverslip.core.errors import GeometryError

if TYPE_CHECKING:
    from coverslip.annotations.annotations import Annotations
    from coverslip.slides import Slide

EDGE = 1.0
"""How many level-0 pixels a shape may reach over the slide's edge before that is called a problem."""
GEOMETRY = frozenset({"empty", "not finite", "no area", "self-crossing"})
"""Problems of a shape by itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a shape, or with the whole file when `shape` is None.

    Attributes
    ----------
    shape
        Its id.
    kind
        empty, not finite, no area, self-crossing, outside, unknown class or other slide.
    text
        A sentence that names the shape.
    """

    shape: str | None
    kind: str
    text: str


def problems(
    drawn: Annotations, slide: Slide | None = None, classes: Sequence[str] | None = None
) -> tuple[Problem, ...]:
    """List everything that is wrong, in the order of the shapes.

    Parameters
    ----------
    drawn
        The annotations.
    slide
        Asks whether they are for this slide and lie on it.
    classes
        Asks whether every shape has one of these classes.
    """
    found = list(_other_slide(drawn, slide) if slide is not None else ())
    for shape in drawn.shapes:
        own = _own_problem(shape)
        if own is not None:
            found.append(own)
        elif slide is not None:
            found += _outside(shape, slide.size)
        if classes is not None and shape.class_name not in classes:
            known = ", ".join(classes)
            found.append(
                Problem(
                    shape.id,
                    "unknown class",
                    f"{shape.title}: class {shape.class_name!r} is not among {known}",
                )
            )
    return tuple(found)


def refuse(found: Sequence[Problem]) -> None:
    """Raise one error with all problems, numbered; none raises nothing."""
    if not found:
        return
    listed = "\n".join(f"  {i}. {problem.text}" for i, problem in enumerate(found, 1))
    repairable = all(problem.kind in GEOMETRY | {"outside"} for problem in found)
    mend = "mend the shapes where they were drawn" + (
        ", or let them be repaired: checked(repair=True)"
        if repairable
        else ", or choose the right slide and classes"
    )
    raise GeometryError(f"the annotations have {len(found)} problem(s):\n{listed}\n", mend=mend)


def geometry_problems(shapes: Iterable[Shape]) -> list[Problem]:
    """List problems of shapes by themselves."""
    return [problem for shape in shapes if (problem := _own_problem(shape)) is not None]


def _own_problem(shape: Shape) -> Problem | None:
    import shapely

    geometry = shape.geometry
    if geometry.is_empty:
        return Problem(shape.id, "empty", f"{shape.title} is empty")
    coords = shapely.get_coordinates(geometry)
    if not (good := np.isfinite(coords).all(axis=1)).all():
        count = int((~good).sum())
        return Problem(
            shape.id, "not finite", f"{shape.title}: {count} of {len(coords)} vertices are not finite"
        )
    if not shape.polygons:
        return None
    if any(part.area == 0 for part in shape.polygons) and _flat(shape):
        return Problem(
            shape.id, "no area", f"{shape.title} has no area: {len(np.unique(coords, axis=0))} vertices"
        )
    if not geometry.is_valid:
        reason = shapely.is_valid_reason(geometry)
        return Problem(shape.id, "self-crossing", f"{shape.title} crosses or touches itself: {reason}")
    return None


def _flat(shape: Shape) -> bool:
    """Tell a flat ring from a bow tie, which has no signed area either."""
    return all(part.convex_hull.area == 0 for part in shape.polygons if part.area == 0)


def _outside(shape: Shape, size: Size) -> Iterator[Problem]:
    left, top, right, bottom = shape.geometry.bounds
    over = max(-left, -top, right - size.width, bottom - size.height)
    if right < 0 or bottom < 0 or left > size.width or top > size.height:
        where = f"lies outside the slide of {size.width} × {size.height}: its box is {_box_text(shape)}"
        yield Problem(shape.id, "outside", f"{shape.title} {where}")
    elif over > EDGE:
        where = f"reaches {over:g} pixels over the edge of the slide of {size.width} × {size.height}"
        yield Problem(shape.id, "outside", f"{shape.title} {where}")


def _box_text(shape: Shape) -> str:
    return "({:g}, {:g}) to ({:g}, {:g})".format(*shape.geometry.bounds)


def _other_slide(drawn: Annotations, slide: Slide) -> Iterator[Problem]:
    said = drawn.drawn_on
    if said.size is not None and tuple(said.size) != tuple(slide.size):
        text = f"drawn on a slide of {said.size[0]} × {said.size[1]}, but {slide.id} has "
        yield Problem(None, "other slide", f"{text}{slide.size.width} × {slide.size.height}")
    if said.digest is not None and said.digest != slide.digest:
        text = f"drawn on the slide with digest {said.digest}, but {slide.id} has {slide.digest}"
        yield Problem(None, "other slide", text)


# ------------------------------------------------------------------ repairs
def repaired(drawn: Annotations, slide: Slide | None = None) -> Annotations:
    """Return repaired shapes; every repair is a note. Shapes without problems are the same objects."""
    shapes: list[Shape] = []
    notes = list(drawn.notes)
    for shape in drawn.shapes:
        mended, said = _mended(shape)
        if mended is not None and slide is not None:
            mended, clipped = _clipped(mended, slide.size)
            said = said + clipped
        shapes += [mended] if mended is not None else []
        notes += [f"{shape.title}: {text}" for text in said]
    return replace(drawn, shapes=tuple(shapes), notes=tuple(notes))


def _mended(shape: Shape) -> tuple[Shape | None, list[str]]:
    import shapely

    problem = _own_problem(shape)
    if problem is None:
        return shape, []
    if problem.kind != "self-crossing":
        return None, [f"left out ({problem.kind})"]
    result = _with_geometry(shape, _areas(shapely.make_valid(shape.geometry)))
    if result is None:
        return None, ["left out (no area)"]
    return result, [f"untangled; its area went from {shape.area_px:g} to {result.area_px:g} px"]


def _clipped(shape: Shape, size: Size) -> tuple[Shape | None, list[str]]:
    import shapely

    if not list(_outside(shape, size)):
        return shape, []
    cut = shapely.intersection(shape.geometry, shapely.box(0, 0, *size))
    result = _with_geometry(shape, _areas(cut) if shape.polygons else _thin(cut))
    if result is None:
        return None, ["left out (outside the slide)"]
    return result, [f"clipped to the slide; its area went from {shape.area_px:g} to {result.area_px:g} px"]


def _with_geometry(shape: Shape, geometry: Any) -> Shape | None:
    if geometry.is_empty:
        return None
    kept = {key: value for key, value in shape.properties.items() if key != "ellipse"}
    return replace(shape, geometry=geometry, kind=kind_of(geometry), properties=kept)


def _of_type(names: set[str]) -> Callable[[Any], Any]:
    def chosen(geometry: Any) -> Any:
        import shapely

        parts = shapely.get_parts(geometry)
        parts = shapely.get_parts(parts)  # collections may hold multi-parts
        kept = [part for part in parts if part.geom_type in names and not part.is_empty]
        return kept[0] if len(kept) == 1 else shapely.union_all(kept)

    return chosen


_areas = _of_type({"Polygon"})
_thin = _of_type({"LineString", "Point"})
