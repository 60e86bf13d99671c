"""Steps from a pixel to its neighbours, and the ways in which matrices of texture are brought together.

In the framed grid of `Levels` a neighbour lies a fixed number of places further in memory; the frame keeps
steps from running into the next row or slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import isnan
from typing import Any

from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.feature import Feature, Values

DIMENSIONS = ("2D", "2.5D", "3D")
"""2D: per slice, averaged. 2.5D: within slices, merged over them. 3D: over slices, too."""

AGGREGATIONS = (
    "2D, averaged",
    "2D, slice-merged",
    "2.5D, direction-merged",
    "2.5D, merged",
    "3D, averaged",
    "3D, merged",
    *DIMENSIONS,
)
"""How texture is brought together.

The first six are of matrices with a direction (GLCM, GLRLM): the mean over slices and directions; matrices
merged over directions, the mean over slices; merged over slices, the mean over directions; all merged; the
mean over the 13 directions; all merged. The last three are of the other matrices.
"""

Numbers = dict[str, float]


def strides(levels: Levels, *, deep: bool) -> list[int]:
    """Return the distance in memory to each neighbour that lies ahead: 4 in a plane, 13 in space."""
    _, height, width = levels.grid.shape
    steps = product((0, 1) if deep else (0,), (-1, 0, 1), (-1, 0, 1))
    return [(z * height + y) * width + x for z, y, x in steps if (z, y, x) > (0, 0, 0)]


def check_dimensions(dimensions: Sequence[str], *, planar: bool) -> tuple[str, ...]:
    """Return the dimensions wanted, or raise in words."""
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown:
        raise UsageError(f"dimensions {', '.join(map(repr, unknown))}; expected some of {DIMENSIONS}")
    if planar and set(dimensions) - {"2D"}:
        raise UsageError(f"a 2D picture has the dimension '2D' alone; got {tuple(dimensions)}")
    return tuple(dimensions)


def with_direction(
    levels: Levels,
    dimensions: Sequence[str],
    matrices: Callable[[Levels, bool], NDArray[Any]],
    features: Callable[[NDArray[Any]], Numbers],
    table: Sequence[Feature],
) -> Values:
    """Return the features of `table`, of matrices that have a direction, for each aggregation.

    `matrices(levels, deep)` gives (slices, directions, n, m) in a plane and (1, directions, n, m) in space.
    """
    groups: dict[str, NDArray[Any]] = {}
    if {"2D", "2.5D"} & set(dimensions):
        flat = matrices(levels, False)
        if "2D" in dimensions:
            groups["2D, averaged"] = flat.reshape(-1, *flat.shape[2:])
            groups["2D, slice-merged"] = flat.sum(axis=1)
        if "2.5D" in dimensions:
            groups["2.5D, direction-merged"] = flat.sum(axis=0)
            groups["2.5D, merged"] = flat.sum(axis=(0, 1))[None]
    if "3D" in dimensions:
        deep = matrices(levels, True)[0]
        groups["3D, averaged"] = deep
        groups["3D, merged"] = deep.sum(axis=0)[None]
    return _means(groups, features, table)


def without_direction(
    levels: Levels,
    dimensions: Sequence[str],
    matrices: Callable[[Levels, bool], NDArray[Any]],
    features: Callable[[NDArray[Any]], Numbers],
    table: Sequence[Feature],
) -> Values:
    """Return the features of `table`, of matrices without a direction, for each aggregation.

    `matrices(levels, deep)` gives (slices, n, m) in a plane and (1, n, m) in space.
    """
    groups: dict[str, NDArray[Any]] = {}
    if {"2D", "2.5D"} & set(dimensions):
        flat = matrices(levels, False)
        groups |= {"2D": flat} if "2D" in dimensions else {}
        groups |= {"2.5D": flat.sum(axis=0)[None]} if "2.5D" in dimensions else {}
    if "3D" in dimensions:
        groups["3D"] = matrices(levels, True)
    return _means(groups, features, table)


def _means(
    groups: dict[str, NDArray[Any]], features: Callable[[NDArray[Any]], Numbers], table: Sequence[Feature]
) -> Values:
    """Return the mean of each feature over the matrices for which it is defined, NaN where it never is."""
    values = {}
    for group, matrices in groups.items():
        rows = [features(matrix) for matrix in matrices if matrix.any()]
        for name in (feature.name for feature in table):
            defined = [row[name] for row in rows if not isnan(row[name])]
            values[name, group] = sum(defined) / len(defined) if defined else float("nan")
    return values
