"""Outlines of objects, read from disk by row group, held in few bytes while they are looked at."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.store.kinds.arrow import as_numpy
from coverslip.store.kinds.objects import Objects

HELD = 4
"""Row groups that are held; one of 65,536 nuclei takes about 20 MB."""

SIDES = ("xmin", "ymin", "xmax", "ymax")

HEAD, POLYGON = 13, 3
"""Bytes of WKB before the points of a polygon of one ring (order, kind, rings, points), and its kind."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Outlines as flat arrays: point by point, ring by ring, object by object.

    Attributes
    ----------
    rows
        Rows of the file, shape (n,).
    xy
        Points in level-0 pixels, float32, shape (points, 2); each ring ends at its first point.
    ends
        Where each ring starts in `xy`, and the end of the last; shape (rings + 1,).
    of
        Which object each ring belongs to, shape (rings,), rising.
    """

    rows: NDArray[np.int64]
    xy: NDArray[np.float32]
    ends: NDArray[np.int64]
    of: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def empty(cls) -> Rings:
        """Return none."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, np.empty((0, 2), np.float32), np.zeros(1, np.int64), nothing)

    @classmethod
    def made(cls, polygons: NDArray[Any], first: int) -> Rings:
        """Flatten shapely Polygons and MultiPolygons that are rows `first`, … of the file."""
        import shapely

        parts, owner = shapely.get_parts(polygons, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        xy = shapely.get_coordinates(rings).astype(np.float32)
        ends = np.concatenate([[0], np.cumsum(shapely.get_num_coordinates(rings))])
        rows = np.arange(first, first + len(polygons), dtype=np.int64)
        return cls(rows, xy, ends.astype(np.int64), owner[part].astype(np.int64))

    @classmethod
    def read(cls, wkb: Any, first: int) -> Rings:
        """Flatten polygons as they are stored, an Arrow array of WKB that are rows `first`, … of the file.

        Polygons without holes are taken apart in place: a tenth of the time that making geometries of them
        takes.
        """
        if not len(wkb):
            return cls.empty()
        starts = np.frombuffer(wkb.buffers()[1], "<i4")[wkb.offset : wkb.offset + len(wkb) + 1]
        data = np.frombuffer(wkb.buffers()[2], np.uint8)[starts[0] : starts[-1]]
        starts = starts.astype(np.int64) - starts[0]
        plain = not wkb.null_count and int(np.diff(starts).min()) >= HEAD
        if plain:
            heads = starts[:-1, None] + np.arange(HEAD)
            kind, rings, points = data[heads[:, 1:]].view("<u4").T
            plain = bool(((data[starts[:-1]] == 1) & (kind == POLYGON) & (rings == 1)).all())
            plain = plain and bool((np.diff(starts) == HEAD + 16 * points.astype(np.int64)).all())
        if not plain:
            import shapely

            return cls.made(shapely.from_wkb(np.array(wkb.to_pylist(), object)), first)
        body = np.ones(len(data), bool)
        body[heads] = False
        xy = data[body].view("<f8").reshape(-1, 2).astype(np.float32)
        of = np.arange(len(wkb), dtype=np.int64)
        return cls(of + first, xy, np.concatenate([[0], np.cumsum(points, dtype=np.int64)]), of)

    @cached_property
    def bounds(self) -> NDArray[np.float32]:
        """Left, top, right, bottom of each object, shape (n, 4)."""
        first = np.searchsorted(self.of, np.arange(len(self)))
        starts = self.ends[first]
        low, high = np.minimum.reduceat(self.xy, starts), np.maximum.reduceat(self.xy, starts)
        return np.concatenate([low, high], axis=1)

    def taken(self, keep: NDArray[np.bool_]) -> Rings:
        """Return the objects where `keep`, shape (n,), holds."""
        if keep.all():
            return self
        number = np.cumsum(keep) - 1
        ring = np.flatnonzero(keep[self.of])
        starts, lengths = self.ends[ring], self.ends[ring + 1] - self.ends[ring]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        point = np.repeat(starts - ends[:-1], lengths) + np.arange(ends[-1])  # touches what is taken alone
        return Rings(self.rows[keep], self.xy[point], ends, number[self.of[ring]])

    @classmethod
    def joined(cls, parts: list[Rings]) -> Rings:
        """Return all objects of several."""
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        points = np.cumsum([0, *(part.ends[-1] for part in parts)])
        objects = np.cumsum([0, *(len(part) for part in parts)])
        ends = [part.ends[:-1] + points[i] for i, part in enumerate(parts)]
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.xy for part in parts]),
            np.concatenate([*ends, points[-1:]]),
            np.concatenate([part.of + objects[i] for i, part in enumerate(parts)]),
        )

    def split(self) -> list[NDArray[np.float32]]:
        """Return each ring's points, shape (k, 2)."""
        return np.split(self.xy, self.ends[1:-1]) if len(self.of) else []

    def by_object(self) -> list[list[list[list[float]]]]:
        """Return plain values: per object its rings, per ring its points, to a tenth of a pixel."""
        found: list[list[list[list[float]]]] = [[] for _ in range(len(self))]
        for owner, ring in zip(self.of.tolist(), self.split(), strict=True):
            found[owner].append(np.round(ring.astype(float), 1).tolist())
        return found


