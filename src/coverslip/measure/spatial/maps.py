"""Any measurement as a map over the slide."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.core.errors import UsageError
from coverslip.core.units import as_mpp
from coverslip.measure.spatial.window import Floats
from coverslip.store import ValueMap

MOST_CELLS = 64_000_000


def mapped(
    xy: Floats,
    values: NDArray[np.floating] | None,
    size: Size,
    mpp: float,
    *,
    cell_um: float = 100.0,
    what: Literal["mean", "sum", "count", "density"] = "mean",
    name: str = "value",
) -> ValueMap:
    """Return a map of what objects measure, in square cells.

    Parameters
    ----------
    xy
        Middles in level-0 pixels, (n, 2); those off the slide are left out.
    values
        Shape (n,), NaN for none; not needed for ``"count"`` and ``"density"``.
    size
        Of the slide.
    cell_um
        Side of a cell in µm.
    what
        Of the objects in each cell: mean or sum of the values, their number, or their number per mm² (of the
        cell, of which at the slide's edge a part may lie beyond).

    Returns
    -------
    ValueMap
        One plane `name`, NaN in means where there is no object; written as OME-Zarr under ``maps/<name>``.

    Examples
    --------
    >>> points = np.array([[10.0, 10], [30, 10], [250, 10]])
    >>> found = mapped(points, np.array([1.0, 3, 5]), Size(400, 200), 0.5, cell_um=50)
    >>> found.values.tolist()
    [[[2.0, nan, 5.0, nan], [nan, nan, nan, nan]]]
    """
    side = cell_um / as_mpp(mpp)
    columns, rows = int(np.ceil(size.width / side)), int(np.ceil(size.height / side))
    if not 1 <= columns * rows <= MOST_CELLS:
        raise UsageError(f"cells of {cell_um:g} µm make a map of {columns} × {rows}: expected larger ones")
    if values is None and what in {"mean", "sum"}:
        raise UsageError(f"a map of the {what} needs values")
    column, row = np.floor(xy / side).astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (xy[:, 0] < size.width) & (xy[:, 1] < size.height)
    numbers = np.ones(len(xy)) if values is None else np.asarray(values, float)
    inside &= np.isfinite(numbers)
    cell = (row * columns + column)[inside]
    count = np.bincount(cell, minlength=rows * columns).astype(float)
    total = np.bincount(cell, numbers[inside], rows * columns)
    found = {
        "count": count,
        "density": count / (cell_um / 1000) ** 2,
        "sum": total,
        "mean": np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0),
    }[what]
    return ValueMap(found.reshape(1, rows, columns).astype(np.float32), side, (name,), mpp=mpp)
