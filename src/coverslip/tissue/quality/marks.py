"""Pen, folds and bubbles: found by colour and shape at about 4 µm per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.slides.slide import Slide
from coverslip.tissue.colour import inks, od
from coverslip.tissue.overview import Grid, Piece, Window, enlarge, windows, worked
from coverslip.tissue.shapes import disk, keep_large, touching
from coverslip.tissue.tissue import Tissue

SIDE = 768
"""Pixels along the windows in which marks are looked for."""

MARGIN_UM = 200.0
"""What lies this far around a window may change what is found in it."""

FLOOR_UM = 28.0
"""Tissue has gaps as wide as this nearly everywhere, ink has none: the least density in such a square is ink's."""

FOLD_UM = 164.0
"""Folds are narrower than this."""

DEPTH = 100.0
"""Densities are kept as whole hundredths."""


class Around(NamedTuple):
    """What the whole slide looks like: the glass's density (h, w, 3) on `grid`, and typical tissue.

    `red` is the tissue's median density in red, which haematoxylin makes; `pink` the median of green less
    what haematoxylin adds to it, which eosin makes.
    """

    grid: Grid
    background: NDArray[np.float32]
    red: float
    pink: float


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What covers the tissue, as masks (h, w) on `grid`, and the optical density (h, w) in hundredths."""

    grid: Grid
    pen: NDArray[np.bool_]
    fold: NDArray[np.bool_]
    bubble: NDArray[np.bool_]
    depth: NDArray[np.uint8]


class Hints(NamedTuple):
    """What one window shows, each (h, w): ink 0, 1 perhaps or 2 surely; fold as ink; ring; density."""

    ink: NDArray[np.uint8]
    fold: NDArray[np.uint8]
    ring: NDArray[np.uint8]
    depth: NDArray[np.uint8]


def pink_of(relative: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return green density less haematoxylin's share of it (its green is 1.13 of its red)."""
    return relative[..., 1] - np.float32(1.13) * relative[..., 0]


def find_marks(slide: Slide, tissue: Tissue, grid: Grid, around: Around) -> Marks:
    """Look at all windows that hold tissue, then judge shapes on the whole slide.

    Parameters
    ----------
    grid
        Of the masks, about 4 µm per pixel.
    """
    um = slide.require_mpp() * grid.downsample
    margin = round(MARGIN_UM / um)
    planes = Hints(*(np.zeros((grid.size.height, grid.size.width), np.uint8) for _ in Hints._fields))
    cores = [part for part in windows(grid, SIDE * grid.factor) if _holds(tissue, grid, part)]
    outer = [_grown(part, margin, grid) for part in cores]
    found = worked(slide, grid, outer, lambda piece: hints(piece, grid, around, um))
    for core, wide, hint in zip(cores, outer, found, strict=True):
        x, y = core.x - wide.x, core.y - wide.y
        for plane, part in zip(planes, hint, strict=True):
            plane[core.y : core.y + core.height, core.x : core.x + core.width] = part[
                y : y + core.height, x : x + core.width
            ]
    pen = strokes(planes.ink, um)
    fold = ribbons(planes.fold, um) & ~cv2.dilate(pen.view(np.uint8), disk(12 / um)).view(bool)
    return Marks(grid, pen, fold, circles(planes.ring, um), planes.depth)


def hints(piece: Piece, grid: Grid, around: Around, um: float) -> Hints:
    """Work out what each pixel of a window could be."""
    relative = od(piece.pixels) - enlarge(around.background, around.grid, grid, piece.window)
    depth = np.clip(relative.mean(axis=2) * DEPTH, 0, 255).astype(np.uint8)
    return Hints(_ink(relative, um), _fold(relative, around, um), _ring(relative), depth)


