"""Where the tissue of a slide is: polygons, and a mask made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box, Size
from coverslip.core.errors import GeometryError
from coverslip.tissue.polygons import rasterise, tidy

if TYPE_CHECKING:
    from shapely import Polygon


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where the tissue of a slide is.

    Make one with `find_tissue`, `from_polygons` or `from_geojson`: the mask is always what the polygons
    cover, so a tissue that was written and read again gives the same numbers.

    Attributes
    ----------
    mask
        Array (h, w) bool; pixel ``(column, row)`` covers ``downsample`` level-0 pixels from
        ``(column · downsample, row · downsample)``.
    downsample
        Level-0 pixels per mask pixel.
    polygons
        Valid, disjoint shapely polygons with holes, in level-0 pixels, largest first.
    method
        How it was found.
    notes
        What a person should know: pen marks left out, no tissue found, …

    Examples
    --------
    >>> from shapely import box
    >>> tissue = Tissue.from_polygons([box(100, 100, 300, 200)], Size(400, 400), downsample=10)
    >>> tissue.area_px, tissue.boxes()
    (20000.0, (Box(x=100.0, y=100.0, width=200.0, height=100.0),))
    >>> tissue.share_in(np.array([[0, 0], [100, 100], [250, 100]]), 100).tolist()
    [0.0, 1.0, 0.5]
    """

    mask: NDArray[np.bool_]
    downsample: float
    polygons: tuple[Polygon, ...]
    method: str = "drawn"
    notes: tuple[str, ...] = ()

    @classmethod
    def from_polygons(
        cls,
        polygons: Sequence[Polygon],
        size: Size,
        downsample: float,
        *,
        method: str = "drawn",
        notes: tuple[str, ...] = (),
    ) -> Self:
        """Make a tissue of polygons on a slide of `size`; overlapping ones are merged.

        Raises
        ------
        GeometryError
            When the downsample is not above 0.
        """
        if not (math.isfinite(downsample) and downsample > 0):
            raise GeometryError(f"downsample {downsample!r} is none: expected a number above 0")
        return cls._of(tidy(polygons) if len(polygons) else (), size, downsample, method, tuple(notes))

    @classmethod
    def _of(
        cls, shapes: tuple[Polygon, ...], size: Size, downsample: float, method: str, notes: tuple[str, ...]
    ) -> Self:
        """Make a tissue of polygons that are valid, disjoint and on whole pixels."""
        grid = (max(1, math.ceil(size[1] / downsample)), max(1, math.ceil(size[0] / downsample)))
        return cls(rasterise(shapes, grid, downsample), float(downsample), shapes, method, notes)

    @property
    def empty(self) -> bool:
        """True when there is no tissue at all."""
        return not self.polygons

    @property
    def area_px(self) -> float:
        """Area of the polygons in level-0 pixels; times mpp² it is µm²."""
        return float(sum(polygon.area for polygon in self.polygons))

    def boxes(self) -> tuple[Box, ...]:
        """Return the box around each polygon, largest polygon first."""
        bounds = (polygon.bounds for polygon in self.polygons)
        return tuple(Box(x, y, right - x, bottom - y) for x, y, right, bottom in bounds)

    def share_in(self, xy: NDArray[Any], side: float) -> NDArray[np.float32]:
        """Return which share of each square is tissue.

        The mask is summed once (summed-area table, Crow 1984), so each square costs four look-ups, whatever
        its size. Squares may start between pixels and reach over the slide's edge, where there is no tissue.

        Parameters
        ----------
        xy
            Corners (n, 2) in level-0 pixels.
        side
            Side of the squares in level-0 pixels.

        Returns
        -------
        Array (n,) float32 from 0 to 1.
        """
        return table_share(self._table, np.asarray(xy, np.float64) / self.downsample, side / self.downsample)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        return np.asarray(cv2.integral(self.mask.view(np.uint8)), np.int32)

    def to_geojson(self) -> dict[str, Any]:
        """Return a GeoJSON FeatureCollection in level-0 pixels that QuPath opens; one feature per polygon."""
        import shapely

        height, width = self.mask.shape
        features = [
            {
                "type": "Feature",
                "geometry": _whole(shapely.geometry.mapping(polygon)),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "Tissue", "color": [62, 138, 88]},
                    "isLocked": True,
                },
            }
            for polygon in self.polygons
        ]
        made = {"method": self.method, "notes": list(self.notes), "downsample": self.downsample}
        return {
            "type": "FeatureCollection",
            "features": features,
            "coverslip": {**made, "mask": [width, height]},
        }

    @classmethod
    def from_geojson(
        cls, data: Mapping[str, Any], *, size: Size | None = None, downsample: float | None = None
    ) -> Self:
        """Read what `to_geojson` wrote, or polygons of QuPath if the slide's size and a downsample are given.

        Raises
        ------
        GeometryError
            When `data` is no FeatureCollection of polygons, or the grid is neither in it nor given.
        """
        made = data.get("coverslip", {})
        step = made.get("downsample") if downsample is None else downsample
        if size is None and "mask" in made and made.get("downsample"):
            size = Size(*(pixels * made["downsample"] for pixels in made["mask"]))
        if size is None or step is None:
            raise GeometryError(
                "the GeoJSON does not say how large the slide is: its member 'coverslip' is missing",
                mend="give size=slide.size and downsample=16",
            )
        notes = tuple(made.get("notes", ()))
        return cls.from_polygons(_shapes(data), size, step, method=made.get("method", "drawn"), notes=notes)

    def __repr__(self) -> str:
        return f"<Tissue: {len(self.polygons)} piece(s), {self.area_px:.4g} px², by {self.method}>"


