"""XML of Aperio ImageScope: a layer per class, regions in it; vertices in level-0 pixels.

A region with ``NegativeROA="1"`` is a hole of the region that ``InputRegionId`` names, or of the smallest
around it in its layer.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.colour import Colour, from_bgr, to_bgr
from coverslip.annotations.formats.source import Format, Source, Target, dump_xml, real, refuse_shapes
from coverslip.annotations.shape import (
    Kind,
    Shape,
    ellipse,
    ellipse_of,
    is_rectangle,
    line,
    number,
    points_of,
    polygon,
    rings_of,
)

GREEN = (0, 255, 0)
"""ImageScope's own colour for what has none."""
ELLIPSE, LINES = "2", {"3", "4", "5"}
"""Types of regions: 0 drawn freely, 1 rectangle, 2 ellipse by two corners, 3 arrow, 4 ruler, 5 line."""
TYPES: dict[Kind, str] = {"rectangle": "1", "ellipse": "2", "line": "5"}


def _probe(source: Source) -> bool:
    return (
        source.xml is not None
        and source.xml.tag == "Annotations"
        and source.xml.find("Annotation") is not None
    )


def _read(source: Source) -> Annotations:
    root = source.xml
    if root is None:
        raise source.damaged("this is no XML")
    shapes: list[Shape] = []
    classes: dict[str, Colour | None] = {}
    for i, layer in enumerate(root.iterfind("Annotation"), 1):
        name = _class(layer)
        colour = from_bgr(int(real(layer.get("LineColor", "65280"), source, f"layer {i}, LineColor")))
        if name is not None:
            classes[name] = colour
        shapes += _regions(layer, name, colour, source)
    return Annotations(tuple(shapes), classes)


def _class(layer: ET.Element) -> str | None:
    """Return the layer's name, else its description, else the name of its first other attribute."""
    if layer.get("Name"):
        return layer.get("Name")
    attributes = list(layer.iterfind("Attributes/Attribute"))
    said = [a.get("Value") for a in attributes if a.get("Name") == "Description" and a.get("Value")]
    named = [a.get("Name") for a in attributes if a.get("Name") and a.get("Name") != "Description"]
    return next(iter([*said, *named]), None)


def _regions(layer: ET.Element, name: str | None, colour: Colour, source: Source) -> list[Shape]:
    shapes: list[Shape] = []
    holes: list[tuple[str, str, Any]] = []
    for region in layer.iterfind("Regions/Region"):
        own = f"{layer.get('Id', '')}-{region.get('Id', '')}"
        points = [
            (real(v.get("X"), source, f"region {own}"), real(v.get("Y"), source, f"region {own}"))
            for v in region.iterfind("Vertices/Vertex")
        ]
        if region.get("NegativeROA") == "1":
            holes.append((own, f"{layer.get('Id', '')}-{region.get('InputRegionId', '')}", points))
            continue
        kind, geometry, kept = _drawn(region.get("Type", "0"), points)
        said = region.get("Text", "")
        shapes.append(Shape(own, kind, geometry, name, colour, said, properties=kept))
    return _with_holes(shapes, holes, source)


def _drawn(kind: str, points: list[tuple[float, float]]) -> tuple[Kind, Any, dict[str, Any]]:
    if kind == ELLIPSE and len(points) == 2:
        (x0, y0), (x1, y1) = points
        middle, radii = ((x0 + x1) / 2, (y0 + y1) / 2), (abs(x1 - x0) / 2, abs(y1 - y0) / 2)
        kept = {"ellipse": [*middle, *radii, 0.0], "corners": [list(point) for point in points]}
        return "ellipse", ellipse(middle, radii), kept
    if kind in LINES:
        return "line", line(points), {}
    area = polygon(points)
    return ("rectangle" if is_rectangle(area) else "polygon"), area, {}


