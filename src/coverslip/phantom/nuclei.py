"""Nuclei, block by block: each follows from the seed and its own place only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.atlas import ANGLES, CLASSES, FIRST_MITOSIS, MITOSES, VARIANTS
from coverslip.phantom.glands import SOLID, at_angle, depth, glands_near
from coverslip.phantom.noise import uniforms
from coverslip.phantom.scene import LUMEN, Scene

BLOCK = 512
"""Side in pixels of the blocks in which nuclei are listed and pixels are painted."""

NUCLEUS = np.dtype(
    [("x", "f8"), ("y", "f8"), ("kind", "u1"), ("sprite", "i4"), ("positive", "?"), ("level", "u1")]
)
"""One nucleus: centre in level-0 pixels, class (index into `CLASSES`), sprite, how far DAB-positive.

`level` is 0 for a negative one; 1, 2 or 3 (weak, moderate, strong) for a positive one, 2 where the spec knows
no levels. A tumour nucleus in mitosis has a sprite from `FIRST_MITOSIS` on.
"""

SPACING_UM = {"tumour": 10.6, "lymphocyte": 7.2, "stromal": 14.0}
MOST = 220
"""Nuclei round a gland at most."""


def nuclei_of(scene: Scene, column: int, row: int) -> NDArray[np.void]:
    """Return the nuclei whose centres lie in one block, as a `NUCLEUS` array in a fixed order."""
    left, top = column * BLOCK, row * BLOCK
    middle = np.array([left + BLOCK / 2]), np.array([top + BLOCK / 2])
    if scene.distance("tissue", *middle)[0] < -BLOCK:
        return np.zeros(0, NUCLEUS)
    glands = glands_near(scene, left, top, left + BLOCK, top + BLOCK)
    parts = [_round_gland(scene, gland) for gland in glands]
    parts += [_spread(scene, name, (left, top), glands) for name in SPACING_UM]
    found = np.concatenate(parts)
    inside = (
        (found["x"] >= left) & (found["x"] < left + BLOCK) & (found["y"] >= top) & (found["y"] < top + BLOCK)
    )
    found = found[inside]
    spec = scene.spec
    on_slide = (found["x"] < spec.width) & (found["y"] < spec.height) & (found["x"] >= 0) & (found["y"] >= 0)
    return found[on_slide & (scene.distance("tissue", found["x"], found["y"]) > scene.px(5.0))]


def _make(scene: Scene, kind: str, xy: Any, angle: Any, u: NDArray[np.float64]) -> NDArray[np.void]:
    """Return nuclei at whole pixels; `u` (2, n) chooses shape and DAB."""
    x, y = xy
    found = np.zeros(np.size(x), NUCLEUS)
    found["x"], found["y"] = np.floor(x) + 0.5, np.floor(y) + 0.5
    number = CLASSES.index(kind)
    turn = np.rint(np.asarray(angle) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    found["kind"] = number
    found["sprite"] = (number * VARIANTS + (u[0] * VARIANTS).astype(int)) * ANGLES + turn
    share = scene.spec.positive_share * (1.0 if kind == "tumour" else 0.1)
    if scene.spec.marker == "membrane" and kind != "tumour":
        share = 0.0
    chance = u[1]
    if scene.spec.marker == "membrane":  # neighbours are alike: a membrane is both cells'
        chance = scene.patchy(found["x"], found["y"])
    shares = np.minimum(share * scene.heat(found["x"], found["y"]), 1.0)
    found["positive"] = (chance < shares) & (scene.spec.stain == "ihc")
    found["level"] = np.where(found["positive"], _level(scene, chance / np.maximum(shares, 1e-9)), 0)
    return found


def _level(scene: Scene, u: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return how strongly positive cells are, 1 to 3; `u` (n,) chooses."""
    if scene.spec.levels is None:
        return np.full(u.shape, 2, np.uint8)
    return (1 + np.searchsorted(np.cumsum(scene.spec.levels)[:2], u, side="right")).astype(np.uint8)


def _round_gland(scene: Scene, gland: np.void) -> NDArray[np.void]:
    """Return the ring of nuclei at a gland's base, or a vessel's lining."""
    around = np.pi * (gland["a"] + gland["b"])
    count = int(min(MOST, around / scene.px(11.0 if gland["vessel"] else 4.9)))
    numbers = np.arange(count)
    cell = np.full(count, gland["column"]), gland["row"] * MOST + numbers
    u = uniforms(scene.key("ring"), *cell, 6)
    theta = 2 * np.pi * (numbers + 0.5 * u[0]) / max(count, 1)
    radius = (gland["a"] + gland["b"]) / 2
    if gland["vessel"]:
        xy = at_angle(gland, theta, 0.86)
        ahead = at_angle(gland, theta + 0.05, 0.86)
        angle = np.arctan2(*(ahead - xy).T[::-1])
        return _make(scene, "endothelial", xy.T, angle, u[1:3])
    xy = at_angle(gland, theta, 1 - scene.px(5.2 + 3.4 * u[3] ** 2) / radius)
    angle = np.arctan2(xy[:, 1] - gland["y"], xy[:, 0] - gland["x"]) + 0.5 * (u[4] - 0.5)
    ring = _make(scene, "epithelial", xy.T, angle, u[1:3])[u[5] < 0.95]
    return np.concatenate([ring, *_within_gland(scene, gland)]) if gland["pattern"] == SOLID else ring


