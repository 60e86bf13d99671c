"""From stain to camera: Beer–Lambert's law, glass, uneven light and noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.phantom.noise import key_of, uniforms
from coverslip.phantom.spec import PhantomSpec, Triple

FIELD = 2048
"""Side of a camera field in pixels; uneven light repeats with it, as on a scanner that works by fields."""

NOISE_SIDE = 512
LN10 = np.float32(2.302585)

HAEMATOXYLIN = ((0.62, 0.70, 0.35), (0.55, 0.76, 0.34))
EOSIN = ((0.15, 0.86, 0.48), (0.24, 0.88, 0.40))
DAB = ((0.27, 0.57, 0.78), (0.34, 0.60, 0.72))
"""Two ends of the range in which a slide's stain lies: red, green and blue optical densities."""


def stains_of(spec: PhantomSpec, seed: int) -> NDArray[np.float64]:
    """Return the unit vectors of haematoxylin, eosin and DAB, as (3, 3)."""
    u = uniforms(key_of(seed, "stains"), np.arange(3), np.zeros(3, int), 4)
    rows = []
    for number, (one, other) in enumerate((HAEMATOXYLIN, EOSIN, DAB)):
        mean = np.array(one) + u[0, number] * (np.array(other) - np.array(one))
        rows.append(np.maximum(mean + 0.05 * (u[1:4, number] - 0.5), 0.02))
    if spec.stains is not None:
        rows[0] = np.array(spec.stains[0], float)
        rows[2 if spec.stain == "ihc" else 1] = np.array(spec.stains[1], float)
    vectors = np.array(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def transmit(concentrations: NDArray[np.float32], vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the light let through, (h, w, 3) between 0 and 1: ``10 ** -(C @ vectors)``."""
    density = cv2.transform(concentrations, (-LN10 * vectors.T).astype(np.float32))
    light: NDArray[np.float32] = cv2.exp(density)
    return light


GLOW = ((0.03, 0.16, 0.62), (0.01, 0.07, 0.03), (0.0, 0.0, 0.0))
"""What stained places send out in a fluorescence phantom: nuclei blue, fibres faintly green."""

DARK = 0.015


def glow(concentrations: NDArray[np.float32] | None, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the light of a dark-field phantom, (h, w, 3) between 0 and 1."""
    if concentrations is None:
        return np.full((*size, 3), DARK, np.float32)
    sent = cv2.transform(concentrations, np.array(GLOW, np.float32).T) + np.float32(DARK)
    return np.minimum(sent, 1, out=sent)


@lru_cache(maxsize=8)
def light_field(illumination: float, glass: Triple) -> NDArray[np.float32]:
    """Return the camera's picture of empty glass, (FIELD, FIELD, 3) at an eighth of its size, 0 … 255."""
    steps = (np.arange(FIELD // 8) + 0.5) / (FIELD // 8) * 2 - 1
    fall = 1 - illumination * (steps[None, :] ** 2 + steps[:, None] ** 2) / 2
    return (fall[:, :, None] * np.asarray(glass)).astype(np.float32)


def lit(glass: NDArray[np.float32], x: int, y: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return `light_field` at (width, height) pixels from (x, y); both multiples of 8 within one field."""
    width, height = size
    top, left = y % FIELD // 8, x % FIELD // 8
    part = glass[top : top + height // 8, left : left + width // 8]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_NEAREST)


@lru_cache(maxsize=2)
def camera_noise(sigma: float) -> NDArray[np.float32]:
    """Return a square of noise (2 · NOISE_SIDE, …, 3), from which blocks are cut at hashed places."""
    rng = np.random.default_rng(77)
    side = 2 * NOISE_SIDE
    white = rng.standard_normal((side, side, 3)).astype(np.float32)
    grey = rng.standard_normal((side, side, 1)).astype(np.float32)
    return (0.75 * white + 0.66 * grey) * np.float32(sigma)