def table_share(table: NDArray[Any], xy: NDArray[np.float64], side: float) -> NDArray[np.float32]:
    """Return the mean of a table's image in squares, given in the image's pixels.

    A summed-area table is linear in x and in y inside a pixel, so bilinear look-up is exact between pixels.

    Parameters
    ----------
    table
        Summed-area table (h + 1, w + 1) as of ``cv2.integral``.
    xy
        Corners (n, 2).
    side
        Side of the squares.
    """
    return np.clip(table_sum(table, xy, side) / (side * side), 0, 1).astype(np.float32)


def table_sum(table: NDArray[Any], xy: NDArray[np.float64], side: float) -> NDArray[np.float64]:
    """Return the sum over squares, as `table_share` their mean."""
    left, top = xy[:, 0], xy[:, 1]
    total = _at(table, left + side, top + side) - _at(table, left, top + side)
    total += _at(table, left, top) - _at(table, left + side, top)
    return total


def _at(table: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = table.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    column, row = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    across, down = x - column, y - row
    upper = table[row, column] * (1 - across) + table[row, column + 1] * across
    lower = table[row + 1, column] * (1 - across) + table[row + 1, column + 1] * across
    result: NDArray[np.float64] = upper * (1 - down) + lower * down
    return result


def _whole(geometry: dict[str, Any]) -> dict[str, Any]:
    """Write coordinates as whole numbers, which they are."""
    rings = [[[round(x), round(y)] for x, y in ring] for ring in geometry["coordinates"]]
    return {"type": geometry["type"], "coordinates": rings}


def _shapes(data: Mapping[str, Any]) -> list[Any]:
    import shapely

    if data.get("type") != "FeatureCollection":
        raise GeometryError(f"expected a GeoJSON FeatureCollection, got type {data.get('type')!r}")
    shapes = []
    for number, feature in enumerate(data.get("features", ())):
        geometry = feature.get("geometry") or {}
        if geometry.get("type") not in {"Polygon", "MultiPolygon"}:
            raise GeometryError(
                f"feature {number} is a {geometry.get('type')!r}; expected Polygon or MultiPolygon"
            )
        try:
            shapes.append(shapely.geometry.shape(geometry))
        except (ValueError, TypeError, KeyError, shapely.GEOSException) as error:
            raise GeometryError(f"feature {number} has coordinates that make no polygon: {error}") from error
    return shapes
