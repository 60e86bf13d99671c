"""The limits of a step, worked out on one slide, and applied to what the step reads and makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Size
from coverslip.pipeline.areas import Area, Mask
from coverslip.pipeline.found import area_of, head_of, rows_of
from coverslip.pipeline.limits import Limit
from coverslip.store import Features, Table
from coverslip.tiles import Tiles
from coverslip.tissue import Tissue


@dataclass(frozen=True)
class Selection:
    """What limits let through on a slide.

    Attributes
    ----------
    limits
        All must hold.
    sources
        Per name of an earlier step, the keys by which the limits ask it.
    inputs
        Artefacts by key, those of `sources` among them.

    Examples
    --------
    >>> gate = Table({"x": np.array([0, 64]), "y": np.array([0, 0]), "label": np.array([0, 1])})
    >>> gate = replace(gate, notes={"names": ["stroma", "tumour"], "side_px": 64})
    >>> limits = (Limit("where", "gate", ("tumour",)),)
    >>> chosen = Selection(limits, {"gate": ("predictions/gate",)}, {"predictions/gate": gate})
    >>> chosen.points(np.array([[10.0, 10.0], [70.0, 10.0]])).tolist()
    [False, True]
    """

    limits: tuple[Limit, ...]
    sources: Mapping[str, Sequence[str]]
    inputs: Mapping[str, Any]

    @cached_property
    def areas(self) -> tuple[tuple[Limit, Area], ...]:
        """The part of the slide to which each limit holds."""
        return tuple((limit, area_of(limit, self._found(limit))) for limit in self.limits)

    def _found(self, limit: Limit) -> dict[str, Any]:
        found = {key: self.inputs[key] for key in self.sources[limit.step]}
        plain = {key: value for key, value in found.items() if type(value) is dict}  # not yet on the disk
        return found | {
            key: Table({k: np.asarray(v) for k, v in value.items()}) for key, value in plain.items()
        }

    def points(self, xy: NDArray[Any], *, kinds: tuple[str, ...] = ("within", "where")) -> Mask:
        """Say which points (n, 2) pass all limits of these kinds."""
        kept = np.ones(len(xy), bool)
        for limit, area in self.areas:
            if limit.kind in kinds:
                kept[kept] = area.points(np.asarray(xy)[kept])
        return kept

    def squares(self, xy: NDArray[Any], side: float) -> Mask:
        """Say which squares, by corner (n, 2) and side, pass all limits."""
        kept = np.ones(len(xy), bool)
        for limit, area in self.areas:
            least = limit.at_least if limit.kind == "within" else None
            kept[kept] = area.tiles(np.asarray(xy)[kept], side, least)
        return kept

    def objects(self, key: str, objects: Any) -> Mask:
        """Say which objects pass: by their own class or measurement where a limit asks, else by place."""
        kept = np.ones(len(objects), bool)
        for limit, area in self.areas:
            if key in self.sources[limit.step]:
                kept &= rows_of(limit, objects)
            else:
                kept[kept] = area.points(np.asarray(objects.xy)[kept])
        return kept

    def apply(self, key: str, value: Any) -> tuple[Any, NDArray[np.intp] | None]:
        """Return what passes of an artefact, and which rows those are; what has no rows passes whole."""
        if head_of(key) == "objects":
            kept = self.objects(key, value)
            return value.where(kept), np.flatnonzero(kept)
        if isinstance(value, Tiles):
            rows = np.flatnonzero(self.squares(value.xy, value.side_px))
            return value.take(rows), rows
        if isinstance(value, Features):
            rows = np.flatnonzero(self.squares(value.coords, value.tile_side))
            return replace(value, X=value.X[rows], coords=value.coords[rows]), rows
        if isinstance(value, Tissue):
            return self._clipped(value), None
        return value, None

    def table(self, value: Table, tiles: Tiles) -> Table:
        """Return the rows of a table of tiles that lie on these tiles, which passed."""
        if not {"x", "y"} <= set(value.columns):
            return value
        kept = {tuple(corner) for corner in tiles.xy.tolist()}
        corners = np.stack([value.columns["x"], value.columns["y"]], axis=1).tolist()
        rows = np.array([tuple(corner) in kept for corner in corners], bool)
        return replace(
            value, columns={name: np.asarray(column)[rows] for name, column in value.columns.items()}
        )

    def _clipped(self, tissue: Tissue) -> Tissue:
        """Return what of the tissue lies in all areas."""
        import shapely

        left = shapely.union_all(list(tissue.polygons))
        for _, area in self.areas:
            shapes = area.polygons()
            if shapes is not None:
                left = shapely.intersection(left, shapely.union_all(list(shapes)))
        parts = [part for part in shapely.get_parts(left) if part.geom_type == "Polygon" and part.area > 0]
        height, width = tissue.mask.shape
        size = Size(round(width * tissue.downsample), round(height * tissue.downsample))
        return Tissue.from_polygons(parts, size, tissue.downsample, method=tissue.method, notes=tissue.notes)


def steps_of(limits: Sequence[Limit]) -> tuple[str, ...]:
    """Return the names of the steps that limits ask, each once."""
    return tuple(dict.fromkeys(limit.step for limit in limits))
