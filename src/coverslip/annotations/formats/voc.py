"""Pascal VOC XML: boxes.

VOC counts pixels from 1 and both ends belong to the box, so a box from ``xmin`` to ``xmax`` covers
``[xmin − 1, xmax)`` here.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.formats.source import Format, Source, Target, dump_xml, real, refuse_shapes
from coverslip.annotations.shape import Shape, is_rectangle, number, polygon
from coverslip.core import Size

KEPT = ("name", "bndbox")


def _probe(source: Source) -> bool:
    root = source.xml
    return (
        root is not None
        and root.tag == "annotation"
        and (root.find("object/bndbox") is not None or root.find("size") is not None)
    )


def _read(source: Source) -> Annotations:
    root = source.xml
    if root is None:
        raise source.damaged("this is no XML")
    shapes = [_shape(item, i, source) for i, item in enumerate(root.iterfind("object"), 1)]
    size = root.find("size")
    width, height = (
        (int(real(size.findtext(k), source, "size")) for k in ("width", "height"))
        if size is not None
        else (0, 0)
    )
    name = (root.findtext("filename") or "").rsplit(".", 1)[0] or None
    return Annotations(
        tuple(shapes), drawn_on=DrawnOn(name, Size(width, height) if width and height else None)
    )


def _shape(item: ET.Element, index: int, source: Source) -> Shape:
    what = f"object {index}"
    ends = ("xmin", "ymin", "xmax", "ymax")
    left, top, right, bottom = (real(item.findtext(f"bndbox/{end}"), source, what) for end in ends)
    left, top = left - 1, top - 1
    box = polygon([[left, top], [right, top], [right, bottom], [left, bottom]])
    rest = {child.tag: child.text for child in item if child.tag not in KEPT and len(child) == 0}
    return Shape(str(index), "rectangle", box, item.findtext("name") or None, properties=rest)


def _write(drawn: Annotations, target: Target) -> bytes:
    odd = (
        s
        for s in drawn.shapes
        if s.class_name is None or len(s.polygons) != 1 or not is_rectangle(s.geometry)
    )
    mend = "write their bounding boxes: annotations.boxes(), give each a class, or write geojson"
    refuse_shapes("Pascal VOC XML (upright rectangles with a class)", odd, mend)
    said = DrawnOn.of(target.slide) if target.slide is not None else drawn.drawn_on
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = said.id or ""
    if said.size is not None:
        size = ET.SubElement(root, "size")
        for key, value in zip(("width", "height", "depth"), (*said.size, 3), strict=True):
            ET.SubElement(size, key).text = str(value)
    for shape in drawn.shapes:
        item = ET.SubElement(root, "object")
        ET.SubElement(item, "name").text = shape.class_name
        for key, value in shape.properties.items():
            if isinstance(value, str):
                ET.SubElement(item, key).text = value
        left, top, right, bottom = shape.geometry.bounds
        box = ET.SubElement(item, "bndbox")
        for end, at in {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}.items():
            ET.SubElement(box, end).text = repr(number(at))
    return dump_xml(root)


FORMAT = Format("voc", "Pascal VOC XML", "boxes", _probe, _read, _write)
