"""Random changes of a picture that leave its class what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.models.picture_classifier import symmetry

RGB = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """What is changed at random while training, once per picture and epoch.

    Parameters
    ----------
    flips
        Any of the eight turns and mirrors of a square.
    rotate
        Share of pictures that are also turned by any angle, zoomed and shifted, the edge mirrored.
    zoom
        Largest factor by which they are enlarged or shrunk.
    shift
        Largest shift, as a share of the side.
    hed
        Spread of the stains' amounts (`coverslip.stain.augment.augment_hed`); 0 for none.
    light
        Spread of brightness and contrast.
    hue
        Spread of hue (in turns) and, ten times that, of saturation.
    blur
        Share of pictures that are blurred a little, as out of focus.
    erase
        Share of pictures of which a square is painted over.
    crop
        Side of a random square that is learned from, as a share of the picture's; 1 learns from all of it. A
        network that pools over the picture judges the whole at the same scale, and has learned from more, and
        cheaper, pictures.
    """

    flips: bool = True
    rotate: float = 0.5
    zoom: float = 1.25
    shift: float = 0.1
    hed: float = 0.05
    light: float = 0.1
    hue: float = 0.02
    blur: float = 0.1
    erase: float = 0.0
    crop: float = 1.0

    def __post_init__(self) -> None:
        most = {"rotate": 1, "shift": 0.5, "hed": 1, "light": 1, "hue": 0.5, "blur": 1, "erase": 1}
        ranges = {name: (0, high) for name, high in most.items()} | {"crop": (0.2, 1), "zoom": (1, 4)}
        wrong = [
            f"{name} {getattr(self, name)}: expected {low} to {high}"
            for name, (low, high) in ranges.items()
            if not low <= getattr(self, name) <= high
        ]
        if wrong:
            raise UsageError(f"augmentation cannot be done so: {'; '.join(wrong)}", mend="mend these")


NONE = AugmentSpec(flips=False, rotate=0, zoom=1, shift=0, hed=0, light=0, hue=0, blur=0)


def augmented(rgb: RGB, spec: AugmentSpec, rng: np.random.Generator) -> RGB:
    """Return a square picture, uint8 (side, side, 3), changed at random; smaller where the spec crops.

    Examples
    --------
    >>> square = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    >>> bool((augmented(square, NONE, np.random.default_rng(0)) == square).all())
    True
    """
    import cv2

    out = symmetry(rgb, int(rng.integers(8))) if spec.flips else rgb
    if rng.random() < spec.rotate:
        out = _moved(out, spec, rng)
    if spec.crop < 1:
        out = _cut(out, round(spec.crop * len(out)), rng)
    if spec.hed:
        from coverslip.stain.augment import augment_hed

        out = augment_hed(np.ascontiguousarray(out), rng, sigma=spec.hed)
    if spec.hue:
        out = _tinted(out, spec.hue, rng)
    if spec.light:
        gain, offset = (
            1 + rng.uniform(-spec.light, spec.light),
            255 * rng.uniform(-spec.light, spec.light) / 2,
        )
        out = cv2.LUT(out, np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8))
    if rng.random() < spec.blur:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < spec.erase:
        out = _erased(out, rng)
    return np.ascontiguousarray(out, dtype=np.uint8)


def _moved(rgb: RGB, spec: AugmentSpec, rng: np.random.Generator) -> RGB:
    import cv2

    side = rgb.shape[0]
    zoom = math.exp(rng.uniform(-1, 1) * math.log(spec.zoom))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), rng.uniform(0, 360), zoom)
    matrix[:, 2] += rng.uniform(-spec.shift, spec.shift, 2) * side
    moved = cv2.warpAffine(np.ascontiguousarray(rgb), matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _cut(rgb: RGB, side: int, rng: np.random.Generator) -> RGB:
    top, left = rng.integers(0, len(rgb) - side + 1, 2)
    return rgb[top : top + side, left : left + side]


def _tinted(rgb: RGB, spread: float, rng: np.random.Generator) -> RGB:
    import cv2

    hsv = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2HSV_FULL)
    hue, saturation = rng.uniform(-spread, spread), 1 + rng.uniform(-10 * spread, 10 * spread)
    levels = np.arange(256)
    table = np.empty((256, 3), np.uint8)
    table[:, 0] = (levels + round(hue * 256)) % 256
    table[:, 1] = np.clip(levels * saturation, 0, 255)
    table[:, 2] = levels
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _erased(rgb: RGB, rng: np.random.Generator) -> RGB:
    side = rgb.shape[0]
    size = int(side * rng.uniform(0.1, 0.4))
    x, y = rng.integers(0, side - size + 1, 2)
    out = rgb.copy()
    out[y : y + size, x : x + size] = rng.integers(0, 256, 3, dtype=np.uint8)
    return out