def _with_holes(shapes: list[Shape], holes: list[tuple[str, str, Any]], source: Source) -> list[Shape]:
    from dataclasses import replace

    import shapely

    for own, whose, points in holes:
        ring = polygon(points)
        owner = next((i for i, shape in enumerate(shapes) if shape.id == whose), None)
        if owner is None:
            around = [i for i, s in enumerate(shapes) if s.polygons and _around(s.polygons[0], ring)]
            owner = min(around, key=lambda i: shapes[i].geometry.convex_hull.area, default=None)
        if owner is None or not shapes[owner].polygons:
            raise source.damaged(f"region {own} is a hole, but no region of its layer is around it")
        part = shapes[owner].polygons[0]
        holed = shapely.Polygon(part.exterior, [*part.interiors, ring.exterior])
        kind: Kind = "polygon" if shapes[owner].kind == "rectangle" else shapes[owner].kind
        shapes[owner] = replace(shapes[owner], geometry=holed, kind=kind)
    return shapes


def _around(part: Any, ring: Any) -> bool:
    """Say whether a hole's first vertex lies in a polygon's outline, which may cross itself."""
    import shapely

    outline = shapely.make_valid(shapely.Polygon(part.exterior))
    return not ring.is_empty and bool(outline.covers(shapely.Point(ring.exterior.coords[0])))


# ------------------------------------------------------------------ writing
def _write(drawn: Annotations, target: Target) -> bytes:
    many = (s for s in drawn.shapes if s.geometry.is_empty or s.kind in {"point", "points"} or _parts(s) > 1)
    mend = (
        "split multipolygons with annotations.split(), give points an area with widened(), or write geojson"
    )
    refuse_shapes("ImageScope XML", many, mend)
    mpp = target.slide.mpp if target.slide is not None else None
    root = ET.Element("Annotations", {"MicronsPerPixel": repr(float(mpp))} if mpp else {})
    names: list[str | None] = [*drawn.classes]
    names += [None] if any(shape.class_name is None for shape in drawn.shapes) else []
    for i, name in enumerate(names, 1):
        layer = _layer(root, i, name, drawn.classes.get(name or ""))
        count = 0
        for shape in drawn.shapes:
            if shape.class_name == name:
                count = _add(layer, shape, count)
    return dump_xml(root)


def _parts(shape: Shape) -> int:
    return len(getattr(shape.geometry, "geoms", (shape.geometry,)))


def _layer(root: ET.Element, index: int, name: str | None, colour: Colour | None) -> ET.Element:
    said = {
        "Id": str(index),
        "Name": name or "",
        "Type": "4",
        "Visible": "1",
        "Selected": "0",
        "ReadOnly": "0",
    }
    said["LineColor"] = str(to_bgr(colour or GREEN))
    layer = ET.SubElement(root, "Annotation", said)
    ET.SubElement(layer, "Attributes")
    return ET.SubElement(layer, "Regions")


def _add(layer: ET.Element, shape: Shape, count: int) -> int:
    """Add a region and one for each of its holes; return how many regions there are now."""
    parameters = ellipse_of(shape)
    if shape.polygons and not (parameters is not None and parameters[4] == 0):
        rings, kind = rings_of(shape.polygons[0]), "1" if shape.kind == "rectangle" else "0"
    elif parameters is not None:
        rings, kind = [_corners(shape, parameters)], TYPES["ellipse"]
    else:
        rings, kind = [points_of(shape.geometry)], TYPES["line"]
    outer = count + 1
    for ring in rings:
        count += 1
        said = {"Id": str(count), "Type": kind if count == outer else "0", "Text": shape.name, "Analyze": "1"}
        said["NegativeROA"] = "0" if count == outer else "1"
        said["InputRegionId"] = "0" if count == outer else str(outer)
        vertices = ET.SubElement(ET.SubElement(layer, "Region", said), "Vertices")
        for x, y in ring:
            ET.SubElement(vertices, "Vertex", {"X": repr(number(x)), "Y": repr(number(y)), "Z": "0"})
    return count


def _corners(shape: Shape, parameters: tuple[float, ...]) -> list[list[int | float]]:
    kept = shape.properties.get("corners")
    if kept:
        return [[number(x), number(y)] for x, y in kept]
    x, y, width, height = parameters[:4]
    return [[number(x - width), number(y - height)], [number(x + width), number(y + height)]]


FORMAT = Format(
    "imagescope", "Aperio ImageScope XML", "polygons with holes, ellipses, lines", _probe, _read, _write
)
