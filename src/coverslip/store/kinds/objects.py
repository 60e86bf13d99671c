"""Objects as GeoParquet 1.1: a row per nucleus, gland or region, its polygon as WKB in level-0 pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.core.geometry import Box
from coverslip.store.header import Header, damaged
from coverslip.store.kinds.arrow import as_numpy, raw, valid
from coverslip.store.kinds.base import Kind
from coverslip.store.kinds.object_parts import ROWS, GeoWriter, kept_parts, write_parts
from coverslip.store.kinds.table import NOTES, read_columns
from coverslip.store.objects import FIXED, ObjectTable, joined
from coverslip.store.values import Table


class Objects:
    """Objects of a slide on the disk, read row group by row group.

    Has what `ObjectTable` has, without holding the objects: `batches`, ``objects["area_um2"]``, `where`,
    `read`. So a function that goes through ``objects.batches()`` serves both.

    Parameters
    ----------
    path
        A GeoParquet file written by Coverslip.
    keep
        bool, shape (rows of the file,): the rows that count; None for all.

    Raises
    ------
    StoreError
        When the file is no GeoParquet file of ours.
    """

    def __init__(self, path: str | Path, *, keep: NDArray[np.bool_] | None = None) -> None:
        self.path = Path(path)
        with self._opened() as file:
            metadata, rows = file.schema_arrow.metadata or {}, file.metadata.num_rows
            names = file.schema_arrow.names
        if keep is not None and np.shape(keep) != (rows,):
            raise UsageError(f"a mask of shape {np.shape(keep)} does not fit {rows} objects")
        missing = [name for name in FIXED if name not in names]
        if missing:
            raise damaged(self.path, f"columns {', '.join(missing)} are missing")
        notes = json.loads(metadata.get(NOTES.encode(), b"{}"))
        self.classes: tuple[str, ...] = tuple(notes.pop("classes", ()))
        self.mpp: float | None = notes.pop("mpp", None)
        self.notes: Mapping[str, Any] = notes
        self.measurements: tuple[str, ...] = tuple(name for name in names if name not in FIXED)
        self._keep, self._rows = keep, rows

    def __len__(self) -> int:
        return self._rows if self._keep is None else int(self._keep.sum())

    def __repr__(self) -> str:
        return f"<Objects {self.path.stem}: {len(self)} objects, {len(self.measurements)} measurements>"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names that ``objects[name]`` takes."""
        return ("object", "class", "score", "x", "y", *self.measurements)

    @property
    def xy(self) -> NDArray[np.float64]:
        """Centroids, shape (n, 2)."""
        arrow = self._columns(["x", "y"])
        return np.stack([as_numpy(arrow["x"]), as_numpy(arrow["y"])], axis=1)

    @property
    def codes(self) -> NDArray[np.int32]:
        """Index into `classes` of each object, -1 for none, shape (n,)."""
        return _codes(self._columns(["class"])["class"], self.classes)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.columns:
            raise unknown("column", name, self.columns)
        if name == "class":
            return np.asarray([*self.classes, None], object)[self.codes]
        return as_numpy(self._columns([name])[name])

    def _columns(self, names: list[str]) -> Any:
        """Read columns of all objects at once, with as many threads as there are."""
        with self._opened() as file:
            arrow = file.read(columns=names)
        return arrow if self._keep is None else arrow.filter(self._keep)

    @property
    def n_batches(self) -> int:
        """How many tables `batches` yields."""
        return len(self._full())

    def batches(self, start: int = 0) -> Iterator[ObjectTable]:
        """Yield the objects, a row group at a time, from table number `start` on."""
        for arrow in self._groups(None, self._full()[start:]):
            yield self._table(arrow)

    def _full(self) -> list[int]:
        """Return the numbers of the row groups that hold objects that count."""
        with self._opened() as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        ends = np.cumsum([0, *sizes])
        keep = np.ones(self._rows, bool) if self._keep is None else self._keep
        return [i for i in range(len(sizes)) if keep[ends[i] : ends[i + 1]].any()]

    def read(self) -> ObjectTable:
        """Return all objects in memory."""
        return self._joined(list(self.batches()))

    def within(self, box: Box) -> ObjectTable:
        """Return the objects whose bounds meet `box`, reading only the row groups that may hold some."""
        found = []
        with self._opened() as file:
            near = [i for i in range(file.num_row_groups) if _meets(file.metadata.row_group(i), box)]
        for arrow in self._groups(None, near):
            keep = _meeting(arrow["bbox"], box)
            if keep.any():
                found.append(self._table(arrow.filter(keep)))
        return self._joined(found)

    def where(self, keep: NDArray[np.bool_]) -> Objects:
        """Return the objects where `keep`, shape (n,), is True; nothing is read or copied."""
        if np.shape(keep) != (len(self),):
            raise UsageError(f"a mask of shape {np.shape(keep)} does not fit {len(self)} objects")
        whole = np.zeros(self._rows, bool) if self._keep is None else self._keep.copy()
        whole[slice(None) if self._keep is None else self._keep] = np.asarray(keep, bool)
        return Objects(self.path, keep=whole)

    def _joined(self, parts: list[ObjectTable]) -> ObjectTable:
        return joined(parts, classes=self.classes, mpp=self.mpp, notes=self.notes, names=self.measurements)

    def _opened(self) -> Any:
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(self.path)
        except (OSError, ValueError) as error:
            raise damaged(self.path, error) from error

    def _groups(self, columns: list[str] | None, numbers: list[int] | None = None) -> Iterator[Any]:
        with self._opened() as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            ends = np.cumsum([0, *sizes])
            for i in range(file.num_row_groups) if numbers is None else numbers:
                keep = None if self._keep is None else self._keep[ends[i] : ends[i + 1]]
                if keep is None or keep.any():
                    arrow = file.read_row_group(i, columns=columns)
                    yield arrow if keep is None else arrow.filter(keep)

    def _table(self, arrow: Any) -> ObjectTable:
        import shapely

        return ObjectTable(
            shapely.from_wkb(as_numpy(arrow["geometry"])),
            classes=self.classes,
            labels=_codes(arrow["class"], self.classes),
            scores=as_numpy(arrow["score"]),
            measurements={name: as_numpy(arrow[name]) for name in self.measurements},
            ids=as_numpy(arrow["object"]),
            mpp=self.mpp,
            notes=self.notes,
        )


