"""Everything that paints a phantom needs to know, and the slow fields that vary over the tissue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.atlas import Sprites, Weave, sprites, weave
from coverslip.phantom.layout import Layout
from coverslip.phantom.noise import key_of, noise_at
from coverslip.phantom.spec import PhantomSpec

STEP = 16
"""Slow fields are worked out every so many pixels and interpolated between."""

WARP_UM = 75.0
"""How far the weave is bent, about."""


class Rect(NamedTuple):
    """Whole level-0 pixels; `x` and `y` are multiples of `STEP`, as are `width` and `height`."""

    x: int
    y: int
    width: int
    height: int

    def grown(self, margin: int) -> Rect:
        """Return it with `margin` pixels (a multiple of `STEP`) more on all sides."""
        return Rect(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)


class Coarse(NamedTuple):
    """Points every `STEP` pixels of a rect, one more on each side."""

    rect: Rect
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @classmethod
    def of(cls, rect: Rect) -> Coarse:
        """Return the points of a rect."""
        columns = rect.x + STEP * (np.arange(-1, rect.width // STEP + 1) + 0.5)
        rows = rect.y + STEP * (np.arange(-1, rect.height // STEP + 1) + 0.5)
        x, y = np.meshgrid(columns, rows)
        return cls(rect, x, y)

    def dense(self, field: NDArray[Any]) -> NDArray[np.float32]:
        """Interpolate values at the points to all pixels of the rect."""
        size = (self.rect.width + 2 * STEP, self.rect.height + 2 * STEP)
        wide = cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        return wide[STEP:-STEP, STEP:-STEP]


def smooth(value: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Rise from 0 at `low` to 1 at `high`, with flat ends."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A phantom's spec, seed and outlines, with the fields that follow from them."""

    spec: PhantomSpec
    seed: int
    layout: Layout

    @cached_property
    def weave(self) -> Weave:
        """Texture of the tissue."""
        return weave(self.spec.mpp)

    @cached_property
    def sprites(self) -> Sprites:
        """Pictures of the nuclei."""
        return sprites(self.spec.mpp)

    def px(self, microns: float) -> float:
        """Turn microns into level-0 pixels."""
        return microns / self.spec.mpp

    def key(self, stream: str) -> int:
        """Return the key of one purpose."""
        return key_of(self.seed, stream)

    def noise(self, stream: str, x: Any, y: Any, feature_um: float) -> NDArray[np.float32]:
        """Return smooth noise of `feature_um` microns at points."""
        return noise_at(self.key(stream), x, y, self.px(feature_um))

    def distance(self, name: str, x: Any, y: Any) -> NDArray[np.float32]:
        """Return the signed distance in pixels to the outline of tissue, tumour or fat; inside above 0."""
        return self.layout.distances[name].at(x, y)

    def nests(self, x: Any, y: Any) -> NDArray[np.float32]:
        """Return how deep in a nest of tumour cells points are: inside above 0, lumen above `LUMEN`."""
        wide = self.noise("nests", x, y, 130.0)
        fine = self.noise("nests fine", x, y, 48.0)
        return wide + 0.35 * fine + 0.45

    def lymph(self, x: Any, y: Any) -> NDArray[np.float32]:
        """Return how densely lymphocytes lie at points, 0 … 1."""
        near = np.exp(-np.abs(self.distance("tumour", x, y)) / self.px(90.0))
        found = smooth(self.noise("lymph", x, y, 210.0) + 0.6 * near, 1.25, 2.2)
        if self.spec.lymphocytes != 1:
            found = np.minimum(found * np.float32(self.spec.lymphocytes), np.float32(1))
        return found * (1 - self.spared(x, y)) if self.spec.necrosis or self.spec.fibrosis else found

    def spared(self, x: Any, y: Any) -> NDArray[np.float32]:
        """Return 1 where tissue is dead or scar, 0 elsewhere."""
        scar = np.maximum(self.distance("necrosis", x, y), self.distance("fibrosis", x, y))
        return (scar > 0).astype(np.float32)

    def nest(self, x: Any, y: Any) -> NDArray[np.bool_]:
        """Say which points lie in a nest of living tumour cells."""
        inside = self.distance("tumour", x, y) > self.px(8.0)
        return np.asarray(inside & (self.nests(x, y) > 0.10) & (self.distance("necrosis", x, y) <= 0))

    def heat(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Return how many times the usual share of cells is positive or in mitosis at points, 1 … `HOT`."""
        if self.spec.hot is None:
            return np.ones(np.shape(x))
        across, down, radius = self.spec.hot
        away = np.hypot(x - across * self.spec.width, y - down * self.spec.height) * self.spec.mpp
        return 1 + (HOT - 1) * (1 - smooth(away, 0.8 * radius, 1.1 * radius)).astype(np.float64)

    def patchy(self, x: Any, y: Any) -> NDArray[np.float64]:
        """Return numbers of which each value from 0 to 1 is as frequent, alike at neighbouring points."""
        from scipy.special import ndtr

        return np.asarray(ndtr(self.noise("patchy", x, y, 160.0)))

    def warp(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where in the endless weave points lie."""
        turn = self.key("turn") % 6283 / 1000
        u = np.cos(turn) * x - np.sin(turn) * y
        v = np.sin(turn) * x + np.cos(turn) * y
        bend, feature = self.px(WARP_UM), 420.0
        return u + bend * self.noise("warp x", x, y, feature), v + bend * self.noise("warp y", x, y, feature)

    def fibre_angle(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
        """Return the direction of the stroma's fibres at points, in radians."""
        near = self.px(12.0)
        u, v = self.warp(x, y)
        ux, vx = self.warp(x + near, y)
        uy, vy = self.warp(x, y + near)
        side = self.weave.side
        slope = self.weave.slope[np.floor(v).astype(int) % side, np.floor(u).astype(int) % side]
        a, b, c, d = (ux - u) / near, (uy - u) / near, (vx - v) / near, (vy - v) / near
        # the direction that the warp carries to (1, slope)
        return np.arctan2(-c + a * slope, d - b * slope)

    def textures(self, coarse: Coarse) -> list[NDArray[np.float32]]:
        """Return fibres, grain (about 0), fat walls and clefts of a rect, each (h, w) between 0 and 1."""
        u, v = self.warp(coarse.x, coarse.y)
        side = self.weave.side
        u, v = u - np.floor(u.min() / side) * side, v - np.floor(v.min() / side) * side
        flags = cv2.INTER_LINEAR
        woven = cv2.remap(
            self.weave.layers, coarse.dense(u), coarse.dense(v), flags, borderMode=cv2.BORDER_WRAP
        )
        layers = [layer.astype(np.float32) * np.float32(1 / 255) for layer in cv2.split(woven)]
        layers[1] -= np.float32(0.5)
        return layers


HOT = 3.0
"""Factor at the middle of a hot spot."""

LUMEN = 1.75
"""Where `Scene.nests` is above this, a nest of tumour cells has a lumen."""
