"""Glands and vessels: at most one per cell of a lattice, so that any place finds its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.noise import uniforms
from coverslip.phantom.scene import Scene

LATTICE_UM = 122.0
SWAY_UM = 75.0
"""How far the lattice is bent, so that its rows do not show."""

CORNERS = 48
WAVES = (2, 3, 5)

GLAND = np.dtype(
    [
        ("column", "i4"),
        ("row", "i4"),
        ("x", "f8"),
        ("y", "f8"),
        ("a", "f8"),
        ("b", "f8"),
        ("angle", "f8"),
        ("wave", "f8", (3,)),
        ("phase", "f8", (3,)),
        ("lumen", "f8"),
        ("vessel", "?"),
        ("rank", "f8"),
        ("pattern", "u1"),
    ]
)
"""One gland or vessel: centre and half axes in level-0 pixels, waviness, lumen as a share of the radius.

`pattern` is Gleason's: `ACINAR` with one lumen, `CRIBRIFORM` with several small ones, `SOLID` with none; 0
for a vessel.
"""

ACINAR, CRIBRIFORM, SOLID = 3, 4, 5

HOLES = 6
"""Lumens of a cribriform gland: one in the middle and the others around it."""


def glands_near(scene: Scene, left: float, top: float, right: float, bottom: float) -> NDArray[np.void]:
    """Return the glands and vessels that may touch a box, as a `GLAND` array."""
    size = scene.px(LATTICE_UM)
    reach = scene.px(2 * SWAY_UM) + 3 * size
    columns = np.arange(int(np.floor((left - reach) / size)), int(np.floor((right + reach) / size)) + 1)
    rows = np.arange(int(np.floor((top - reach) / size)), int(np.floor((bottom + reach) / size)) + 1)
    column, row = (part.ravel() for part in np.meshgrid(columns, rows))
    found = _apart(_of_cells(scene, column, row), size)
    wide = 1.3 * found["a"]
    across = (found["x"] + wide > left) & (found["x"] - wide < right)
    return found[across & (found["y"] + wide > top) & (found["y"] - wide < bottom)]


def _of_cells(scene: Scene, column: NDArray[Any], row: NDArray[Any]) -> NDArray[np.void]:
    u = uniforms(scene.key("glands"), column, row, 16)
    size = scene.px(LATTICE_UM)
    found = np.zeros(column.size, GLAND)
    found["column"], found["row"], found["angle"] = column, row, np.pi * u[0]
    middle = (column + 0.5 + 0.5 * (row % 2)) * size, (row + 0.5) * size
    zone = scene.noise("gland zones", *middle, 800.0)
    found["vessel"] = (u[1] < 0.07) | (zone < _height(scene.spec.glandular))
    radius = np.where(found["vessel"], 0.09 + 0.14 * u[2] ** 2, 0.20 + 0.17 * u[2]) * size
    found["a"], found["b"] = radius * (1 + 0.22 * u[3]), radius * (1 - 0.25 * u[3])
    room = np.maximum(0.5 * size - found["a"] * 1.2, 0)
    sway = [
        np.clip(scene.noise(f"gland sway {axis}", *middle, 520.0), -2, 2) * scene.px(SWAY_UM) for axis in "xy"
    ]
    found["x"] = middle[0] + (2 * u[4] - 1) * room + sway[0]
    found["y"] = middle[1] + (2 * u[5] - 1) * room + sway[1]
    found["wave"] = (u[6:9] * np.array([[0.10], [0.08], [0.045]])).T
    found["phase"] = (u[9:12] * 2 * np.pi).T
    found["lumen"] = np.where(found["vessel"], 0.74, 0.26 + 0.22 * u[12])
    found["rank"] = u[14]
    shares = (1.0, 0.0, 0.0) if scene.spec.patterns is None else scene.spec.patterns
    pattern = ACINAR + np.searchsorted(np.cumsum(shares)[:2], u[15], side="right")
    found["pattern"] = np.where(found["vessel"], 0, pattern)
    found["lumen"] = np.where(found["pattern"] == SOLID, 0.0, found["lumen"])
    if scene.spec.patterns is not None:  # grown glands are larger than normal ones
        found["a"] *= np.where(found["vessel"], 1, 1.12)
        found["b"] *= np.where(found["vessel"], 1, 1.12)
    wanted = np.where(found["vessel"], u[13] < 0.13, u[13] < 0.86)
    return found[wanted & _fits(scene, found)]


def _apart(glands: NDArray[np.void], size: float) -> NDArray[np.void]:
    """Leave out those that overlap one of lower rank, kept or not: a rule that needs no third gland."""
    from scipy.spatial import cKDTree

    if not glands.size:
        return glands
    places = np.stack([glands["x"], glands["y"]], -1)
    one, other = cKDTree(places).query_pairs(1.1 * size, output_type="ndarray").reshape(-1, 2).T
    radius = 0.55 * (glands["a"] + glands["b"])
    close = np.linalg.norm(places[one] - places[other], axis=1) < radius[one] + radius[other]
    higher = np.where(glands["rank"][one] > glands["rank"][other], one, other)
    return np.delete(glands, np.unique(higher[close]))


def _height(share: float) -> float:
    """Return the noise above which `share` of the area lies."""
    from scipy.special import ndtri

    return float(ndtri(np.clip(1 - share, 1e-9, 1 - 1e-9)))


def _fits(scene: Scene, glands: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which lie wholly in tissue, away from tumour and fat."""
    x, y, reach = glands["x"], glands["y"], glands["a"] * 1.25
    inside = scene.distance("tissue", x, y) > reach + scene.px(6)
    away = (scene.distance("tumour", x, y) < -reach) & (scene.distance("fat", x, y) < -reach)
    if scene.spec.fibrosis:
        away &= scene.distance("fibrosis", x, y) < -reach
    fits: NDArray[np.bool_] = inside & away
    return fits