def _ink(relative: NDArray[np.float32], um: float) -> NDArray[np.uint8]:
    side = max(3, round(FLOOR_UM / um))
    floor = cv2.morphologyEx(relative, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    sure = inks(floor)
    red, green, blue = cv2.split(floor)
    depth = (red + green + blue) / 3
    low = cv2.min(cv2.min(red, green), blue)
    blue_ink = (red > 0.98 * green) & (red > 1.5 * blue) & (red > 0.35)
    grey_ink = (low > 0.72 * depth) & (low > 0.12)
    red_ink = (blue > 0.68 * green) & (green > 0.8 * blue) & (red < 0.45 * green) & (blue > 0.35)
    perhaps = blue_ink | grey_ink | red_ink | sure.coloured | sure.black
    core = sure.coloured | sure.black | (grey_ink & (low > 0.8 * depth) & (low > 0.16))
    return perhaps.astype(np.uint8) + core


def _fold(relative: NDArray[np.float32], around: Around, um: float) -> NDArray[np.uint8]:
    """A fold lays tissue on tissue: over its width both stains are much stronger than beside it (top-hat)."""
    side, wide = max(2, round(16 / um)), max(5, round(FOLD_UM / um))
    planes = [relative[..., 0], pink_of(relative)]
    rises = []
    for plane, usual in zip(planes, (around.red, around.pink), strict=True):
        smooth = cv2.blur(np.ascontiguousarray(plane), (side, side))
        base = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((wide, wide), np.uint8))
        rises.append((smooth - base) / usual)
    rise = cv2.min(*rises)
    return (rise > 0.4).astype(np.uint8) + (rise > 0.65)


def _ring(relative: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The rim of a bubble is a thin line that is dark in all channels alike."""
    red, green, blue = cv2.split(relative)
    low, depth = cv2.min(cv2.min(red, green), blue), (red + green + blue) / 3
    line = low - cv2.morphologyEx(low, cv2.MORPH_OPEN, disk(4.0))
    return ((line > 0.1) & (low > 0.7 * depth)).astype(np.uint8)


def strokes(ink: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Keep ink that is surely such somewhere and large enough to be a stroke; close its gaps over dark tissue."""
    grown = touching(ink > 0, ink > 1)
    closed = cv2.morphologyEx(grown.view(np.uint8), cv2.MORPH_CLOSE, disk(36 / um)).view(bool)
    sure = (ink > 1) & closed
    pieces = touching(closed, keep_large(sure, 2_000 / um**2))
    return keep_large(pieces, 8_000 / um**2)


def ribbons(fold: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Keep folds that are surely such somewhere, at least 80 µm long and longer than wide."""
    grown = touching(fold > 0, fold > 1)
    closed = cv2.morphologyEx(grown.view(np.uint8), cv2.MORPH_CLOSE, disk(12 / um))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disk(6 / um)).view(bool)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened.view(np.uint8), connectivity=8)
    half = np.zeros(count, np.float32)
    distance = cv2.distanceTransform(opened.view(np.uint8), cv2.DIST_L2, 3)
    np.maximum.at(half, labels[opened], distance[opened])
    area = stats[:, cv2.CC_STAT_AREA]
    sure = np.bincount(labels[opened & (fold > 1)], minlength=count)
    width = np.maximum(2 * half, 1)
    long = area / width
    keep = (long * um >= 80) & (long >= 2.2 * width) & (sure >= 0.3 * area)
    keep[0] = False
    return keep[labels]


def circles(ring: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Fill the circles that thin dark lines make (Hough transform by gradients, Yuen 1990)."""
    image = cv2.GaussianBlur(ring * np.uint8(255), (0, 0), 1.5)
    found = cv2.HoughCircles(
        image, cv2.HOUGH_GRADIENT_ALT, 1.5, 80 / um,
        param1=150, param2=0.7, minRadius=round(45 / um), maxRadius=round(1600 / um),
    )  # fmt: skip
    mask = np.zeros(ring.shape, np.uint8)
    for x, y, radius in found.reshape(-1, 3) if found is not None else ():
        cv2.circle(mask, (round(float(x)), round(float(y))), round(float(radius) * 1.03), 1, cv2.FILLED)
    return mask.view(bool)


def _holds(tissue: Tissue, grid: Grid, part: Window) -> bool:
    step = grid.downsample / tissue.downsample
    rows = slice(int(part.y * step), int(np.ceil((part.y + part.height) * step)))
    return bool(tissue.mask[rows, int(part.x * step) : int(np.ceil((part.x + part.width) * step))].any())


def _grown(part: Window, margin: int, grid: Grid) -> Window:
    x, y = max(0, part.x - margin), max(0, part.y - margin)
    right = min(grid.size.width, part.x + part.width + margin)
    return Window(x, y, right - x, min(grid.size.height, part.y + part.height + margin) - y)
