"""What was found, cell by cell, and what it means for any tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import GeometryError
from coverslip.tissue.tissue import table_sum

FLAGS = ("blur", "pen", "fold", "bubble", "over_stained", "under_stained", "saturated")
"""What may be wrong with a cell; each is a column of booleans."""

SCORES = (
    "tissue",
    "focus",
    "blur_share",
    "stain",
    "pen_share",
    "fold_share",
    "bubble_share",
    "clipped_share",
)
"""What is measured in a cell; each is a column of float32."""


@dataclass(frozen=True, eq=False)
class Quality:
    """Fitness of a slide's tissue, in square cells.

    Attributes
    ----------
    cells
        Columns of equal length, one row per cell that holds tissue, row by row:

        ``x``, ``y``, ``side_px``
            Corner and side in level-0 pixels.
        ``tissue``
            Share of the cell that is tissue.
        ``focus``
            Contrast of fine against coarse structures, see `QualitySpec.blur_below`: the median of the cell's
            sixteenths; NaN where there is no structure to judge by.
        ``blur_share``
            Share of the sixteenths that are out of focus.
        ``stain``
            Mean optical density of stained pixels, mean of red, green and blue, against the glass; NaN where
            hardly any is stained.
        ``pen_share``, ``fold_share``, ``bubble_share``
            Share of the cell's tissue under it.
        ``clipped_share``
            Share of the cell's tissue whose pixels are clipped.
        ``blur``, ``pen``, ``fold``, ``bubble``, ``over_stained``, ``under_stained``, ``saturated``
            Flags.
    summary
        ``usable_fraction`` (share of the tissue's area without any flag), each flag's share of the tissue's
        area, ``focus_median``, ``focus_p10``, ``focus_p90``, ``stain_median``, ``cells``,
        ``unreadable_fraction``.

    Examples
    --------
    >>> column = np.array([0.0, 100.0])
    >>> cells = {"x": column, "y": 0 * column, "side_px": 0 * column + 100, "tissue": np.ones(2)}
    >>> cells |= {flag: np.array([flag == "pen", False]) for flag in FLAGS}
    >>> quality = Quality(cells, {"usable_fraction": 0.5})
    >>> quality.at(np.array([[50, 0]]), 100)["pen"].tolist()
    [0.5]
    >>> quality.usable_at(np.array([[100, 0]]), 50).tolist()
    [1.0]
    """

    cells: Mapping[str, NDArray[Any]]
    summary: Mapping[str, Any]

    def __post_init__(self) -> None:
        needed = ("x", "y", "side_px", "tissue", *FLAGS)
        missing = [name for name in needed if name not in self.cells]
        if missing:
            raise GeometryError(
                f"the cells lack {', '.join(missing)}; expected the columns {', '.join(needed)}"
            )
        lengths = {name: len(self.cells[name]) for name in needed}
        if len(set(lengths.values())) > 1:
            raise GeometryError(f"the cells' columns differ in length: {lengths}")

    def __len__(self) -> int:
        return len(self.cells["x"])

    @property
    def side_px(self) -> float:
        """Side of the cells in level-0 pixels; 1 when there are none."""
        return float(self.cells["side_px"][0]) if len(self) else 1.0

    @property
    def usable(self) -> NDArray[np.bool_]:
        """True (n,) for cells without a flag."""
        return np.asarray(~np.any([self.cells[flag] for flag in FLAGS], axis=0))

    def at(self, xy: NDArray[Any], side: float) -> dict[str, NDArray[np.float32]]:
        """Return each flag's share of the tissue in squares, weighted by the area of tissue in each cell.

        Parameters
        ----------
        xy
            Corners (n, 2) in level-0 pixels.
        side
            Side of the squares in level-0 pixels.

        Returns
        -------
        Arrays (n,) float32 by flag; 0 where there is no tissue.
        """
        return {flag: self._share(self.cells[flag], xy, side) for flag in FLAGS}

    def usable_at(self, xy: NDArray[Any], side: float) -> NDArray[np.float32]:
        """Return the share (n,) of the tissue in squares that has no flag; 1 where there is no tissue."""
        return np.float32(1) - self._share(~self.usable, xy, side)

    def _share(self, raised: NDArray[np.bool_], xy: NDArray[Any], side: float) -> NDArray[np.float32]:
        corners = np.asarray(xy, np.float64).reshape(-1, 2)
        if not len(self):
            return np.zeros(len(corners), np.float32)
        step = self.side_px
        places, reach = corners / step - self._corner, side / step
        part = table_sum(self._table(raised), places, reach)
        whole = table_sum(self._all, places, reach)
        share = np.divide(part, whole, out=np.zeros_like(part), where=whole > 1e-9)
        return np.clip(share, 0, 1).astype(np.float32)

    @cached_property
    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        columns = np.rint(self.cells["x"] / self.side_px).astype(np.intp)
        rows = np.rint(self.cells["y"] / self.side_px).astype(np.intp)
        return columns, rows

    @cached_property
    def _corner(self) -> NDArray[np.intp]:
        return np.array([self._places[0].min(), self._places[1].min()])

    @cached_property
    def _all(self) -> NDArray[np.float64]:
        return self._table(np.ones(len(self), bool))

    def _table(self, raised: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Summed-area table of the tissue in the cells that are raised."""
        columns, rows = self._places[0] - self._corner[0], self._places[1] - self._corner[1]
        table = np.zeros((rows.max() + 2, columns.max() + 2))
        table[rows + 1, columns + 1] = np.where(raised, self.cells["tissue"], 0)
        return table.cumsum(0).cumsum(1)

    def __repr__(self) -> str:
        return f"<Quality: {len(self)} cells, {self.summary.get('usable_fraction', float('nan')):.1%} usable>"


def summarise(cells: Mapping[str, NDArray[Any]], unreadable: float) -> dict[str, Any]:
    """Sum up cells, weighted by the tissue in them."""
    weight = np.asarray(cells["tissue"], np.float64)
    total = weight.sum()
    bad = np.any([cells[flag] for flag in FLAGS], axis=0)
    focus, stain = (cells[name][np.isfinite(cells[name])] for name in ("focus", "stain"))
    low, middle, high = (float(v) for v in np.percentile(focus, (10, 50, 90))) if focus.size else (None,) * 3
    return {
        "usable_fraction": float(weight[~bad].sum() / total) if total else 0.0,
        **{flag: float(weight[cells[flag]].sum() / total) if total else 0.0 for flag in FLAGS},
        "focus_median": middle,
        "focus_p10": low,
        "focus_p90": high,
        "stain_median": float(np.median(stain)) if stain.size else None,
        "cells": len(weight),
        "unreadable_fraction": unreadable,
    }
