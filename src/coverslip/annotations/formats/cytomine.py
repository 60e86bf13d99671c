"""JSON of Cytomine: geometry as WKT with y upwards from the lower edge, so the slide's height is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.formats.source import Format, Source
from coverslip.annotations.shape import Shape, kind_of
from coverslip.core.errors import UsageError


def _items(content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, dict):
        content = content.get("collection", [content])
    for item in content if isinstance(content, list) else ():
        inner = item.get("annotation", item) if isinstance(item, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("location"), str):
            yield inner


def _probe(source: Source) -> bool:
    return next(_items(source.json), None) is not None


def _read(source: Source) -> Annotations:
    if source.slide is None:
        raise UsageError(
            f"{source.path}: Cytomine counts y from the lower edge, which only the slide knows",
            mend="give the slide: slide=open_slide('slide.tif')",
        )
    height = source.slide.size.height
    return Annotations(
        tuple(_shape(item, i, height, source) for i, item in enumerate(_items(source.json), 1))
    )


def _shape(item: Mapping[str, Any], index: int, height: int, source: Source) -> Shape:
    import numpy as np
    import shapely

    try:
        given = shapely.from_wkt(item["location"])
    except shapely.errors.GEOSException as error:
        raise source.damaged(f"annotation {item.get('id', index)}: {error}") from error
    upright = shapely.transform(given, lambda points: points * np.array([1, -1]) + np.array([0, height]))
    terms = item.get("term") or ()
    user, created = item.get("user"), item.get("created")
    return Shape(
        str(item.get("id", index)),
        kind_of(upright),
        upright,
        str(terms[0]) if terms else None,
        author=None if user is None else str(user),
        time=_time(created) if created else None,
    )


def _time(milliseconds: Any) -> str | None:
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


FORMAT = Format("cytomine", "Cytomine JSON", "everything; only read", _probe, _read, None)
