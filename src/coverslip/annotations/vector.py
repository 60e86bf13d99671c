"""From labels of pixels to shapes; neighbours keep one common border, also when it is simplified."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.annotations.annotations import Annotations
from coverslip.annotations.raster import IGNORE
from coverslip.annotations.shape import Shape, kind_of
from coverslip.core.errors import GeometryError, UsageError

OUTSIDE = -1
"""Label of what lies around the picture."""


def vectorise(
    labels: NDArray[Any],
    downsample: float = 1.0,
    *,
    classes: Mapping[str, int] | Sequence[str],
    tolerance: float = 0.0,
    origin: tuple[float, float] = (0, 0),
) -> Annotations:
    """Outline every connected area of each label, with holes.

    Outlines run along the borders of pixels, so a polygon's area is its number of pixels. Pixels that meet
    only at a corner are not connected. Borders are arcs between the points where three areas meet; each arc
    is simplified once, for both its neighbours (Douglas and Peucker 1973, without arcs crossing each other),
    so there are neither gaps nor overlaps.

    Parameters
    ----------
    labels
        Array (h, w) of whole numbers.
    downsample
        Level-0 pixels per pixel.
    classes
        Label of each class, as for `rasterise`; other labels, and `IGNORE`, become no shape.
    tolerance
        How far, in level-0 pixels, a simplified border may lie from the pixels' border. Notes say by how much
        the area of each class changed.
    origin
        x and y, in level-0 pixels, of the labels' upper left corner.

    Raises
    ------
    GeometryError
        When labels are not a picture of whole numbers, or the downsample or tolerance cannot be.

    Examples
    --------
    >>> labels = np.array([[1, 1, 0], [1, 1, 0]])
    >>> [s.geometry.bounds for s in vectorise(labels, 10, classes={"tumour": 1}).shapes]
    [(0.0, 0.0, 20.0, 20.0)]
    """
    names = _names(classes)
    _refuse_odd(labels, downsample, tolerance)
    found = _faces(labels, tolerance / downsample, set(names))
    shapes, before, after = [], dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for label in names:
        before[label] = int((labels == label).sum())
    for i, (label, face) in enumerate(found, 1):
        after[label] += face.area
        scaled = _scaled(face, downsample, origin)
        shapes.append(Shape(str(i), kind_of(scaled), scaled, names[label]))
    notes = [
        f"{names[label]}: simplified within {tolerance:g} px, its area changed by "
        f"{100 * (after[label] / before[label] - 1):+.3f} %"
        for label in names
        if tolerance and before[label]
    ]
    return Annotations(tuple(shapes), dict.fromkeys(names.values()), notes=tuple(notes))


def _names(classes: Mapping[str, int] | Sequence[str]) -> dict[int, str]:
    given = classes.items() if isinstance(classes, Mapping) else [(name, i) for i, name in enumerate(classes)]
    names = {int(label): name for name, label in given}
    if not names or len(names) != len(classes) or IGNORE in names or min(names) < 0:
        raise UsageError(
            f"classes {classes!r} do not name labels: expected each class with a label of its own from 0 on, "
            f"not {IGNORE}",
            mend='write classes={"tumour": 1, "stroma": 2}',
        )
    return names


def _refuse_odd(labels: NDArray[Any], downsample: float, tolerance: float) -> None:
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iub":
        got = f"{labels.shape} of {labels.dtype}"
        raise GeometryError(f"labels {got} are no label image: expected (h, w) of whole numbers")
    if not (math.isfinite(downsample) and downsample > 0 and math.isfinite(tolerance) and tolerance >= 0):
        raise GeometryError(
            f"downsample {downsample!r} and tolerance {tolerance!r} cannot be: expected a downsample above 0 "
            "and a tolerance of 0 or more level-0 pixels"
        )


def _scaled(face: Any, downsample: float, origin: tuple[float, float]) -> Any:
    import shapely

    return shapely.transform(face, lambda points: points * downsample + origin)


def _faces(labels: NDArray[Any], tolerance: float, wanted: set[int]) -> list[tuple[int, Any]]:
    """Return label and polygon of every connected area, in pixels."""
    import shapely

    arcs = _arcs(labels)
    faces = _polygons(arcs)
    owner = _labels_in(labels, faces)
    keep = np.isin(owner, list(wanted))
    if not tolerance:
        return list(zip(owner[keep].tolist(), faces[keep], strict=True))
    simple = _polygons(shapely.simplify(shapely.multilinestrings(arcs), tolerance, preserve_topology=True))
    whose = _matched(simple, faces)
    return [(int(owner[i]), face) for face, i in zip(simple, whose, strict=True) if i >= 0 and keep[i]]


def _polygons(lines: Any) -> NDArray[Any]:
    import shapely

    return np.asarray(shapely.get_parts(shapely.polygonize(shapely.get_parts(lines))), object)


def _labels_in(labels: NDArray[Any], faces: NDArray[Any]) -> NDArray[np.int64]:
    """Return the label of the pixels in each face."""
    import shapely

    if not len(faces):
        return np.empty(0, np.int64)
    inside: NDArray[np.float64] = shapely.get_coordinates(shapely.point_on_surface(faces))
    column, row = np.floor(inside).astype(np.intp).T
    found: NDArray[np.int64] = labels[row, column].astype(np.int64)
    return found


def _matched(simple: NDArray[Any], faces: NDArray[Any]) -> NDArray[np.intp]:
    """Return for each simplified face the traced one that it shares most area with."""
    import shapely

    if not len(simple):
        return np.empty(0, np.intp)
    new, old = shapely.STRtree(faces).query(simple, predicate="intersects")
    shared = shapely.area(shapely.intersection(simple[new], faces[old]))
    order = np.lexsort((shared, new))
    last = np.flatnonzero(np.append(new[order][1:] != new[order][:-1], True))
    result = np.full(len(simple), -1, np.intp)
    result[new[order][last]] = old[order][last]
    return result


# ------------------------------------------------------------------ borders
def _arcs(labels: NDArray[Any]) -> Any:
    """Return the borders between labels as lines that start and end where three areas meet, or are closed."""
    import shapely

    padded = np.pad(labels.astype(np.int64), 1, constant_values=OUTSIDE)
    across = padded[:-1, 1:-1] != padded[1:, 1:-1]  # (h + 1, w): horizontal border under row y - 1
    along = padded[1:-1, :-1] != padded[1:-1, 1:]  # (h, w + 1): vertical border left of column x
    left, right = np.pad(across, ((0, 0), (1, 0))), np.pad(across, ((0, 0), (0, 1)))
    above, below = np.pad(along, ((1, 0), (0, 0))), np.pad(along, ((0, 1), (0, 0)))
    stop = (left | right) & (above | below)
    rows = _runs(across, stop)
    columns = _runs(along.T, stop.T)[:, :, ::-1]
    segments = shapely.linestrings(np.concatenate([rows, columns]).astype(np.float64))
    return shapely.get_parts(shapely.line_merge(shapely.multilinestrings(segments)))


def _runs(border: NDArray[np.bool_], stop: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return straight pieces of horizontal borders between stops, (n, 2 ends, 2)."""
    starts = border & (~np.pad(border, ((0, 0), (1, 0)))[:, :-1] | stop[:, :-1])
    ends = border & (~np.pad(border, ((0, 0), (0, 1)))[:, 1:] | stop[:, 1:])
    (row, start), (_, end) = np.nonzero(starts), np.nonzero(ends)
    return np.stack([np.stack([start, row], 1), np.stack([end + 1, row], 1)], axis=1)
