"""Optical density: light that was absorbed, in decades (Beer–Lambert).

``od = -log10(intensity / background)``. Stains add up in optical density, not in intensity. The background is
the light that passes empty glass: 255, or what `estimate_background` finds on the slide. A pixel brighter
than the background has density 0; a black one counts as half a grey level, so that 0 … 255 survive the way
there and back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coverslip.core.errors import StainError, UsageError

WHITE = 255.0
"""Intensity of empty glass when nothing better is known."""

DARKEST = 0.49
"""Just under half a grey level stands for black: its density is finite and it rounds back to 0."""

GLASS_SHARE = 0.02
"""At least this share of the pixels must be bright and grey before the background is taken from them."""

Background = float | Sequence[float]
"""One intensity for all channels, or one each for red, green and blue."""


def as_background(background: Background) -> tuple[float, float, float]:
    """Check a background and return one intensity per channel.

    Raises
    ------
    StainError
        When an intensity is outside 1 … 255.

    Examples
    --------
    >>> as_background(240)
    (240.0, 240.0, 240.0)
    """
    values = np.atleast_1d(np.asarray(background, dtype=np.float64))
    if (
        values.size not in {1, 3}
        or not np.all(np.isfinite(values))
        or values.min() < 1
        or values.max() > WHITE
    ):
        raise StainError(
            f"background {background!r} is no intensity of glass: expected 1 to 255, one or one per channel",
            mend="leave it at 255, or use estimate_background(pixels)",
        )
    red, green, blue = np.broadcast_to(values, 3).tolist()
    return red, green, blue


def od_table(background: Background = WHITE) -> NDArray[np.float32]:
    """Return the density of each of the 256 intensities: (256,), or (1, 256, 3) when channels differ.

    Examples
    --------
    >>> [round(float(od), 3) for od in od_table()[[255, 26, 0]]]
    [0.0, 0.992, 2.716]
    """
    channels = as_background(background)
    levels = np.maximum(np.arange(256, dtype=np.float64), DARKEST)
    if len(set(channels)) == 1:
        return np.maximum(-np.log10(levels / channels[0]), 0).astype(np.float32)
    table: NDArray[np.float32] = np.maximum(-np.log10(levels[:, None] / np.array(channels)), 0).astype(
        np.float32
    )
    return table[None]


def to_od(rgb: NDArray[np.uint8], background: Background = WHITE) -> NDArray[np.float32]:
    """Return the optical density of `rgb` in decades, by table.

    Parameters
    ----------
    rgb
        uint8 (…, 3).
    background
        Intensity of empty glass.

    Raises
    ------
    UsageError
        When `rgb` is not uint8 (…, 3).

    Examples
    --------
    >>> to_od(np.array([[255, 128, 26]], np.uint8)).round(2).tolist()
    [[0.0, 0.30000001192092896, 0.9900000095367432]]
    """
    import cv2

    check_rgb(rgb)
    if rgb.size == 0:
        return np.zeros(rgb.shape, np.float32)
    flat = np.ascontiguousarray(rgb).reshape(1, -1, 3)
    return np.asarray(cv2.LUT(flat, od_table(background)), np.float32).reshape(rgb.shape)


def from_od(od: ArrayLike, background: Background = WHITE) -> NDArray[np.uint8]:
    """Return the uint8 intensities (…, 3) of optical densities; the inverse of `to_od`.

    Examples
    --------
    >>> grey = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    >>> bool((from_od(to_od(grey)) == grey).all())
    True
    """
    light = np.power(np.float32(10), -np.asarray(od, dtype=np.float32))
    light *= np.asarray(as_background(background), dtype=np.float32)
    return np.clip(np.rint(light), 0, WHITE).astype(np.uint8)


def estimate_background(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Estimate what empty glass looks like from pixels of a whole slide: bright, nearly grey ones.

    Parameters
    ----------
    pixels
        uint8 (…, 3) from all over the slide, e.g. its thumbnail; not from tissue only.

    Returns
    -------
    tuple
        Median red, green and blue of the glass; 255 each where under 2 % of the pixels can be glass.

    Examples
    --------
    >>> thumbnail = np.full((50, 50, 3), (244, 243, 245), np.uint8)
    >>> thumbnail[:25] = (180, 90, 150)
    >>> estimate_background(thumbnail)
    (244.0, 243.0, 245.0)
    """
    check_rgb(pixels)
    flat = pixels.reshape(-1, 3)
    low, high = flat.min(axis=1), flat.max(axis=1)
    glass = (low > 200) & (high - low < 16)
    if flat.shape[0] == 0 or glass.mean() < GLASS_SHARE:
        return WHITE, WHITE, WHITE
    red, green, blue = np.median(flat[glass], axis=0).tolist()
    return red, green, blue


def check_rgb(rgb: NDArray[np.uint8]) -> None:
    """Refuse what is not 8-bit colour.

    Raises
    ------
    UsageError
        When `rgb` is not a uint8 array (…, 3).
    """
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim < 2 or rgb.shape[-1] != 3:
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise UsageError(
            f"pixels are {got}: expected a uint8 array (…, 3), red, green and blue",
            mend="16-bit or multichannel slides have no brightfield stain; read their colour composite",
        )
