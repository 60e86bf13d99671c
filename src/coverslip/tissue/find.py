"""Find the tissue of a brightfield slide: a coarse look at all of it, a closer one at the borders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError, UsageError
from coverslip.slides.slide import Slide
from coverslip.tissue.colour import chroma, glass, illumination, inks, od
from coverslip.tissue.overview import Grid, Window, grid_near, overview, pieces, windows
from coverslip.tissue.polygons import polygons_of
from coverslip.tissue.shapes import close_gaps, disk, keep_large, keep_thick, touching
from coverslip.tissue.tissue import Tissue

if TYPE_CHECKING:
    from shapely import Polygon

FINE_PIXELS = 1 << 24
"""The mask has fewer pixels than this; a larger slide gets a mask coarser by 2, 4, …"""

REFINE = 512
"""Level pixels along one side of the windows that are looked at more closely."""

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
        Smaller holes are filled: they are lumina, vacuoles of fat, cracks. 30,000 µm² is a square of 173 µm.
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
    min_hole_um2: float = 30_000.0
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

    `tissue` and `ink` are masks (h, w), `background` the glass's optical density (h, w, 3), `low` the chroma
    from which on a pixel may be stain.
    """

    grid: Grid
    tissue: NDArray[np.bool_]
    ink: NDArray[np.bool_]
    background: NDArray[np.float32]
    low: float
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
    fine = _mask_grid(slide, spec)
    mask = _refine(slide, coarse, fine)
    polygons = _keep(polygons_of(mask, fine.downsample, spec.simplify_um / mpp), spec, mpp)
    notes = coarse.notes if polygons else (*coarse.notes, "no tissue found")
    return Tissue.from_polygons(polygons, slide.size, fine.downsample, method=METHOD, notes=notes)


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
    notes = () if seen else ("no clean glass is in view; white was taken as the glass",)
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
    relative = od(rgb) - background
    relative[rgb.max(axis=2) < 8] = 0  # unscanned areas that a scanner fills with black
    marked = ink_mask(relative, um)
    colour = cv2.blur(chroma(relative), (3, 3))
    low = _threshold(colour, spec)
    tissue = touching((colour > low) & ~marked, (colour > max(spec.seed, 2 * low)) & ~marked)
    tissue = keep_thick(tissue, spec.min_area_um2 / um**2)
    tissue = close_gaps(tissue, spec.gap_um / um, spec.min_hole_um2 / um**2)
    tissue = keep_large(tissue & ~marked, spec.min_area_um2 / um**2)
    share = float(marked.mean())
    if share:
        notes += (f"marker ink on {share:.1%} of the slide was left out",)
    return Coarse(grid, tissue, marked, background, low, notes)


def ink_mask(relative: NDArray[np.float32], um: float) -> NDArray[np.bool_]:
    """Find marker ink: large areas of its colours, with the soft edge around them."""
    found = inks(relative)
    core = cv2.morphologyEx(found.coloured.view(np.uint8), cv2.MORPH_OPEN, disk(40 / um)).view(bool)
    thick = cv2.morphologyEx(found.black.view(np.uint8), cv2.MORPH_OPEN, disk(60 / um)).view(bool)
    large = keep_large(touching(found.coloured, core) | thick, 60_000 / um**2)
    return cv2.dilate(large.view(np.uint8), disk(48 / um)).view(bool)


def _threshold(colour: NDArray[np.float32], spec: TissueSpec) -> float:
    """Return six robust standard deviations above clean glass, at least `spec.faintest`."""
    plain = colour[colour < spec.seed]
    if plain.size < 100:
        return spec.faintest
    middle = float(np.median(plain))
    noise = 1.4826 * float(np.median(np.abs(plain - middle)))
    return float(np.clip(middle + 6 * noise, spec.faintest, spec.seed))


def _mask_grid(slide: Slide, spec: TissueSpec) -> Grid:
    mpp = spec.mpp
    grid = grid_near(slide, mpp)
    while grid.size.width * grid.size.height > FINE_PIXELS:
        mpp *= 2
        grid = grid_near(slide, mpp)
    return grid


def _refine(slide: Slide, coarse: Coarse, fine: Grid) -> NDArray[np.bool_]:
    """Enlarge the coarse mask and decide its borders anew at the fine resolution."""
    band = cv2.dilate(coarse.tissue.view(np.uint8), disk(1.5)) & ~cv2.erode(
        coarse.tissue.view(np.uint8), disk(1.5), borderValue=1
    )
    mask = _enlarge(coarse.tissue, coarse.grid, fine, Window(0, 0, *fine.size))
    parts = [part for part in windows(fine, side=REFINE) if _part(band, coarse.grid, fine, part).any()]
    for piece in pieces(slide, fine, parts):
        x, y, width, height = piece.window
        unsure = _enlarge(band.view(bool), coarse.grid, fine, piece.window)
        stained = _stained(piece.pixels, coarse, fine, piece.window)
        target = mask[y : y + height, x : x + width]
        np.copyto(target, stained, where=unsure)
    return mask


def _stained(pixels: NDArray[np.uint8], coarse: Coarse, fine: Grid, window: Window) -> NDArray[np.bool_]:
    background = _enlarge(coarse.background, coarse.grid, fine, window)
    colour = cv2.blur(chroma(od(pixels) - background), (3, 3))
    marked = _enlarge(coarse.ink, coarse.grid, fine, window)
    return (colour > coarse.low) & ~marked


def _enlarge(image: NDArray, source: Grid, target: Grid, window: Window) -> NDArray:  # type: ignore[type-arg]
    """Sample an image of one grid at the pixel centres of a window of another."""
    ratio = target.downsample / source.downsample
    columns = (np.arange(window.width) + window.x + 0.5) * ratio
    rows = (np.arange(window.height) + window.y + 0.5) * ratio
    x = np.minimum(columns.astype(np.intp), image.shape[1] - 1)
    y = np.minimum(rows.astype(np.intp), image.shape[0] - 1)
    return image[y][:, x]


def _part(image: NDArray[np.uint8], source: Grid, target: Grid, window: Window) -> NDArray[np.uint8]:
    """Return the pixels of `image` that a window of another grid touches."""
    ratio = target.downsample / source.downsample
    left, top = int(window.x * ratio), int(window.y * ratio)
    right, bottom = (window.x + window.width) * ratio, (window.y + window.height) * ratio
    return image[top : math.ceil(bottom), left : math.ceil(right)]


def _keep(polygons: tuple[Polygon, ...], spec: TissueSpec, mpp: float) -> list[Polygon]:
    """Drop small pieces, and fill small holes."""
    import shapely

    unit = mpp * mpp
    kept = []
    for polygon in polygons:
        holes = [ring for ring in polygon.interiors if shapely.Polygon(ring).area * unit >= spec.min_hole_um2]
        whole = shapely.Polygon(polygon.exterior, holes)
        if whole.area * unit >= spec.min_area_um2:
            kept.append(whole)
    return kept