def _within_gland(scene: Scene, gland: np.void) -> list[NDArray[np.void]]:
    """Return the nuclei that fill a solid gland, ring by ring."""
    radius = (gland["a"] + gland["b"]) / 2
    rings = []
    share, number = 1 - scene.px(15.0) / radius, 0
    while share > 0.12:
        count = max(1, int(2 * np.pi * radius * share / scene.px(8.5)))
        cell = np.full(count, gland["column"]), gland["row"] * MOST + np.arange(count)
        u = uniforms(scene.key(f"solid {number}"), *cell, 4)
        theta = 2 * np.pi * (np.arange(count) + 0.4 * u[0]) / count
        rings.append(_make(scene, "epithelial", at_angle(gland, theta, share).T, 2 * np.pi * u[3], u[1:3]))
        share, number = share - scene.px(9.0) / radius, number + 1
    return rings


def _spread(scene: Scene, kind: str, corner: tuple[int, int], glands: NDArray[np.void]) -> NDArray[np.void]:
    """Return nuclei of one class strewn over a block on a shaken lattice."""
    size = scene.px(SPACING_UM[kind])
    columns = np.arange(int(corner[0] / size) - 1, int((corner[0] + BLOCK) / size) + 2)
    rows = np.arange(int(corner[1] / size) - 1, int((corner[1] + BLOCK) / size) + 2)
    column, row = (part.ravel() for part in np.meshgrid(columns, rows))
    u = uniforms(scene.key(kind), column, row, 6)
    x = (column + 0.5 * (row % 2) + 0.5 + 0.62 * (u[0] - 0.5)) * size
    y = (row + 0.5 + 0.62 * (u[1] - 0.5)) * size
    kept = (u[2] < _density(scene, kind, x, y)) & _outside(glands, x, y)
    x, y, u = x[kept], y[kept], u[:, kept]
    angle = 2 * np.pi * u[3]
    if kind == "stromal":
        angle = scene.fibre_angle(x, y) + 0.5 * (u[3] - 0.5)
    found = _make(scene, kind, (x, y), angle, u[4:6])
    if kind == "tumour" and scene.spec.mitoses:
        u = uniforms(scene.key("mitoses"), column[kept], row[kept], 3)
        dividing = u[0] < scene.spec.mitoses * scene.heat(found["x"], found["y"])
        shape = (u[1] * MITOSES).astype(int) * ANGLES + (u[2] * ANGLES).astype(int)
        found["sprite"] = np.where(dividing, FIRST_MITOSIS + shape, found["sprite"])
    return found


def _density(scene: Scene, kind: str, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float32]:
    """Return the chance that a lattice place holds a nucleus of this class."""
    nests = scene.nests(x, y)
    nest = scene.nest(x, y)
    in_fat = scene.distance("fat", x, y) > 0
    if kind == "tumour":
        return np.where(nest & (nests < LUMEN - 0.12), 0.93, 0.0).astype(np.float32)
    lymph = scene.lymph(x, y)
    if kind == "lymphocyte":
        bare = in_fat | (scene.distance("necrosis", x, y) > 0)
        return np.where(bare, 0, np.where(nest, 0.06 * lymph + 0.008, 0.92 * lymph + 0.012)).astype(
            np.float32
        )
    crowd = 0.42 + 0.18 * scene.noise("stromal crowd", x, y, 90.0)
    crowd = np.where(scene.distance("fibrosis", x, y) > 0, 0.3 * crowd, crowd)
    bare = in_fat | (scene.distance("necrosis", x, y) > 0)
    return np.where(nest | bare, 0.0, crowd * (1 - lymph)).astype(np.float32)


def _outside(glands: NDArray[np.void], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which points lie outside all glands, with a little room."""
    outside = np.ones(x.size, bool)
    for gland in glands:
        near = np.flatnonzero(np.abs(x - gland["x"]) + np.abs(y - gland["y"]) < 2.2 * gland["a"])
        outside[near[depth(gland, x[near], y[near]) < 1.08]] = False
    return outside
