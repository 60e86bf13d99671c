"""Judge the tissue of a slide, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.slides.slide import Slide
from coverslip.tissue.colour import chroma, glass, relative_to
from coverslip.tissue.find import MANY, mask_grid
from coverslip.tissue.overview import Grid, Piece, Window, enlarge, grid_near, overview, worked
from coverslip.tissue.quality.cells import SCORES, Quality, summarise
from coverslip.tissue.quality.marks import DEPTH, Around, Marks, find_marks, pink_of
from coverslip.tissue.quality.sharpness import clipped, contrast, focus, share_below, typical
from coverslip.tissue.quality.spec import QualitySpec
from coverslip.tissue.tissue import Tissue, table_sum

AROUND_MPP = 16.0
MARKS_MPP = 4.0
FOCUS_MPP = 1.0

STAINED = 0.03
"""Optical density from which a pixel counts for the strength of stain: lumens and vacuoles do not."""

PARTS = 4
"""Focus is measured in squares of a quarter of a cell's side, and the median kept."""

ROWS = 512
"""Rows of a mask whose pixels are summed up at once."""

WHITE_GLASS = 252
"""Glass this bright is clipped itself; then white pixels in tissue say nothing."""


def assess(slide: Slide, tissue: Tissue, spec: QualitySpec | None = None) -> Quality:
    """Judge focus, pen, folds, bubbles, strength of stain and clipping of a slide's tissue.

    Pen, folds and bubbles are found at 4 µm per pixel (8 on large slides) by colour and shape, focus is
    measured at about 1 µm per pixel. The slide is read window by window, so memory does not grow with it.

    Parameters
    ----------
    slide
        A brightfield slide with an mpp.
    tissue
        Of that slide.
    spec
        Thresholds; ``QualitySpec()`` when None.

    Returns
    -------
    Scores and flags by cell; without any cell when there is no tissue.

    Raises
    ------
    MissingMppError
        When the slide has no mpp.
    StainError
        For 16-bit and multichannel slides.
    """
    spec = spec or QualitySpec()
    slide.require_colour()
    grid = grid_near(slide, FOCUS_MPP)
    cell = PARTS * max(2, round(spec.cell_um / (slide.require_mpp() * grid.downsample) / PARTS))
    places = _places(tissue, grid, cell, spec)
    if not len(places):
        return _nothing()
    around = _around(slide, tissue)
    marks = find_marks(slide, tissue, mask_grid(slide, MARKS_MPP), around)
    scores, unreadable = _sharpness(slide, grid, places, around, cell=cell, spec=spec)
    corners, side = places * cell * grid.downsample, cell * grid.downsample
    cells = {"x": corners[:, 0], "y": corners[:, 1], "side_px": np.full(len(corners), side)}
    cells |= {"tissue": tissue.share_in(corners, side)} | scores | _covered(marks, tissue, corners, side)
    cells |= flags(cells, spec)
    return Quality(cells, summarise(cells, unreadable))


def flags(cells: dict[str, NDArray[Any]], spec: QualitySpec) -> dict[str, NDArray[np.bool_]]:
    """Hold the scores of cells against the thresholds."""
    covered = {name: cells[f"{name}_share"] >= spec.covered_from for name in ("pen", "fold", "bubble")}
    # ink, folds and rims are neither tissue's stain nor its focus
    plain = ~(covered["pen"] | covered["fold"])
    return {
        "blur": (cells["blur_share"] >= spec.blurred_from) & plain,
        **covered,
        "over_stained": (cells["stain"] > spec.over_stained_od) & plain,
        "under_stained": (cells["stain"] < spec.under_stained_od) & plain,
        "saturated": cells["clipped_share"] >= spec.saturated_from,
    }


def _nothing() -> Quality:
    cells: dict[str, NDArray[Any]] = dict.fromkeys(("x", "y", "side_px", *SCORES), np.zeros(0, np.float32))
    cells |= flags(cells, QualitySpec())
    return Quality(cells, summarise(cells, 0.0))


