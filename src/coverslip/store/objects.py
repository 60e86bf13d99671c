"""Objects of a slide in memory, and objects that come part by part: nuclei, glands, regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import GeometryError, StoreError
from coverslip.core.geometry import Box

FIXED = ("object", "class", "score", "x", "y", "geometry", "bbox")
"""Columns that every file of objects has."""

TAKEN = (*FIXED, "slide", "filename", "file_row_number")
"""No measurement may be called so: queries use these names."""

_POLYGON, _MULTIPOLYGON = 3, 6


@dataclass(frozen=True, eq=False, repr=False)
class ObjectTable:
    """Polygons in level-0 pixels, what each is, and what was measured of it.

    Attributes
    ----------
    polygons
        shapely Polygons or MultiPolygons, shape (n,).
    classes
        Names of the classes.
    labels
        int32, shape (n,): index into `classes`, -1 for an object without a class. Left out: all are of the
        one class there is, or of none.
    scores
        float32, shape (n,): how sure the model is, NaN where nobody said.
    measurements
        float32, shape (n,), by name; the unit is in the name (``area_um2``).
    ids
        int64, shape (n,): number of the object on its slide. None: counted from 0 when written.
    mpp
        Microns per pixel of level 0, or None.
    notes
        Plain values (JSON types) that go with all objects.

    Raises
    ------
    GeometryError
        When a shape is empty, or neither Polygon nor MultiPolygon; its row is named.
    StoreError
        When columns are of unequal length, or a measurement takes the name of a fixed column.

    Examples
    --------
    >>> from shapely import box
    >>> nuclei = ObjectTable([box(0, 0, 2, 4), box(5, 5, 6, 6)], classes=("tumour",), mpp=0.5)
    >>> len(nuclei), nuclei.xy.tolist(), nuclei["class"].tolist()
    (2, [[1.0, 2.0], [5.5, 5.5]], ['tumour', 'tumour'])
    """

    polygons: NDArray[Any]
    _: KW_ONLY
    classes: tuple[str, ...] = ()
    labels: NDArray[np.int32] | None = None
    scores: NDArray[np.float32] | None = None
    measurements: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    ids: NDArray[np.int64] | None = None
    mpp: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        polygons = _object_array(self.polygons)
        _check_polygons(polygons)
        n = len(polygons)
        alone = 0 if len(self.classes) == 1 else -1
        labels = np.full(n, alone) if self.labels is None else self.labels
        fixed: dict[str, Any] = {
            "polygons": polygons,
            "labels": np.asarray(labels, np.int32),
            "scores": _floats(np.full(n, np.nan) if self.scores is None else self.scores),
            "measurements": {name: _floats(value) for name, value in self.measurements.items()},
            "ids": None if self.ids is None else np.asarray(self.ids, np.int64),
        }
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        self._check_columns(n)

    def _check_columns(self, n: int) -> None:
        columns: dict[str, Any] = {"labels": self.labels, "scores": self.scores, **self.measurements}
        if self.ids is not None:
            columns["ids"] = self.ids
        wrong = {k: np.shape(v) for k, v in columns.items() if np.shape(v) != (n,)}
        if wrong:
            raise StoreError(f"columns {wrong} do not belong to {n} objects: expected shape ({n},)")
        taken = sorted(set(TAKEN) & set(self.measurements))
        if taken:
            raise StoreError(f"measurements cannot be called {', '.join(taken)}", mend="choose other names")
        labels = self.codes
        if n and not -1 <= labels.min() <= labels.max() < len(self.classes):
            raise StoreError(
                f"labels {labels.min()} … {labels.max()} do not fit {len(self.classes)} class(es) "
                f"{', '.join(self.classes)}: expected -1 … {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.polygons)

    def __repr__(self) -> str:
        return f"<ObjectTable: {len(self)} objects, {len(self.measurements)} measurements>"

    @property
    def codes(self) -> NDArray[np.int32]:
        """`labels`, which are always there once the table is made."""
        return self.labels if self.labels is not None else np.empty(0, np.int32)

    @cached_property
    def xy(self) -> NDArray[np.float64]:
        """Centroids, shape (n, 2)."""
        import shapely

        centres = shapely.centroid(self.polygons)
        return np.stack([shapely.get_x(centres), shapely.get_y(centres)], axis=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names that ``table[name]`` takes."""
        return ("object", "class", "score", "x", "y", *self.measurements)

    def __getitem__(self, name: str) -> NDArray[Any]:
        match name:
            case "object":
                return np.arange(len(self)) if self.ids is None else self.ids
            case "class":
                return np.asarray([*self.classes, None], object)[self.codes]
            case "score":
                return np.asarray(self.scores)
            case "x" | "y":
                return self.xy[:, "xy".index(name)]
        if name not in self.measurements:
            raise unknown("column", name, self.columns)
        return self.measurements[name]

    def take(self, rows: NDArray[Any] | slice) -> Self:
        """Return some objects: rows, a mask or a slice."""
        return replace(
            self,
            polygons=self.polygons[rows],
            labels=self.codes[rows],
            scores=np.asarray(self.scores)[rows],
            measurements={name: value[rows] for name, value in self.measurements.items()},
            ids=None if self.ids is None else self.ids[rows],
        )

    def with_measurements(self, measurements: Mapping[str, NDArray[Any]]) -> Self:
        """Return the same objects with more measurements; one of the same name is replaced."""
        return replace(self, measurements={**self.measurements, **measurements})

    def where(self, keep: NDArray[np.bool_]) -> Self:
        """Return the objects where `keep`, shape (n,), is True; they keep their numbers."""
        return replace(self, ids=self["object"]).take(np.asarray(keep, bool))

    @property
    def n_batches(self) -> int:
        """How many tables `batches` yields: one, or none."""
        return int(len(self) > 0)

    def batches(self, start: int = 0) -> Iterator[ObjectTable]:
        """Yield the objects; here in one go."""
        if len(self) and not start:
            yield self

    def within(self, box: Box) -> ObjectTable:
        """Return the objects whose bounds meet `box`."""
        import shapely

        left, top, right, bottom = shapely.bounds(self.polygons).reshape(-1, 4).T
        meets = (left <= box.right) & (right >= box.x) & (top <= box.bottom) & (bottom >= box.y)
        return self.where(meets)

    def read(self) -> ObjectTable:
        """Return the objects in memory: these."""
        return self


