"""Stain and texture of objects: the slide is read piece by piece, each object measured in all of its pixels.

Objects whose centres lie in the same square are measured together, in one reading; an object larger than
that is measured in several, which add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import ImplausibleMppError, UsageError
from coverslip.core.geometry import Box
from coverslip.core.units import as_mpp
from coverslip.measure.objects.amounts import TEXTURES, Amounts, Piece, amount_names
from coverslip.measure.objects.rings import Rings
from coverslip.measure.objects.scan import pixels_in
from coverslip.measure.objects.shape import Columns
from coverslip.slides import Slide
from coverslip.stain.density import od_table
from coverslip.stain.matrices import StainMatrix
from coverslip.stain.separation import unmixing

SQUARE = 1024
"""Side of the squares, in pixels as read."""

RING_UM = 3.0
"""Width of the ring around a nucleus, µm: about the cytoplasm that belongs to it."""


@dataclass(frozen=True)
class PixelSpec:
    """How pixels are measured.

    Parameters
    ----------
    mpp
        Microns per pixel at which the slide is read.
    ring_um
        Width of the ring around each object, in µm; 0 for none.
    texture
        Also measure Haralick's texture of the first stain.
    """

    mpp: float = 0.5
    ring_um: float = RING_UM
    texture: bool = True

    def __post_init__(self) -> None:
        as_mpp(self.mpp)
        if not 0 <= self.ring_um <= 50:
            raise UsageError(f"a ring of {self.ring_um} µm: expected 0 to 50")

    def names(self, stains: StainMatrix) -> tuple[str, ...]:
        """Return what is measured, by name."""
        return amount_names(stains.names) + (TEXTURES if self.texture else ())


def stains(
    slide: Slide,
    polygons: NDArray[Any],
    matrix: StainMatrix,
    *,
    spec: PixelSpec | None = None,
    around: NDArray[Any] | None = None,
) -> Columns:
    """Measure the densities of stains in objects, in the ring around them and in both, and their texture.

    Parameters
    ----------
    polygons
        In level-0 pixels, shape (n,).
    matrix
        The slide's stains; the first is the one whose texture is measured.
    around
        Further objects near them that belong to no ring either.

    Returns
    -------
    dict
        float32, shape (n,), for each name of ``spec.names(matrix)``: ``haematoxylin_mean``,
        ``ring_haematoxylin_p90``, …, ``haralick_contrast``, … in decades of optical density; NaN for an
        object that holds no pixel's centre.

    Raises
    ------
    MissingMppError
        When the slide has no mpp.
    ImplausibleMppError
        When `spec` asks for finer pixels than the slide has.
    """
    spec = spec or PixelSpec()
    own = slide.require_mpp()
    slide.require_colour()
    if spec.mpp < own * 0.95:
        raise ImplausibleMppError(
            f"{slide.id} has {own:g} microns per pixel, coarser than the {spec.mpp:g} asked for",
            mend=f"measure at {own:g}",
        )
    work = _Work(slide, matrix, spec, spec.mpp / own)
    names = spec.names(matrix)
    found = {name: np.full(len(polygons), np.nan, np.float32) for name in names}
    others = np.concatenate([polygons, np.empty(0, object) if around is None else around])
    for rows, pieces in _groups(polygons, others, work):
        amounts = Amounts(len(rows), matrix.names, texture=spec.texture)
        for piece in pieces:
            amounts.add(piece)
        for name, values in (amounts.densities() | amounts.texture()).items():
            found[name][rows] = values
    return found


@dataclass(frozen=True, eq=False)
class _Work:
    """What is the same for all pieces; `step` is in level-0 pixels per pixel."""

    slide: Slide
    matrix: StainMatrix
    spec: PixelSpec
    step: float

    @property
    def margin(self) -> int:
        """Pixels around an object that its ring needs."""
        return int(np.ceil(self.spec.ring_um / self.spec.mpp)) + 2


def _groups(
    polygons: NDArray[Any], others: NDArray[Any], work: _Work
) -> Iterator[tuple[NDArray[np.intp], Iterator[Piece]]]:
    """Yield rows of objects, and the pieces in which they are seen."""
    import shapely

    if not len(polygons):
        return
    tree = shapely.STRtree(others)
    bounds = shapely.bounds(polygons) / work.step
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    large = (bounds[:, 2:] - bounds[:, :2]).max(1) > SQUARE
    squares = np.floor(middle / SQUARE).astype(np.int64)
    key = np.where(large, -1 - np.arange(len(bounds)), (squares[:, 1] << 32) + squares[:, 0] + (1 << 20))
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        low = np.floor(bounds[rows, :2].min(0)).astype(int) - work.margin
        high = np.ceil(bounds[rows, 2:].max(0)).astype(int) + work.margin
        side = SQUARE if large[rows[0]] else int((high - low).max())
        yield rows, _pieces(polygons[rows], (others, tree, rows), (*low, *high, side), work)


def _pieces(
    polygons: NDArray[Any],
    others: tuple[NDArray[Any], Any, NDArray[np.intp]],
    extent: tuple[int, ...],
    work: _Work,
) -> Iterator[Piece]:
    import shapely

    rings = Rings.of(polygons)
    left, top, right, bottom, side = extent
    everything, tree, own = others
    for y in range(top, bottom, side):
        for x in range(left, right, side):
            core = (x, y, min(side, right - x), min(side, bottom - y))
            outer = shapely.box(*(np.array([x, y, x + core[2], y + core[3]]) + _grown(work)) * work.step)
            near = np.setdiff1d(tree.query(outer), own)
            yield _piece(rings, Rings.of(everything[near]), core, work)


def _grown(work: _Work) -> NDArray[np.int64]:
    return np.array([-1, -1, 1, 1]) * work.margin


def _piece(rings: Rings, near: Rings, core: tuple[int, int, int, int], work: _Work) -> Piece:
    """Read one piece, with a margin in which the rings of its pixels' objects may begin."""
    margin = work.margin
    x, y, width, height = core[0] - margin, core[1] - margin, core[2] + 2 * margin, core[3] + 2 * margin
    corner = (x * work.step, y * work.step)
    shape = (height, width)
    objects, pixels = pixels_in(rings, shape, corner=corner, step=work.step)
    labels = np.zeros(height * width, np.int32)
    labels[pixels_in(near, shape, corner=corner, step=work.step)[1]] = -1
    labels[pixels] = objects + 1
    ring = _ring(labels.reshape(shape), work.spec)
    inner = np.zeros(shape, bool)
    inner[margin : height - margin, margin : width - margin] = True
    planes = _planes(work, Box(*corner, width * work.step, height * work.step))
    return Piece(planes, (objects, pixels), ring, inner.ravel())


