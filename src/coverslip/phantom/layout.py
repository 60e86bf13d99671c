"""Where things lie on the glass: outlines of tissue, tumour and fat, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.noise import fractal, key_of, noise_raster, uniforms
from coverslip.phantom.spec import PhantomSpec

GRID = 1024
"""Longer side of the raster on which outlines are drawn."""

OUTLINES = ("tissue", "tumour", "fat", "necrosis", "fibrosis")

FAR = 1e6
"""Signed distance where there is nothing."""


@dataclass(frozen=True, slots=True)
class Distance:
    """Signed distance to an outline in level-0 pixels, inside above 0, on a coarse raster of step `step`."""

    values: NDArray[np.float32]
    step: float

    def at(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
        """Return the distance at points, shaped as `x`."""
        from scipy.ndimage import map_coordinates

        places = (np.asarray(y) / self.step - 0.5, np.asarray(x) / self.step - 0.5)
        found: NDArray[np.float32] = map_coordinates(self.values, places, order=1, mode="nearest")
        return found


@dataclass(frozen=True, slots=True)
class Layout:
    """Outlines in level-0 pixels, and how far a point is from each of them.

    Attributes
    ----------
    tissue, tumour, fat, necrosis, fibrosis
        shapely MultiPolygons with holes; tumour, fat and fibrosis lie within the tissue, necrosis within the
        tumour.
    distances
        `Distance` by the same names.
    """

    tissue: Any
    tumour: Any
    fat: Any
    necrosis: Any
    fibrosis: Any
    distances: dict[str, Distance]


def lay_out(spec: PhantomSpec, seed: int) -> Layout:
    """Draw the outlines."""
    from shapely.geometry import MultiPolygon

    step = _step(spec)
    x, y = _raster(spec, step)
    empty = MultiPolygon()
    if not spec.tissue:
        outlines = dict.fromkeys(OUTLINES, empty)
    else:
        inside = _tissue_field(spec, seed, x, y)
        tissue = _polygons(
            inside, _threshold(inside, spec.tissue_share * spec.width * spec.height / step**2), step
        )
        mask = _rasterise(tissue, inside.shape, step) > 0
        span = np.sqrt(tissue.area / max(1, spec.n_sections))
        tumour = _part(mask, spec.tumour_share, _drift(seed, "tumour", step, x.shape, span), step)
        fat_field = _drift(seed, "fat", step, x.shape, span)
        fat_field[_rasterise(tumour, inside.shape, step) > 0] = -FAR
        fat = _part(mask, spec.fatty, fat_field, step)
        outlines = {"tissue": tissue, "tumour": tissue & tumour, "fat": (tissue & fat) - tumour}
        outlines |= _spared(spec, seed, {name: _clean(shape) for name, shape in outlines.items()}, step)
    outlines = {name: _clean(shape) for name, shape in outlines.items()}
    distances = {name: Distance(_distance(shape, x.shape, step), step) for name, shape in outlines.items()}
    return Layout(**outlines, distances=distances)


def _step(spec: PhantomSpec) -> float:
    return max(1.0, max(spec.width, spec.height) / GRID)


def _raster(spec: PhantomSpec, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the raster's cell centres."""
    columns, rows = int(np.ceil(spec.width / step)), int(np.ceil(spec.height / step))
    x, y = np.meshgrid((np.arange(columns) + 0.5) * step, (np.arange(rows) + 0.5) * step)
    return x, y


