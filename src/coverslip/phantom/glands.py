"""Glands and vessels: at most one per cell of a lattice, so that any place finds its own without the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.noise import uniforms
from coverslip.phantom.scene import Scene

LATTICE_UM = 118.0
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
    ]
)
"""One gland or vessel: centre and half axes in level-0 pixels, its waviness, lumen as a share of the radius."""


def glands_near(scene: Scene, left: float, top: float, right: float, bottom: float) -> NDArray[np.void]:
    """Return the glands and vessels that may touch a box, as a `GLAND` array."""
    size = scene.px(LATTICE_UM)
    columns = np.arange(int(np.floor(left / size)) - 1, int(np.floor(right / size)) + 2)
    rows = np.arange(int(np.floor(top / size)) - 1, int(np.floor(bottom / size)) + 2)
    column, row = (part.ravel() for part in np.meshgrid(columns, rows))
    return _of_cells(scene, column, row)


def _of_cells(scene: Scene, column: NDArray[Any], row: NDArray[Any]) -> NDArray[np.void]:
    u = uniforms(scene.key("glands"), column, row, 16)
    size = scene.px(LATTICE_UM)
    found = np.zeros(column.size, GLAND)
    found["column"], found["row"], found["angle"] = column, row, np.pi * u[0]
    middle = (column + 0.5 + 0.5 * (row % 2)) * size, (row + 0.5) * size
    zone = scene.noise("gland zones", *middle, 800.0)
    found["vessel"] = (u[1] < 0.07) | (zone < _height(scene.spec.glandular))
    radius = np.where(found["vessel"], 0.09 + 0.14 * u[2] ** 2, 0.24 + 0.15 * u[2]) * size
    found["a"], found["b"] = radius * (1 + 0.22 * u[3]), radius * (1 - 0.25 * u[3])
    room = np.maximum(0.5 * size - found["a"] * 1.2, 0)
    found["x"], found["y"] = middle[0] + (2 * u[4] - 1) * room, middle[1] + (2 * u[5] - 1) * room
    found["wave"] = (u[6:9] * np.array([[0.10], [0.08], [0.045]])).T
    found["phase"] = (u[9:12] * 2 * np.pi).T
    found["lumen"] = np.where(found["vessel"], 0.74, 0.26 + 0.22 * u[12])
    wanted = np.where(found["vessel"], u[13] < 0.13, u[13] < 0.9)
    return found[wanted & _fits(scene, found)]


def _height(share: float) -> float:
    """Return the noise above which `share` of the area lies."""
    from scipy.special import ndtri

    return float(ndtri(np.clip(1 - share, 1e-9, 1 - 1e-9)))


def _fits(scene: Scene, glands: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which lie wholly in tissue, away from tumour and fat."""
    x, y, reach = glands["x"], glands["y"], glands["a"] * 1.25
    inside = scene.distance("tissue", x, y) > reach + scene.px(6)
    away = (scene.distance("tumour", x, y) < -reach) & (scene.distance("fat", x, y) < -reach)
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


def depth(gland: np.void, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Return distance from the centre as a share of the way to the outline: below 1 inside."""
    cos, sin = np.cos(gland["angle"]), np.sin(gland["angle"])
    along = (cos * (x - gland["x"]) + sin * (y - gland["y"])) / gland["a"]
    across = (cos * (y - gland["y"]) - sin * (x - gland["x"])) / gland["b"]
    return np.asarray(np.hypot(along, across) / shape_at(gland, np.arctan2(across, along)))