class Outlines:
    """The outlines of a file of objects. Safe to use from several threads.

    Parameters
    ----------
    objects
        On disk.
    """

    def __init__(self, objects: Objects) -> None:
        self._path = objects.path
        self._held: OrderedDict[int, Rings] = OrderedDict()
        self._lock = Lock()
        with self._opened() as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self._bounds = np.array([_bounds_of(group) for group in groups]).reshape(-1, 4)

    @cached_property
    def typical_px(self) -> float:
        """Side in level-0 pixels of a typical object: the median over the first ones of the file."""
        from pyarrow import compute

        if not len(self._bounds):
            return 1.0
        with self._opened() as file:
            boxes = file.read_row_group(0, columns=["bbox"])["bbox"]
        left, top, right, bottom = (as_numpy(compute.struct_field(boxes, side)) for side in SIDES)
        return float(np.median(np.sqrt(np.maximum((right - left) * (bottom - top), 1.0))))

    def group(self, number: int) -> Rings:
        """Return all outlines of a row group."""
        with self._lock:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
            with self._opened() as file:
                column = file.read_row_group(number, columns=["geometry"])["geometry"]
            made = Rings.read(column.combine_chunks(), int(self._starts[number]))
            self._held[number] = made
            while len(self._held) > HELD:
                self._held.popitem(last=False)
            return made

    def place(self, row: int) -> tuple[int, int]:
        """Return the row group of a row of the file, and the group's first row."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        return group, int(self._starts[group])

    def within(self, box: Box, keep: NDArray[np.bool_] | None) -> Rings:
        """Return the objects whose bounds meet `box` and whose row of the file `keep` marks; None for all."""
        found = []
        for number in np.flatnonzero(_meets(self._bounds, box)):
            rings = self.group(int(number))
            near = _meets(rings.bounds, box)
            if keep is not None:
                near &= keep[rings.rows]
            if near.any():
                found.append(rings.taken(near))
        return Rings.joined(found)

    def _opened(self) -> Any:
        from pyarrow import parquet

        return parquet.ParquetFile(self._path)


def _meets(bounds: NDArray[Any], box: Box) -> NDArray[np.bool_]:
    left, top, right, bottom = bounds.T
    found: NDArray[np.bool_] = (
        (left <= box.right) & (right >= box.x) & (top <= box.bottom) & (bottom >= box.y)
    )
    return found


def _bounds_of(group: Any) -> tuple[float, float, float, float]:
    """Return the bounds of a row group by its statistics; everywhere, where another program wrote none."""
    everywhere = (-np.inf, -np.inf, np.inf, np.inf)
    found = dict(zip(SIDES, everywhere, strict=True))
    for i in range(group.num_columns):
        column = group.column(i)
        side = column.path_in_schema.removeprefix("bbox.")
        if side in found and column.path_in_schema.startswith("bbox.") and column.statistics is not None:
            found[side] = column.statistics.min if side.endswith("min") else column.statistics.max
    return found["xmin"], found["ymin"], found["xmax"], found["ymax"]