def _tissue_field(spec: PhantomSpec, seed: int, x: Any, y: Any) -> NDArray[np.float32]:
    """Return a field whose highest part, cut at the right height, is the tissue."""
    key = key_of(seed, "sections")
    columns = max(1, min(spec.n_sections, round(np.sqrt(spec.n_sections * spec.width / spec.height))))
    if spec.shape == "biopsy" and spec.width >= spec.height:
        columns = max(1, min(columns, 2))
    rows = -(-spec.n_sections // columns)
    cell = (spec.width / columns, spec.height / rows)
    best = np.full(x.shape, -FAR, np.float32)
    for number in range(spec.n_sections):
        place = (number % columns, number // columns)
        best = np.maximum(best, _section(spec, uniforms(key, *_cell(place), 6)[:, 0], place, cell, (x, y)))
    edge = np.minimum(
        np.minimum(x, spec.width - x) / spec.width, np.minimum(y, spec.height - y) / spec.height
    )
    thin = spec.shape == "biopsy"
    wide, amount = (max(cell) * 0.07, 0.13) if thin else (min(cell) * 0.45, 0.16)
    rough = fractal(key + 50, x.shape, _step(spec), wide, 6) * np.float32(amount)
    field = best + rough - np.clip(0.035 - edge, 0, 1) * 60
    return _tear(spec, seed, field, (x, y), min(cell)).astype(np.float32)


def _cell(place: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([place[0]]), np.array([place[1]])


def _section(
    spec: PhantomSpec,
    u: NDArray[np.float64],
    place: tuple[int, int],
    cell: tuple[float, float],
    grid: tuple[Any, Any],
) -> NDArray[np.float32]:
    """Return 1 in the middle of one piece of tissue, falling outwards."""
    x, y = grid
    dx = x - (place[0] + 0.5 + 0.12 * (u[0] - 0.5)) * cell[0]
    dy = y - (place[1] + 0.5 + 0.12 * (u[1] - 0.5)) * cell[1]
    turn = (u[2] - 0.5) * (2.4 if spec.shape == "resection" else 0.25)
    if spec.shape == "biopsy" and cell[1] > cell[0]:
        turn += np.pi / 2
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    if spec.shape == "biopsy":
        long, wide = max(cell) * 0.43, min(max(cell) * 0.05, min(cell) * 0.3)
        across = across + (u[3] - 0.5) * 1.2 * wide * ((along / long) ** 2 * 4 - 1)
        return (1 - (along / long) ** 16 - np.abs(across) / wide).astype(np.float32)
    long, wide = cell[0] * (0.42 + 0.1 * u[3]), cell[1] * (0.42 + 0.1 * u[4])
    return (1 - np.hypot(along / long, across / wide)).astype(np.float32)


def _tear(spec: PhantomSpec, seed: int, field: Any, grid: tuple[Any, Any], size: float) -> Any:
    """Take round-ish holes out of the field."""
    x, y = grid
    count = round(spec.holes * max(1, spec.n_sections))
    u = uniforms(key_of(seed, "holes"), np.arange(count), np.zeros(count, int), 4)
    flat = np.flatnonzero(field >= np.quantile(field[::4, ::4], 1 - 0.6 * spec.tissue_share))
    for number in range(count):
        at = flat[int(u[0, number] * flat.size)]
        wide = size * (0.02 + 0.045 * u[1, number]) * (0.5 if spec.shape == "biopsy" else 1)
        rough = noise_raster(key_of(seed, f"hole {number}"), x.shape, _step(spec), wide * 1.2)
        away = np.hypot(x - x.flat[at], (y - y.flat[at]) * (0.7 + 0.8 * u[2, number])) / wide
        field = np.minimum(field, (away - 1 + 0.25 * rough) * 2 - 1)
    return field


def _threshold(field: NDArray[np.float32], cells: float) -> float:
    """Return the height above which `field` has `cells` cells."""
    return float(np.quantile(field, 1 - min(0.999, cells / field.size)))


def _drift(seed: int, name: str, step: float, size: tuple[int, int], span: float) -> NDArray[np.float32]:
    return fractal(key_of(seed, name), size, step, max(span * 0.55, 64.0), 5)


def _spared(spec: PhantomSpec, seed: int, outlines: dict[str, Any], step: float) -> dict[str, Any]:
    """Return the outlines of dead tumour and of scar."""
    from shapely.geometry import MultiPolygon

    found = {"necrosis": MultiPolygon(), "fibrosis": MultiPolygon()}
    size = _raster(spec, step)[0].shape
    masks = {name: _rasterise(shape, size, step) > 0 for name, shape in outlines.items()}
    span = 0.5 * np.sqrt(outlines["tissue"].area / max(1, spec.n_sections))
    places = {
        "necrosis": (masks["tumour"], outlines["tumour"]),
        "fibrosis": (
            masks["tissue"] & ~masks["tumour"] & ~masks["fat"],
            outlines["tissue"] - outlines["tumour"] - outlines["fat"],
        ),
    }
    for name, (mask, outline) in places.items():
        if getattr(spec, name) > 0 and mask.any():
            drift = _only(_drift(seed, name, step, size, span), mask)
            found[name] = _clean(outline) & _part(mask, getattr(spec, name), drift, step)
    return found


def _only(field: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a field that is at its lowest outside a mask."""
    return np.where(mask, field, np.float32(-FAR))


def _part(mask: NDArray[np.bool_], share: float, field: NDArray[np.float32], step: float) -> Any:
    """Return the polygons of that `share` of the mask where `field` is highest."""
    from shapely.geometry import MultiPolygon

    if share <= 0 or not mask.any():
        return MultiPolygon()
    height = float(np.quantile(field[mask], 1 - share)) if share < 1 else -FAR * 2
    return _polygons(field, height, step)


def _polygons(field: NDArray[np.float32], height: float, step: float) -> Any:
    """Return the outlines of ``field > height``, with the raster's corners cut by a finer raster."""
    from shapely.geometry import MultiPolygon, Polygon
    from shapely.ops import unary_union

    finer = 2 if step > 1 else 1
    fine = cv2.resize(np.maximum(field, height - 5), None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    over = np.pad((fine > height).astype(np.uint8), 1)
    rings, tree = cv2.findContours(over, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    limit = max(60.0, over.size * 4e-5)
    shells, holes = [], {}
    for number, (ring, (_, _, _, parent)) in enumerate(zip(rings, tree[0] if rings else (), strict=True)):
        if cv2.contourArea(ring) > limit / (1 if parent < 0 else 4):
            smooth = _smooth(ring[:, 0].astype(np.float64) - 0.5) * (step / finer)
            holes.setdefault(parent, []).append(smooth) if parent >= 0 else shells.append((number, smooth))
    shapes = [Polygon(shell, holes.get(number, ())).buffer(0) for number, shell in shells]
    return unary_union(shapes) if shapes else MultiPolygon()


def _smooth(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average each corner with its neighbours twice."""
    for _ in range(2):
        ring = (np.roll(ring, 1, 0) + 2 * ring + np.roll(ring, -1, 0)) / 4
    return ring


def _clean(shape: Any) -> Any:
    """Keep only areas, as a MultiPolygon."""
    from shapely.geometry import MultiPolygon

    parts = [
        part for part in getattr(shape, "geoms", [shape]) if part.geom_type == "Polygon" and not part.is_empty
    ]
    return MultiPolygon(parts)


def rings_of(shape: Any) -> list[NDArray[np.float64]]:
    """Return all rings (shells and holes) of an areal geometry as (n, 2) arrays."""
    parts = getattr(shape, "geoms", [shape])
    polygons = [part for part in parts if part.geom_type == "Polygon" and not part.is_empty]
    return [np.asarray(ring.coords) for part in polygons for ring in (part.exterior, *part.interiors)]


def _rasterise(shape: Any, size: tuple[int, ...], step: float) -> NDArray[np.uint8]:
    mask = np.zeros(size, np.uint8)
    rings = [np.rint((ring / step - 0.5) * 16).astype(np.int32) for ring in rings_of(shape)]
    if rings:
        cv2.fillPoly(mask, rings, 1, shift=4)
    return mask


def _distance(shape: Any, size: tuple[int, ...], step: float) -> NDArray[np.float32]:
    mask = _rasterise(shape, size, step)
    if not mask.any():
        return np.full((2, 2), -FAR, np.float32)
    padded = np.pad(mask, 1)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform(1 - padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.where(mask > 0, inside - 0.5, 0.5 - outside).astype(np.float32) * np.float32(step)
