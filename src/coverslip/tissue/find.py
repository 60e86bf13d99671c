"""Find the tissue of a brightfield slide: a coarse look at all of it, a closer one at the borders."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError, UsageError
from coverslip.slides.slide import Slide
from coverslip.tissue.colour import Inks, chroma, glass, illumination, inks, part_of, relative_to
from coverslip.tissue.overview import (
    THREADS,
    Grid,
    Piece,
    Window,
    enlarge,
    grid_near,
    overview,
    shares,
    windows,
    worked,
)
from coverslip.tissue.polygons import polygons_of
from coverslip.tissue.shapes import bridge, close_gaps, disk, keep_large, keep_thick, touching
from coverslip.tissue.tissue import Tissue

if TYPE_CHECKING:
    from shapely import Polygon

FINE_PIXELS = 1 << 24
"""The mask has fewer pixels than this; a larger slide gets a mask coarser by 2, 4, …"""

REFINE = 256
"""Level pixels along one side of the windows that are looked at more closely."""

BORDER = 0.4
"""A border runs where chroma falls to this share of the tissue's beside it, so blur moves it neither way."""

INSIDE = 0.25
"""Likewise at the coarse resolution, where a pixel may hold tissue and glass."""

STRIP = 64
"""Rows of the coarse image whose colours are worked out at once; few enough for the processor's cache."""

MANY = 1 << 20
"""Of a larger image every fourth pixel tells what is typical."""

METHOD = "chroma-hysteresis"