@dataclass(frozen=True)
class ObjectStream:
    """Objects that come part by part, e.g. a part per strip of tiles, and go to the disk as they come.

    An interrupted run leaves the parts that were complete, and the next one goes on after them. When all
    are there they become one file; never more than one part is in memory.

    Attributes
    ----------
    batches
        Yields an `ObjectTable` per part, an empty one where a part holds nothing, starting after the parts
        that ``Resume.rows(key)`` says are there. Each has these `classes`, and the measurements of the
        others.
    n
        Number of parts when complete.
    classes, mpp, notes
        As of `ObjectTable`; those of the parts do not count.
    measurements
        Names of the measurements; needed only where all parts may be empty.

    Examples
    --------
    >>> from shapely import box
    >>> strips = (ObjectTable([box(0, y, 2, y + 2)], classes=("a",)) for y in (0, 10))
    >>> ObjectStream(strips, n=2, classes=("a",)).collect().xy.tolist()
    [[1.0, 1.0], [1.0, 11.0]]
    """

    batches: Iterator[ObjectTable]
    n: int
    classes: tuple[str, ...] = ()
    mpp: float | None = None
    measurements: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def collect(self) -> ObjectTable:
        """Run the stream to its end in memory."""
        parts = list(self.batches)
        if len(parts) != self.n:
            raise StoreError(f"the stream of objects ended after {len(parts)} of {self.n} parts")
        return joined(parts, classes=self.classes, mpp=self.mpp, notes=self.notes, names=self.measurements)


def joined(
    parts: Sequence[ObjectTable],
    *,
    classes: tuple[str, ...],
    mpp: float | None = None,
    notes: Mapping[str, Any] | None = None,
    names: tuple[str, ...] = (),
) -> ObjectTable:
    """Return the objects of several tables as one.

    Raises
    ------
    StoreError
        When the parts have other classes, or unequal measurements.
    """
    full = [part for part in parts if len(part)]
    for part in full:
        check_part(part, classes, tuple(full[0].measurements))
    names = tuple(full[0].measurements) if full else names
    numbered = full and all(part.ids is not None for part in full)
    return ObjectTable(
        np.concatenate([part.polygons for part in full]) if full else np.empty(0, object),
        classes=classes,
        labels=np.concatenate([part.codes for part in full]) if full else None,
        scores=np.concatenate([part["score"] for part in full]) if full else None,
        measurements={k: _floats(np.concatenate([p[k] for p in full]) if full else []) for k in names},
        ids=np.concatenate([part["object"] for part in full]) if numbered else None,
        mpp=mpp,
        notes=notes or {},
    )


def check_part(part: ObjectTable, classes: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Refuse a part with other classes or measurements than the rest.

    Raises
    ------
    StoreError
        Names both.
    """
    if part.classes != classes:
        raise StoreError(f"a part of the objects has classes {part.classes}, the others {classes}")
    if tuple(part.measurements) != names:
        raise StoreError(f"a part of the objects measures {tuple(part.measurements)}, the others {names}")


def _object_array(polygons: Any) -> NDArray[Any]:
    if isinstance(polygons, np.ndarray) and polygons.dtype == object:
        return polygons
    array = np.empty(len(polygons), object)
    array[:] = list(polygons)
    return array


def _floats(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def _check_polygons(polygons: NDArray[Any]) -> None:
    import shapely

    if polygons.ndim != 1:
        raise GeometryError(f"polygons of shape {polygons.shape}: expected (n,)")
    kinds = shapely.get_type_id(polygons)
    wrong = np.flatnonzero(((kinds != _POLYGON) & (kinds != _MULTIPOLYGON)) | shapely.is_empty(polygons))
    if len(wrong):
        row = int(wrong[0])
        raise GeometryError(
            f"object {row} is {str(polygons[row])[:60]}: expected a polygon that is not empty"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            mend="leave such objects out",
        )
