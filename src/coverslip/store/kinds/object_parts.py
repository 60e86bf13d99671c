"""Write GeoParquet: row groups, and the parts of a stream that become one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError
from coverslip.core.files import PARTIAL
from coverslip.store.header import NAME, Header
from coverslip.store.kinds.base import finite
from coverslip.store.kinds.table import NOTES
from coverslip.store.objects import ObjectStream, ObjectTable, check_part

ROWS = 32_768
"""Objects of a row group: small enough to read a piece of the slide, large enough to compress."""

KINDS = {3: "Polygon", 6: "MultiPolygon"}
SIDES = ("xmin", "ymin", "xmax", "ymax")

_HEADER = "header.json"


class GeoWriter:
    """A GeoParquet file that grows row group by row group; whole once closed without an error.

    Parameters
    ----------
    notes
        Plain values for the file's metadata: ``classes``, ``mpp`` and what the stage says.
    measurements
        Names of the measurements, in order.
    """

    def __init__(
        self, path: Path, header: Header, notes: Mapping[str, Any], measurements: tuple[str, ...]
    ) -> None:
        from pyarrow import parquet

        metadata = {NAME: header.to_json(), NOTES: json.dumps(finite(notes))}
        self._schema = schema_of(measurements).with_metadata(metadata)
        self._classes, self._names = tuple(notes.get("classes", ())), measurements
        self._writer = parquet.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=["class"], store_schema=True
        )
        self._bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
        self._kinds: set[str] = set()
        self._rows = 0
        self._waiting: list[Any] = []

    def add(self, table: ObjectTable, first: int | None = None) -> None:
        """Add a table as a row group; objects without a number are counted on from `first`."""
        if not len(table):
            return
        check_part(table, self._classes, self._names)
        self.add_arrow(to_arrow(table, self._schema, self._rows if first is None else first))
        self.flush()

    def add_arrow(self, arrow: Any) -> None:
        """Add rows as they lie in another file; small pieces are gathered into a row group."""
        bounds = _bounds_of(arrow)
        self._bounds[:2] = np.minimum(self._bounds[:2], bounds[:2])
        self._bounds[2:] = np.maximum(self._bounds[2:], bounds[2:])
        self._kinds |= _kinds_of(arrow)
        self._rows += arrow.num_rows
        self._waiting.append(arrow)
        if sum(piece.num_rows for piece in self._waiting) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        import pyarrow as pa

        if self._waiting:
            whole = pa.concat_tables(self._waiting)
            self._writer.write_table(whole, row_group_size=2 * ROWS)
            self._waiting = []

    def __len__(self) -> int:
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
            bounds = self._bounds.tolist() if self._rows else None
            self._writer.add_key_value_metadata({"geo": json.dumps(geo(bounds, sorted(self._kinds)))})
        self._writer.close()


def geo(bounds: list[float] | None, kinds: list[str]) -> dict[str, Any]:
    """Return the metadata of GeoParquet 1.1: WKB in the plane, without a coordinate reference system."""
    covering = {"bbox": {side: ["bbox", side] for side in SIDES}}
    column = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "crs": None,
        "edges": "planar",
        "covering": covering,
    }
    return {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": column | ({"bbox": bounds} if bounds else {})},
    }


def schema_of(measurements: tuple[str, ...]) -> Any:
    """Return the Arrow schema of objects with these measurements."""
    import pyarrow as pa

    fixed = {
        "object": pa.int64(),
        "class": pa.dictionary(pa.int32(), pa.string()),
        "score": pa.float32(),
        "x": pa.float64(),
        "y": pa.float64(),
        "geometry": pa.binary(),
        "bbox": pa.struct([(side, pa.float32()) for side in SIDES]),
    }
    return pa.schema([*fixed.items(), *((name, pa.float32()) for name in measurements)])


def to_arrow(table: ObjectTable, schema: Any, first: int) -> Any:
    """Turn objects into an Arrow table; those without a number are counted on from `first`."""
    import pyarrow as pa
    import shapely

    codes = table.codes
    classes = pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int32(), mask=codes < 0), pa.array(table.classes, pa.string())
    )
    columns = [
        pa.array(table["object"] + (first if table.ids is None else 0), pa.int64()),
        classes,
        _known(table["score"]),
        pa.array(table.xy[:, 0]),
        pa.array(table.xy[:, 1]),
        pa.array(shapely.to_wkb(table.polygons), pa.binary()),
        _boxes(shapely.bounds(table.polygons)),
        *map(_known, table.measurements.values()),
    ]
    return pa.table(columns, schema=schema)


def _known(values: NDArray[np.float32]) -> Any:
    """Return numbers with null for NaN: queries and statistics pass over it."""
    import pyarrow as pa

    return pa.array(values, pa.float32(), from_pandas=True)


def _boxes(bounds: NDArray[np.float64]) -> Any:
    """Return bounds (n, 4) as float32 structs, rounded outwards so that they cover."""
    import pyarrow as pa

    sides = []
    for i in range(4):
        exact = np.ascontiguousarray(bounds[:, i])
        near = exact.astype(np.float32)
        short = near > exact if i < 2 else near < exact
        outwards = np.float32(-np.inf if i < 2 else np.inf)
        sides.append(pa.array(np.where(short, np.nextafter(near, outwards), near), pa.float32()))
    return pa.StructArray.from_arrays(sides, names=list(SIDES))


def _bounds_of(arrow: Any) -> NDArray[np.float64]:
    from pyarrow import compute

    extremes = (compute.min, compute.min, compute.max, compute.max)
    boxes = arrow["bbox"]
    return np.array(
        [
            extreme(compute.struct_field(boxes, side)).as_py()
            for extreme, side in zip(extremes, SIDES, strict=True)
        ]
    )


def _kinds_of(arrow: Any) -> set[str]:
    from pyarrow import compute

    # the second byte of little-endian WKB is the type
    kinds = compute.unique(compute.binary_slice(arrow["geometry"], 1, 2)).to_pylist()
    return {KINDS[kind[0]] for kind in kinds}


# ------------------------------------------------------------------ streams
def kept_parts(partial: Path, fingerprint: str) -> int:
    """Return how many parts of this very result an interrupted run left in the folder `partial`."""
    return len(_whole_parts(partial, fingerprint))


def write_parts(partial: Path, stream: ObjectStream, header: Header) -> Path:
    """Write the parts that are missing into the folder `partial`, join all, and return the whole file.

    Raises
    ------
    StoreError
        When the stream ends before its `n` parts, or brings more.
    """
    fingerprint = header.provenance.fingerprint
    kept = _whole_parts(partial, fingerprint)
    if not kept:
        _begin(partial, header)
    done, rows = len(kept), sum(kept)
    for table in stream.batches:
        if done >= stream.n:
            raise StoreError(f"the stream of objects brings more than its {stream.n} parts")
        check_part(table, stream.classes, tuple(table.measurements))
        _write_part(_part(partial, done), table, header, rows)
        done, rows = done + 1, rows + len(table)
    if done != stream.n:
        raise StoreError(f"the stream of objects ended after {done} of {stream.n} parts")
    return _join(partial, stream, header)


def _begin(folder: Path, header: Header) -> None:
    import shutil

    if folder.is_dir():
        shutil.rmtree(folder)
    folder.unlink(missing_ok=True)
    folder.mkdir(parents=True)
    (folder / _HEADER).write_text(header.to_json() + "\n", encoding="utf-8")


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def _write_part(path: Path, table: ObjectTable, header: Header, first: int) -> None:
    growing = path.with_name(f".{path.stem}{PARTIAL}.parquet")
    with GeoWriter(growing, header, {"classes": table.classes}, tuple(table.measurements)) as writer:
        writer.add(table, first)
    growing.replace(path)


def _whole_parts(folder: Path, fingerprint: str) -> list[int]:
    """Return the number of rows of each part that is there, up to the first that is not."""
    from pyarrow import parquet

    rows: list[int] = []
    try:
        header = json.loads((folder / _HEADER).read_text(encoding="utf-8"))
        if header["provenance"]["fingerprint"] != fingerprint:
            return rows
        while (path := _part(folder, len(rows))).exists():
            rows.append(parquet.read_metadata(path).num_rows)
    except (OSError, ValueError, KeyError):
        pass  # a part that a power cut damaged is made again, and those after it
    return rows


def _join(folder: Path, stream: ObjectStream, header: Header) -> Path:
    """Copy the parts into one file, row group by row group."""
    whole = folder / "whole.parquet"
    notes = {**stream.notes, "classes": stream.classes, "mpp": stream.mpp}
    names = _measured(folder, stream)
    fixed = schema_of(names)
    with GeoWriter(whole, header, notes, names) as writer:
        for arrow in _groups(folder, stream.n):
            if arrow.schema.names != fixed.names:
                measured = tuple(arrow.schema.names[7:])
                raise StoreError(f"a part of the objects measures {measured}, the others {names}")
            writer.add_arrow(arrow.replace_schema_metadata(None).cast(fixed))
    return whole


def _measured(folder: Path, stream: ObjectStream) -> tuple[str, ...]:
    from pyarrow import parquet

    for number in range(stream.n):
        path = _part(folder, number)
        if parquet.read_metadata(path).num_rows:
            return tuple(parquet.read_schema(path).names[7:])
    return stream.measurements


def _groups(folder: Path, n: int) -> Iterator[Any]:
    from pyarrow import parquet

    for number in range(n):
        with parquet.ParquetFile(_part(folder, number)) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)