def _ring(labels: NDArray[np.int32], spec: PixelSpec) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return object and pixel of all that is no object and has one within reach: the nearest."""
    import cv2

    nowhere = np.empty(0, np.intp)
    if not spec.ring_um or not labels.any():
        return nowhere, nowhere
    free = (labels == 0).astype(np.uint8)
    distance, zone = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(zone.max()) + 1, np.int32)
    taken = free == 0
    owner[zone[taken]] = labels[taken]
    pixels = np.flatnonzero((distance > 0) & (distance <= spec.ring_um / spec.mpp))
    found = owner[zone.ravel()[pixels]]
    return found[found > 0].astype(np.intp) - 1, pixels[found > 0]


def _planes(work: _Work, box: Box) -> NDArray[np.float32]:
    """Return the densities of each stain, float32 (stains, h, w), never below 0."""
    import cv2

    rgb = work.slide.read_at(box, work.step)
    od = cv2.LUT(np.ascontiguousarray(rgb), od_table(work.matrix.background))
    unmix = np.ascontiguousarray(unmixing(work.matrix.complete()).T)[: len(work.matrix.names)]
    amounts = cv2.transform(od, unmix).reshape(*rgb.shape[:2], -1)
    return np.maximum(np.ascontiguousarray(np.moveaxis(amounts, 2, 0), np.float32), 0)
