"""From shapes to labels of pixels, by the area that each class covers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.check import geometry_problems, refuse
from coverslip.annotations.coverage import coverage
from coverslip.annotations.shape import Shape
from coverslip.core import Region, Size, unknown
from coverslip.core.errors import GeometryError, UsageError

if TYPE_CHECKING:
    from coverslip.slides import Slide

IGNORE = 255
"""Label of pixels about which the annotations say nothing."""
BAND = 1 << 22
"""Pixels worked on at once."""
EQUAL = 1e-9
"""Shares closer than this are the same: the order of classes decides, not rounding."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixels of a label image.

    Attributes
    ----------
    size
        Width and height in pixels.
    downsample
        Level-0 pixels per pixel.
    origin
        x and y, in level-0 pixels, of the upper left corner.

    Examples
    --------
    >>> from coverslip.core import Box
    >>> Grid.of_region(Region(Box(512, 0, 1024, 1024), mpp=1.0), mpp=0.25)
    Grid(size=Size(width=256, height=256), downsample=4.0, origin=(512, 0))
    """

    size: Size
    downsample: float = 1.0
    origin: tuple[float, float] = (0, 0)

    def __post_init__(self) -> None:
        width, height = self.size
        object.__setattr__(self, "size", Size(width, height))
        numbers = (self.downsample, *self.origin)
        if min(width, height) < 1 or not all(map(math.isfinite, numbers)) or self.downsample <= 0:
            raise GeometryError(
                f"{width} × {height} pixels at downsample {self.downsample!r} from {self.origin}: no grid; "
                "expected a size of 1 × 1 or more, a downsample above 0 and a finite origin"
            )

    @classmethod
    def of_region(cls, region: Region, mpp: float) -> Self:
        """Return the pixels that a slide of `mpp` gives for a region."""
        downsample = region.mpp / mpp
        return cls(region.box.pixels(downsample), downsample, (region.box.x, region.box.y))

    @classmethod
    def of_slide(cls, slide: Slide, mpp: float | None = None) -> Self:
        """Cover a whole slide at `mpp`, level 0 by default; the last row and column may reach over it."""
        downsample = 1.0 if mpp is None else mpp / slide.require_mpp()
        width, height = (max(1, math.ceil(side / downsample - 1e-6)) for side in slide.size)
        return cls(Size(width, height), downsample)


def rasterise(
    annotations: Annotations,
    grid: Grid,
    *,
    classes: Mapping[str, int] | Sequence[str],
    priority: Sequence[str] | None = None,
    background: str | None = None,
) -> NDArray[Any]:
    """Label pixels with the class that covers the largest share of each.

    Shares are exact areas, not samples, at any downsample. What no shape covers competes too: a pixel that is
    labelled by a third stays unlabelled, so areas are kept. Equal shares go to the class that comes first in
    `priority`, and to no class last. Lines and points cover nothing: see `Annotations.widened`.

    Parameters
    ----------
    annotations
        Shapes of other classes than `classes`, and of none, are not drawn.
    grid
        The pixels wanted: size, downsample and origin, e.g. ``Grid.of_region(region, slide.mpp)``.
    classes
        Label of each class, from 0 on; a list numbers them in its order.
    priority
        Which class is on top where several overlap, first the topmost; by default the order of `classes`.
    background
        Class of what nobody annotated. None leaves it `IGNORE`, so that sparse annotations train honestly.

    Returns
    -------
    Array (h, w) uint8, or int32 when a label is above 255.

    Raises
    ------
    GeometryError
        When shapes that reach the grid cross themselves, are empty or not finite: all are named.
    UsageError
        When labels or priority do not fit the classes.

    Examples
    --------
    >>> from shapely import box
    >>> from coverslip.annotations import Shape
    >>> drawn = Annotations((Shape("1", "rectangle", box(0, 0, 6, 4), "tumour"),))
    >>> rasterise(drawn, Grid(Size(3, 1), downsample=4), classes=["tumour"]).tolist()
    [[0, 0, 255]]
    """
    codes = _codes(classes)
    order = _order(codes, priority)
    if background is not None and background not in codes:
        raise unknown("class", background, codes)
    drawn = [shape for shape in annotations.shapes if shape.class_name in codes and _reaches(shape, grid)]
    refuse(geometry_problems(drawn))
    layers = _layers({name: [p for s in drawn if s.class_name == name for p in s.polygons] for name in order})
    empty = IGNORE if background is None else codes[background]
    labels = np.full(grid.size[::-1], empty, np.uint8 if max(codes.values()) <= IGNORE else np.int32)
    by_label: dict[int, list[Any]] = {}
    for name, layer in layers:
        by_label.setdefault(codes[name], []).append(layer)
    by_label.pop(empty, None)  # what is drawn as background and what is not drawn at all are one
    rows = max(1, BAND // grid.size.width)
    for top, bottom in pairwise([*range(0, grid.size.height, rows), grid.size.height]):
        _paint(labels[top:bottom], top, grid, by_label)
    return labels


def _reaches(shape: Shape, grid: Grid) -> bool:
    """Say whether a shape's box meets the grid; one that is not finite does, so that it is refused."""
    (x, y), (width, height) = grid.origin, grid.size
    left, top, right, bottom = shape.geometry.bounds
    right_end, bottom_end = x + width * grid.downsample, y + height * grid.downsample
    return not (left > right_end or top > bottom_end or right < x or bottom < y)