@dataclass(frozen=True, slots=True)
class TissueSpec:
    """What counts as tissue. All sizes are in microns, so the same spec fits every scanner.

    Attributes
    ----------
    coarse_mpp
        Resolution of the look at the whole slide.
    mpp
        Resolution of the borders and of the mask; doubled as often as needed to stay under 16.8 Mpx.
    faintest
        Least difference of optical density between colour channels that may be stain. Glass has less than
        0.005 of it after averaging; pale stroma has 0.03 and more.
    seed
        A piece of tissue must somewhere reach this difference.
    min_area_um2
        Smaller pieces are dust. 20,000 µm² is a square of 141 µm.
    min_hole_um2
        Smaller holes are filled: they are lumina, vacuoles of fat, cracks. 8,000 µm² is a square of 89 µm.
    gap_um
        Gaps up to this width inside tissue are closed, as between the membranes of fat cells.
    simplify_um
        How far a polygon may lie from the border of the mask.

    Raises
    ------
    UsageError
        When a number is not above 0, or `coarse_mpp` is finer than `mpp`.
    """

    coarse_mpp: float = 16.0
    mpp: float = 4.0
    faintest: float = 0.015
    seed: float = 0.03
    min_area_um2: float = 20_000.0
    min_hole_um2: float = 8_000.0
    gap_um: float = 64.0
    simplify_um: float = 3.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"TissueSpec.{name} is {value!r}; expected a number above 0")
        if self.coarse_mpp < self.mpp:
            raise UsageError(
                f"coarse_mpp {self.coarse_mpp:g} is finer than mpp {self.mpp:g}; expected it coarser"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """The whole slide at about 16 µm per pixel.

    `tissue` and `ink` are masks (h, w), `background` the glass's optical density (a coarser
    raster), `limit` the
    chroma (h, w) from which on a pixel at the border is tissue.
    """

    grid: Grid
    tissue: NDArray[np.bool_]
    ink: NDArray[np.bool_]
    background: NDArray[np.float32]
    limit: NDArray[np.float32]
    notes: tuple[str, ...]


def find_tissue(slide: Slide, spec: TissueSpec | None = None) -> Tissue:
    """Find the tissue of a brightfield slide stained with haematoxylin–eosin or for immunohistochemistry.

    Stain absorbs the colour channels unequally, glass, dust and shadows alike: what differs is measured
    against the glass nearby, seeds are grown to their faint surroundings (hysteresis, Canny 1986), marker ink
    is left out by its colour, specks by their area. Then the borders alone are read at a finer resolution.
    Memory does not grow with the slide.

    Parameters
    ----------
    slide
        A brightfield slide with an mpp.
    spec
        Sizes and thresholds; ``TissueSpec()`` when None.

    Returns
    -------
    The tissue; empty, with a note, when there is none.

    Raises
    ------
    MissingMppError
        When the slide has no mpp.
    StainError
        For fluorescence, 16-bit and multichannel slides.
    """
    spec = spec or TissueSpec()
    slide.require_colour()
    mpp = slide.require_mpp()
    coarse = look(slide, spec)
    fine = mask_grid(slide, spec.mpp)
    mask = _refine(slide, coarse, fine)
    polygons = _keep(polygons_of(mask, fine.downsample, spec.simplify_um / mpp), spec, mpp)
    notes = coarse.notes if polygons else (*coarse.notes, "no tissue found")
    return Tissue._of(polygons, slide.size, fine.downsample, METHOD, notes)


def look(slide: Slide, spec: TissueSpec) -> Coarse:
    """Find tissue and ink at the coarse resolution."""
    grid = grid_near(slide, spec.coarse_mpp)
    rgb, lost = overview(slide, grid)
    if illumination(rgb) == "fluorescence":
        raise StainError(
            f"{slide.path} is dark where nothing is, as fluorescence is; this finds brightfield tissue only",
            mend="leave this slide out, or convert it to brightfield colours first",
        )
    background, seen = glass(rgb)
    notes: tuple[str, ...] = () if seen else ("no clean glass is in view; white was taken as the glass",)
    if lost:
        notes += (f"{lost:.2%} of the slide could not be decoded and counts as glass",)
    return classify(rgb, background, grid, slide.require_mpp() * grid.downsample, spec=spec, notes=notes)


def classify(
    rgb: NDArray[np.uint8],
    background: NDArray[np.float32],
    grid: Grid,
    um: float,
    *,
    spec: TissueSpec,
    notes: tuple[str, ...] = (),
) -> Coarse:
    """Tell tissue, ink and glass apart on an image of `um` microns per pixel."""
    colour, found = _colours(rgb, background)
    marked = ink_mask(found, um)
    colour = np.asarray(cv2.blur(colour * ~marked, (3, 3)), np.float32)
    low = _threshold(colour, spec)
    tissue = touching((colour > low) & ~marked, (colour > max(spec.seed, 2 * low)) & ~marked)
    tissue = keep_thick(tissue, spec.min_area_um2 / um**2)
    beside = _local(colour, tissue)
    tissue &= colour > INSIDE * beside
    tissue = close_gaps(bridge(tissue, marked), spec.gap_um / um, spec.min_hole_um2 / um**2)
    tissue = keep_large(tissue, spec.min_area_um2 / um**2)
    share = float(marked.mean())
    if share:
        notes += (f"marker ink covers {share:.1%} of the slide; on glass it is left out",)
    return Coarse(grid, tissue, marked, background, np.maximum(low, BORDER * beside), notes)


def _colours(rgb: NDArray[np.uint8], background: NDArray[np.float32]) -> tuple[NDArray[np.float32], Inks]:
    """Return chroma and ink colours of an image, worked out strip by strip."""
    height, width = rgb.shape[:2]
    colour = np.empty((height, width), np.float32)
    found = Inks(np.empty((height, width), bool), np.empty((height, width), bool))

    def work(top: int) -> None:
        rows = slice(top, min(top + STRIP, height))
        field = part_of(background, (0, top / height, 1, rows.stop / height))
        relative = relative_to(rgb[rows], field)
        # unscanned areas that a scanner fills with black
        relative[:, cv2.inRange(rgb[rows], (0, 0, 0), (8, 8, 8)) > 0] = 0
        colour[rows] = chroma(relative)
        for plane, part in zip(found, inks(relative), strict=True):
            plane[rows] = part

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(0, height, STRIP)))
    return colour, found


def ink_mask(found: Inks, um: float) -> NDArray[np.bool_]:
    """Find marker ink: strokes of its colours, with the soft edge around them."""
    core = cv2.morphologyEx(found.coloured.view(np.uint8), cv2.MORPH_OPEN, disk(20 / um)).view(bool)
    thick = cv2.morphologyEx(found.black.view(np.uint8), cv2.MORPH_OPEN, disk(32 / um)).view(bool)
    large = keep_large(touching(found.coloured, core) | thick, 20_000 / um**2)
    return cv2.dilate(large.view(np.uint8), disk(40 / um)).view(bool)


