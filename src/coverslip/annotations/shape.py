"""One shape that a person drew, and how shapes are built of points so that nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.annotations.colour import Colour
from coverslip.core.errors import UsageError

Kind = Literal["polygon", "multipolygon", "rectangle", "ellipse", "line", "point", "points", "brush"]
KINDS: tuple[str, ...] = get_args(Kind)
SAGITTA = 0.1
"""How far, in level-0 pixels, an ellipse's outline may lie inside the true ellipse."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape with a class.

    Attributes
    ----------
    id
        As the file has it, or its number; messages name the shape by it.
    kind
        How it was drawn: polygon, multipolygon, rectangle, ellipse, line, point, points or brush.
    geometry
        Shapely geometry in level-0 pixels. An ellipse is its outline here; ``properties["ellipse"]`` keeps
        centre x, centre y, radius x, radius y and rotation in degrees.
    class_name
        Its class, or None.
    colour, name, author, time
        As drawn; the class may have a colour of its own. `time` is text as the file has it.
    properties
        What else the file says, JSON values.

    Examples
    --------
    >>> from shapely import box
    >>> Shape("1", "rectangle", box(0, 0, 4, 3), "tumour").area_px
    12.0
    """

    id: str
    kind: Kind
    geometry: Any
    class_name: str | None = None
    colour: Colour | None = None
    name: str = ""
    author: str | None = None
    time: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"shape {self.id}: kind {self.kind!r} is none: expected {', '.join(KINDS)}")

    @property
    def area_px(self) -> float:
        """Area in level-0 pixels; times mpp² it is µm². Lines and points have none."""
        return float(self.geometry.area)

    @property
    def title(self) -> str:
        """How messages call the shape."""
        said = [part for part in (self.name, self.class_name) if part]
        return f"shape {self.id}" + (f" ({', '.join(said)})" if said else "")

    @property
    def polygons(self) -> tuple[Any, ...]:
        """The polygons it is made of; none for lines and points."""
        parts = getattr(self.geometry, "geoms", (self.geometry,))
        return tuple(part for part in parts if part.geom_type == "Polygon" and not part.is_empty)


# ------------------------------------------------------------------ building
def polygon(shell: ArrayLike, holes: Iterable[ArrayLike] = ()) -> Any:
    """Make a polygon of rings, open or closed, keeping every vertex.

    Rings of one or two points become polygons without area, so that they can be listed as such; rings
    without points are left out.
    """
    import shapely

    outline = _ring(shell)
    if outline is None:
        return shapely.Polygon()
    inner = [ring for hole in holes if (ring := _ring(hole)) is not None]
    with np.errstate(invalid="ignore"):  # vertices that are not finite are listed later, with their shape
        return shapely.Polygon(outline, inner)


def _ring(points: ArrayLike) -> NDArray[np.float64] | None:
    """Return a closed ring, or None when no vertex is finite."""
    given = _points(points)
    good: NDArray[np.bool_] = np.asarray(np.isfinite(given).all(axis=1))
    if not good.any():
        return None
    # a ring that starts at a NaN cannot be closed: start at the first real vertex
    ring = np.roll(given, -int(np.argmax(good)), axis=0) if not good[0] else given
    if len(ring) < 2 or not np.array_equal(ring[0], ring[-1]):
        ring = np.concatenate([ring, ring[:1]])
    missing = max(0, 4 - len(ring))
    return np.concatenate([ring, np.repeat(ring[-1:], missing, axis=0)])


def _points(points: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(points, np.float64)
    return given.reshape(-1, 2) if given.size == 0 else given[:, :2]


def line(points: ArrayLike) -> Any:
    """Make a line; one of a single point has no length."""
    import shapely

    given = _points(points)
    if not len(given):
        return shapely.LineString()
    with np.errstate(invalid="ignore"):
        return shapely.LineString(given if len(given) > 1 else np.repeat(given, 2, axis=0))


def dots(points: ArrayLike) -> Any:
    """Make one point, or several as a multipoint."""
    import shapely

    given = _points(points)
    return shapely.Point(given[0]) if len(given) == 1 else shapely.MultiPoint(given)


def ellipse(centre: Sequence[float], radii: Sequence[float], rotation: float = 0.0) -> Any:
    """Outline an ellipse with as many vertices as keep it within `SAGITTA` of the true one.

    Parameters
    ----------
    centre
        x and y in level-0 pixels.
    radii
        Half the length of both axes.
    rotation
        Degrees, clockwise as seen on the screen.
    """
    largest = max(abs(radii[0]), abs(radii[1]), SAGITTA)
    count = max(16, 4 * math.ceil(math.pi / math.acos(1 - min(1.0, SAGITTA / largest)) / 4))
    angle = np.arange(count) * (2 * math.pi / count)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    return polygon(np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1))


def ellipse_of(shape: Shape) -> tuple[float, float, float, float, float] | None:
    """Return centre x, centre y, radius x, radius y, rotation of an ellipse that keeps them, else None."""
    kept = shape.properties.get("ellipse") if shape.kind == "ellipse" else None
    if isinstance(kept, (list, tuple)) and len(kept) == 5:
        x, y, width, height, rotation = (float(value) for value in kept)
        return x, y, width, height, rotation
    return None


def kind_of(geometry: Any) -> Kind:
    """Say how a geometry may have been drawn; four right-angled corners are a rectangle."""
    kinds: dict[str, Kind] = {
        "MultiPolygon": "multipolygon",
        "LineString": "line",
        "LinearRing": "line",
        "MultiLineString": "line",
        "Point": "point",
        "MultiPoint": "points",
    }
    if geometry.geom_type == "Polygon":
        return "rectangle" if is_rectangle(geometry) else "polygon"
    if geometry.geom_type not in kinds:
        raise UsageError(f"{geometry.geom_type} is no shape that can be drawn")
    return kinds[geometry.geom_type]


def is_rectangle(geometry: Any) -> bool:
    """Say whether a polygon has four corners on the corners of its bounding box."""
    if geometry.is_empty or len(geometry.interiors) or len(geometry.exterior.coords) != 5:
        return False
    left, top, right, bottom = geometry.bounds
    corners = {(left, top), (left, bottom), (right, top), (right, bottom)}
    return len(corners) == 4 and set(geometry.exterior.coords[:4]) == corners


# ------------------------------------------------------------------ taking apart
def number(value: float) -> int | float:
    """Return whole numbers as int, so that text says 5 and not 5.0; the value is the same.

    Examples
    --------
    >>> number(5.0), number(5.25)
    (5, 5.25)
    """
    real = float(value)
    return int(real) if real.is_integer() else real


def points_of(geometry: Any) -> list[list[int | float]]:
    """Return the vertices of a ring, line or points as ``[[x, y], …]``; a ring without its closing vertex."""
    if geometry.geom_type in {"LinearRing", "LineString", "Point"}:
        coords = list(geometry.coords)
    else:
        coords = [point.coords[0] for point in geometry.geoms]
    if geometry.geom_type == "LinearRing":
        coords = coords[:-1]
    return [[number(x), number(y)] for x, y, *_ in coords]


def rings_of(part: Any) -> list[list[list[int | float]]]:
    """Return shell and holes of a polygon, without closing vertices."""
    return [points_of(ring) for ring in (part.exterior, *part.interiors)]


def ring_free_parts(shape: Shape) -> list[Shape]:
    """Return shapes without holes or several parts that cover the same area."""
    parts = shape.polygons
    if not parts or (len(parts) == 1 and not len(parts[0].interiors)):
        return [shape]
    pieces = [piece for part in parts for piece in _without_holes(part)]
    return [
        replace(shape, id=f"{shape.id}.{i}", kind=kind_of(piece), geometry=piece)
        for i, piece in enumerate(pieces, 1)
    ]


def _without_holes(part: Any) -> list[Any]:
    """Cut a polygon by vertical strips whose borders run through its holes."""
    import shapely

    if not len(part.interiors):
        return [part]
    left, top, right, bottom = part.bounds
    middles = {(hole.bounds[0] + hole.bounds[2]) / 2 for hole in part.interiors}
    cuts = [left - 1, *sorted(middles), right + 1]
    strips = [shapely.box(a, top - 1, b, bottom + 1) for a, b in pairwise(cuts)]
    pieces = shapely.get_parts(shapely.intersection(part, strips))
    return [piece for piece in pieces if piece.geom_type == "Polygon" and not piece.is_empty]
