"""XML of ASAP, also used by CAMELYON, PANDA and many challenges; vertices in level-0 pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.colour import Colour, hex_of, parse_colour
from coverslip.annotations.formats.source import (
    Format,
    Source,
    Target,
    dump_xml,
    holed_or_many,
    real,
    refuse_shapes,
)
from coverslip.annotations.shape import Kind, Shape, dots, kind_of, line, number, points_of, polygon

NONE = "None"
YELLOW = (244, 250, 88)
"""ASAP's own colour for what has none."""
AREAS: dict[str, Callable[[Any], Any]] = {
    "Polygon": polygon,
    "Rectangle": polygon,
    "Spline": polygon,
    "Dot": dots,
    "PointSet": dots,
    "Measurement": line,
    "Line": line,
}
TYPES: dict[str, str] = {
    "polygon": "Polygon",
    "brush": "Spline",
    "ellipse": "Polygon",
    "rectangle": "Rectangle",
    "point": "Dot",
    "points": "PointSet",
    "line": "Measurement",
    "multipolygon": "Polygon",
}


def _probe(source: Source) -> bool:
    return source.xml is not None and source.xml.tag == "ASAP_Annotations"


def _read(source: Source) -> Annotations:
    root = source.xml
    if root is None:
        raise source.damaged("this is no XML")
    shapes = [_shape(item, i, source) for i, item in enumerate(root.iterfind("Annotations/Annotation"), 1)]
    classes: dict[str, Colour | None] = {}
    for group in root.iterfind("AnnotationGroups/Group"):
        classes[group.get("Name", "")] = parse_colour(group.get("Color"))
    return Annotations(tuple(shapes), classes)


def _shape(item: ET.Element, index: int, source: Source) -> Shape:
    what = f"annotation {index} ({item.get('Name', '')})"
    given = list(item.iterfind("Coordinates/Coordinate"))
    # the order is written, and need not be that of the lines
    given.sort(key=lambda element: real(element.get("Order", "0"), source, what))
    points = [(real(e.get("X"), source, what), real(e.get("Y"), source, what)) for e in given]
    drawn = item.get("Type", "Polygon")
    if drawn not in AREAS:
        raise source.damaged(f"{what}: type {drawn!r} is not one of {', '.join(AREAS)}")
    geometry = AREAS[drawn](points)
    group = item.get("PartOfGroup", NONE)
    return Shape(
        str(index),
        _kind(drawn, geometry),
        geometry,
        None if group in {NONE, ""} else group,
        parse_colour(item.get("Color")),
        item.get("Name", ""),
    )


def _kind(drawn: str, geometry: Any) -> Kind:
    if drawn == "PointSet":
        return "points"
    if drawn == "Spline":
        return "brush"
    return "polygon" if drawn == "Polygon" else kind_of(geometry)


def _write(drawn: Annotations, _target: Target) -> bytes:
    odd = (shape for shape in drawn.shapes if holed_or_many(shape) or shape.geometry.is_empty)
    refuse_shapes(
        "ASAP XML", odd, "cut them into polygons without holes: annotations.split(), or write geojson"
    )
    root = ET.Element("ASAP_Annotations")
    items = ET.SubElement(root, "Annotations")
    for i, shape in enumerate(drawn.shapes):
        items.append(_element(shape, i, drawn.classes.get(shape.class_name or "")))
    groups = ET.SubElement(root, "AnnotationGroups")
    for name, colour in drawn.classes.items():
        said = {"Name": name, "PartOfGroup": NONE, "Color": hex_of(colour or YELLOW)}
        ET.SubElement(ET.SubElement(groups, "Group", said), "Attributes")
    return dump_xml(root)


def _element(shape: Shape, index: int, class_colour: Colour | None) -> ET.Element:
    said = {
        "Name": shape.name or f"Annotation {index}",
        "Type": TYPES[shape.kind],
        "PartOfGroup": shape.class_name or NONE,
        "Color": hex_of(shape.colour or class_colour or YELLOW),
    }
    element = ET.Element("Annotation", said)
    coordinates = ET.SubElement(element, "Coordinates")
    outline = shape.polygons[0].exterior if shape.polygons else shape.geometry
    for order, (x, y) in enumerate(points_of(outline)):
        place = {"Order": str(order), "X": repr(number(x)), "Y": repr(number(y))}
        ET.SubElement(coordinates, "Coordinate", place)
    return element


FORMAT = Format("asap", "ASAP XML", "polygons without holes, lines, points", _probe, _read, _write)
