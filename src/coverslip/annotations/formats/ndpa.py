"""NDPA of Hamamatsu's NDP.view: nanometres from the centre of the glass, so the slide is needed.

The NDPI file says how far the picture's centre is from the glass's, ``XOffsetFromSlideCentre`` and
``YOffsetFromSlideCentre``. NDP.view writes whole nanometres, and so does Coverslip: a vertex comes back
within half a nanometre, about 0.002 pixels at 0.25 mpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.colour import hex_of, parse_colour
from coverslip.annotations.formats.source import (
    Format,
    Source,
    Target,
    dump_xml,
    holed_or_many,
    real,
    refuse_shapes,
)
from coverslip.annotations.shape import (
    Kind,
    Shape,
    dots,
    ellipse,
    ellipse_of,
    kind_of,
    line,
    points_of,
    polygon,
)
from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.slides import Slide

BLACK = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Nanometres of the glass to level-0 pixels: centre of the picture in nm, nm per pixel, half the size."""

    centre: tuple[float, float]
    step: tuple[float, float]
    half: tuple[float, float]

    @classmethod
    def of(cls, slide: Slide | None) -> _Frame:
        if slide is None:
            raise UsageError(
                "NDPA counts nanometres from the centre of the glass, which only the slide knows",
                mend="give the slide: slide=open_slide('slide.ndpi')",
            )
        said = {key.rsplit(".", 1)[-1]: value for key, value in slide.facts.properties.items()}
        names = ("XOffsetFromSlideCentre", "YOffsetFromSlideCentre")
        missing = [name for name in names if name not in said]
        if missing:
            raise UsageError(
                f"{slide.path} does not say where it lies on the glass: {' and '.join(missing)} missing",
                mend="give the NDPI file that was annotated",
            )
        mpp = slide.require_mpp()
        scale = (slide.scale.mpp_x or mpp, slide.scale.mpp_y or mpp)
        size = slide.size
        x, y = (float(said[name]) for name in names)
        return cls((x, y), (scale[0] * 1000, scale[1] * 1000), (size.width / 2, size.height / 2))

    def to_pixels(self, x: float, y: float) -> tuple[float, float]:
        return (
            (x - self.centre[0]) / self.step[0] + self.half[0],
            (y - self.centre[1]) / self.step[1] + self.half[1],
        )

    def to_nm(self, x: float, y: float) -> tuple[int, int]:
        return (
            round((x - self.half[0]) * self.step[0] + self.centre[0]),
            round((y - self.half[1]) * self.step[1] + self.centre[1]),
        )


def _probe(source: Source) -> bool:
    return source.xml is not None and source.xml.tag == "annotations"


def _read(source: Source) -> Annotations:
    root = source.xml
    if root is None:
        raise source.damaged("this is no XML")
    frame = _Frame.of(source.slide)
    return Annotations(
        tuple(_shape(v, i, frame, source) for i, v in enumerate(root.iterfind("ndpviewstate"), 1))
    )


def _shape(view: ET.Element, index: int, frame: _Frame, source: Source) -> Shape:
    what = f"ndpviewstate {view.get('id', index)}"
    units = view.findtext("coordformat", "nanometers").strip()
    item = view.find("annotation")
    if item is None or units != "nanometers":
        raise source.damaged(f"{what}: expected an annotation in nanometers, got {units!r}")
    kind, geometry, kept = _geometry(item, frame, source, what)
    title = (view.findtext("title") or "").strip()
    details = (view.findtext("details") or "").strip()
    return Shape(
        str(view.get("id", index)),
        kind,
        geometry,
        title or None,
        parse_colour(item.get("color")),
        details,
        item.get("owner"),
        properties=kept,
    )


