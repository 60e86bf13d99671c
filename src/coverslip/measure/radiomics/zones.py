"""Zones, connected pixels of one level: how large (IBSI 3.8), and how far inside the region (IBSI 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from coverslip.measure.radiomics.discretise import Levels
from coverslip.measure.radiomics.emphasis import Emphasis, names_of
from coverslip.measure.radiomics.feature import Values
from coverslip.measure.radiomics.neighbours import DIMENSIONS, Numbers, strides, without_direction

_SIZES = Emphasis(
    "glszm",
    "n(i, j) counts zones of level i with j pixels",
    (
        "Small zone emphasis",
        "Large zone emphasis",
        *names_of("Small zone", "Large zone", "zone", "Zone size"),
        "Zone percentage",
        "Grey level variance",
        "Zone size variance",
        "Zone size entropy",
    ),
    "5QRC 48P8 XMSY 5GN9 5RAI HW1V YH51 J17V JNSA Y1RO 4JP3 VB3A P30P BYLV 3NSA GU8N",
)
_DISTANCES = Emphasis(
    "gldzm",
    "n(i, j) counts zones of level i whose nearest pixel to the region's edge is the j-th from outside",
    (
        "Small distance emphasis",
        "Large distance emphasis",
        *names_of("Small distance", "Large distance", "zone", "Zone distance"),
        "Zone percentage",
        "Grey level variance",
        "Zone distance variance",
        "Zone distance entropy",
    ),
    "0GBI MB4I S1RA K26C RUVG DKNJ A7WM KLTH VFT7 7HP3 V294 IATH VIWW QK93 7WT1 GBDU",
)

GLSZM = _SIZES.features
"""The family ``glszm``."""

GLDZM = _DISTANCES.features
"""The family ``gldzm``."""


@dataclass(frozen=True, eq=False)
class Zones:
    """All zones of a region, each array (n,): level, number of pixels, slice, steps from outside."""

    level: NDArray[np.int64]
    size: NDArray[np.int64]
    slice: NDArray[np.int64]
    distance: NDArray[np.int64]


def glszm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of the sizes of zones (8 neighbours in a plane, 26 in space)."""
    values: Values = {}
    for deep, where in ((False, [name for name in dimensions if name != "3D"]), (True, ["3D"])):
        if set(where) & set(dimensions):
            table, size = sizes(levels, deep)
            features = partial(_SIZES.measure, lengths=size)
            values |= without_direction(levels, where, lambda *_, table=table: table, features, GLSZM)
    return values


def gldzm(levels: Levels, *, dimensions: Sequence[str] = DIMENSIONS) -> Values:
    """Return the features of the distances of zones to the edge of the region.

    A distance is counted in steps along rows, columns and slices; a pixel on the edge has 1.
    """
    return without_direction(levels, dimensions, distances, _by_distance, GLDZM)


def sizes(levels: Levels, deep: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count zones: (slices, n, k), or (1, n, k) over slices, for k sizes, which come second.

    Only sizes that occur have a column: one zone may be millions of pixels large.
    """
    found = find_zones(levels, deep=deep)
    size, column = np.unique(found.size, return_inverse=True)
    return _table(found, column + 1, levels, deep), size


def distances(levels: Levels, deep: bool) -> NDArray[np.int64]:
    """Count zones: (slices, n, 1 + farthest), or (1, …) over slices; column 0 holds pixels of each level."""
    found = find_zones(levels, deep=deep)
    table = _table(found, found.distance + 1, levels, deep)
    pixels = np.zeros(table.shape[:2], np.int64)
    np.add.at(pixels, (found.slice, found.level - 1), found.size)
    table[:, :, 0] = pixels
    return table


def _by_distance(table: NDArray[np.int64]) -> Numbers:
    return _DISTANCES.measure(table[:, 1:], float(table[:, 0].sum()))


def _table(found: Zones, column: NDArray[np.int64], levels: Levels, deep: bool) -> NDArray[np.int64]:
    slices = 1 if deep else levels.grid.shape[0]
    shape = (slices, levels.count, int(column.max()))
    place = np.ravel_multi_index((found.slice, found.level - 1, column - 1), shape)
    return np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)


def find_zones(levels: Levels, *, deep: bool) -> Zones:
    """Find the zones of a region within slices, or over them where `deep`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    flat = levels.grid.ravel()
    inside = np.flatnonzero(flat)
    number = np.zeros(flat.size, np.int32)
    number[inside] = np.arange(inside.size)
    firsts, seconds = [], []
    for step in strides(levels, deep=deep):
        same = np.flatnonzero((flat[:-step] == flat[step:]) & (flat[step:] > 0))
        firsts.append(number[same])
        seconds.append(number[same + step])
    pairs = (np.concatenate(firsts), np.concatenate(seconds))
    graph = coo_matrix((np.ones(pairs[0].size, np.int8), pairs), (inside.size, inside.size))
    count, label = connected_components(graph, directed=False)
    one = np.empty(count, np.int64)
    one[label] = inside  # any pixel of the zone knows its level and slice
    nearest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(nearest, label, _steps_inside(levels, deep).ravel()[inside])
    slices = np.zeros_like(one) if deep else one // levels.grid[0].size
    return Zones(flat[one].astype(np.int64), np.bincount(label, minlength=count), slices, nearest)


def _steps_inside(levels: Levels, deep: bool) -> NDArray[np.int64]:
    from scipy.ndimage import distance_transform_cdt

    if deep:
        framed = np.pad(levels.shape, ((1, 1), (0, 0), (0, 0)))
        planes = distance_transform_cdt(framed, metric="taxicab")[1:-1]
    else:
        planes = [distance_transform_cdt(plane, metric="taxicab") for plane in levels.shape]
    return np.asarray(planes, np.int64)