def _codes(classes: Mapping[str, int] | Sequence[str]) -> dict[str, int]:
    given = classes.items() if isinstance(classes, Mapping) else [(name, i) for i, name in enumerate(classes)]
    codes = {name: int(label) for name, label in given}
    if not codes or len(codes) != len(classes) or any(v < 0 or v == IGNORE for v in codes.values()):
        raise UsageError(
            f"classes {classes!r} cannot be labels: expected names, each once, with labels from 0 on "
            f"that are not {IGNORE}, the label of what is not annotated",
            mend='write classes=["tumour", "stroma"] or {"tumour": 1, "stroma": 2}',
        )
    return codes


def _order(codes: Mapping[str, int], priority: Sequence[str] | None) -> list[str]:
    order = list(codes if priority is None else priority)
    for name in order:
        if name not in codes:
            raise unknown("class", name, codes)
    if len(set(order)) != len(codes) or len(order) != len(codes):
        missing = [name for name in codes if name not in order]
        raise UsageError(
            f"priority {order} does not order all classes once; missing: {', '.join(missing) or 'none'}",
            mend="name every class once, first the topmost",
        )
    return order


def _layers(parts: Mapping[str, list[Any]]) -> list[tuple[str, Any]]:
    """Return what of each class is seen from above: its polygons less those of classes before it."""
    import shapely

    layers: list[tuple[str, Any]] = []
    above = shapely.MultiPolygon()
    for name, polygons in parts.items():
        own = shapely.union_all(polygons) if polygons else shapely.MultiPolygon()
        layers.append((name, shapely.difference(own, above) if not above.is_empty else own))
        above = shapely.union(above, own)
    return layers


def _paint(band: NDArray[Any], top: int, grid: Grid, layers: Mapping[int, Sequence[Any]]) -> None:
    """Write the labels of some rows; `band` comes filled with the label of what is not annotated."""
    height, width = band.shape
    best, covered = np.zeros(band.shape), np.zeros(band.shape)
    winner = band.copy()
    for label, parts in layers.items():
        share = np.zeros(band.shape)
        for part in parts:
            share += coverage(_windowed(part, grid, (top, top + height)), width, height)
        covered += share
        ahead = share > best + EQUAL
        best[ahead], winner[ahead] = share[ahead], label
    np.copyto(band, winner, where=best >= 1 - covered - EQUAL)


def _windowed(layer: Any, grid: Grid, rows: tuple[int, int]) -> Any:
    """Return a layer in pixels of some rows of the grid, without the parts that do not reach them."""
    import shapely

    step, (x, y) = grid.downsample, grid.origin
    parts = shapely.get_parts(layer)
    parts = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    box = shapely.box(x, y + rows[0] * step, x + grid.size.width * step, y + rows[1] * step)
    near = shapely.MultiPolygon(list(parts[shapely.intersects(parts, box)]))
    return shapely.transform(near, lambda points: (points - (x, y)) / step - (0, rows[0]))
