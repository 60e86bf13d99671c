"""Tumour-infiltrating lymphocytes, in stroma and in tumour nests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.interval import count_interval
from coverslip.pipeline.areas import Regions
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import ObjectTable, Table


@dataclass(frozen=True)
class TilStage:
    """Say how densely lymphocytes lie in the stroma of the tumour and in its nests.

    As the TIL Working Group defines it (Salgado 2015; Hendry 2017): ``stromal_til_percent`` is the area of
    tumour stroma that mononuclear cells cover, over the area of tumour stroma; nests, necrosis and what lies
    beyond the invasive edge do not count. A cell covers its nucleus and `rim_um` around it. Beside it the
    counts per mm² of stroma and of nests, with exact Poisson intervals (95 %, sampling alone).

    A lymphocyte whose centre is in a nest but whose nucleus reaches into stroma counts as stromal: nests are
    outlined to a few micrometres at best, and lymphocytes crowd along them from outside.

    Parameters
    ----------
    of
        Name of the step that chose the lymphocytes.
    regions
        Name of the step that found stroma and nests.
    bed
        Name of the step that found the bed of the tumour, to which stroma and nests are cut; None where they
        are its own already.
    stroma, nests
        What these classes are called.
    rim_um
        Width of a lymphocyte's cytoplasm.
    """

    name: ClassVar[str] = "til"
    version: ClassVar[int] = 3

    of: str = "lymphocytes"
    regions: str = "tissue-types"
    bed: str | None = "bed"
    stroma: tuple[str, ...] = ("stroma",)
    nests: tuple[str, ...] = ("nest",)
    rim_um: float = 1.0

    def __post_init__(self) -> None:
        if self.rim_um < 0:
            raise UsageError(f"rim_um {self.rim_um!r} cannot be: expected 0 or more")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of lymphocytes, regions and bed."""
        return tuple(f"objects/{name}" for name in (self.of, self.regions, self.bed) if name is not None)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the slide's numbers."""
        return ("tables/til",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Count and measure."""
        import shapely

        mpp = slide.require_mpp()
        cells, regions, *bed = (chosen(inputs, key).read() for key in self.reads())
        shapes = {
            name: _cut(regions.polygons[np.isin(regions.codes, _codes(regions, classes))], bed)
            for name, classes in (("stroma", self.stroma), ("nests", self.nests))
        }
        row: dict[str, float] = {}
        for name, inside in _owned(cells, shapes["stroma"], shapes["nests"]).items():
            area = float(shapely.area(shapes[name]).sum()) * mpp**2 / 1e6
            row |= {f"{name}_mm2": area, f"{name}_lymphocytes": float(inside.sum())}
            dense = count_interval(int(inside.sum()), area) if area else None
            for end in ("value", "low", "high"):
                key = f"{name}_per_mm2" + ("" if end == "value" else f"_{end}")
                row[key] = float("nan") if dense is None else getattr(dense, end)
            if name == "stroma":
                covers = shapely.buffer(cells.polygons[inside], self.rim_um / mpp)
                covered = _shared(covers, shapes["stroma"]) * mpp**2 / 1e6
                row["stromal_til_percent"] = 100 * covered / area if area else float("nan")
        notes = (
            [] if row["stroma_mm2"] else ["there is no tumour stroma, so there is no share of lymphocytes"]
        )
        return {"tables/til": Table({k: np.array([v]) for k, v in row.items()}), NOTES: notes}


def _codes(regions: ObjectTable, classes: tuple[str, ...]) -> list[int]:
    return [regions.classes.index(name) for name in classes if name in regions.classes]


def _owned(cells: ObjectTable, stroma: NDArray[Any], nests: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Say which cells are of stroma and which of nests; those that reach out of a nest are of stroma."""
    import shapely

    within = {name: Regions(tuple(s)).points(cells.xy) for name, s in (("stroma", stroma), ("nests", nests))}
    reaching = np.zeros(len(cells), bool)
    if len(cells) and len(stroma):
        reaching[shapely.STRtree(stroma).query(cells.polygons, predicate="intersects")[0]] = True
    edge = within["nests"] & reaching
    return {"stroma": within["stroma"] | edge, "nests": within["nests"] & ~edge}


def _shared(covers: NDArray[Any], stroma: NDArray[Any]) -> float:
    """Return the area of stroma under any of the covers, in square pixels."""
    import shapely

    if not len(covers) or not len(stroma):
        return 0.0
    one, other = shapely.STRtree(stroma).query(covers, predicate="intersects")
    return float(shapely.union_all(shapely.intersection(covers[one], stroma[other])).area)


def _cut(shapes: NDArray[Any], bed: list[ObjectTable]) -> NDArray[Any]:
    """Return the polygons within the bed, where there is one."""
    import shapely

    if not bed:
        return shapes
    whole = shapely.union_all(bed[0].polygons)
    parts = shapely.get_parts(shapely.intersection(shapes, whole))
    return np.asarray(parts[shapely.area(parts) > 0])