def _codes(column: Any, classes: tuple[str, ...]) -> NDArray[np.int32]:
    import pyarrow as pa

    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    parts = []
    for chunk in coded.chunks:
        names = [*chunk.dictionary.to_pylist(), None]  # the last is for objects without a class
        code = np.array([classes.index(name) if name in classes else -1 for name in names], np.int32)
        parts.append(code[np.where(valid(chunk), raw(chunk.indices), len(names) - 1)])
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def _meets(group: Any, box: Box) -> bool:
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema.startswith("bbox.") and column.statistics is not None:
            name = column.path_in_schema.removeprefix("bbox.")
            low[name], high[name] = column.statistics.min, column.statistics.max
    if len(low) < 4:
        return True  # another program wrote no statistics: the rows will tell
    across = low["xmin"] <= box.right and high["xmax"] >= box.x
    return bool(across and low["ymin"] <= box.bottom and high["ymax"] >= box.y)


def _meeting(column: Any, box: Box) -> NDArray[np.bool_]:
    from pyarrow import compute

    xmin, ymin, xmax, ymax = (
        as_numpy(compute.struct_field(column, side)) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    meets: NDArray[np.bool_] = (xmin <= box.right) & (xmax >= box.x) & (ymin <= box.bottom) & (ymax >= box.y)
    return meets


def _write(
    paths: tuple[Path, ...], value: ObjectTable | Objects | Table | Mapping[str, Any], header: Header
) -> None:
    if not isinstance(value, (ObjectTable, Objects)):
        raise StoreError(
            f"objects cannot be written from a {type(value).__name__}: expected an ObjectTable",
            mend="give polygons: ObjectTable(polygons, classes=…, measurements=…)",
        )
    about = {**value.notes, "classes": value.classes, "mpp": value.mpp}
    with GeoWriter(paths[0], header, about, tuple(value.measurements)) as writer:
        for table in value.batches():
            for start in range(0, len(table), ROWS):
                writer.add(table.take(slice(start, start + ROWS)))


def _read(paths: tuple[Path, ...], header: Header) -> Objects | Table:
    if header.version == 1:  # columns without polygons
        return Table(*read_columns(paths[0]))
    return Objects(paths[0])


OBJECTS = Kind("objects", 2, (".parquet",), _write, _read, write_parts, kept_parts)
