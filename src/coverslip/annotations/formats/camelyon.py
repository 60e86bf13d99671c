"""JSON of CAMELYON-style sets: ``{"positive": [{"name", "vertices"}], "negative": […]}`` in level-0 pixels.

Negative shapes are islands left out of positive ones; they are a class of their own here: name them first
in the priority of `rasterise`.
"""

from __future__ import annotations

from typing import Any

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.formats.source import (
    Format,
    Source,
    Target,
    dump_json,
    holed_or_many,
    pairs,
    refuse_shapes,
)
from coverslip.annotations.shape import Shape, points_of, polygon

CLASSES = ("positive", "negative")


def _probe(source: Source) -> bool:
    content = source.json
    return isinstance(content, dict) and bool(content) and set(content) <= set(CLASSES)


def _read(source: Source) -> Annotations:
    shapes: list[Shape] = []
    for class_name in CLASSES:
        for said in source.json.get(class_name, ()):
            index = len(shapes) + 1
            if not isinstance(said, dict):
                raise source.damaged(
                    f"{class_name} shape {index}: expected name and vertices, got {said!r:.60}"
                )
            ring = polygon(pairs(said.get("vertices"), source, f"{class_name} shape {index}"))
            shapes.append(Shape(str(index), "polygon", ring, class_name, name=str(said.get("name", ""))))
    return Annotations(tuple(shapes), dict.fromkeys(CLASSES))


def _write(drawn: Annotations, _target: Target) -> bytes:
    odd = (s for s in drawn.shapes if s.class_name not in CLASSES or len(s.polygons) != 1 or holed_or_many(s))
    mend = (
        "split holes with annotations.split(), rename classes to positive and negative with renamed(), leave "
    )
    refuse_shapes("CAMELYON-style JSON", odd, mend + "lines and points out, or write geojson")
    content: dict[str, list[dict[str, Any]]] = {name: [] for name in CLASSES}
    for shape in drawn.shapes:
        vertices = points_of(shape.polygons[0].exterior)
        content[str(shape.class_name)].append({"name": shape.name, "vertices": vertices})
    return dump_json(content)


FORMAT = Format("camelyon", "CAMELYON-style JSON", "polygons, positive and negative", _probe, _read, _write)
