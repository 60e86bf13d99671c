"""Maps of a run as layers of tiles: probabilities by a colour scale, labels by class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.server.overlays.paint import class_colour, class_table, painted, png

TILE = 512


@dataclass(frozen=True)
class MapLayer:
    """A map on disk.

    Attributes
    ----------
    name
        As in ``maps/<name>``.
    kind
        ``"probabilities"`` or ``"labels"``.
    classes
        Names of the planes, or of labels 1, 2, …
    one
        The stored value that means 1.
    downsample
        Level-0 pixels per pixel of its finest level.
    origin
        ``(x, y)`` of its corner in level-0 pixels.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    one: float
    downsample: float
    origin: tuple[float, float]
    levels: tuple[Any, ...]

    @classmethod
    def open(cls, path: Path, name: str) -> MapLayer:
        """Open the map at `path`.

        Raises
        ------
        StoreError
            When it is not there, or no map of ours.
        """
        import zarr

        try:
            group = zarr.open_group(str(path), mode="r", zarr_format=2)
            about: dict[str, Any] = dict(group.attrs)
            datasets = about["multiscales"][0]["datasets"]
            levels = tuple(group[one["path"]] for one in datasets)
            return cls(name, *_said(about), levels)
        except (OSError, KeyError, ValueError, IndexError, TypeError) as error:
            raise StoreError(
                f"{path} is no map that can be shown: {error}", mend="run its stage anew"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Return what a viewer needs to know."""
        return {
            "name": self.name,
            "kind": self.kind,
            "classes": [{"name": name, "colour": class_colour(i)} for i, name in enumerate(self.classes)],
            "x": self.origin[0],
            "y": self.origin[1],
            "tile": TILE,
            "levels": [
                {"width": level.shape[-1], "height": level.shape[-2], "downsample": self.downsample * 2**i}
                for i, level in enumerate(self.levels)
            ],
        }

    def values(self, level: int, column: int, row: int, plane: int) -> NDArray[Any]:
        """Return the stored values of a tile, (h, w): of a class, or labels.

        Raises
        ------
        UsageError
            When there is no such tile or class.
        """
        if not 0 <= level < len(self.levels):
            raise UsageError(f"map {self.name} has no level {level}", mend=f"0 to {len(self.levels) - 1}")
        array = self.levels[level]
        height, width = array.shape[-2:]
        if not (0 <= column * TILE < width and 0 <= row * TILE < height):
            raise UsageError(f"map {self.name} has no tile {column}, {row} on level {level}")
        place = (slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE))
        if array.ndim == 2:
            return np.asarray(array[place])
        return np.asarray(array[(plane, *place)])

    def plane_of(self, class_name: str | None) -> int:
        """Return the plane of a class; the first when none is named.

        Raises
        ------
        UnknownNameError
            When there is no such class.
        """
        if class_name is None:
            return 0
        if class_name not in self.classes:
            raise unknown("class", class_name, self.classes)
        return self.classes.index(class_name)

    def picture(self, place: tuple[int, int, int], class_name: str | None, look: Look) -> bytes:
        """Return a tile as PNG."""
        values = self.values(*place, self.plane_of(class_name))
        if self.kind == "labels":
            return png(class_table()[values.astype(np.uint8)])
        numbers = values.astype(np.float32) / np.float32(self.one)
        return png(painted(numbers, look.scale, look.low, look.high))


@dataclass(frozen=True, slots=True)
class Look:
    """How numbers become colours: a scale from `low` (clear below it) to `high`."""

    scale: str = "viridis"
    low: float = 0.0
    high: float = 1.0


def _said(about: dict[str, Any]) -> tuple[str, tuple[str, ...], float, float, tuple[float, float]]:
    """Return kind, classes, one, downsample and origin as either writer of maps states them."""
    if "coverslip" in about and "downsample" in about["coverslip"]:
        said = about["coverslip"]
        return said["kind"], tuple(said["classes"]), float(said["one"]), float(said["downsample"]), (0.0, 0.0)
    said = about["map"]
    x, y = said["origin"]
    return "labels", tuple(said["names"]), 1.0, float(said["downsample"]), (float(x), float(y))
