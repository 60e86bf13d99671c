"""Crops as the network may meet them: any scale, turn, stain, dye, depth and focus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coverslip.models.nuclei.intensity import levels, resized, scaled

DIAMETER = 22.0
"""Pixels of the median nucleus in most crops; pictures are brought to it before they are judged."""

ON_NUCLEUS = 0.8
"""Share of the crops that are laid around a nucleus, so that few are empty."""

AS_SEEN = 0.6
"""Share of the crops whose levels are set anew after their colours were changed, as a picture's are."""

WIDELY, WIDE = 0.25, (8.0, 80.0)
"""Share of the crops whose nuclei may have any size in these bounds, so that sizes can be told."""


@dataclass(frozen=True)
class Picture:
    """A training picture.

    Attributes
    ----------
    pixels
        float32 (h, w, 3), scaled by `coverslip.models.nuclei.intensity`.
    labels
        int32 (h, w).
    kind
        ``"fluorescence"``, ``"histology"`` or ``"brightfield"``.
    diameter
        Median of the nuclei's, in pixels, of circles of equal area.
    centres
        (n, 2) as (x, y), of the nuclei.
    """

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]
    kind: str
    diameter: float
    centres: NDArray[np.float64]


@dataclass(frozen=True)
class Crop:
    """A crop of a picture with its labels; both with the same margin around."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]
    inside: NDArray[np.bool_]


def crop(picture: Picture, size: int, rng: np.random.Generator) -> Crop:
    """Cut a randomly scaled, turned, mirrored and sheared crop of `size` pixels a side."""
    import cv2

    scale = _diameter(rng) / picture.diameter
    scale = max(scale, 0.5 * size / min(picture.labels.shape))
    pixels = picture.pixels
    if scale < 0.7:
        pixels = resized(pixels, scale)
    matrix = _placement(picture, scale, size, rng)
    of_pixels = matrix @ np.diag([picture.labels.shape[1] / pixels.shape[1]] * 2 + [1.0])
    inside = cv2.warpAffine(
        np.ones(picture.labels.shape, np.uint8), matrix[:2], (size, size), flags=cv2.INTER_NEAREST
    )
    labels = cv2.warpAffine(
        picture.labels.astype(np.float32), matrix[:2], (size, size), flags=cv2.INTER_NEAREST
    )
    flags = cv2.INTER_CUBIC if scale > 1.3 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(
        pixels, of_pixels[:2], (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return Crop(np.asarray(warped, np.float32), labels.astype(np.int32), inside > 0)


def _diameter(rng: np.random.Generator) -> float:
    if rng.random() < WIDELY:
        return float(np.exp(rng.uniform(*np.log(WIDE))))
    return float(DIAMETER * np.exp(rng.normal(0, 0.28)))


def _placement(picture: Picture, scale: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix from the picture to the crop."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.normal(0, 0.06, 2)) * (1, rng.choice([-1, 1]))
    shear = np.array([[1, rng.normal(0, 0.06)], [0, 1]])
    linear = scale * turn @ shear @ np.diag(stretch)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = size / 2 - linear @ _centre(picture, size / scale, rng)
    return matrix


def _centre(picture: Picture, side: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the (x, y) of the picture around which a crop that covers `side` of its pixels is laid."""
    extent = np.array(picture.labels.shape[::-1], float)
    near = np.minimum(0.42 * side, extent / 2)
    if len(picture.centres) and rng.random() < ON_NUCLEUS:
        centre = picture.centres[rng.integers(len(picture.centres))] + rng.uniform(-0.35, 0.35, 2) * side
    else:
        centre = rng.uniform(0, 1, 2) * extent
    return np.asarray(np.clip(centre, near, extent - near), np.float64)


def recolour(pixels: NDArray[np.float32], kind: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return `pixels` (h, w, 3) in another stain, dye, light or focus."""
    out = pixels
    if kind == "fluorescence":
        out = _dye(out, rng)
    elif rng.random() < 0.8:
        out = _stain(out, rng)
    if rng.random() < 0.2:
        out = np.repeat((out @ rng.dirichlet((2, 2, 2)).astype(np.float32))[..., None], 3, axis=2)
    if rng.random() < 0.1:
        out = out[..., rng.permutation(3)]
    if rng.random() < 0.12:
        out = 1 - out
    if rng.random() < AS_SEEN:
        out = scaled(out, levels(out))
    return _optics(out, rng)


def _stain(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change amounts and hues of the stains: a random mix in optical density."""
    density = -np.log(np.clip(pixels, 0.02, 1.5) + 0.02)
    mix = np.eye(3) + rng.normal(0, 0.13, (3, 3))
    strength = np.exp(rng.normal(0, 0.25))
    haze = rng.normal(0, 0.08, 3)
    mixed = density @ np.float32(mix * strength) + np.float32(haze)
    return np.asarray(np.clip(np.exp(-mixed) - 0.02, -0.2, 1.5), np.float32)


def _dye(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast and background; sometimes show the dye in a colour."""
    import cv2

    out = np.sign(pixels) * np.abs(pixels) ** np.float32(np.exp(rng.normal(-0.1, 0.35)))
    if rng.random() < 0.3:
        coarse = rng.normal(0, 0.06, (4, 4)).astype(np.float32)
        out = out + cv2.resize(coarse, out.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    if rng.random() < 0.15:
        out = out * rng.dirichlet((0.7, 0.7, 0.7)).astype(np.float32) * 2
    return out


def _optics(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change gain, offset and focus, and add noise."""
    import cv2

    out = pixels * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(rng.normal(0, 0.08))
    if rng.random() < 0.2:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 1.6)), np.float32)
    if rng.random() < 0.3:
        deviation = np.float32(abs(rng.normal(0, 0.05)))
        out = out + deviation * rng.standard_normal(out.shape, np.float32)
    return np.asarray(np.clip(out, -0.5, 1.5), np.float32)
