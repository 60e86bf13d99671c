"""COCO JSON: polygons without holes, or run-length masks (read only), in pixels of one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations.annotations import Annotations, DrawnOn
from coverslip.annotations.colour import Colour, parse_colour
from coverslip.annotations.formats.source import Format, Source, Target, dump_json, pairs, real, refuse_shapes
from coverslip.annotations.shape import Kind, Shape, kind_of, points_of, polygon
from coverslip.core import Size

MEMBERS = ("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd")


def _probe(source: Source) -> bool:
    content = source.json
    return isinstance(content, dict) and {"images", "annotations"} <= set(content)


def _read(source: Source) -> Annotations:
    content = source.json
    image = _image(content["images"], source)
    categories = {item["id"]: item for item in content.get("categories") or ()}
    classes: dict[str, Colour | None] = {
        str(item.get("name", key)): parse_colour(item.get("color")) for key, item in categories.items()
    }
    shapes = []
    for i, item in enumerate(content["annotations"], 1):
        if image is None or item.get("image_id") == image.get("id"):
            shapes.append(_shape(item, i, categories, source))
    size = Size(int(image["width"]), int(image["height"])) if image and "width" in image else None
    return Annotations(tuple(shapes), classes, DrawnOn(_stem(image) if image else None, size))


def _stem(image: Mapping[str, Any]) -> str:
    return str(image.get("file_name", "")).rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _image(images: Any, source: Source) -> Mapping[str, Any] | None:
    """Return the image that is the slide; with several there must be a slide that says which."""
    if len(images) <= 1:
        return images[0] if images else None
    wanted = source.slide.id if source.slide is not None else None
    found = [image for image in images if _stem(image) == wanted]
    if len(found) != 1:
        names = ", ".join(_stem(image) for image in images[:5])
        raise source.damaged(
            f"{len(images)} images ({names}, …), {len(found)} of them the slide {wanted!r}: give the slide"
        )
    image: Mapping[str, Any] = found[0]
    return image


def _shape(item: Mapping[str, Any], index: int, categories: Mapping[Any, Any], source: Source) -> Shape:
    what = f"annotation {item.get('id', index)}"
    category = categories.get(item.get("category_id"), {}).get("name", item.get("category_id"))
    kind, geometry = _geometry(item, source, what)
    kept = {key: value for key, value in item.items() if key not in MEMBERS}
    name = None if category is None else str(category)
    return Shape(str(item.get("id", index)), kind, geometry, name, properties=kept)


def _geometry(item: Mapping[str, Any], source: Source, what: str) -> tuple[Kind, Any]:
    import shapely

    given = item.get("segmentation")
    if isinstance(given, dict):
        geometry = _of_runs(given, source, what)
    elif given:
        rings = [
            polygon(pairs([ring[i : i + 2] for i in range(0, len(ring), 2)], source, what)) for ring in given
        ]
        geometry = rings[0] if len(rings) == 1 else shapely.MultiPolygon(rings)
    else:
        box = item.get("bbox") or ()
        if len(box) != 4:
            raise source.damaged(
                f"{what}: expected a segmentation or a bbox of 4 numbers, got {given!r}, {box!r}"
            )
        x, y, width, height = (real(value, source, what) for value in box)
        geometry = polygon([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    return kind_of(geometry), geometry


# ------------------------------------------------------------------ run-length masks
def _of_runs(said: Mapping[str, Any], source: Source, what: str) -> Any:
    import shapely

    from coverslip.annotations.vector import vectorise

    height, width = (int(side) for side in said.get("size", (0, 0)))
    counts = said.get("counts", ())
    runs = runs_of(counts) if isinstance(counts, str) else np.asarray(counts, np.int64)
    if runs.sum() != height * width or (runs < 0).any() or not height * width:
        raise source.damaged(f"{what}: runs cover {runs.sum()} pixels, expected {height} × {width}")
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    mask = flat.reshape(width, height).T  # COCO runs go down the columns
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return shapely.Polygon()
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found = vectorise(window, classes={"mask": 1}, origin=(int(columns[0]), int(rows[0])))
    parts = [shape.geometry for shape in found.shapes]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def runs_of(text: str) -> NDArray[np.int64]:
    """Decode COCO's compressed runs: 5 bits a character; from the fourth on, differences to the last but one.

    Examples
    --------
    >>> runs_of("52203").tolist()
    [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return np.asarray(runs, np.int64)


# ------------------------------------------------------------------ writing
def _write(drawn: Annotations, target: Target) -> bytes:
    odd = (
        s
        for s in drawn.shapes
        if not s.polygons or s.class_name is None or any(len(p.interiors) for p in s.polygons)
    )
    mend = "cut holes with annotations.split(), give every shape a class and lines an area, or write geojson"
    refuse_shapes("COCO JSON (areas with a class, without holes)", odd, mend)
    said = DrawnOn.of(target.slide) if target.slide is not None else drawn.drawn_on
    image: dict[str, Any] = {"id": 1, "file_name": said.id or ""}
    if said.size is not None:
        image |= {"width": said.size[0], "height": said.size[1]}
    numbers = {name: i for i, name in enumerate(drawn.classes, 1)}
    categories = [
        {"id": i, "name": name} | ({"color": drawn.classes[name]} if drawn.classes[name] else {})
        for name, i in numbers.items()
    ]
    items = [_item(shape, i, numbers) for i, shape in enumerate(drawn.shapes, 1)]
    return dump_json({"images": [image], "categories": categories, "annotations": items})


def _item(shape: Shape, index: int, numbers: Mapping[str, int]) -> dict[str, Any]:
    left, top, right, bottom = shape.geometry.bounds
    rings = [points_of(part.exterior) for part in shape.polygons]
    return {
        **{key: value for key, value in shape.properties.items() if key != "ellipse"},
        "id": index,
        "image_id": 1,
        "category_id": numbers[str(shape.class_name)],
        "segmentation": [[value for point in ring for value in point] for ring in rings],
        "bbox": [left, top, right - left, bottom - top],
        "area": shape.area_px,
        "iscrowd": 0,
    }


FORMAT = Format("coco", "COCO JSON", "polygons without holes, multipolygons", _probe, _read, _write)