def _local(colour: NDArray[np.float32], tissue: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the mean chroma of the tissue around each pixel, 0 far from any."""
    height, width = tissue.shape
    size = (max(1, width // 4), max(1, height // 4))
    weight = cv2.resize(tissue.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(colour * tissue, size, interpolation=cv2.INTER_AREA)
    weight, total = cv2.GaussianBlur(weight, (0, 0), 1), cv2.GaussianBlur(total, (0, 0), 1)
    mean = (np.asarray(total) / np.maximum(weight, 1e-3)).astype(np.float32)
    return np.asarray(cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _threshold(colour: NDArray[np.float32], spec: TissueSpec) -> float:
    """Return six robust standard deviations above clean glass, at least `spec.faintest`."""
    sample = colour[::2, ::2] if colour.size > MANY else colour
    plain = sample[sample < spec.seed]
    if plain.size < 100:
        return spec.faintest
    middle = float(np.median(plain))
    noise = 1.4826 * float(np.median(np.abs(plain - middle)))
    return float(np.clip(middle + 6 * noise, spec.faintest, spec.seed))


def mask_grid(slide: Slide, mpp: float) -> Grid:
    """Return the grid near `mpp`, coarser by 2, 4, … where it would have more than `FINE_PIXELS` pixels."""
    grid = grid_near(slide, mpp)
    while grid.size.width * grid.size.height > FINE_PIXELS:
        mpp *= 2
        grid = grid_near(slide, mpp)
    return grid


def _refine(slide: Slide, coarse: Coarse, fine: Grid) -> NDArray[np.bool_]:
    """Enlarge the coarse mask and decide its borders anew at the fine resolution."""
    tissue = coarse.tissue.view(np.uint8)
    outer, inner = cv2.dilate(tissue, disk(2)), cv2.erode(tissue, disk(3), borderValue=1)
    band = (np.asarray(outer) > np.asarray(inner)) & ~coarse.ink
    mask = enlarge(coarse.tissue, coarse.grid, fine, Window(0, 0, *fine.size))
    parts = [part for part in windows(fine, side=REFINE) if _part(band, coarse.grid, fine, part).any()]

    def work(piece: Piece) -> None:
        x, y, width, height = piece.window
        unsure = enlarge(band, coarse.grid, fine, piece.window)
        if not unsure.any():  # the band only brushes the window's edge
            return
        rows, columns = _around(unsure)
        part = mask[y : y + height, x : x + width][rows, columns]
        np.copyto(part, _stained(piece, coarse, fine, (rows, columns)), where=unsure[rows, columns])

    for _ in worked(slide, fine, parts, work):
        pass
    return mask


def _around(where: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the rows and columns from the first to the last that hold something."""
    left, top, width, height = cv2.boundingRect(where.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _stained(piece: Piece, coarse: Coarse, fine: Grid, part: tuple[slice, slice]) -> NDArray[np.bool_]:
    """Say which pixels of a part (rows, columns) of a piece are stained."""
    rows, columns = (slice(max(0, cut.start - 1), cut.stop + 1) for cut in part)  # as far as the blur sees
    field = part_of(coarse.background, shares(piece.window, fine))
    colour = cv2.blur(chroma(relative_to(piece.pixels, field, (rows, columns))), (3, 3))
    inner = colour[part[0].start - rows.start :, part[1].start - columns.start :]
    x, y = piece.window.x + part[1].start, piece.window.y + part[0].start
    window = Window(x, y, part[1].stop - part[1].start, part[0].stop - part[0].start)
    limit = enlarge(coarse.limit, coarse.grid, fine, window)
    return np.asarray(inner[: window.height, : window.width] > limit)


def _part(image: NDArray[np.bool_], source: Grid, target: Grid, window: Window) -> NDArray[np.bool_]:
    """Return the pixels of `image` that a window of another grid touches."""
    ratio = target.downsample / source.downsample
    left, top = int(window.x * ratio), int(window.y * ratio)
    right, bottom = (window.x + window.width) * ratio, (window.y + window.height) * ratio
    return image[top : math.ceil(bottom), left : math.ceil(right)]


def _keep(polygons: tuple[Polygon, ...], spec: TissueSpec, mpp: float) -> tuple[Polygon, ...]:
    """Drop small pieces, and fill small holes."""
    import shapely

    unit = mpp * mpp
    kept = []
    for polygon in polygons:
        holes = [ring for ring in polygon.interiors if shapely.Polygon(ring).area * unit >= spec.min_hole_um2]
        whole = shapely.Polygon(polygon.exterior, holes)
        if whole.area * unit >= spec.min_area_um2:
            kept.append(whole)
    return tuple(sorted(kept, key=lambda part: (-part.area, part.bounds)))
