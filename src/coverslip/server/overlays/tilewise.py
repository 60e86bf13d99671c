"""What a prediction of tiles says, tile by tile, wherever its tiles lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StoreError, UsageError
from coverslip.server.overlays.paint import class_colour

ROUTINE = frozenset({"background", "benign", "normal", "stroma", "other", "none", "negative"})
"""Classes that are nobody's first suspicion."""

LISTED = 200
"""Tiles of one prediction that a list of suspicions looks at."""

PREFIXES = ("p", "probability")
PLACES = ("tile", "label", "x", "y")


@dataclass(frozen=True, eq=False)
class Tilewise:
    """A prediction of tiles.

    Attributes
    ----------
    name
        As in ``predictions/<name>``.
    xy
        Corners in level-0 pixels, shape (n, 2).
    side
        Of the tiles, in level-0 pixels.
    columns
        By name, shape (n,).
    names
        What each label means.
    """

    name: str
    xy: NDArray[np.float64]
    side: float
    columns: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str, prediction: Any, tiles: Any | None) -> Tilewise:
        """Lay a prediction on its own places where it says them, else on the tiles of the run.

        Raises
        ------
        StoreError
            When it has another number of rows than there are tiles.
        """
        columns, notes = prediction.columns, prediction.notes
        rows = len(next(iter(columns.values()), ()))
        if {"x", "y"} <= set(columns) and "side_px" in notes:
            xy = np.stack([columns["x"], columns["y"]], axis=1).astype(float)
            return cls(name, xy, float(notes["side_px"]), columns, tuple(notes.get("names", ())))
        if tiles is None or len(tiles) != rows:
            raise StoreError(
                f"predictions/{name} has {rows} rows, and the run has "
                f"{'no' if tiles is None else len(tiles)} tiles",
                mend="run the stages tiles and classify anew",
            )
        return cls(name, tiles.xy.astype(float), float(tiles.side_px), columns, tuple(notes.get("names", ())))

    def __len__(self) -> int:
        return len(self.xy)

    @cached_property
    def chances(self) -> dict[str, NDArray[np.float64]]:
        """Probabilities by class: the columns ``p_…`` or ``probability_…``."""
        return chances_of(self.columns)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of what a tile can be: those of its labels, else those that have probabilities."""
        return self.names or tuple(self.chances)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Which of `classes` each tile is said to be; -1 where nothing is said. Shape (n,)."""
        if "label" in self.columns and self.columns["label"].dtype.kind in "iu":
            return self.columns["label"].astype(np.int64)
        if not self.chances:
            return np.full(len(self), -1)
        table = np.stack([self.chances[name] for name in self.classes])
        known = np.isfinite(table).all(axis=0)
        return np.where(known, np.nan_to_num(table).argmax(axis=0), -1)

    def label_of(self, row: int) -> str | None:
        """Return the class of a tile."""
        code = int(self.labels[row])
        return self.classes[code] if 0 <= code < len(self.classes) else None

    def check(self, row: int) -> None:
        """Refuse a row that is not there.

        Raises
        ------
        UsageError
            With the rows there are.
        """
        if not 0 <= row < len(self):
            raise UsageError(
                f"predictions/{self.name} has no tile {row}", mend=f"its tiles are 0 to {len(self) - 1}"
            )

    def box(self, row: int) -> dict[str, float]:
        """Return where a tile lies."""
        x, y = (float(value) for value in self.xy[row])
        return {"x": x, "y": y, "width": self.side, "height": self.side}

    def told(self, row: int) -> dict[str, Any]:
        """Return all that is said of a tile."""
        numbers = {
            name: float(values[row])
            for name, values in self.columns.items()
            if name not in PLACES and values.dtype.kind in "iuf" and np.isfinite(values[row])
        }
        label = self.label_of(row)
        return {"key": f"predictions/{self.name}", "row": row, "class": label, "numbers": numbers,
                "classes": list(self.classes), **self.box(row)}  # fmt: skip

    def at(self, x: float, y: float) -> int | None:
        """Return the tile that covers a point, the last one where they overlap; None where none does."""
        left, top = self.xy.T
        hit = np.flatnonzero((left <= x) & (x < left + self.side) & (top <= y) & (y < top + self.side))
        return int(hit[-1]) if len(hit) else None

    def to_dict(self) -> dict[str, Any]:
        """Return what a page draws."""
        return {
            "xy": self.xy.tolist(),
            "side": self.side,
            "names": list(self.classes),
            "colours": [class_colour(i) for i in range(len(self.classes))],
            "labels": self.labels.tolist(),
        }

    def suspicious(self) -> list[dict[str, Any]]:
        """Return tiles by the probability of their likeliest class that is no routine, greatest first.

        A prediction without probabilities says nothing here.
        """
        telling = [name for name in self.chances if name.lower() not in ROUTINE]
        if not telling:
            return []
        table = np.stack([np.nan_to_num(self.chances[name], nan=-1) for name in telling])
        best, score = table.argmax(axis=0), table.max(axis=0)
        floor = 1 / max(2, len(self.chances))
        rows = [int(row) for row in np.argsort(-score, kind="stable")[:LISTED] if score[row] > floor]
        return [
            {"row": row, "score": float(score[row]), "class": telling[best[row]], "model": self.name,
             "why": f"{self.name}: {telling[best[row]]} {score[row]:.0%}", **self.box(row)}
            for row in rows
        ]  # fmt: skip


def chances_of(columns: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities among columns by class: those called ``p_…`` or ``probability_…``."""
    found = {}
    for name, values in columns.items():
        prefix, _, label = name.partition("_")
        if prefix in PREFIXES and label:
            found[label] = np.asarray(values, float)
    return found