def _places(tissue: Tissue, grid: Grid, cell: int, spec: QualitySpec) -> NDArray[np.intp]:
    """Return column and row (n, 2) of the cells that hold enough tissue, row by row."""
    rows, columns = np.mgrid[0 : -(-grid.size.height // cell), 0 : -(-grid.size.width // cell)]
    places = np.stack([columns.ravel(), rows.ravel()], axis=1)
    side = cell * grid.downsample
    return places[tissue.share_in(places * side, side) >= spec.min_tissue]


def _around(slide: Slide, tissue: Tissue) -> Around:
    grid = grid_near(slide, AROUND_MPP)
    rgb, _ = overview(slide, grid)
    background, _ = glass(rgb)
    step = 2 if rgb.size > 3 * MANY else 1
    relative = relative_to(np.ascontiguousarray(rgb[::step, ::step]), background)
    inside = enlarge(tissue.mask, _grid_of(tissue), grid, Window(0, 0, *grid.size))[::step, ::step]
    inside = inside & (relative.mean(axis=0) > 0.02)
    if not inside.any():
        return Around(background, 0.1, 0.1, 1.0)
    colour = chroma(relative) / np.maximum(relative.mean(axis=0), 0.02)
    red, pink, grey = (float(np.median(v[inside])) for v in (relative[0], pink_of(relative), colour))
    return Around(background, max(red, 0.06), max(pink, 0.06), grey)


def _grid_of(tissue: Tissue) -> Grid:
    from coverslip.core import Size

    return Grid(tissue.downsample, Size(tissue.mask.shape[1], tissue.mask.shape[0]), 1, 1)


def _sharpness(
    slide: Slide, grid: Grid, places: NDArray[np.intp], around: Around, *, cell: int, spec: QualitySpec
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Measure focus and clipping of the cells, reading only windows that hold some."""
    um, sub = slide.require_mpp() * grid.downsample, cell // PARTS
    white = float(np.median(around.background)) > -np.log10((WHITE_GLASS + 0.5) / 255.5)
    parts = _windows_of(places, grid, cell)

    def work(piece: Piece) -> tuple[NDArray[np.float32], int]:
        pixels = _padded(piece.pixels, cell)
        size = (pixels.shape[1] // sub, pixels.shape[0] // sub)
        cut = cv2.resize(clipped(pixels, white).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return np.concatenate([contrast(pixels, um, sub), cut.reshape(1, size[1], size[0])]), piece.unreadable

    shape = (3, -(-grid.size.height // cell) * PARTS, -(-grid.size.width // cell) * PARTS)
    found, lost, seen = np.full(shape, np.nan, np.float32), 0, 0
    for part, (values, unreadable) in zip(parts, worked(slide, grid, parts, work), strict=True):
        x, y = part.x // sub, part.y // sub
        found[:, y : y + values.shape[1], x : x + values.shape[2]] = values
        lost, seen = lost + unreadable, seen + part.width * part.height
    squares = focus(found[0], found[1], _noise(found[0], places))
    columns, rows = places.T
    scores = {"focus": typical(squares, PARTS), "blur_share": share_below(squares, spec.blur_below, PARTS)}
    scores["clipped_share"] = share_below(-found[2], -0.5, PARTS)
    return {name: values[rows, columns] for name, values in scores.items()}, lost / max(1, seen)


def _noise(fine: NDArray[np.float32], places: NDArray[np.intp]) -> float:
    """Return the fine variance of glass: what the camera's noise alone makes."""
    empty = np.ones((fine.shape[0] // PARTS, fine.shape[1] // PARTS), bool)
    empty[places[:, 1], places[:, 0]] = False
    values = fine[np.kron(empty, np.ones((PARTS, PARTS), bool)) & np.isfinite(fine)]
    return float(np.percentile(values, 25)) if values.size else 0.0


def _windows_of(places: NDArray[np.intp], grid: Grid, cell: int) -> list[Window]:
    """Return windows of whole cells, about as large as is read at once, that hold cells."""
    across = max(1, 2048 // (grid.factor * cell))
    keys = np.unique(places // across, axis=0)
    step = across * cell
    width, height = grid.size
    return [
        Window(int(x), int(y), int(min(step, width - x)), int(min(step, height - y)))
        for x, y in keys[np.lexsort(keys.T)] * step
    ]


def _padded(pixels: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Make the sides multiples of a cell by mirroring, which adds no edges."""
    down, right = -pixels.shape[0] % cell, -pixels.shape[1] % cell
    return np.asarray(cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_REFLECT), np.uint8)


def _covered(
    marks: Marks, tissue: Tissue, corners: NDArray[Any], side: float
) -> dict[str, NDArray[np.float32]]:
    """Return for each cell the share of its tissue under each mark, and its mean density."""
    grid = marks.grid
    inside = enlarge(tissue.mask, _grid_of(tissue), grid, Window(0, 0, *grid.size))
    places, reach = corners / grid.downsample, side / grid.downsample

    def total(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        return _sums(image, places, reach)

    area = np.maximum(total(inside.view(np.uint8)), 1e-3)
    masks = {"pen": marks.pen, "fold": marks.fold, "bubble": marks.bubble}
    shares = {f"{name}_share": total((mask & inside).view(np.uint8)) / area for name, mask in masks.items()}
    stained = inside & (marks.depth >= STAINED * DEPTH)
    dense = total(stained.view(np.uint8))
    mean = total(marks.depth * stained) / np.maximum(dense, 1e-3) / DEPTH
    shares["stain"] = np.where(dense >= 0.1 * area, mean, np.nan)
    return {name: values.astype(np.float32) for name, values in shares.items()}


def _sums(image: NDArray[np.uint8], places: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Return the sum of an image over squares, as `table_sum`, with tables of a few rows at a time."""
    result = np.zeros(len(places))
    for top in range(0, image.shape[0], ROWS):
        here = (places[:, 1] >= top) & (places[:, 1] < top + ROWS)
        table = cv2.integral(image[top : top + ROWS + math.ceil(reach) + 1])
        result[here] = table_sum(table, places[here] - np.array([0.0, top]), reach)
    return result


__all__: Sequence[str] = ("assess", "flags")
