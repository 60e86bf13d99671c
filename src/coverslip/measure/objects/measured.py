"""All measurements of all objects of a slide, a part of them at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from coverslip.core.errors import UsageError
from coverslip.core.geometry import Box
from coverslip.measure.objects.pixels import PixelSpec, stains
from coverslip.measure.objects.shape import SHAPES, shapes
from coverslip.slides import Slide
from coverslip.stain.matrices import StainMatrix
from coverslip.store import Objects, ObjectStream, ObjectTable


def measured(
    slide: Slide,
    objects: Objects | ObjectTable,
    *,
    matrix: StainMatrix | None = None,
    shape: bool = True,
    pixels: PixelSpec | None = None,
    start: int = 0,
) -> ObjectStream:
    """Return the objects with their measurements, as a stage writes them: a part per row group.

    Memory stays bounded where objects that lie close lie close in the file, as they do when they were written
    strip by strip.

    Parameters
    ----------
    matrix
        The slide's stains; needed for `pixels`.
    shape
        Measure `coverslip.measure.objects.SHAPES`.
    pixels
        How to measure stain and texture; None leaves them out.
    start
        Parts that are there already: ``resume.parts(key)``.

    Raises
    ------
    MissingMppError
        When the slide has no mpp.
    UsageError
        When `pixels` is given without `matrix`.
    """
    if pixels is not None and matrix is None:
        raise UsageError(
            "densities need the slide's stains", mend="give matrix=, as the stage stain finds it"
        )
    mpp = float(slide.require_mpp())
    new = (*(SHAPES if shape else ()), *(pixels.names(matrix) if pixels and matrix else ()))
    kept = tuple(name for name in objects.measurements if name not in new)

    def parts() -> Iterator[ObjectTable]:
        for table in objects.batches(start):
            found = shapes(table.polygons, mpp) if shape else {}
            if pixels is not None and matrix is not None:
                near = _around(objects, table, 2 * pixels.ring_um / mpp + 4)
                found |= stains(slide, table.polygons, matrix, spec=pixels, around=near)
            yield table.with_measurements(found)

    return ObjectStream(
        parts(),
        n=objects.n_batches,
        classes=objects.classes,
        mpp=mpp,
        measurements=(*kept, *new),
        notes=objects.notes,
    )


def _around(objects: Objects | ObjectTable, table: ObjectTable, reach: float) -> np.ndarray:
    """Return the polygons near a part that are of other parts."""
    import shapely

    if objects.n_batches <= 1:
        return np.empty(0, object)
    left, top, right, bottom = shapely.total_bounds(table.polygons)
    near = objects.within(Box(left - reach, top - reach, right - left + 2 * reach, bottom - top + 2 * reach))
    return near.polygons[~np.isin(near["object"], table["object"])]
