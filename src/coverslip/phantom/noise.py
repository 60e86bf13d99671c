"""Randomness that depends on place only: hashed cells and smooth noise, the same whatever is asked first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 512
"""Side of the periodic noise table, in texels."""

TEXELS = 16
"""Texels per feature of the table; so it repeats after 32 features, and two turned copies never together."""

_TURN = (np.cos(0.6), np.sin(0.6))
_STRETCH = 1.37


def mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return result


@lru_cache(maxsize=1024)
def key_of(seed: int, stream: str) -> int:
    """Return a 63-bit key for one purpose `stream` under one `seed`, the same on every machine."""
    import hashlib

    digest = hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniforms(key: int, columns: NDArray[Any], rows: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return `count` numbers in [0, 1) for each cell (column, row), as (count, n).

    Examples
    --------
    >>> a = uniforms(7, np.array([1, 2]), np.array([5, 5]), 3)
    >>> b = uniforms(7, np.array([2]), np.array([5]), 3)
    >>> bool((a[:, 1:] == b).all())
    True
    """
    x = np.atleast_1d(columns).astype(np.int64).view(np.uint64)
    y = np.atleast_1d(rows).astype(np.int64).view(np.uint64)
    base = mix(mix(x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)) + y * np.uint64(0xC2B2AE3D27D4EB4F))
    steps = np.arange(1, count + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    return (mix(base[None, :] + steps) >> np.uint64(11)) * 2.0**-53


def periodic(seed: int, side: int, widths: tuple[float, float]) -> NDArray[np.float32]:
    """Return periodic Gaussian noise (side, side) of feature `widths` (x, y), mean 0, deviation 1."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(rng.standard_normal((side, side)).astype(np.float32))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    gain = np.exp(-2 * ((fx * widths[0]) ** 2 + (fy * widths[1]) ** 2))
    gain[0, 0] = 0
    field = np.fft.irfft2(spectrum * gain, s=(side, side))
    return (field / field.std()).astype(np.float32)


@lru_cache(maxsize=2)
def _table(number: int) -> NDArray[np.float32]:
    return periodic(9001 + number, SIDE, (TEXELS, TEXELS))


@lru_cache(maxsize=1024)
def _shifts(key: int) -> tuple[float, ...]:
    """Return where in the tables the noise of one purpose starts."""
    return tuple((uniforms(key, np.array([0]), np.array([0]), 4)[:, 0] * SIDE).tolist())


def noise_at(key: int, x: NDArray[Any], y: NDArray[Any], feature: float) -> NDArray[np.float32]:
    """Return smooth noise (mean 0, deviation about 1) of `feature` pixels width at points, shaped as `x`."""
    from scipy.ndimage import map_coordinates

    scale, (cos, sin) = TEXELS / feature, _TURN
    shifts = _shifts(key)
    first = (y * scale + shifts[0], x * scale + shifts[1])
    turned = scale / _STRETCH
    second = ((cos * y + sin * x) * turned + shifts[2], (cos * x - sin * y) * turned + shifts[3])
    a = map_coordinates(_table(0), first, order=1, mode="grid-wrap")
    b = map_coordinates(_table(1), second, order=1, mode="grid-wrap")
    total: NDArray[np.float32] = (a + b) * np.float32(0.7071)
    return total


def noise_raster(key: int, size: tuple[int, int], step: float, feature: float) -> NDArray[np.float32]:
    """Return `noise_at` at the middles of the cells of a raster of `size` (rows, columns) and `step` pixels.

    Faster than point by point, and good to 1/32 of a texel.
    """
    import cv2

    scale, (cos, sin) = TEXELS / feature, _TURN
    shifts = _shifts(key)
    turned = scale / _STRETCH
    matrices = (
        np.array([[scale, 0, shifts[1]], [0, scale, shifts[0]]]),
        np.array([[cos * turned, -sin * turned, shifts[3]], [sin * turned, cos * turned, shifts[2]]]),
    )
    total = np.zeros(size, np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for number, matrix in enumerate(matrices):
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * 0.5 * step
        matrix[:, :2] *= step
        total += cv2.warpAffine(_table(number), matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_WRAP)
    return total * np.float32(0.7071)


def fractal(
    key: int, size: tuple[int, int], step: float, feature: float, octaves: int = 4
) -> NDArray[np.float32]:
    """Return the sum of `octaves` of `noise_raster`, each half as wide and 0.55 as strong as the last."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        total += noise_raster(key + octave, size, step, feature / 2**octave) * np.float32(0.55**octave)
    return total
