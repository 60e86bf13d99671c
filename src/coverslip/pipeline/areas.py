"""Parts of a slide to which a step is limited: which tiles and points lie in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]


class Area(Protocol):
    """A part of a slide, in level-0 pixels."""

    def tiles(self, xy: NDArray[Any], side: float, at_least: float | None = None) -> Mask:
        """Say which squares (n, 2) of corner and side belong to it."""
        ...

    def points(self, xy: NDArray[Any]) -> Mask:
        """Say which points (n, 2) lie in it."""
        ...

    def polygons(self) -> tuple[Any, ...] | None:
        """Return it as disjoint shapely polygons; None for all of the slide."""
        ...


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions that a step found. A tile belongs to them that touches one, or lies in them by `at_least`.

    Examples
    --------
    >>> from shapely import box
    >>> regions = Regions((box(0, 0, 100, 100),))
    >>> corners = np.array([[0, 0], [80, 0], [100, 0], [300, 0]])
    >>> regions.tiles(corners, 50).tolist(), regions.tiles(corners, 50, 0.5).tolist()
    ([True, True, False, False], [True, False, False, False])
    >>> regions.points(np.array([[50.0, 50.0], [101.0, 50.0]])).tolist()
    [True, False]
    """

    shapes: Sequence[Any]

    @cached_property
    def _tree(self) -> Any:
        from shapely import STRtree

        return STRtree(np.asarray(self.shapes, object))

    def tiles(self, xy: NDArray[Any], side: float, at_least: float | None = None) -> Mask:
        """Say which squares touch a region; with `at_least` above 0, which lie in them by that share."""
        import shapely

        squares = squares_of(xy, side)
        inside = np.zeros(len(squares))
        if not len(squares) or not len(self.shapes):
            return inside > 0
        one, other = self._tree.query(squares, predicate="intersects")
        parts = shapely.intersection(squares[one], self._tree.geometries[other])
        np.add.at(inside, one, shapely.area(parts) / side**2)
        if not at_least:
            return inside > 0
        # regions may overlap: what lies in several counts once
        for tile in np.flatnonzero((np.bincount(one, minlength=len(squares)) > 1) & (inside >= at_least)):
            inside[tile] = shapely.union_all(parts[one == tile]).area / side**2
        return np.asarray(inside >= at_least - 1e-9)

    def points(self, xy: NDArray[Any]) -> Mask:
        """Say which points lie in a region or on its edge."""
        import shapely

        found = np.zeros(len(xy), bool)
        if len(xy) and len(self.shapes):
            found[self._tree.query(shapely.points(np.asarray(xy, np.float64)), predicate="intersects")[0]] = (
                True
            )
        return found

    def polygons(self) -> tuple[Any, ...]:
        """Return the regions."""
        return tuple(self.shapes)


@dataclass(frozen=True, eq=False)
class Squares:
    """Tiles that passed a test, as places. Another grid's tile belongs to them by its centre, or by theirs.

    Examples
    --------
    >>> coarse = Squares(np.array([[0, 0], [400, 0]]), 200)
    >>> coarse.tiles(np.array([[0, 0], [200, 0]]), 200).tolist()
    [True, False]
    >>> coarse.tiles(np.array([[0, 0], [100, 0], [200, 0]]), 100).tolist()
    [True, True, False]
    """

    xy: NDArray[Any]
    side: float

    def tiles(self, xy: NDArray[Any], side: float, at_least: float | None = None) -> Mask:  # noqa: ARG002
        """Say which squares are among these; of another grid, whose centre lies in one, or holds one's."""
        if side == self.side:
            known = {tuple(corner) for corner in np.asarray(self.xy).tolist()}
            same = np.array([tuple(corner) in known for corner in np.asarray(xy).tolist()], bool)
            if same.any() or not len(self.xy):
                return same
        found = self.points(np.asarray(xy, np.float64) + side / 2)
        if side > self.side and len(self.xy):
            found |= _holding(np.asarray(xy), side, np.asarray(self.xy, np.float64) + self.side / 2)
        return found

    def points(self, xy: NDArray[Any]) -> Mask:
        """Say which points lie in one of the squares."""
        from shapely import STRtree, points

        found = np.zeros(len(xy), bool)
        if len(self.xy) and len(xy):
            tree = STRtree(squares_of(self.xy, self.side))
            found[tree.query(points(np.asarray(xy, np.float64)), predicate="intersects")[0]] = True
        return found

    def polygons(self) -> tuple[Any, ...]:
        """Return the squares, those that touch as one."""
        import shapely

        joined = shapely.union_all(squares_of(self.xy, self.side))
        return tuple(part for part in shapely.get_parts(joined) if part.area > 0)


@dataclass(frozen=True, eq=False)
class Whole:
    """All of the slide, or none of it."""

    passed: bool

    def tiles(self, xy: NDArray[Any], side: float, at_least: float | None = None) -> Mask:  # noqa: ARG002
        """Say of every square the same."""
        return np.full(len(xy), self.passed)

    def points(self, xy: NDArray[Any]) -> Mask:
        """Say of every point the same."""
        return np.full(len(xy), self.passed)

    def polygons(self) -> tuple[Any, ...] | None:
        """Return nothing, or None for all of the slide."""
        return None if self.passed else ()


def squares_of(xy: NDArray[Any], side: float) -> NDArray[Any]:
    """Return squares of corners (n, 2) as shapely polygons (n,)."""
    import shapely

    x, y = np.asarray(xy, np.float64).reshape(-1, 2).T
    return np.asarray(shapely.box(x, y, x + side, y + side), object)


def _holding(xy: NDArray[Any], side: float, points: Points) -> Mask:
    from shapely import STRtree
    from shapely import points as as_points

    found = np.zeros(len(xy), bool)
    found[STRtree(squares_of(xy, side)).query(as_points(points), predicate="intersects")[1]] = True
    return found
