"""What the page of a hierarchy says of one step: what reached it, what it found, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.pipeline.found import head_of
from coverslip.pipeline.limits import Limit
from coverslip.pipeline.selection import Selection
from coverslip.report.numbers import NONE, counted, number
from coverslip.report.palette import class_colour, rgb_of
from coverslip.report.pictures import Picture, jpeg_within, shrink

WIDEST, BYTES = 620, 60_000
"""Longer side of a panel's picture, and what it may weigh."""

OUTLINED = 3000
"""Objects that are drawn with their outlines; of more, every so-many-th is a dot."""

ROWS, COLUMNS = 12, 9
"""Of a table that is shown."""

MEASURING = ("measure", "distances", "getis-ord", "membrane", "glands")
"""Stages whose panels tell what they measured."""

MEASURED = 10
"""Measurements that are told; the page is no table of all."""

TOLD = ("area_um2", "perimeter_um", "eccentricity", "solidity", "circularity")
"""Measurements of shape that are told where there are many."""

SAMPLING = "Ranges are intervals of 95 % for sampling alone, not for mistakes of a model."
"""What intervals in tables of stages allow for."""


@dataclass(frozen=True)
class Level:
    """A step as its panel knows it; see `coverslip.pipeline.Step`. It `reads` what its stage does."""

    name: str
    stage: str
    depth: int
    words: str
    limits: tuple[tuple[str, str], ...] = ()
    sources: tuple[tuple[str, tuple[str, ...]], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from plain values."""
        return cls(**{field.name: _tuples(values[field.name]) for field in fields(cls)})

    @property
    def keys(self) -> tuple[str, ...]:
        """All results that the panel may need."""
        asked = [key for _, keys in self.sources for key in keys]
        needed = [key for key in self.reads if self.limits and head_of(key) in ("tiles", "objects")]
        return tuple(dict.fromkeys((*self.writes, *asked, *needed)))

    def selection(self, inputs: Mapping[str, Any]) -> Selection:
        """Return the step's limits worked out on a slide."""
        limits = tuple(Limit.of(kind, json.loads(text)) for kind, text in self.limits)  # type: ignore[arg-type]
        return Selection(limits, dict(self.sources), inputs)


@dataclass(frozen=True)
class Grid:
    """A table on the page."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One step on the page.

    Attributes
    ----------
    given
        What reached it, in words: "12 of 130 tiles".
    nothing
        True when its limits let nothing through.
    classes
        Name and colour of what the picture shows.
    """

    level: Level
    given: tuple[str, ...]
    nothing: bool
    found: str
    tables: tuple[Grid, ...]
    picture: Picture | None
    classes: tuple[tuple[str, str], ...]


def panels(levels: Sequence[Level], inputs: Mapping[str, Any]) -> tuple[Panel, ...]:
    """Return the panels of the steps that found something to show."""
    return tuple(_panel(level, inputs) for level in levels)


def _panel(level: Level, inputs: Mapping[str, Any]) -> Panel:
    counts = _given(level, inputs)
    given = tuple(
        f"{number(kept)} of {counted(total, head.removesuffix('s'))}" for head, kept, total in counts
    )
    made = {key: inputs[key] for key in level.writes if key in inputs}
    found = "; ".join(filter(None, (_said(key, value) for key, value in made.items())))
    tables = tuple(grid for key, value in made.items() if (grid := _grid(key, value)) is not None)
    if level.stage in MEASURING:
        tables += tuple(
            measured_grid(made[key]) for key in made if head_of(key) == "objects" and len(made[key])
        )
    picture, classes = _picture(level, made, inputs)
    nothing = bool(counts) and all(kept == 0 for _, kept, _ in counts)
    return Panel(level, given, nothing, found, tables, picture, classes)


def _given(level: Level, inputs: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Return (kind, passed, all) of the tiles and objects that a limited step read."""
    if not level.limits:
        return []
    chosen, counts = level.selection(inputs), []
    for key in level.reads:
        if key in inputs and head_of(key) in ("tiles", "objects"):
            kept, _ = chosen.apply(key, inputs[key])
            counts.append((head_of(key), len(kept), len(inputs[key])))
    return counts


# ------------------------------------------------------------------ words and tables
def _said(key: str, value: Any) -> str:
    head = head_of(key)
    if head == "tiles":
        return counted(len(value), "tile")
    if head == "objects":
        return counted(len(value), "object")
    if head == "tissue":
        return f"{counted(len(value.polygons), 'piece')} of tissue"
    if head == "maps":
        return "a map"
    return counted(len(value), "row") if head == "predictions" else ""


def _grid(key: str, value: Any) -> Grid | None:
    """Return what a table, or the classes of objects or tiles, come to."""
    head = head_of(key)
    if head == "tables":
        return _table(value) if len(value) else None
    if head == "stain":
        strengths = zip(value.stains.names, value.stains.max_concentrations, strict=False)
        return Grid(
            ("stain", "strength (decades)"), _tuples([[name, _cell(amount)] for name, amount in strengths])
        )
    if head == "objects" and len(value):
        codes, names = np.asarray(value.codes), tuple(value.classes)
        return _classes(codes, names)
    if head == "predictions" and len(value):
        if "label" in value.columns and value.names:
            return _classes(np.asarray(value.labels), value.names)
        numbers = {
            n: np.asarray(c, float) for n, c in value.columns.items() if np.asarray(c).dtype.kind == "f"
        }
        rows = [[n, *map(_cell, (np.nanmin(c), np.nanmedian(c), np.nanmax(c)))] for n, c in numbers.items()]
        return Grid(("of the tiles", "least", "median", "most"), _tuples(rows)) if rows else None
    return None


def _table(value: Any) -> Grid:
    """Return a table with each interval beside its value; a single row is turned upright."""
    columns = {name: [_cell(cell) for cell in cells] for name, cells in value.columns.items()}
    for name in [n for n in columns if {f"{n}_low", f"{n}_high"} <= set(columns)]:
        ends = zip(columns.pop(f"{name}_low"), columns.pop(f"{name}_high"), strict=True)
        pairs = zip(columns[name], ends, strict=True)
        columns[name] = [own if NONE in (own, *end) else f"{own} ({end[0]}–{end[1]})" for own, end in pairs]
    note = SAMPLING if len(columns) < len(value.columns) else ""
    if len(value) == 1:
        heads = _heads(columns)
        return Grid(
            (),
            _tuples([[head, *cells] for head, cells in zip(heads, columns.values(), strict=True)]),
            note=note,
        )
    names = list(columns)[:COLUMNS]
    rows = [[columns[name][i] for name in names] for i in range(min(len(value), ROWS))]
    return Grid(_heads(names), _tuples(rows), max(0, len(value) - ROWS), note)


def measured_grid(objects: Any) -> Grid:
    """Return what some measurements of objects come to: the last that were made, or the first of many."""
    names = list(objects.measurements)
    few = (
        names if len(names) <= MEASURED else [n for n in names if n in TOLD or n.endswith("_mean")][:MEASURED]
    )
    rows = []
    for name in few or names[:MEASURED]:
        values = np.asarray(objects[name], float)
        values = values[np.isfinite(values)]
        ends = np.percentile(values, [5, 50, 95]).tolist() if len(values) else [float("nan")] * 3
        rows.append([*_heads([name]), *map(_cell, ends)])
    return Grid(("measured", "5 %", "median", "95 %"), _tuples(rows), len(names) - len(rows))


def _classes(codes: NDArray[Any], names: Sequence[str]) -> Grid | None:
    if len(names) < 2:
        return None
    counts = [int((codes == i).sum()) for i in range(len(names))]
    rows = [[name, number(n), f"{n / max(len(codes), 1):.1%}"] for name, n in zip(names, counts, strict=True)]
    return Grid(("class", "count", "part"), _tuples(rows))


def _heads(names: Iterable[str]) -> tuple[str, ...]:
    units = {"_mm2": " (mm²)", "_um2": " (µm²)", "_um": " (µm)"}
    said = []
    for name in names:
        per = name.replace("per_mm2", "per mm²")
        for end, unit in units.items():
            per = per.removesuffix(end) + unit if per.endswith(end) else per
        said.append(per.replace("_", " "))
    return tuple(said)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return NONE
    return number(int(value)) if float(value).is_integer() else number(float(value))


# ------------------------------------------------------------------ picture
def _picture(
    level: Level, made: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Picture | None, tuple[tuple[str, str], ...]]:
    thumbnail = inputs.get("thumbnail")
    maps = [key for key in made if head_of(key) == "maps"]
    if thumbnail is not None and len(thumbnail) and maps:
        return _heat(level, made[maps[0]], thumbnail, inputs["slide"])
    drawable = [key for key in made if head_of(key) in ("objects", "tiles", "tissue")]
    if thumbnail is None or not drawable or not len(thumbnail):
        return None, ()
    rgb = np.ascontiguousarray(shrink(thumbnail, WIDEST)).copy()
    scale = rgb.shape[1] / float(inputs["slide"]["width"])
    key = min(drawable, key=lambda k: ("objects", "tiles", "tissue").index(head_of(k)))
    classes = _draw(rgb, key, made[key], scale)
    return jpeg_within(rgb, f"What {level.name} found", BYTES), classes


def _heat(
    level: Level, value: Any, thumbnail: NDArray[np.uint8], slide: Mapping[str, Any]
) -> tuple[Picture | None, tuple[tuple[str, str], ...]]:
    """Lay the first plane of a map over the slide: pale is little, dark is much."""
    import cv2

    rgb = np.ascontiguousarray(shrink(thumbnail, WIDEST)).copy()
    plane = np.asarray(value.values[0], np.float32)
    seen = np.isfinite(plane) & (plane != 0)
    if not seen.any():
        return jpeg_within(rgb, f"The map of {level.name}", BYTES), ()
    low, high = (float(v) for v in np.percentile(plane[seen], [2, 98]))
    grey = (np.clip((np.where(seen, plane, low) - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
    colour = cv2.applyColorMap(255 - grey, cv2.COLORMAP_VIRIDIS)[..., ::-1].astype(np.float32)
    side = value.downsample * rgb.shape[1] / float(slide["width"])
    size = (max(1, round(plane.shape[1] * side)), max(1, round(plane.shape[0] * side)))
    over = cv2.resize(colour, size, interpolation=cv2.INTER_NEAREST)[: rgb.shape[0], : rgb.shape[1]]
    share = cv2.resize(0.6 * seen.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    share = share[: rgb.shape[0], : rgb.shape[1], None]
    part = rgb[: over.shape[0], : over.shape[1]]
    part[...] = np.rint(part * (1 - share) + over * share).astype(np.uint8)
    said = _heads(value.names[:1])[0]
    ends = [(f"{said} up to {_cell(low)}", "#fde725"), (f"{_cell(high)} and more", "#440154")]
    return jpeg_within(rgb, f"The map of {level.name}", BYTES), tuple(ends)


def _draw(rgb: NDArray[np.uint8], key: str, value: Any, scale: float) -> tuple[tuple[str, str], ...]:
    """Draw regions, nuclei, tiles or tissue; return the legend."""
    if head_of(key) == "tissue":
        _outlines(rgb, value.polygons, [rgb_of("#111827")] * len(value.polygons), scale)
        return ()
    if head_of(key) == "tiles":
        import shapely

        x, y = np.asarray(value.xy, float).reshape(-1, 2).T
        squares = list(shapely.box(x, y, x + value.side_px, y + value.side_px))
        _outlines(rgb, squares[: 4 * OUTLINED], [rgb_of(class_colour(0))] * len(squares), scale)
        return ()
    names, codes = tuple(value.classes) or ("object",), np.asarray(value.codes)
    colours = [rgb_of(class_colour(max(int(code), 0))) for code in codes]
    if len(value) <= OUTLINED:
        _outlines(rgb, value.read().polygons, colours, scale)
    else:
        _dots(rgb, np.asarray(value.xy) * scale, colours)
    return tuple((name, class_colour(i)) for i, name in enumerate(names) if (codes == i).any())


def _outlines(rgb: NDArray[np.uint8], shapes: Iterable[Any], colours: Sequence[Any], scale: float) -> None:
    import cv2
    import shapely

    for shape, colour in zip(shapes, colours, strict=False):
        for part in shapely.get_parts(shape):
            rings = [part.exterior, *part.interiors] if part.geom_type == "Polygon" else []
            lines = [np.rint(np.asarray(ring.coords) * scale * 8).astype(np.int32) for ring in rings]
            cv2.polylines(rgb, lines, True, colour, 1, cv2.LINE_AA, 3)


def _dots(rgb: NDArray[np.uint8], xy: NDArray[np.float64], colours: Sequence[Any]) -> None:
    import cv2

    step = max(1, len(xy) // (10 * OUTLINED))
    for (x, y), colour in zip(xy[::step].tolist(), colours[::step], strict=True):
        cv2.circle(rgb, (round(x), round(y)), 1, colour, -1, cv2.LINE_AA)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
