"""Objects as GeoJSON for QuPath, written as they are read: a slide of a million nuclei never lies in memory.

``File → Import objects from file`` in QuPath takes the result, gzipped or not. What a person drew is written
by `coverslip.annotations` instead.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import numpy as np

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.core.files import atomic
from coverslip.store import Objects, ObjectTable

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (200, 60, 50),
    (60, 120, 190),
    (70, 160, 80),
    (225, 160, 30),
    (140, 85, 170),
    (30, 165, 165),
    (215, 105, 165),
    (120, 120, 60),
)
"""Colours of classes that none was given for, in the order of the classes; after the last the first again."""

AT_ONCE = 4096
"""Objects turned into text together."""

LEVEL = 4
"""Of gzip: half the time of the usual 6 for some 5 % more bytes."""


@dataclass(frozen=True)
class ObjectsGeoJSON:
    """How objects are written.

    Parameters
    ----------
    object_type
        What QuPath takes them for. It draws a million detections with ease, and lets annotations be edited.
    measurements
        Which measurements go along; None for all.
    colours
        Of classes, by name; others come from `PALETTE`.
    decimals
        Digits of coordinates after the point, in level-0 pixels.
    """

    object_type: Literal["detection", "annotation"] = "detection"
    measurements: Sequence[str] | None = None
    colours: Mapping[str, Colour] = field(default_factory=dict)
    decimals: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= 9:
            raise UsageError(f"{self.decimals} decimals: expected 0 to 9")

    def names(self, objects: Objects | ObjectTable) -> tuple[str, ...]:
        """Return the measurements of `objects` that go along.

        Raises
        ------
        UnknownNameError
            When one is not there.
        """
        there = tuple(objects.measurements)
        for name in self.measurements or ():
            if name not in there:
                raise unknown("measurement", name, there)
        return there if self.measurements is None else tuple(self.measurements)


def write_geojson(objects: Objects | ObjectTable, path: str | Path, how: ObjectsGeoJSON | None = None) -> int:
    """Write objects as a GeoJSON FeatureCollection; gzipped when the path ends in ``.gz``.

    Parameters
    ----------
    objects
        Read a row group at a time.
    path
        Written under another name and renamed.

    Returns
    -------
    int
        How many objects were written.

    Examples
    --------
    >>> import tempfile
    >>> from shapely import box
    >>> table = ObjectTable([box(0, 0, 2, 1)], classes=("tumour",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     count = write_geojson(table, Path(folder) / "nuclei.geojson")
    ...     said = json.loads((Path(folder) / "nuclei.geojson").read_text())
    >>> count, said["features"][0]["properties"]["classification"]["name"]
    (1, 'tumour')
    """
    how = how or ObjectsGeoJSON()
    names, written = how.names(objects), 0
    with atomic(path) as partial, _opened(partial, zipped=str(path).lower().endswith(".gz")) as file:
        file.write('{"type":"FeatureCollection","features":[')
        for table in objects.batches():
            for start in range(0, len(table), AT_ONCE):
                some = table.take(slice(start, start + AT_ONCE))
                file.write((",\n" if written else "\n") + ",\n".join(_features(some, how, names)))
                written += len(some)
        file.write("\n]}\n")
    return written


@contextmanager
def _opened(path: Path, *, zipped: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        if not zipped:
            with io.TextIOWrapper(raw, encoding="utf-8") as text:
                yield text
            return
        # no name and no time inside, so that the same objects give the same bytes
        with (
            gzip.GzipFile("", "wb", LEVEL, raw, 0) as inner,
            io.TextIOWrapper(inner, encoding="utf-8") as text,
        ):
            yield text


def _features(table: ObjectTable, how: ObjectsGeoJSON, names: tuple[str, ...]) -> Iterator[str]:
    """Yield each object as a line of JSON."""
    import shapely

    rounded = shapely.transform(table.polygons, lambda xy: np.round(xy, how.decimals))
    shapes = shapely.to_geojson(rounded)
    classes = _classes(table.classes, how)
    measured = _measurements(table, names)
    for shape, code, more in zip(shapes.tolist(), table.codes.tolist(), measured, strict=True):
        yield (
            f'{{"type":"Feature","geometry":{shape},"properties":'
            f'{{"objectType":"{how.object_type}"{classes[code]}{more}}}}}'
        )


def _classes(names: tuple[str, ...], how: ObjectsGeoJSON) -> list[str]:
    """Return the classification of each class as text; the last is that of code -1, none."""
    found = []
    for number, name in enumerate(names):
        colour = how.colours.get(name, PALETTE[number % len(PALETTE)])
        said = json.dumps({"name": name, "color": list(colour)}, ensure_ascii=False)
        found.append(f',"classification":{said}')
    return [*found, ""]


def _measurements(table: ObjectTable, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the measurements of each object as text; what is missing is left out."""
    keys = [json.dumps(name) for name in ("score", *names)]
    columns = [table["score"], *(table[name] for name in names)]
    used = [(key, column) for key, column in zip(keys, columns, strict=True) if np.isfinite(column).any()]
    if not used:
        yield from [""] * len(table)
        return
    texts = [np.char.mod(f"{key.replace('%', '%%')}:%.6g", column) for key, column in used]
    finite = np.stack([np.isfinite(column) for _, column in used], axis=1)
    rows = np.stack(texts, axis=1)
    if finite.all():
        yield from (f',"measurements":{{{",".join(row)}}}' for row in rows.tolist())
        return
    for row, there in zip(rows.tolist(), finite.tolist(), strict=True):
        known = ",".join(text for text, known in zip(row, there, strict=True) if known)
        yield f',"measurements":{{{known}}}' if known else ""
