"""What an earlier step found, asked by class or measurement: which of its rows pass, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import RecipeError
from coverslip.pipeline.areas import Area, Mask, Regions, Squares, Whole
from coverslip.pipeline.limits import Limit
from coverslip.store import Features, LabelMap, StitchedMap, Table
from coverslip.tiles import Tiles
from coverslip.tissue import Tissue
from coverslip.tissue.quality import FLAGS, Quality

HEADS = {
    "within": ("objects", "tissue", "maps", "predictions"),
    "where": ("predictions", "tables", "objects", "features", "tiles", "quality"),
}
"""Kinds of results that can be asked, in the order in which they are, by kind of limit."""

PROBABILITY = ("{}", "p_{}", "probability_{}")
"""How the column of a class's probability may be called."""


def head_of(key: str) -> str:
    """Return the kind of result that a key names: ``objects`` of ``objects/nuclei``."""
    return key.partition("/")[0]


def askable(kind: str, keys: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that a limit of this kind can ask, best first."""
    heads = HEADS[kind]
    return tuple(sorted((k for k in keys if head_of(k) in heads), key=lambda k: heads.index(head_of(k))))


def area_of(limit: Limit, found: Mapping[str, Any]) -> Area:
    """Return the part of the slide to which a limit holds.

    Parameters
    ----------
    found
        What the limit's step wrote, by key; and under ``tiles…`` the tiles that it looked at.

    Raises
    ------
    RecipeError
        When the step knows no such class or measurement; the nearest match is in the message.
    """
    key = _chosen(limit, found)
    value = found[key]
    if isinstance(value, Tissue):
        return Regions(value.polygons)
    if isinstance(value, Quality):
        return _Graded(value, limit)
    if isinstance(value, LabelMap):
        return Regions(_outlined(value, limit.what))
    rows = rows_of(limit, value)
    if head_of(key) == "objects":
        return Regions(tuple(value.where(rows).read().polygons))
    place = _squares(value, rows, found)
    if isinstance(place, Squares) and limit.kind == "within":
        return Regions(place.polygons())
    return place


def rows_of(limit: Limit, value: Any) -> Mask:
    """Say which rows of a table, of objects, of features or of tiles pass a limit's test."""
    if not limit.what:
        return np.ones(len(value), bool)
    codes, classes = _labels(value)
    if set(limit.what) <= set(classes):
        wanted = [classes.index(name) for name in limit.what]
        if limit.kind == "within" or (limit.at_least is None and limit.at_most is None):
            return np.isin(codes, wanted)
        return _by_probability(limit, value, np.isin(codes, wanted))
    if limit.at_least is None and limit.at_most is None:
        raise RecipeError(
            f"{limit}: {limit.what[0]!r} is a measurement of {limit.step!r}, which needs a bound",
            mend=f"write where: {{{limit.step}: {limit.what[0]}, at_least: …}} or at_most",
        )
    return _between(limit, np.asarray(_column(value, limit.what[0]), np.float64))


def _chosen(limit: Limit, found: Mapping[str, Any]) -> str:
    """Return the key of the first result that knows what the limit names."""
    keys = askable(limit.kind, [key for key in found if not _only_beside(key, found)])
    known: list[str] = []
    for key in keys:
        names = _known(found[key], measured=limit.kind == "where")
        if set(limit.what) <= set(names):
            return key
        known += names
    wanted = next((name for name in limit.what if name not in known), limit.what[0])
    error = unknown(f"class or measurement of {limit.step!r}", wanted, dict.fromkeys(known))
    raise RecipeError(f"{limit}: {error.message}", mend=error.mend)


def _only_beside(key: str, found: Mapping[str, Any]) -> bool:
    """Say whether tiles are there only to tell where the rows of another result lie."""
    return head_of(key) == "tiles" and len(found) > 1


def _known(value: Any, *, measured: bool) -> list[str]:
    """Return the classes and, with `measured`, the measurements that a result can be asked for."""
    if isinstance(value, Tissue):
        return ["tissue"]
    if isinstance(value, Quality):
        return ["usable", *FLAGS]
    if isinstance(value, LabelMap):
        return list(value.names)
    if isinstance(value, StitchedMap):
        return []  # its regions are among the objects
    return [*_labels(value)[1], *(_columns(value) if measured else ())]


def _labels(value: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the class of each row as a number, and the names that the numbers stand for."""
    if hasattr(value, "codes"):  # objects, in memory or on the disk
        return value.codes, tuple(value.classes)
    if not isinstance(value, Table):
        return np.full(len(value), -1), ()
    names = tuple(value.notes.get("names") or value.notes.get("classes") or ())
    for column in ("label", "class"):
        if column in value.columns:
            labels = np.asarray(value.columns[column])
            if labels.dtype.kind in "iu":
                return labels, names
            names = tuple(dict.fromkeys([*names, *labels.tolist()]))
            return np.array([names.index(label) for label in labels.tolist()], int), names
    return np.full(len(value), -1), names


def _columns(value: Any) -> tuple[str, ...]:
    """Return the names of what was measured of each row."""
    if isinstance(value, Features):
        return value.names or ()
    if isinstance(value, Tiles):
        return ("tissue", *getattr(value, "quality", {}))
    if isinstance(value, Table):
        return tuple(
            name for name, column in value.columns.items() if np.asarray(column).dtype.kind in "fiub"
        )
    return ("score", *value.measurements)


def _column(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, Features):
        return value.column(name)
    if isinstance(value, Tiles):
        return value.tissue if name == "tissue" else getattr(value, "quality", {})[name]
    column: NDArray[Any] = value[name]
    return column


def _by_probability(limit: Limit, value: Any, labelled: Mask) -> Mask:
    """Hold the probability of the classes, or the score of objects of these classes, to the bounds."""
    if hasattr(value, "codes"):
        return np.asarray(labelled & _between(limit, np.asarray(value["score"], np.float64)))
    total = np.zeros(len(value))
    for name in limit.what:
        column = next((p.format(name) for p in PROBABILITY if p.format(name) in value.columns), None)
        if column is None:
            raise RecipeError(
                f"{limit}: {limit.step!r} gives no probability of {name!r}",
                mend="leave at_least out: then the class itself decides",
            )
        total += np.asarray(value.columns[column], np.float64)
    return _between(limit, total)


def _between(limit: Limit, values: NDArray[np.float64]) -> Mask:
    """Hold values to the bounds; NaN passes none."""
    low = -np.inf if limit.at_least is None else limit.at_least
    high = np.inf if limit.at_most is None else limit.at_most
    # float32 on the disk: 0.7 must pass "at least 0.7"
    slack = 1e-6 * np.maximum(1.0, np.abs(values))
    passed: Mask = (values >= low - slack) & (values <= high + slack)
    return passed


def _squares(value: Any, rows: Mask, found: Mapping[str, Any]) -> Squares | Whole:
    """Return where rows of a table of tiles lie; of one row without a place: all of the slide or nothing."""
    if isinstance(value, Tiles):
        return Squares(value.xy[rows], value.side_px)
    if isinstance(value, Features):
        return Squares(value.coords[rows], value.tile_side)
    tiles = next((v for k, v in found.items() if head_of(k) == "tiles"), None)
    columns = value.columns
    side = value.notes.get("side_px") or (None if tiles is None else tiles.side_px)
    if {"x", "y"} <= set(columns) and side is not None:
        return Squares(np.stack([columns["x"], columns["y"]], axis=1)[rows], float(side))
    if "tile" in columns and tiles is not None:
        return Squares(tiles.xy[np.asarray(columns["tile"])[rows]], tiles.side_px)
    if len(value) == 1:
        return Whole(bool(rows[0]))
    raise RecipeError(
        f"a table of {len(value)} rows does not say where they lie: it has {', '.join(columns)}",
        mend="give it columns x and y (level-0 pixels), or the column tile",
    )


def _outlined(labels: LabelMap, what: Sequence[str]) -> tuple[Any, ...]:
    """Return the areas of a label map's classes as polygons."""
    from coverslip.annotations import vectorise

    classes = {name: i for i, name in enumerate(labels.names, start=1) if not what or name in what}
    x, y = labels.origin
    drawn = vectorise(np.asarray(labels.labels, np.int32), labels.downsample, classes=classes, origin=(x, y))
    return tuple(shape.geometry for shape in drawn.shapes)


class _Graded:
    """The places where a quality is as good, or as bad, as a limit asks."""

    def __init__(self, quality: Quality, limit: Limit) -> None:
        self._quality, self._limit = quality, limit

    def tiles(self, xy: NDArray[Any], side: float, at_least: float | None = None) -> Mask:  # noqa: ARG002
        what = self._limit.what[0] if self._limit.what else "usable"
        corners = np.asarray(xy)
        shares = self._quality.at(corners, side)
        values = shares[what] if what in shares else self._quality.usable_at(corners, side)
        return _between(self._limit, np.asarray(values, np.float64))

    def points(self, xy: NDArray[Any]) -> Mask:
        return self.tiles(np.asarray(xy), 1.0)

    def polygons(self) -> tuple[Any, ...] | None:
        raise RecipeError(
            f"{self._limit}: a quality limits tiles and objects, not the tissue",
            mend="lay the tiles first, then limit the stage that reads them",
        )
