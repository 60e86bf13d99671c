"""Pen, folds and bubbles: found by colour and shape at about 4 µm per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.slides.slide import Slide
from coverslip.tissue.colour import chroma, inks, part_of, relative_to
from coverslip.tissue.overview import Grid, Piece, Window, shares, windows, worked
from coverslip.tissue.shapes import closing, disk, each_piece, keep_large, touching
from coverslip.tissue.tissue import Tissue

SIDE = 512
"""Pixels along the windows in which marks are looked for."""

MARGIN_UM = 200.0
"""What lies this far around a window may change what is found in it."""

FLOOR_UM = 28.0
"""Tissue has gaps nearly everywhere, ink has none: the least density in squares as wide as this is ink's."""

NARROW_UM = 12.0
"""Likewise for the strokes of a fine pen, in ink too dense to be taken for a nucleus."""

CIRCLES = 2048
"""Pixels along the parts in which circles are sought, by their centres."""

CIRCLE_EDGE = 16
"""Pixels around the largest circle of a part that blur and gradients of its line may touch."""

LARGEST_UM = 1600.0
"""Bubbles have no larger radius than this."""

RIM = 0.75
"""Share of a bubble's circle that must be seen as a dark line."""

FOLD_UM = 164.0
"""Folds are narrower than this."""

FOLD_SURE, FOLD_PERHAPS = 1.6, 1.1
"""How much both stains rise over the tissue beside a fold, in typical densities of the slide's tissue."""

FOLD_DARKER = 2.2
"""A fold is at least so many times as dense as the tissue on its sides; a pleat is three layers."""

DEPTH = 100.0
"""Densities are kept as whole hundredths."""


class Around(NamedTuple):
    """What the whole slide looks like: the glass's density (a coarse raster), and typical tissue.

    `red` is the tissue's median density in red, which haematoxylin makes; `pink` the median of green less
    what haematoxylin adds to it, which eosin makes.
    """

    background: NDArray[np.float32]
    red: float
    pink: float
    colour: float


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
    return np.asarray(relative[1] - np.float32(1.13) * relative[0], np.float32)


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
    fold = ribbons(planes.fold, planes.depth, um) & ~cv2.dilate(pen.view(np.uint8), disk(12 / um)).view(bool)
    return Marks(grid, pen, fold, circles(planes.ring, um), planes.depth)


def hints(piece: Piece, grid: Grid, around: Around, um: float) -> Hints:
    """Work out what each pixel of a window could be."""
    field = part_of(around.background, shares(piece.window, grid))
    relative = relative_to(piece.pixels, field)
    depth = np.clip(relative.mean(axis=0) * DEPTH, 0, 255).astype(np.uint8)
    return Hints(_ink(relative, around, um), _fold(relative, around, um), _ring(relative), depth)


def _ink(relative: NDArray[np.float32], around: Around, um: float) -> NDArray[np.uint8]:
    floor = _floor(relative, max(3, round(FLOOR_UM / um)))
    sure = inks(floor)
    red, green, blue = floor
    depth = (red + green + blue) / 3
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    blueish = (red > 1.5 * blue) & (red > 0.35)
    grey = (depth > 0.12) & ((depth < 0.7) | (red > 0.85 * green))
    red_ink = (blue > 0.68 * green) & (green > 0.8 * blue) & (red < 0.45 * green) & (blue > 0.35)
    surely, maybe = min(0.3, 0.4 * around.colour), min(0.45, 0.6 * around.colour)
    core = sure.coloured | (grey & (spread < surely * depth))
    core |= blueish & (red > 1.03 * green) & (red > 1.6 * blue) & (red > 0.6)
    perhaps = core | red_ink | (blueish & (red > 0.95 * green)) | (grey & (spread < maybe * depth))
    return np.asarray(np.maximum(perhaps.astype(np.uint8) + core, _narrow_ink(relative, um)), np.uint8)


