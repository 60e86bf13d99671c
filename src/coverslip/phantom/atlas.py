"""Pictures made once and used everywhere: the weave of tissue, and nuclei in all shapes and directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.noise import periodic

CLASSES = ("epithelial", "tumour", "lymphocyte", "stromal", "endothelial")
"""Nucleus classes; their number is the class in truth."""

VARIANTS, ANGLES, VERTICES = 20, 24, 32
"""Shapes per class, directions of each, and corners of an outline."""

UNIT = 80.0
"""Sprites are uint8: this many steps are a concentration of 1."""

WEAVE_UM = 512.0
"""Side of the periodic weave."""


@dataclass(frozen=True, slots=True)
class Weave:
    """The periodic texture of tissue.

    Attributes
    ----------
    layers
        Array (side, side, 4) uint8: fibres, fine grain, walls of fat cells, clefts.
    slope
        Array (side, side) float32: direction dy/dx of the fibres.
    """

    layers: NDArray[np.uint8]
    slope: NDArray[np.float32]

    @property
    def side(self) -> int:
        """Width and height in pixels."""
        return self.layers.shape[0]


@lru_cache(maxsize=4)
def weave(mpp: float) -> Weave:
    """Return the weave at a resolution."""
    side = int(np.clip(round(WEAVE_UM / mpp / 32) * 32, 128, 4096))
    px = side / WEAVE_UM  # pixels per micron
    sway = periodic(1, side, (34 * px, 60 * px)) * np.float32(5.5 * px)
    sway += periodic(7, side, (90 * px, 90 * px)) * np.float32(12 * px)
    slope = -(np.roll(sway, -1, 1) - np.roll(sway, 1, 1)) / 2
    slope /= np.maximum(1 + (np.roll(sway, -1, 0) - np.roll(sway, 1, 0)) / 2, 0.3)
    fine = _swayed(periodic(2, side, (15 * px, max(1.0 * px, 0.6))), sway)
    bundles = _swayed(periodic(3, side, (30 * px, 4.6 * px)), sway)
    grain = periodic(4, side, (max(1.6 * px, 0.6),) * 2) + 0.7 * periodic(5, side, (5 * px,) * 2)
    cleft = _swayed(periodic(6, side, (20 * px, 2.6 * px)), sway)
    layers = np.dstack(
        [
            _bytes(0.5 * fine + 0.7 * bundles + 0.35 * grain, 128, 50),
            _bytes(grain, 128, 40),
            _fat_walls(side, px),
            _bytes(cleft - 1.2, 0, 260),
        ]
    )
    return Weave(np.ascontiguousarray(layers), slope.astype(np.float32))


def _swayed(field: NDArray[np.float32], sway: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shift each pixel of a periodic field by `sway` in y."""
    side = field.shape[0]
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    return cv2.remap(field, x, y + sway, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _bytes(field: NDArray[np.float32], middle: float, gain: float) -> NDArray[np.uint8]:
    return np.clip(field * gain + middle, 0, 255).astype(np.uint8)


def _fat_walls(side: int, px: float) -> NDArray[np.uint8]:
    """Return thin walls between round cells of about 50 microns: where two cell centres are equally far."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(11)
    cells = 10
    grid = (np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2) + 0.5).astype(float)
    grid[:, 0] += 0.5 * (grid[:, 1].astype(int) % 2)
    centres = (grid + rng.uniform(-0.3, 0.3, grid.shape)) % cells
    small = 512
    steps = (np.arange(small) + 0.5) * cells / small
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    near = cKDTree(centres, boxsize=cells).query(points, k=2)[0]
    gap = (near[:, 1] - near[:, 0]).reshape(small, small).astype(np.float32)
    wide = cv2.resize(
        np.pad(gap, 1, mode="wrap"), None, fx=side / small, fy=side / small, interpolation=cv2.INTER_CUBIC
    )
    pad = (wide.shape[0] - side) // 2
    gap_um = wide[pad : pad + side, pad : pad + side] * np.float32(side / cells / px)
    return _bytes(np.exp(-((np.maximum(gap_um, 0) / 2.6) ** 2)), 0, 255)


@dataclass(frozen=True, slots=True)
class Look:
    """How the nuclei of one class look: sizes in microns, the rest between 0 and 1."""

    radius: tuple[float, float]
    ratio: tuple[float, float]
    uneven: float
    amount: tuple[float, float]
    clumps: float
    rim: float
    nucleolus: float


LOOKS = {
    "epithelial": Look((3.4, 4.3), (0.48, 0.66), 0.04, (0.72, 1.02), 0.20, 0.18, 0.2),
    "tumour": Look((3.6, 6.2), (0.60, 0.92), 0.11, (0.45, 0.95), 0.36, 0.42, 0.8),
    "lymphocyte": Look((2.6, 3.3), (0.84, 1.00), 0.05, (1.05, 1.40), 0.24, 0.05, 0.0),
    "stromal": Look((4.4, 7.8), (0.20, 0.36), 0.07, (0.75, 1.20), 0.16, 0.10, 0.0),
    "endothelial": Look((4.4, 6.0), (0.24, 0.34), 0.05, (0.85, 1.20), 0.12, 0.08, 0.0),
}


MITOSIS = Look((3.6, 5.0), (0.26, 0.42), 0.16, (1.75, 2.2), 0.25, 0.0, 0.0)
"""A plate of chromosomes: long, dark, with an uneven edge and no nucleolus."""

MITOSES = 8
"""Shapes of mitoses; their sprites stand after those of the classes."""

FIRST_MITOSIS = len(CLASSES) * VARIANTS * ANGLES
"""Number of the first sprite of a mitosis."""


@dataclass(frozen=True)
class Sprites:
    """Pre-drawn nuclei, numbered ``(class · VARIANTS + variant) · ANGLES + angle``, then mitoses.

    Attributes
    ----------
    pictures, masks
        Per sprite an odd-sided square: haematoxylin (uint8, see `UNIT`) and bool.
    outlines
        Array (n, VERTICES, 2) of corners relative to the centre, in pixels.
    axes
        Array (n, 2) of the half axes, in pixels.
    reach
        Half the side of the largest picture.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    masks: tuple[NDArray[np.bool_], ...]
    outlines: NDArray[np.float32]
    axes: NDArray[np.float32]
    reach: int

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean amount of haematoxylin within each sprite's outline."""
        pairs = zip(self.pictures, self.masks, strict=True)
        return np.array([picture[mask].mean() / UNIT for picture, mask in pairs])


@lru_cache(maxsize=4)
def sprites(mpp: float) -> Sprites:
    """Return the nuclei at a resolution."""
    pictures, masks, outlines, axes = [], [], [], []
    looks = [(LOOKS[name], VARIANTS) for name in CLASSES]
    for number, (look, variants) in enumerate([*looks, (MITOSIS, MITOSES)]):
        rng = np.random.default_rng(100 + number)
        for _ in range(variants):
            outline, half, picture = _nucleus(look, mpp, rng)
            for turn in range(ANGLES):
                angle = 2 * np.pi * turn / ANGLES
                turned = outline @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
                outlines.append(turned)
                axes.append(half)
                masks.append(_fill(turned, half[0]))
                pictures.append(_turn(picture, angle, masks[-1]))
    reach = max(picture.shape[0] for picture in pictures) // 2
    corners, halves = np.array(outlines, np.float32), np.array(axes, np.float32)
    return Sprites(tuple(pictures), tuple(masks), corners, halves, reach)


FINE = 3
"""Nuclei are drawn this much larger and then averaged down."""


def _nucleus(
    look: Look, mpp: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], tuple[float, float], NDArray[np.float32]]:
    """Draw one nucleus lying along x: outline, half axes (both in pixels), picture `FINE` times as large."""
    major = rng.uniform(*look.radius) / mpp
    minor = max(major * rng.uniform(*look.ratio), 0.8)
    theta = np.arange(VERTICES) * 2 * np.pi / VERTICES
    wobble = sum(rng.normal(0, look.uneven / k) * np.cos(k * theta + rng.uniform(0, 7)) for k in (2, 3, 4, 5))
    outline = np.stack([major * np.cos(theta), minor * np.sin(theta)], -1) * (1 + wobble)[:, None]
    half = int(np.ceil(major * 1.45 + 2)) * FINE
    size = 2 * half + FINE
    mask = np.zeros((size, size), np.uint8)
    corners = np.rint((outline * FINE + size / 2 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5) / (FINE / mpp)  # microns
    chromatin = cv2.GaussianBlur(
        rng.standard_normal(mask.shape).astype(np.float32), (0, 0), 0.55 / mpp * FINE
    )
    chromatin /= chromatin.std() + 1e-6
    body = 1 + look.clumps * chromatin + look.rim * np.exp(-((depth - 0.4) ** 2) / 0.25)
    if rng.random() < look.nucleolus:
        spot = rng.uniform(-0.35, 0.35, 2) * (major, minor) * FINE + size / 2
        y, x = np.mgrid[:size, :size]
        body += 0.7 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * (0.75 / mpp * FINE) ** 2))
    picture = np.clip(body, 0.35, 2.2) * rng.uniform(*look.amount) * (mask / 255.0)
    return outline, (major, minor), picture.astype(np.float32)


def _fill(outline: NDArray[np.float64], major: float) -> NDArray[np.bool_]:
    """Return the pixels that lie mostly within the outline, on an odd-sided square about the centre."""
    half, fine = int(np.ceil(major * 1.3 + 1)), 8
    side = 2 * half + 1
    mask = np.zeros((side * fine, side * fine), np.uint8)
    corners = np.rint((outline + half + 0.5) * fine - 0.5).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255)
    return np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA) > 127)


def _turn(picture: NDArray[np.float32], angle: float, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Turn and shrink a picture onto the square of `mask`, softened as by a lens."""
    size, side = picture.shape[0], mask.shape[0]
    soft = cv2.GaussianBlur(picture, (0, 0), 0.55 * FINE)
    middle = size / 2 - 0.5
    matrix = cv2.getRotationMatrix2D((middle, middle), -np.degrees(angle), 1 / FINE)
    matrix[:, 2] += side // 2 - middle
    small = cv2.warpAffine(soft, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.clip(small * UNIT, 0, 255).astype(np.uint8)
