"""What glass, stain and ink look like, pixel by pixel.

All works on optical densities relative to the glass around: ``OD = -log10(I / glass)`` (Beer–Lambert, as in
Ruifrok and Johnston 2001). Glass is estimated locally, so a colour cast or an uneven lamp changes nothing.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

DARK = 60
"""Grey value below which a fluorescence slide keeps most of its pixels."""

GLASS_MIN = 150.0
"""Glass is brighter than this, whatever the scanner."""

GLASS_CHROMA = 0.08
"""Largest difference of optical density between the channels that a lamp's colour cast makes."""

CELL = 48
"""Pixels along a cell of the local glass estimate: at 16 µm per pixel, 0.8 mm."""

VOTES = 1 << 15
"""About so many pixels are asked for the slide's glass colour."""

SHRINK = 4
"""Glass is estimated on an image smaller by this."""

_OD = -np.log10((np.arange(256, dtype=np.float32) + 0.5) / 255.5)


class Inks(NamedTuple):
    """Masks (h, w) of marker colours."""

    coloured: NDArray[np.bool_]
    black: NDArray[np.bool_]


def od(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return optical densities (h, w, 3) against white, from a table."""
    return np.asarray(cv2.LUT(rgb, _OD), np.float32)


def illumination(thumbnail: NDArray[np.uint8]) -> Literal["brightfield", "fluorescence"]:
    """Say whether light shone through the slide or out of it: fluorescence is dark where nothing is.

    Black fill around scanned areas is left out, unless nothing else is there; a single colour channel that
    carries all light counts as fluorescence too.

    Parameters
    ----------
    thumbnail
        Array (h, w, 3) uint8 of the whole slide.

    Examples
    --------
    >>> illumination(np.full((8, 8, 3), 240, np.uint8)), illumination(np.full((8, 8, 3), 12, np.uint8))
    ('brightfield', 'fluorescence')
    """
    step = max(1, min(thumbnail.shape[:2]) // 256)
    thumbnail = np.ascontiguousarray(thumbnail[::step, ::step])
    brightest = _largest(thumbnail)
    scanned = brightest[brightest > 4]
    if scanned.size < 0.01 * brightest.size:
        return "fluorescence"
    dark = float(np.mean(scanned < DARK))
    bright = float(np.mean(_smallest(thumbnail) > 2 * DARK))
    return "fluorescence" if dark > 0.5 or bright < 0.005 else "brightfield"


def glass(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], bool]:
    """Estimate the optical density of clean glass at every pixel.

    Flat, bright, nearly colourless pixels vote for the slide's glass colour; around it the glass is followed
    across the slide in cells, empty ones filled from their neighbours (normalised convolution, Knutsson and
    Westin 1993).

    Parameters
    ----------
    rgb
        Array (h, w, 3) of the whole slide, about 16 µm per pixel.

    Returns
    -------
    Array (rows, columns, 3) float32, a coarser raster over the same area, and False when no glass was seen
    and plain white is assumed. See `relative_to`.
    """
    height, width = rgb.shape[:2]
    factor = max(1, min(SHRINK, min(height, width) // 128))
    size = (width // factor, height // factor)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    density = od(small)
    flat = _flat(small)
    sure = _glass_like(small, flat, density)
    if sure.sum() < max(16, 0.0005 * sure.size):
        return np.zeros((1, 1, 3), np.float32), False
    start = _mode(density, sure)
    field = np.broadcast_to(start, density.shape).astype(np.float32)
    for reach in (0.04, 0.05, 0.06):
        away = density - field
        near = flat & (_largest(np.abs(away)) < reach) & (_spread(away) < 0.015)
        if near.any():
            field = _follow(density, near, start, CELL // factor)
    return field, True


def relative_to(
    rgb: NDArray[np.uint8], field: NDArray[np.float32], part: tuple[slice, slice] = (slice(None), slice(None))
) -> NDArray[np.float32]:
    """Return optical densities relative to the glass that `glass` estimated for the same area.

    Parameters
    ----------
    part
        Rows and columns of `rgb` that are wanted.

    Returns
    -------
    Array (3, h, w): one plane each for red, green and blue, which are worked on one by one.
    """
    height, width = rgb.shape[:2]
    wanted = rgb[part]
    planes = np.empty((3, *wanted.shape[:2]), np.float32)
    for plane, given, ground in zip(planes, cv2.split(wanted), cv2.split(field), strict=True):
        empty = np.asarray(cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR))
        np.subtract(cv2.LUT(given, _OD), empty[part], out=plane)
    return planes


def part_of(field: NDArray[np.float32], share: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Return `field` over a part of its area, given as shares (left, top, right, bottom) from 0 to 1."""
    height, width = field.shape[:2]
    rows, columns = (
        max(2, round((share[3] - share[1]) * height)),
        max(2, round((share[2] - share[0]) * width)),
    )
    x = share[0] * width + (np.arange(columns) + 0.5) * (share[2] - share[0]) * width / columns - 0.5
    y = share[1] * height + (np.arange(rows) + 0.5) * (share[3] - share[1]) * height / rows - 0.5
    across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    found = cv2.remap(field, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _glass_like(
    rgb: NDArray[np.uint8], flat: NDArray[np.bool_], density: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Find flat, bright, colourless pixels; a scanner's pure white fill counts when there is no other."""
    darkest = _smallest(rgb)
    likely = flat & (darkest > GLASS_MIN) & (_spread(density) < GLASS_CHROMA)
    filled = darkest >= 254
    real = likely & ~filled
    return real if real.sum() > 0.02 * real.size else likely


def _flat(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Find pixels whose 5 × 5 neighbourhood varies by less than 2 grey values."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (5, 5))
    variance = cv2.blur(grey * grey, (5, 5)) - mean * mean
    return variance < 4.0


def _mode(density: NDArray[np.float32], sure: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the colour of the brightest peak of glass-like pixels that is worth the name."""
    values = density[sure]
    values = values[:: max(1, len(values) // VOTES)]
    counts, edges = np.histogram(values.mean(axis=1), bins=64, range=(0.0, 0.25))
    smooth = np.convolve(counts, (0.25, 0.5, 0.25), "same")
    peak = int(np.flatnonzero(smooth >= 0.25 * smooth.max())[0])
    while peak + 1 < smooth.size and smooth[peak + 1] > smooth[peak]:
        peak += 1
    close = np.abs(values.mean(axis=1) - (edges[peak] + edges[peak + 1]) / 2) < 0.012
    result: NDArray[np.float32] = np.median(values[close] if close.any() else values, axis=0)
    return result.astype(np.float32)


def _follow(
    density: NDArray[np.float32], near: NDArray[np.bool_], start: NDArray[np.float32], cell: int
) -> NDArray[np.float32]:
    """Average glass in cells and spread it over the slide."""
    height, width = near.shape
    cells = (max(1, width // cell), max(1, height // cell))
    weight = near.astype(np.float32)
    share = cv2.resize(weight, cells, interpolation=cv2.INTER_AREA)
    total = cv2.resize((density - start) * weight[..., None], cells, interpolation=cv2.INTER_AREA)
    filled = np.zeros((*share.shape, 3), np.float32)
    known = np.zeros(share.shape, np.float32)
    for sigma, trust in ((1.0, 1.0), (3.0, 0.05), (9.0, 0.002)):
        mass = cv2.GaussianBlur(share, (0, 0), sigma) * trust
        filled += cv2.GaussianBlur(total.reshape(*share.shape, 3), (0, 0), sigma) * trust
        known += mass
    field = filled / np.maximum(known, 1e-6)[..., None] * (known > 1e-6)[..., None]
    large = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    return large.reshape(height, width, 3) + start


def _largest(image: NDArray[Any]) -> NDArray[Any]:
    """Return the largest channel of each pixel; several times faster than ``max(axis=2)``."""
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.max(cv2.max(red, green), blue))


def _smallest(image: NDArray[Any]) -> NDArray[Any]:
    """Return the smallest channel of each pixel."""
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.min(cv2.min(red, green), blue))


def _spread(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest difference between the channels."""
    return _range(*cv2.split(density))


def _range(red: NDArray[Any], green: NDArray[Any], blue: NDArray[Any]) -> NDArray[np.float32]:
    largest = cv2.max(cv2.max(red, green), blue)
    return np.asarray(cv2.subtract(largest, cv2.min(cv2.min(red, green), blue)), np.float32)


def chroma(relative: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how coloured each pixel is: the difference between its most and least absorbed channel.

    Haematoxylin, eosin and DAB all absorb the channels unequally; dust, shadows, coverslip edges and a
    dim lamp absorb them alike.

    Parameters
    ----------
    relative
        Optical densities (3, h, w) relative to the glass.
    """
    return _range(*relative)


def inks(relative: NDArray[np.float32]) -> Inks:
    """Find marker ink by the channels it absorbs most, which no histological stain does.

    Haematoxylin and eosin absorb green most, DAB blue and then green. Green ink absorbs green least; blue ink
    absorbs red most; red ink absorbs blue nearly as much as green but hardly any red; black ink absorbs all
    alike and much.

    Parameters
    ----------
    relative
        Optical densities (3, h, w) relative to the glass.
    """
    red, green, blue = relative
    depth = (red + green + blue) / 3
    strong = depth > 0.12
    green_ink = (green < 0.85 * cv2.min(red, blue)) | ((red > 1.25 * green) & (blue > 0.9 * green))
    blue_ink = (red > 1.25 * green) & (red > 1.4 * blue)
    red_ink = (blue > 0.72 * green) & (green > 0.85 * blue) & (red < 0.25 * green) & (depth > 0.3)
    black = (depth > 0.2) & (_range(red, green, blue) < 0.25 * depth)
    return Inks(strong & (green_ink | blue_ink | red_ink), black)
