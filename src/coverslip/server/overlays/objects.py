"""Objects by the million: an index in memory that counts, filters, draws and finds them.

What is held per object are its centroid, class, score and measurements as float32 (about 40 bytes with five
measurements); outlines stay on disk and are read, row group by row group, for what is looked at closely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, unknown
from coverslip.core.errors import UsageError
from coverslip.server.overlays.outlines import Outlines, Rings
from coverslip.server.overlays.paint import CLASSES, class_colour, png
from coverslip.store.kinds.objects import Objects
from coverslip.store.objects import ObjectTable

TILE = 512
"""Side of a drawn tile in pixels."""

CELL = 1024
"""Side of a cell of the index in level-0 pixels."""

MOST_POLYGONS = 20_000
"""More are never sent at once; a viewer shows the drawn tiles instead."""

BINS = 40

OUTLINED = 4.0
"""Screen pixels that a typical object must take to be drawn as an outline instead of a dot."""

BOLD = 24.0
"""Screen pixels of a typical object from which on outlines are two pixels wide; else they hide it."""

FINE = 4
"""Bits of a pixel's fraction that outlines are drawn to."""


@dataclass(frozen=True)
class Filter:
    """Which objects count.

    Attributes
    ----------
    classes
        Names; None for all.
    ranges
        Least and greatest value by measurement.
    """

    classes: tuple[str, ...] | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def parse(cls, classes: str | None, ranges: Sequence[str]) -> Filter:
        """Read a filter as an address states it: ``a,b`` and ``area_um2:20:80``.

        Raises
        ------
        UsageError
            When a range is none.

        Examples
        --------
        >>> Filter.parse("tumour", ["area_um2:20:"]).ranges
        {'area_um2': (20.0, inf)}
        """
        found: dict[str, tuple[float, float]] = {}
        for text in ranges:
            name, _, rest = text.partition(":")
            low, colon, high = rest.partition(":")
            try:
                found[name] = (float(low or "-inf"), float(high or "inf"))
            except ValueError:
                colon = ""
            if not colon:
                raise UsageError(
                    f"{text!r} is no range", mend="write name:least:greatest, e.g. area_um2:20:80"
                )
        return cls(None if classes is None else tuple(filter(None, classes.split(","))), found)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells filters apart, for a cache."""
        return self.classes, tuple(sorted(self.ranges.items()))

    def keeps(
        self, classes: Sequence[str], codes: NDArray[Any], values: Callable[[str], NDArray[Any]]
    ) -> NDArray[np.bool_]:
        """Return which objects pass, shape (n,), given their class codes and what gives a measurement.

        Raises
        ------
        UnknownNameError
            When a class or measurement is not there.
        """
        keep = np.ones(len(codes), bool)
        if self.classes is not None:
            for name in self.classes:
                if name not in classes:
                    raise unknown("class", name, classes)
            keep &= np.isin(codes, [classes.index(name) for name in self.classes])
        for column, (low, high) in self.ranges.items():
            found = values(column)
            keep &= (found >= low) & (found <= high)
        return keep


EVERYTHING = Filter()


class ObjectIndex:
    """All objects of a slide, sorted by place.

    Parameters
    ----------
    objects
        On disk.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.classes = objects.classes
        self.columns = ("score", *objects.measurements)
        xy = objects.xy.astype(np.float32)
        cells = np.floor(xy / CELL).astype(np.int32) if len(xy) else np.empty((0, 2), np.int32)
        self._corner = cells.min(axis=0) if len(xy) else np.zeros(2, np.int32)
        self._cells = cells.max(axis=0) - self._corner + 1 if len(xy) else np.zeros(2, np.int32)
        code = (cells[:, 1] - self._corner[1]) * self._cells[0] + cells[:, 0] - self._corner[0]
        # numbers of 16 bits are sorted by counting, three times as fast
        short = code.astype(np.uint16) if self._cells.prod() <= 1 << 16 else code
        self.order = np.argsort(short, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(code[self.order], np.arange(self._cells.prod() + 1))
        self.xy = xy[self.order]
        self.codes = objects.codes.astype(np.int16)[self.order]
        self.outlines = Outlines(objects)
        self._values: dict[str, NDArray[np.float32]] = {}
        self._by_rows: dict[tuple[Any, ...], NDArray[np.bool_]] = {}
        self._masks: dict[tuple[Any, ...], NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self.xy)

    def values(self, column: str) -> NDArray[np.float32]:
        """Return a measurement of all objects, read when first asked for.

        Raises
        ------
        UnknownNameError
            When there is none of that name.
        """
        if column not in self.columns:
            raise unknown("measurement", column, self.columns)
        if column not in self._values:
            self._values[column] = self._objects[column].astype(np.float32)[self.order]
        return self._values[column]

    def kept(self, chosen: Filter) -> NDArray[np.bool_]:
        """Return which objects a filter keeps, shape (n,).

        Raises
        ------
        UnknownNameError
            When it names a class or measurement that is not there.
        """
        if chosen.key in self._masks:
            return self._masks[chosen.key]
        keep = chosen.keeps(self.classes, self.codes, self.values)
        if len(self._masks) >= 8:
            self._masks.pop(next(iter(self._masks)))
        self._masks[chosen.key] = keep
        return keep

    def facts(self, chosen: Filter) -> dict[str, Any]:
        """Return counts by class and the names of measurements."""
        keep = self.kept(chosen)
        counts = np.bincount(self.codes[keep] + 1, minlength=len(self.classes) + 1)
        return {
            "count": len(self),
            "kept": int(keep.sum()),
            "classes": [
                {"name": name, "count": int(counts[i + 1]), "colour": class_colour(i)}
                for i, name in enumerate(self.classes)
            ],
            "unclassed": int(counts[0]),
            "measurements": list(self.columns),
            "typical_px": self.outlines.typical_px,
        }

    def histogram(self, column: str, chosen: Filter) -> dict[str, Any]:
        """Return how a measurement is spread: edges over all objects, counts of all and of those kept."""
        values = self.values(column)
        known = np.isfinite(values)
        if not known.any():
            return {"edges": [0.0, 1.0], "all": [0], "kept": [0]}
        low, high = np.percentile(values[known], (0, 100))
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        return {
            "edges": edges.tolist(),
            "all": np.histogram(values[known], edges)[0].tolist(),
            "kept": np.histogram(values[known & self.kept(chosen)], edges)[0].tolist(),
        }

    # ------------------------------------------------------------------ places
    def rows_in(self, box: Box) -> NDArray[np.intp]:
        """Return the rows of the index whose centroid lies in `box` (its right and bottom edge left out)."""
        if not len(self):
            return np.empty(0, np.intp)
        left, top = (int(v) for v in np.floor((box.x, box.y)) // CELL - self._corner)
        right, bottom = (int(v) for v in np.floor((box.right, box.bottom)) // CELL - self._corner)
        left, right = max(left, 0), min(right, int(self._cells[0]) - 1)
        spans = []
        for row in range(max(top, 0), min(bottom, int(self._cells[1]) - 1) + 1):
            if left <= right:
                first = row * int(self._cells[0])
                spans.append(np.arange(self._starts[first + left], self._starts[first + right + 1]))
        rows: NDArray[np.intp] = np.concatenate(spans) if spans else np.empty(0, np.intp)
        x, y = self.xy[rows, 0], self.xy[rows, 1]
        inside = (x >= box.x) & (x < box.right) & (y >= box.y) & (y < box.bottom)
        return rows[inside]

    def drawn(self, place: tuple[int, int], downsample: float, chosen: Filter) -> bytes:
        """Draw the objects of a tile as PNG: a dot each, in its class's colour; many dots, more opaque.

        Parameters
        ----------
        place
            Column and row of the tile at `downsample`; a tile covers ``TILE · downsample`` level-0 pixels.
        downsample
            Level-0 pixels per pixel.
        """
        side = TILE * downsample
        corner = np.float32((place[0] * side, place[1] * side))
        box = Box(float(corner[0]), float(corner[1]), side, side)
        if self.outlines.typical_px >= OUTLINED * downsample:
            rings = self.outlines.within(box, self._by_row(chosen))
            width = 2 if self.outlines.typical_px >= BOLD * downsample else 1
            return png(_lines(rings, self._codes_of(rings), (corner, downsample), width))
        rows = self.rows_in(box)
        rows = rows[self.kept(chosen)[rows]]
        pixels = np.minimum(((self.xy[rows] - corner) / downsample).astype(np.int32), TILE - 1)
        flat = pixels[:, 1] * TILE + pixels[:, 0]
        return png(_dots(flat, self.codes[rows]))

    def rings(self, box: Box, chosen: Filter) -> tuple[Rings, NDArray[np.int16]]:
        """Return the outlines of the objects that meet a box, and the class of each.

        Raises
        ------
        UsageError
            When they are too many to be sent.
        """
        count = self.rows_in(box).size
        if count > MOST_POLYGONS:
            raise UsageError(
                f"{count} objects are too many to outline at once",
                mend=f"ask for a smaller region, with {MOST_POLYGONS} or fewer",
            )
        found = self.outlines.within(box, self._by_row(chosen))
        return found, self._codes_of(found)

    def polygons(self, box: Box, chosen: Filter) -> dict[str, Any]:
        """Return the objects of a box as plain values: rows, classes, and of each its rings of (x, y)."""
        found, codes = self.rings(box, chosen)
        return {"ids": found.rows.tolist(), "classes": codes.tolist(), "rings": found.by_object()}

    def packed(self, box: Box, chosen: Filter) -> bytes:
        """Return the same in few bytes, little-endian.

        Numbers of objects, rings and points (int32); rows and classes of the objects (int32 each); object of
        each ring (int32); points of each ring (int32); x and y of each point (float32).
        """
        found, codes = self.rings(box, chosen)
        sizes = np.array([len(found), len(found.of), len(found.xy)])
        whole = (sizes, found.rows, codes, found.of, np.diff(found.ends))
        return b"".join([*(one.astype("<i4").tobytes() for one in whole), found.xy.astype("<f4").tobytes()])

    def _by_row(self, chosen: Filter) -> NDArray[np.bool_] | None:
        """Return which rows of the file a filter keeps; None for all of them."""
        if chosen == EVERYTHING:
            return None
        keep, mask = self.kept(chosen), self._by_rows.get(chosen.key)
        if mask is None:
            mask = np.empty(len(self), bool)
            mask[self.order] = keep
            self._by_rows.clear()  # one filter is looked at at a time
            self._by_rows[chosen.key] = mask
        return mask

    def _codes_of(self, rings: Rings) -> NDArray[np.int16]:
        return self._codes_by_row[rings.rows]

    @cached_property
    def _codes_by_row(self) -> NDArray[np.int16]:
        codes = np.empty(len(self), np.int16)
        codes[self.order] = self.codes
        return codes

    def within(self, box: Box) -> ObjectTable:
        """Return all objects that meet a box, with all that is known of them."""
        return self._objects.within(box)

    def found(self, number: int) -> ObjectTable | None:
        """Return the object of a number as a table of one row; None when there is none."""
        rows = np.flatnonzero(self._objects["object"] == number)
        if not len(rows):
            return None
        group, first = self.outlines.place(int(rows[0]))
        return next(self._objects.batches(group)).take(rows[:1] - first)

    def at(self, x: float, y: float) -> dict[str, Any] | None:
        """Return the object at a point, with its numbers; None when there is none."""
        import shapely

        table = self._objects.within(Box(x, y, 1e-6, 1e-6))
        hit = np.flatnonzero(shapely.intersects_xy(table.polygons, x, y)) if len(table) else []
        if not len(hit):
            return None
        row = int(hit[np.argmin(shapely.area(table.polygons[hit]))])  # of several, the innermost
        name = table["class"][row]
        return {
            "object": int(table["object"][row]),
            "class": None if name is None else str(name),
            "score": _number(table["score"][row]),
            "measurements": {key: _number(value[row]) for key, value in table.measurements.items()},
            "rings": Rings.made(table.polygons[row : row + 1], row).by_object()[0],
        }


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _dots(flat: NDArray[np.intp], codes: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Return an RGBA picture of dots: each pixel in the mixed colour of its objects."""
    colours = np.array([tuple(bytes.fromhex(one)) for one in CLASSES], np.float64)
    of = np.where(codes < 0, len(CLASSES) - 3, codes % len(CLASSES))
    count = np.bincount(flat, minlength=TILE * TILE)
    rgba = np.zeros((TILE * TILE, 4), np.uint8)
    hit = np.flatnonzero(count)
    for channel in range(3):
        total = np.bincount(flat, weights=colours[of, channel], minlength=TILE * TILE)
        rgba[hit, channel] = total[hit] / count[hit]
    rgba[hit, 3] = np.minimum(255, 150 + 35 * count[hit])
    return rgba.reshape(TILE, TILE, 4)


def _lines(
    rings: Rings, codes: NDArray[np.int16], place: tuple[NDArray[np.float32], float], width: int
) -> NDArray[np.uint8]:
    """Return an RGBA picture of outlines, each in its class's colour."""
    import cv2

    picture = np.zeros((TILE, TILE, 4), np.uint8)
    corner, downsample = place
    places = np.rint((rings.xy - corner) / downsample * (1 << FINE)).astype(np.int32)
    of = np.where(codes < 0, len(CLASSES) - 3, codes % len(CLASSES))[rings.of]
    lines = np.split(places, rings.ends[1:-1]) if len(rings.of) else []
    for code in np.unique(of):
        chosen = [line for line, one in zip(lines, of == code, strict=True) if one]
        mask = np.zeros((TILE, TILE), np.uint8)
        cv2.polylines(
            mask, chosen, isClosed=True, color=255, thickness=width, lineType=cv2.LINE_AA, shift=FINE
        )
        over = mask > picture[..., 3]
        picture[over] = (*bytes.fromhex(CLASSES[code]), 0)
        picture[..., 3] = np.maximum(picture[..., 3], mask)
    return picture