def _geometry(item: ET.Element, frame: _Frame, source: Source, what: str) -> tuple[Kind, Any, dict[str, Any]]:
    def at(x: str, y: str) -> tuple[float, float]:
        return frame.to_pixels(real(item.findtext(x), source, what), real(item.findtext(y), source, what))

    drawn = item.get("type", "")
    if drawn.startswith("freehand"):
        points = [
            frame.to_pixels(real(p.findtext("x"), source, what), real(p.findtext("y"), source, what))
            for p in item.iterfind("pointlist/point")
        ]
        closed = item.findtext("closed", "1" if drawn == "freehand" else "0").strip() != "0"
        shape = polygon(points) if closed else line(points)
        return kind_of(shape), shape, {}
    if drawn == "circle":
        radius = real(item.findtext("radius"), source, what)
        centre, radii = at("x", "y"), (radius / frame.step[0], radius / frame.step[1])
        return "ellipse", ellipse(centre, radii), {"ellipse": [*centre, *radii, 0.0]}
    if drawn == "linearmeasure":
        return "line", line([at("x1", "y1"), at("x2", "y2")]), {}
    if drawn in {"pin", "pointer"}:
        suffix = "" if item.find("x") is not None else "2"  # a pointer's second end is where it points
        return "point", dots([at("x" + suffix, "y" + suffix)]), {}
    raise source.damaged(f"{what}: type {drawn!r} is not freehand, circle, linearmeasure, pin or pointer")


# ------------------------------------------------------------------ writing
def _write(drawn: Annotations, target: Target) -> bytes:
    odd = (s for s in drawn.shapes if holed_or_many(s) or s.geometry.is_empty or s.kind == "points")
    refuse_shapes("NDPA", odd, "cut them into polygons without holes: annotations.split(), or write geojson")
    frame = _Frame.of(target.slide)
    root = ET.Element("annotations")
    for i, shape in enumerate(drawn.shapes, 1):
        view = ET.SubElement(root, "ndpviewstate", {"id": str(i)})
        view.extend(_texts(title=shape.class_name or "", details=shape.name, coordformat="nanometers"))
        x, y = frame.to_nm(*shape.geometry.representative_point().coords[0])
        view.extend(_texts(lens=10, x=x, y=y, z=0, showtitle=0, showhistogram=0, showlineprofile=0))
        colour = shape.colour or drawn.classes.get(shape.class_name or "") or BLACK
        view.append(_item(shape, {"color": hex_of(colour)} | _owner(shape), frame))
    return dump_xml(root)


def _owner(shape: Shape) -> dict[str, str]:
    return {"owner": shape.author} if shape.author else {}


def _texts(**said: object) -> list[ET.Element]:
    elements = []
    for name, value in said.items():
        element = ET.Element(name)
        element.text = str(value)
        elements.append(element)
    return elements


def _item(shape: Shape, said: Mapping[str, str], frame: _Frame) -> ET.Element:
    parameters = ellipse_of(shape)
    if parameters is not None:
        radii = round(parameters[2] * frame.step[0]), round(parameters[3] * frame.step[1])
        if abs(radii[0] - radii[1]) <= 1:
            x, y = frame.to_nm(*parameters[:2])
            item = ET.Element("annotation", {"type": "circle", "displayname": "AnnotateCircle", **said})
            item.extend(_texts(measuretype=0, x=x, y=y, radius=radii[0]))
            return item
    if shape.kind == "point":
        x, y = frame.to_nm(*shape.geometry.coords[0])
        item = ET.Element("annotation", {"type": "pin", "displayname": "AnnotatePin", **said})
        item.extend(_texts(x=x, y=y))
        return item
    item = ET.Element("annotation", {"type": "freehand", "displayname": "AnnotateFreehand", **said})
    item.extend(_texts(measuretype=0, closed=1 if shape.polygons else 0))
    listed = ET.SubElement(item, "pointlist")
    for point in points_of(shape.polygons[0].exterior if shape.polygons else shape.geometry):
        x, y = frame.to_nm(*point)
        ET.SubElement(listed, "point").extend(_texts(x=x, y=y))
    return item


FORMAT = Format(
    "ndpa", "Hamamatsu NDPA", "polygons without holes, circles, lines, points", _probe, _read, _write
)
