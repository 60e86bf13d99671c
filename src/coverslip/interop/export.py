"""Write the objects of a run for other programs: a file per slide for QuPath, or one table of all slides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from coverslip.core.errors import ExistsError
from coverslip.interop.geojson import ObjectsGeoJSON, write_geojson
from coverslip.store.query import Query

Format = Literal["geojson", "csv", "parquet"]
FORMATS: tuple[Format, ...] = ("geojson", "csv", "parquet")


def export(
    query: Query,
    folder: str | Path,
    to: Format,
    *,
    how: ObjectsGeoJSON | None = None,
    zipped: bool = False,
    replace: bool = False,
) -> Iterator[tuple[Path, int]]:
    """Write what a query selects, and yield each file with its number of objects once it is there.

    GeoJSON is a file per slide, ``<slide>.<name>.geojson``; CSV and Parquet are one file, ``<name>.csv``.

    Parameters
    ----------
    query
        Without a summary.
    how, zipped
        Of GeoJSON.
    replace
        Overwrite files that are there.

    Raises
    ------
    ExistsError
        When a file is there and `replace` is False; nothing is written then.
    """
    targets = {slide: Path(folder) / name for slide, name in _names(query, to, zipped=zipped).items()}
    there = [path for path in targets.values() if path.exists()]
    if there and not replace:
        raise ExistsError(f"{there[0]} is there already", mend="choose another folder, or --replace")
    if to != "geojson":
        path = targets[""]
        path.parent.mkdir(parents=True, exist_ok=True)
        query.write(path)
        yield path, query.count()
        return
    for slide, objects in query.selected().items():
        yield targets[slide], write_geojson(objects, targets[slide], how)


def _names(query: Query, to: Format, *, zipped: bool) -> dict[str, str]:
    if to != "geojson":
        return {"": f"{query.name}.{to}"}
    return {slide: f"{slide}.{query.name}.geojson{'.gz' if zipped else ''}" for slide in query.files}