def shape_at(gland: np.void, theta: NDArray[Any]) -> NDArray[np.float64]:
    """Return the waviness of the outline, about 1, at angles."""
    waves = sum(gland["wave"][i] * np.cos(k * theta + gland["phase"][i]) for i, k in enumerate(WAVES))
    return 1 + np.asarray(waves)


def at_angle(gland: np.void, theta: NDArray[Any], share: float | NDArray[Any] = 1.0) -> NDArray[np.float64]:
    """Return points (n, 2) at `share` of the way from centre to outline."""
    rho = shape_at(gland, theta) * share
    along, across = gland["a"] * np.cos(theta) * rho, gland["b"] * np.sin(theta) * rho
    cos, sin = np.cos(gland["angle"]), np.sin(gland["angle"])
    return np.stack([gland["x"] + cos * along - sin * across, gland["y"] + sin * along + cos * across], -1)


def outline(gland: np.void, share: float = 1.0) -> NDArray[np.float64]:
    """Return the outline, or with `share` below 1 a smaller one within, as (CORNERS, 2)."""
    return at_angle(gland, np.arange(CORNERS) * 2 * np.pi / CORNERS, share)


def lumens(gland: np.void, share: float = 1.0) -> list[NDArray[np.float64]]:
    """Return the outlines (n, 2) of a gland's lumens, at `share` of their size."""
    if gland["pattern"] == SOLID:
        return []
    if gland["pattern"] != CRIBRIFORM:
        return [outline(gland, gland["lumen"] * share)]
    turn = 2 * np.pi * np.arange(HOLES - 1) / (HOLES - 1) + gland["phase"][0]
    middles = np.concatenate([at_angle(gland, turn, 0.52), [[gland["x"], gland["y"]]]])
    radius = 0.155 * (gland["a"] + gland["b"]) / 2 * share
    theta = np.arange(20) * 2 * np.pi / 20
    circle = radius * np.stack([np.cos(theta), np.sin(theta)], -1)
    return [middle + circle for middle in middles]


def depth(gland: np.void, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return distance from the centre as a share of the way to the outline: below 1 inside."""
    cos, sin = np.cos(gland["angle"]), np.sin(gland["angle"])
    along = (cos * (x - gland["x"]) + sin * (y - gland["y"])) / gland["a"]
    across = (cos * (y - gland["y"]) - sin * (x - gland["x"])) / gland["b"]
    return np.asarray(np.hypot(along, across) / shape_at(gland, np.arctan2(across, along)))


def goblets(scene: Scene, gland: np.void) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mucin of a gland's goblet cells as centres (n, 2) and radii (n,), in level-0 pixels."""
    radius = (gland["a"] + gland["b"]) / 2
    count = int(2 * np.pi * radius * 0.62 / scene.px(11.0))
    numbers = np.arange(count)
    u = uniforms(scene.key("goblets"), np.full(count, gland["column"]), gland["row"] * 256 + numbers, 4)
    theta = 2 * np.pi * (numbers + 0.6 * u[0]) / max(count, 1)
    base, apex = 1 - scene.px(11.0) / radius, gland["lumen"] * 1.1
    share = np.maximum(base - (base - apex) * (0.25 + 0.4 * u[1]), apex)
    wide = np.minimum(scene.px(2.6 + 2.6 * u[2]), np.maximum(base - apex, 0) * radius * 0.55)
    kept = (u[3] < 0.72) & (wide > scene.px(1.2))
    return at_angle(gland, theta, share)[kept], wide[kept]
