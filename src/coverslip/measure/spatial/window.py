"""The tissue in which points lie: its area, where it ends, and points thrown into it at random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import GeometryError
from coverslip.core.units import as_mpp

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """Polygons in level-0 pixels, and their scale; lengths that come out are in µm.

    Parameters
    ----------
    shape
        A Polygon or MultiPolygon, or a sequence of them, e.g. ``tissue.polygons``.
    mpp
        Microns per pixel of level 0.

    Raises
    ------
    GeometryError
        When it has no area.

    Examples
    --------
    >>> from shapely import box
    >>> Window(box(0, 0, 4000, 2000), 0.25).area_mm2
    0.5
    """

    shape: Any
    mpp: float

    def __post_init__(self) -> None:
        import shapely

        as_mpp(self.mpp)
        parts = np.atleast_1d(np.asarray(self.shape, object))
        whole = shapely.union_all(shapely.make_valid(parts))
        if not shapely.area(whole) > 0:
            raise GeometryError("the tissue has no area", mend="give polygons that are not empty")
        shapely.prepare(whole)
        object.__setattr__(self, "shape", whole)

    @property
    def area_um2(self) -> float:
        """Area."""
        return float(self.shape.area) * self.mpp**2

    @property
    def area_mm2(self) -> float:
        """Area."""
        return self.area_um2 / 1e6

    def contains(self, xy: Floats) -> NDArray[np.bool_]:
        """Say which points (n, 2), in level-0 pixels, lie inside."""
        import shapely

        return np.asarray(shapely.contains_xy(self.shape, xy[:, 0], xy[:, 1]))

    def edge_distance(self, xy: Floats) -> Floats:
        """Return the distance of points (n, 2) to the nearest edge in µm, wherever they lie."""
        import shapely

        if not len(xy):
            return np.empty(0)
        _, found = self._edges.query_nearest(shapely.points(xy), return_distance=True, all_matches=False)
        return np.asarray(found) * self.mpp

    def random(self, n: int, rng: np.random.Generator) -> Floats:
        """Return `n` points (n, 2) at random, each place as likely as any other."""
        left, top, right, bottom = self.shape.bounds
        found, have = [], 0
        share = self.shape.area / ((right - left) * (bottom - top))
        while have < n:
            more = rng.uniform((left, top), (right, bottom), (int((n - have) / share * 1.1) + 16, 2))
            found.append(more[self.contains(more)])
            have += len(found[-1])
        return np.concatenate([np.empty((0, 2)), *found])[:n]

    @cached_property
    def _edges(self) -> Any:
        import shapely

        rings = shapely.get_rings(shapely.get_parts(self.shape))
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        same = ring[1:] == ring[:-1]
        return shapely.STRtree(shapely.linestrings(np.stack([xy[:-1][same], xy[1:][same]], axis=1)))
