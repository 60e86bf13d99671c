"""JSON of HistomicsUI and the Digital Slide Archive: elements in level-0 pixels.

As large_image's annotation schema has it: coordinates are triples, angles radians, and no members but those
listed are taken (what else a shape holds goes into ``user``, which may hold anything). Overlays (heat maps,
grids of values, pictures) stand among the shapes; they are none, and are left out with a note.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.colour import Colour, parse_colour, rgb_of
from coverslip.annotations.formats.source import (
    Format,
    Source,
    Target,
    dump_json,
    pairs,
    real,
    refuse_shapes,
)
from coverslip.annotations.shape import (
    Kind,
    Shape,
    dots,
    ellipse,
    ellipse_of,
    is_rectangle,
    line,
    points_of,
    polygon,
    rings_of,
)

KEPT = ("type", "points", "holes", "closed", "center", "width", "height", "rotation", "radius", "id", "group",
        "label", "lineColor")  # fmt: skip
"""Members that the shape itself keeps; all others are properties."""

LISTED = frozenset({"lineWidth", "fillColor", "user", "normal", "widthSubdivisions", "heightSubdivisions"})
"""Further members that the server takes."""

OVERLAYS = frozenset({"heatmap", "griddata", "image", "pixelmap"})

OURS = "coverslip"
"""Member of ``user`` that keeps other properties."""


def _documents(content: Any) -> Iterator[Mapping[str, Any]]:
    """Yield annotation documents: bare, wrapped as the server answers, or a list of either."""
    for item in content if isinstance(content, list) else [content]:
        inner = item.get("annotation", item) if isinstance(item, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("elements"), list):
            yield inner


def _probe(source: Source) -> bool:
    return next(_documents(source.json), None) is not None


def _read(source: Source) -> Annotations:
    shapes: list[Shape] = []
    notes: list[str] = []
    elements = [element for document in _documents(source.json) for element in document["elements"]]
    for i, element in enumerate(elements, 1):
        if element.get("type") in OVERLAYS:
            notes.append(f"element {i} is an overlay ({element['type']}), not a shape, and was left out")
        else:
            shapes.append(_shape(element, i, source))
    return Annotations(tuple(shapes), notes=tuple(notes))


def _shape(element: Mapping[str, Any], index: int, source: Source) -> Shape:
    what = f"element {index}"
    kind, geometry, kept = _geometry(element, source, what)
    label = (element.get("label") or {}).get("value")
    group = element.get("group")
    rest = {key: value for key, value in element.items() if key not in KEPT}
    user = dict(rest.pop("user", None) or {})
    rest |= user.pop(OURS, None) or {}
    rest |= {"user": user} if user else {}
    name = str(label) if label and group else ""
    own = str(element.get("id", index))
    return Shape(
        own,
        kind,
        geometry,
        group or label,
        parse_colour(element.get("lineColor")),
        name,
        properties=rest | kept,
    )


def _geometry(element: Mapping[str, Any], source: Source, what: str) -> tuple[Kind, Any, dict[str, Any]]:
    drawn = element.get("type")
    if drawn in {"polyline", "arrow"}:
        points = pairs(element.get("points"), source, what)
        if not element.get("closed", False):
            return "line", line(points), {}
        area = polygon(points, [pairs(hole, source, what) for hole in element.get("holes") or ()])
        return ("rectangle" if is_rectangle(area) else "polygon"), area, {}
    centre = pairs([element.get("center")], source, what)[0]
    if drawn == "point":
        return "point", dots([centre]), {}
    if drawn == "circle":
        radius = real(element.get("radius"), source, what)
        return "ellipse", ellipse(centre, (radius, radius)), {"ellipse": [*centre, radius, radius, 0.0]}
    width, height = real(element.get("width"), source, what), real(element.get("height"), source, what)
    turn = math.degrees(real(element.get("rotation", 0), source, what))
    if drawn == "ellipse":
        radii = (width / 2, height / 2)
        return "ellipse", ellipse(centre, radii, turn), {"ellipse": [*centre, *radii, turn]}
    if drawn in {"rectangle", "rectanglegrid"}:
        return "rectangle", _rectangle(centre, (width, height), turn), {}
    known = "polyline, rectangle, ellipse, circle, arrow or point"
    raise source.damaged(f"{what}: type {drawn!r} is not {known}")


def _rectangle(centre: tuple[float, float], sides: tuple[float, float], turn: float) -> Any:
    from shapely import affinity

    (x, y), (dx, dy) = centre, (sides[0] / 2, sides[1] / 2)
    upright = polygon([(x - dx, y - dy), (x + dx, y - dy), (x + dx, y + dy), (x - dx, y + dy)])
    return affinity.rotate(upright, turn, origin=centre) if turn else upright


# ------------------------------------------------------------------ writing
def _write(drawn: Annotations, _target: Target) -> bytes:
    many = (s for s in drawn.shapes if s.geometry.is_empty or len(getattr(s.geometry, "geoms", "1")) > 1)
    refuse_shapes("DSA JSON", many, "split multipolygons with annotations.split(), or write geojson")
    elements = [_element(shape, drawn.classes.get(shape.class_name or "")) for shape in drawn.shapes]
    return dump_json({"name": "Coverslip", "description": "", "elements": elements})


def _element(shape: Shape, class_colour: Colour | None) -> dict[str, Any]:
    colour = shape.colour or class_colour
    rest = {key: value for key, value in shape.properties.items() if key != "ellipse"}
    said: dict[str, Any] = {key: value for key, value in rest.items() if key in LISTED} | _place(shape)
    unlisted = {key: value for key, value in rest.items() if key not in LISTED}
    if unlisted:
        said["user"] = {**(said.get("user") or {}), OURS: unlisted}
    if shape.class_name is not None:
        said["group"] = shape.class_name
    if shape.name or shape.class_name:
        said["label"] = {"value": shape.name or shape.class_name}
    if colour is not None:
        said["lineColor"] = rgb_of(colour)
    # the server takes only its own identifiers: 24 hexadecimal digits
    if len(shape.id) == 24 and all(digit in "0123456789abcdef" for digit in shape.id):
        said["id"] = shape.id
    return said


def _place(shape: Shape) -> dict[str, Any]:
    parameters = ellipse_of(shape)
    if parameters is not None:
        x, y, width, height, turn = parameters
        sides = {"width": 2 * width, "height": 2 * height, "rotation": math.radians(turn)}
        return {"type": "ellipse", "center": [x, y, 0], **sides, "normal": [0, 0, 1]}
    if shape.polygons:
        shell, *holes = rings_of(shape.polygons[0])
        if shape.kind == "rectangle" and (said := _as_rectangle(shape.polygons[0])) is not None:
            return said
        inner = {"holes": [_flat(hole) for hole in holes]} if holes else {}
        return {"type": "polyline", "closed": True, "points": _flat(shell), **inner}
    if shape.geometry.geom_type in {"Point", "MultiPoint"}:
        return {"type": "point", "center": _flat(points_of(shape.geometry))[0]}
    return {"type": "polyline", "closed": False, "points": _flat(points_of(shape.geometry))}


def _as_rectangle(part: Any) -> dict[str, Any] | None:
    """Return centre and sides when the corners come back exactly, else None."""
    left, top, right, bottom = part.bounds
    centre, sides = ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top)
    if not _rectangle(centre, sides, 0.0).equals_exact(part, 0.0):
        return None
    where = {"center": [*centre, 0], "width": sides[0], "height": sides[1], "rotation": 0}
    return {"type": "rectangle", **where, "normal": [0, 0, 1]}


def _flat(ring: list[list[int | float]]) -> list[list[int | float]]:
    return [[*point, 0] for point in ring]


FORMAT = Format(
    "dsa", "HistomicsTK / DSA JSON", "polygons with holes, ellipses, lines, points", _probe, _read, _write
)
