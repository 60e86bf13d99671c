"""Outlines of many objects as one array of vertices, so that a sum by object is a sum over a run of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rings:
    """All rings of n objects.

    Attributes
    ----------
    xy
        float64, shape (v, 2): vertices, the closing one left out, relative to the object's `origins`, so that
        sums of squares keep their digits far from the slide's corner.
    starts
        intp, shape (r,): first vertex of each ring.
    owners
        intp, shape (r,): object of each ring; ascending.
    holes
        bool, shape (r,).
    origins
        float64, shape (n, 2): a vertex of each object.
    """

    xy: Floats
    starts: NDArray[np.intp]
    owners: NDArray[np.intp]
    holes: NDArray[np.bool_]
    origins: Floats

    @classmethod
    def of(cls, polygons: NDArray[Any]) -> Self:
        """Take the rings of Polygons and MultiPolygons, shape (n,), none of them empty."""
        import shapely

        parts, part_owner = shapely.get_parts(polygons, return_index=True)
        outlines = shapely.get_rings(parts)
        inside = shapely.get_num_interior_rings(parts)
        ring_part = np.repeat(np.arange(len(parts)), inside + 1)
        holes = np.ones(len(outlines), bool)
        holes[np.cumsum(inside + 1) - (inside + 1)] = False
        xy, ring_of = shapely.get_coordinates(outlines, return_index=True)
        closing = np.append(np.diff(ring_of) != 0, True) if len(xy) else np.zeros(0, bool)
        xy, ring_of = xy[~closing], ring_of[~closing]
        starts = np.flatnonzero(np.diff(ring_of, prepend=-1))
        owners = part_owner[ring_part]
        origins = np.zeros((len(polygons), 2))
        origins[owners[::-1]] = xy[starts[::-1]]
        return cls(xy - origins[owners[ring_of]], starts, owners, holes, origins)

    @property
    def lengths(self) -> NDArray[np.intp]:
        """Vertices of each ring, shape (r,)."""
        return np.diff(self.starts, append=len(self.xy))

    @property
    def following(self) -> Floats:
        """The vertex after each vertex on its ring, shape (v, 2)."""
        after = np.arange(1, len(self.xy) + 1)
        after[self.starts + self.lengths - 1] = self.starts
        return self.xy[after]

    def by_ring(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum values at vertices, shape (v, …), over each ring."""
        return np.add.reduceat(values, self.starts, axis=0) if len(self.starts) else values[:0]

    def by_object(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sum values of rings, shape (r, …), over each object."""
        first = np.flatnonzero(np.diff(self.owners, prepend=-1))
        return np.add.reduceat(values, first, axis=0) if len(first) else values[:0]

    def largest(self) -> Self:
        """Return one ring per object: the outline of its largest piece."""
        areas = np.where(self.holes, -1.0, np.abs(self.areas()))
        best = np.lexsort((-areas, self.owners))
        best = best[np.flatnonzero(np.diff(self.owners[best], prepend=-1))]
        lengths = self.lengths[best]
        starts = np.cumsum(lengths) - lengths
        vertices = np.repeat(self.starts[best] - starts, lengths) + np.arange(lengths.sum())
        return type(self)(self.xy[vertices], starts, self.owners[best], self.holes[best], self.origins)

    def areas(self) -> Floats:
        """Signed area of each ring, shape (r,); above 0 for one that runs from x towards y."""
        after = self.following
        return self.by_ring(self.xy[:, 0] * after[:, 1] - self.xy[:, 1] * after[:, 0]) / 2
