"""Table of contours of HistomicsTK, as of the breast cancer sets BCSS and NuCLS: one row per contour.

Contours go through the centres of border pixels, as OpenCV traces them; here they are moved to the edges,
so that areas are those of the mask. Coordinates are relative to the picture that was annotated.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.colour import parse_colour
from coverslip.annotations.formats.source import Format, Source
from coverslip.annotations.shape import Shape, kind_of, line, polygon

NEEDED = {"group", "coords_x", "coords_y"}
LONGEST = 1 << 27
"""Characters of the longest field read: some contours have 100,000 vertices."""


def _head(source: Source) -> str:
    return (source.text or "").split("\n", 1)[0]


def _probe(source: Source) -> bool:
    head = _head(source).strip()
    return bool(head) and set(head.replace("\t", ",").split(",")) >= NEEDED


def _read(source: Source) -> Annotations:
    csv.field_size_limit(LONGEST)
    delimiter = "\t" if "\t" in _head(source) else ","
    rows = csv.DictReader(io.StringIO(source.text or ""), delimiter=delimiter)
    return Annotations(tuple(_shape(row, i, source) for i, row in enumerate(rows, 1)))


def _shape(row: Mapping[str, str], index: int, source: Source) -> Shape:
    try:
        points = np.stack([np.array(row[key].split(","), float) for key in ("coords_x", "coords_y")], axis=1)
    except (ValueError, AttributeError) as error:
        raise source.damaged(f"row {index}: coordinates cannot be read: {error}") from error
    geometry = to_edges(points)
    return Shape(
        str(index), kind_of(geometry), geometry, row["group"] or None, parse_colour(row.get("color", ""))
    )


def to_edges(points: Any) -> Any:
    """Return the area of the pixels in a contour through their centres."""
    import shapely

    middle = shapely.make_valid(polygon(points)) if len(points) > 2 else line(points)
    wide = shapely.buffer(middle, 0.5, join_style="mitre", mitre_limit=1.42, cap_style="square")
    return shapely.transform(wide, lambda coords: coords + 0.5)


FORMAT = Format("contour-table", "HistomicsTK contour table", "areas; only read", _probe, _read, None)