def _floor(relative: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return what every square of this side around a pixel has at least in one of its places (opening)."""
    element = np.ones((side, side), np.uint8)
    planes = [cv2.morphologyEx(plane, cv2.MORPH_OPEN, element) for plane in relative]
    return np.stack(planes).astype(np.float32, copy=False)


def _narrow_ink(relative: NDArray[np.float32], um: float) -> NDArray[np.uint8]:
    """Find strokes of a few pixels: denser in red than nuclei ever are, or black."""
    red, green, blue = floor = _floor(relative, max(2, round(NARROW_UM / um)))
    depth = (red + green + blue) / 3
    spread = chroma(floor)
    black = (depth > 0.5) & (spread < 0.2 * depth)
    black |= (cv2.min(red, blue) > 0.6) & (spread < 0.35 * depth)
    core = ((red > 0.8) & inks(floor).coloured) | black
    perhaps = core | ((red > 0.8) & (red > green) & (red > 1.6 * blue))
    return np.asarray(perhaps.astype(np.uint8) + core, np.uint8)


def _fold(relative: NDArray[np.float32], around: Around, um: float) -> NDArray[np.uint8]:
    """Find where both stains are much stronger than beside (top-hat): a fold lays tissue on tissue."""
    side, wide = max(2, round(16 / um)), max(5, round(FOLD_UM / um))
    rises, factors = [], []
    seen = (relative.mean(axis=0) > 0.04).astype(np.float32)
    share = np.maximum(cv2.blur(seen, (2 * wide, 2 * wide)), 0.02)
    for plane in (relative[0], pink_of(relative)):
        smooth = cv2.blur(plane, (side, side))
        rises.append(smooth - cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((wide, wide), np.uint8)))
        mean = cv2.blur(smooth * seen, (2 * wide, 2 * wide)) / share
        factors.append(smooth / np.maximum(mean, 0.03))
    rise = cv2.min(*rises) / ((around.red + around.pink) / 2)
    factor = cv2.min(*factors)
    perhaps = (rise > FOLD_PERHAPS) & (factor > 1.2)
    sure = perhaps & (rise > FOLD_SURE) & (factor > 1.5)
    return np.asarray(perhaps.astype(np.uint8) + sure, np.uint8)


def _ring(relative: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Find thin lines that are dark in all channels alike, as the rim of a bubble is."""
    red, green, blue = relative
    low, depth = cv2.min(cv2.min(red, green), blue), (red + green + blue) / 3
    line = low - cv2.morphologyEx(low, cv2.MORPH_OPEN, disk(4.0))
    return np.asarray((line > 0.1) & (low > 0.7 * depth), np.uint8)


def strokes(ink: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Keep ink that is surely such somewhere and large enough for a stroke; close gaps over dark tissue."""
    grown = touching(ink > 0, ink > 1)
    closed = closing(grown, 36 / um)
    sure = (ink > 1) & closed
    pieces = touching(closed, keep_large(sure, 2_000 / um**2))
    return keep_large(pieces, 8_000 / um**2)


def ribbons(fold: NDArray[np.uint8], depth: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Keep folds: surely such somewhere, 80 µm long, long for their width, much darker than their sides."""
    grown = touching(fold > 0, fold > 1)
    shape = cv2.morphologyEx(closing(grown, 12 / um).view(np.uint8), cv2.MORPH_OPEN, disk(6 / um)).view(bool)
    result = np.zeros(shape.shape, bool)
    for box, near in each_piece(closing(shape, 40 / um), round(50 / um) + 1, 40 / um):
        here = near & shape[box]
        if _is_ribbon(here, near, fold[box], um) and _stands_out(here, near, depth[box], um) >= FOLD_DARKER:
            result[box] |= here
    return result


def _is_ribbon(shape: NDArray[np.bool_], near: NDArray[np.bool_], fold: NDArray[np.uint8], um: float) -> bool:
    """Say whether a shape, smoothed to `near`, is 80 µm long, long for its width and not winding."""
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    reach = np.hypot(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
    width = max(1.0, 2 * float(cv2.distanceTransform(near.view(np.uint8), cv2.DIST_L2, 3).max()))
    area, sure = int(shape.sum()), int((fold[shape] > 1).sum())
    long = area / width
    return bool(long * um >= 80 and long >= 2.2 * width and long <= 2.0 * reach and sure >= 0.3 * area)


def _stands_out(
    shape: NDArray[np.bool_], near: NDArray[np.bool_], depth: NDArray[np.uint8], um: float
) -> float:
    """Return how many times denser a shape is than the tissue 12 to 50 µm away from it."""
    inner, outer = (cv2.dilate(near.view(np.uint8), disk(reach / um)) for reach in (12, 50))
    beside = (np.asarray(outer) > np.asarray(inner)) & (depth > 4)
    return float(depth[shape].mean() / depth[beside].mean()) if beside.any() else 0.0


def circles(ring: NDArray[np.uint8], um: float) -> NDArray[np.bool_]:
    """Fill the circles that thin dark lines make (Hough transform by gradients, Yuen 1990)."""
    mask = np.zeros(ring.shape, np.uint8)
    near = np.asarray(cv2.dilate(ring, disk(1.0)), np.uint8)
    for candidate in _candidates(ring, um):
        seen, (x, y, radius) = _fitted(near, candidate)
        if seen >= RIM:
            cv2.circle(mask, (round(x), round(y)), round(radius * 1.03), 1, cv2.FILLED)
    return mask.view(bool)


def _candidates(ring: NDArray[np.uint8], um: float) -> list[NDArray[np.float64]]:
    """Return circles (x, y, radius), sought in parts that overlap, so that memory stays bounded."""
    radius = round(LARGEST_UM / um)
    margin = radius + CIRCLE_EDGE
    found: list[NDArray[np.float64]] = []
    for top in range(0, ring.shape[0], CIRCLES):
        for left in range(0, ring.shape[1], CIRCLES):
            y, x = max(0, top - margin), max(0, left - margin)
            part = ring[y : top + CIRCLES + margin, x : left + CIRCLES + margin]
            if not part.any():
                continue
            image = cv2.GaussianBlur(part * np.uint8(255), (0, 0), 1.5)
            given = cv2.HoughCircles(
                image, cv2.HOUGH_GRADIENT_ALT, 1.5, 80 / um,
                param1=150, param2=0.7, minRadius=round(45 / um), maxRadius=radius,
            )  # fmt: skip
            for circle in np.asarray(given, np.float64).reshape(-1, 3) if given is not None else ():
                place = circle + np.array([x, y, 0.0])
                if left <= place[0] < left + CIRCLES and top <= place[1] < top + CIRCLES:
                    found.append(place)
    return found


def _fitted(ring: NDArray[np.uint8], circle: NDArray[Any]) -> tuple[float, list[float]]:
    """Return the circle near another that lies most on the lines, and the share of it that does."""
    best, found = -1.0, circle.tolist()
    for step in (2.0, 1.0):
        around = np.arange(-4, 5) * step
        radii = found[2] + around
        shifts = np.stack(np.meshgrid(around, around, radii[radii > 2], indexing="ij"), -1).reshape(-1, 3)
        trials = shifts + np.array([found[0], found[1], 0.0])
        shares = _rim(ring, trials)
        best, found = float(shares.max()), trials[int(shares.argmax())].tolist()
    return best, found


def _rim(ring: NDArray[np.uint8], circles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return which share (n,) of circles (n, 3: x, y, radius) lies on the lines; none do beyond the image."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    x, y, radius = circles.T[:, :, None]
    columns, rows = np.rint(x + radius * np.cos(angles)), np.rint(y + radius * np.sin(angles))
    inside = (columns >= 0) & (rows >= 0) & (columns < ring.shape[1]) & (rows < ring.shape[0])
    on = ring[np.where(inside, rows, 0).astype(np.intp), np.where(inside, columns, 0).astype(np.intp)]
    return np.asarray(np.mean((on > 0) & inside, axis=1))


def _holds(tissue: Tissue, grid: Grid, part: Window) -> bool:
    step = grid.downsample / tissue.downsample
    rows = slice(int(part.y * step), int(np.ceil((part.y + part.height) * step)))
    return bool(tissue.mask[rows, int(part.x * step) : int(np.ceil((part.x + part.width) * step))].any())


def _grown(part: Window, margin: int, grid: Grid) -> Window:
    x, y = max(0, part.x - margin), max(0, part.y - margin)
    right = min(grid.size.width, part.x + part.width + margin)
    return Window(x, y, right - x, min(grid.size.height, part.y + part.height + margin) - y)
