"""QuPath's GeoJSON, the format to exchange annotations in: it holds everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.colour import Colour, from_packed, parse_colour
from coverslip.annotations.formats.source import Format, Source, Target, dump_json, pairs
from coverslip.annotations.shape import KINDS, Kind, Shape, dots, kind_of, line, points_of, polygon, rings_of
from coverslip.core import Size

OURS = "coverslip"
"""Member that keeps what GeoJSON has no word for; other programs pass over it."""


def _probe(source: Source) -> bool:
    return next(_features(source.json), None) is not None or _empty_collection(source.json)


def _empty_collection(content: Any) -> bool:
    return isinstance(content, dict) and content.get("type") == "FeatureCollection"


def _features(content: Any) -> Iterator[dict[str, Any]]:
    """Yield features of a collection, a list, a single feature or a bare geometry."""
    if isinstance(content, list):
        for item in content:
            yield from _features(item)
    elif isinstance(content, dict):
        kind = content.get("type")
        if kind == "FeatureCollection":
            yield from _features(content.get("features"))
        elif kind == "Feature":
            yield content
        elif kind == "GeometryCollection" or (isinstance(kind, str) and "coordinates" in content):
            yield {"type": "Feature", "geometry": content, "properties": {}}


def _read(source: Source) -> Annotations:
    said = source.json.get(OURS) if isinstance(source.json, dict) else None
    ours: Mapping[str, Any] = said if isinstance(said, dict) else {}
    shapes, classes = [], {name: parse_colour(c) for name, c in dict(ours.get("classes", {})).items()}
    for i, feature in enumerate(_features(source.json), 1):
        shape, colour = _shape(feature, i, source)
        shapes.append(shape)
        if shape.class_name is not None and classes.get(shape.class_name) is None:
            classes[shape.class_name] = colour
    return Annotations(tuple(shapes), classes, _drawn_on(ours.get("slide")), tuple(ours.get("notes", ())))


def _drawn_on(said: Any) -> DrawnOn:
    if not isinstance(said, dict):
        return DrawnOn()
    size = said.get("size")
    return DrawnOn(said.get("id"), Size(*size) if size else None, said.get("digest"))


def _shape(feature: Mapping[str, Any], index: int, source: Source) -> tuple[Shape, Colour | None]:
    properties = dict(feature.get("properties") or {})
    ours = properties.pop(OURS, None) or {}
    given = feature.get("geometry")
    geometry = _geometry(given, source, f"feature {index}")
    kind: Kind = ours["kind"] if ours.get("kind") in KINDS else kind_of(geometry)
    if isinstance(given, dict) and given.get("isEllipse"):
        kind = "ellipse"
    class_name, class_colour = _class(properties.pop("classification", None))
    extra = {
        key: value for key, value in feature.items() if key not in {"type", "id", "geometry", "properties"}
    }
    if properties.get("objectType") == "annotation":
        del properties["objectType"]  # written again; others, as cell and detection, are kept
    kept = properties | ({"ellipse": ours["ellipse"]} if "ellipse" in ours else {})
    shape = Shape(
        str(feature.get("id", index)),
        kind,
        geometry,
        class_name,
        parse_colour(kept.pop("color", None)),
        str(kept.pop("name", None) or ""),
        ours.get("author"),
        ours.get("time"),
        kept | ({"feature": extra} if extra else {}),
    )
    return shape, class_colour


def _class(said: Any) -> tuple[str | None, Colour | None]:
    """Read a classification of any version of QuPath: a name or names, a colour as list or packed."""
    if isinstance(said, str):
        return said, None
    if not isinstance(said, dict):
        return None, None
    name = said.get("name") or ": ".join(said.get("names") or ()) or None
    packed = said.get("colorRGB")
    colour = parse_colour(said.get("color")) or (from_packed(packed) if isinstance(packed, int) else None)
    return name, colour


def _geometry(said: Any, source: Source, what: str) -> Any:
    import shapely

    kind, given = (said.get("type"), said.get("coordinates")) if isinstance(said, dict) else (None, None)
    if kind == "Polygon":
        rings = [pairs(ring, source, what) for ring in given or ()]
        return polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
    if kind == "MultiPolygon":
        parts = [[pairs(ring, source, what) for ring in part] for part in given or ()]
        return shapely.MultiPolygon([polygon(part[0], part[1:]) for part in parts if part])
    if kind == "LineString":
        return line(pairs(given, source, what))
    if kind == "MultiLineString":
        return shapely.MultiLineString([line(pairs(part, source, what)) for part in given or ()])
    if kind == "Point":
        return dots(pairs([given], source, what))
    if kind == "MultiPoint":
        return shapely.MultiPoint(pairs(given, source, what))
    raise source.damaged(
        f"{what}: geometry {kind!r} is not one of Polygon, LineString, Point and their Multi…"
    )


# ------------------------------------------------------------------ writing
def _write(drawn: Annotations, target: Target) -> bytes:
    said = DrawnOn.of(target.slide) if target.slide is not None else drawn.drawn_on
    slide = {"id": said.id, "size": said.size, "digest": said.digest}
    ours = {
        "type": "annotations",
        "version": 1,
        "classes": drawn.classes,
        "slide": {key: value for key, value in slide.items() if value is not None},
        "notes": list(drawn.notes),
    }
    features = [_feature(shape, drawn.classes) for shape in drawn.shapes]
    return dump_json({"type": "FeatureCollection", "features": features, OURS: ours})


def _feature(shape: Shape, classes: Mapping[str, Colour | None]) -> dict[str, Any]:
    kept = dict(shape.properties)
    extra, ellipse = kept.pop("feature", {}), kept.pop("ellipse", None)
    ours = {
        "kind": shape.kind if shape.kind != kind_of(shape.geometry) else None,
        "author": shape.author,
        "time": shape.time,
        "ellipse": ellipse,
    }
    own = {
        "objectType": kept.pop("objectType", "annotation"),
        "name": shape.name or None,
        "color": shape.colour,
    }
    properties = {key: value for key, value in own.items() if value is not None} | kept
    if shape.class_name is not None:
        colour = classes.get(shape.class_name)
        properties["classification"] = {"name": shape.class_name} | ({"color": colour} if colour else {})
    if any(value is not None for value in ours.values()):
        properties[OURS] = {key: value for key, value in ours.items() if value is not None}
    geometry = _mapping(shape.geometry, shape.kind)
    return {"type": "Feature", "id": shape.id, "geometry": geometry, "properties": properties, **extra}


def _mapping(geometry: Any, kind: Kind) -> dict[str, Any]:
    name = geometry.geom_type
    if name == "Polygon":
        coordinates: list[Any] = _closed(geometry) if not geometry.is_empty else []
    elif name == "MultiPolygon":
        coordinates = [_closed(part) for part in geometry.geoms]
    elif name == "MultiLineString":
        coordinates = [points_of(part) for part in geometry.geoms]
    else:
        coordinates = points_of(geometry) if not geometry.is_empty else []
    if name == "Point" and coordinates:
        coordinates = coordinates[0]
    flag = {"isEllipse": True} if kind == "ellipse" else {}
    return {"type": name, "coordinates": coordinates} | flag


def _closed(part: Any) -> list[list[list[int | float]]]:
    return [[*ring, ring[0]] for ring in rings_of(part)]


FORMAT = Format("geojson", "QuPath GeoJSON", "everything", _probe, _read, _write)
