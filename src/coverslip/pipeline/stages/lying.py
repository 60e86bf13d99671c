"""How objects lie: distances to others and to edges, patterns, neighbours, and where values crowd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.measure.interval import count_interval
from coverslip.pipeline.stage import NOTES, RESUME, chosen
from coverslip.slides import Slide
from coverslip.store import ObjectStream, Resume, Table

LEAST = 5
"""Objects of a class from which its pattern is looked at."""


@dataclass(frozen=True)
class DistancesStage:
    """Say of every object how far it lies from what another step found: ``to_<step>_um``.

    To the edge of regions, below 0 inside them (the edge of the tumour, the nearest vessel); or, where these
    are small, to the middle of the nearest object. Infinite where there is none.

    Parameters
    ----------
    of
        Name of the step that found the objects.
    to
        Name of the step that found what is near.
    to_classes
        Its classes; none: all.
    by
        ``"edge"`` or ``"middle"``.
    """

    name: ClassVar[str] = "distances"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    to: str = "segment"
    to_classes: tuple[str, ...] = ()
    by: Literal["edge", "middle"] = "edge"

    def __post_init__(self) -> None:
        if self.by not in ("edge", "middle"):
            raise unknown("kind of distance", self.by, ("edge", "middle"))

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the objects and of what is near."""
        return (f"objects/{self.of}", f"objects/{self.to}")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return ("objects/distances",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure the distances, part by part."""
        objects, others = (chosen(inputs, key) for key in self.reads())
        wanted = wanted_in(others, self.to, self.to_classes)
        far = self._measure(others.where(wanted), slide.require_mpp())
        start = inputs.get(RESUME, Resume()).parts("objects/distances")
        parts = (far(np.asarray(part.xy, np.float64)) for part in objects.batches(start))
        found = valued(objects, f"to_{self.to}_um", parts, start)
        notes = [] if wanted.any() else [f"{self.to} found nothing to be near to"]
        return {"objects/distances": found, NOTES: notes}

    def _measure(self, others: Any, mpp: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        from coverslip.measure.spatial import Window, nearest, to_edge

        if not len(others):
            return lambda xy: np.full(len(xy), np.inf)
        if self.by == "middle":
            places = np.asarray(others.xy, np.float64)
            return lambda xy: nearest(xy, places, mpp)
        window = Window(others.read().polygons, mpp)
        return lambda xy: to_edge(xy, window)


@dataclass(frozen=True)
class GetisOrdStage:
    """Say of every object how far values crowd around it: Gi* (Getis & Ord 1992), as ``gi_z``.

    Above 1.96 lies a hot spot at the level of 5 %, before any correction for looking in many places.

    Parameters
    ----------
    of
        Name of the step that found the objects.
    value
        A measurement; None: whether the object is of a class that is `counted`.
    counted
        These classes.
    reach_um
        Up to where a neighbour counts; all weigh the same.
    """

    name: ClassVar[str] = "getis-ord"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    value: str | None = None
    counted: tuple[str, ...] = ()
    reach_um: float = 100.0

    def __post_init__(self) -> None:
        if self.value is not None and self.counted:
            raise UsageError("value and counted cannot both be given", mend="leave one out")
        if not self.reach_um > 0:
            raise UsageError(f"reach_um {self.reach_um!r} cannot be: expected above 0")

    def reads(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return ("objects/getis-ord",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Score the objects."""
        from coverslip.measure.spatial import getis_ord

        objects = chosen(inputs, f"objects/{self.of}")
        if self.value is not None and self.value not in (*objects.measurements, "score"):
            raise unknown(f"measurement of {self.of!r}", self.value, (*objects.measurements, "score"))
        if self.value is None:
            values = wanted_in(objects, self.of, self.counted).astype(np.float64)
        else:
            values = np.asarray(objects[self.value], np.float64)
        xy = np.asarray(objects.xy, np.float64).reshape(-1, 2)
        z = getis_ord(values, xy, slide.require_mpp(), reach_um=self.reach_um) if len(xy) else values
        start = inputs.get(RESUME, Resume()).parts("objects/getis-ord")
        ends = np.cumsum([len(part) for part in objects.batches()])
        parts = iter(np.split(z, ends[:-1])[start:] if len(ends) else ())
        return {"objects/getis-ord": valued(objects, "gi_z", parts, start)}


@dataclass(frozen=True)
class SpatialStage:
    """Say how the objects of each class lie in the tissue, beside chance, and who neighbours whom.

    ``tables/spatial`` has a row per class: count; number per mm² with its exact Poisson interval (95 %,
    sampling alone); mean distance to the nearest neighbour, what as many points thrown at random into the
    same tissue give, the ratio of both and its p.

    ``tables/spatial-ripley`` has Ripley's L (``l_um``; as large as ``radius_um`` by chance) of each class
    with the envelope of the random patterns.

    ``tables/spatial-neighbours`` has how often two classes are neighbours, beside classes dealt anew over the
    same places (z).

    Parameters
    ----------
    of
        Name of the step that found the objects.
    simulations
        Random patterns.
    radii_um
        At which L is told.
    graph
        Who is whose neighbour: by ``"delaunay"`` triangles or the six ``"nearest"``.
    longest_um
        Neighbours that lie farther apart are none.
    """

    name: ClassVar[str] = "spatial"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    simulations: int = 39
    radii_um: tuple[float, ...] = (10.0, 20.0, 30.0, 40.0, 50.0)
    graph: Literal["delaunay", "nearest"] = "delaunay"
    longest_um: float = 50.0

    def __post_init__(self) -> None:
        if self.graph not in ("delaunay", "nearest"):
            raise unknown("graph", self.graph, ("delaunay", "nearest"))
        if self.simulations < 1 or not self.radii_um or list(self.radii_um) != sorted(set(self.radii_um)):
            raise UsageError(
                f"{self.simulations} simulations, radii {self.radii_um}: expected 1 or more, and rising radii"
            )

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the objects and of the tissue."""
        return (f"objects/{self.of}", "tissue")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the tables."""
        return ("tables/spatial", "tables/spatial-ripley", "tables/spatial-neighbours")

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at each class, and at all together."""
        from coverslip.measure.spatial import Window

        objects, tissue = chosen(inputs, f"objects/{self.of}"), chosen(inputs, "tissue")
        xy, codes = np.asarray(objects.xy, np.float64).reshape(-1, 2), np.asarray(objects.codes)
        rows, curves, notes = [], [], list[str]()
        if not tissue.empty:
            window = Window(list(tissue.polygons), slide.require_mpp())
            inside = window.contains(xy)
            for code, name in enumerate(objects.classes):
                places = xy[inside & (codes == code)]
                rows.append({"class": name, **self._lying(places, window)})
                curves += [{"class": name, **row} for row in self._curve(places, window)]
                if len(places) < LEAST:
                    notes.append(f"{len(places)} {name}: too few for a pattern")
        near = self._neighbours(xy, codes, objects.classes, slide.require_mpp())
        tables = (table_of(rows, LYING), table_of(curves, CURVE), table_of(near, NEAR))
        return dict(zip(self.writes(), tables, strict=True)) | {NOTES: notes}

    def _lying(self, places: NDArray[np.float64], window: Any) -> dict[str, float]:
        from coverslip.measure.spatial import nearest_neighbour

        dense = count_interval(len(places), window.area_mm2)
        row = {"count": float(len(places)), "per_mm2": dense.value}
        row |= {"per_mm2_low": dense.low, "per_mm2_high": dense.high}
        if len(places) < LEAST:
            return row
        found = nearest_neighbour(places, window, simulations=self.simulations)
        values = {"nearest_um": found.mean_um, "by_chance_um": found.expected_um}
        return row | values | {"ratio": found.ratio, "p": found.p}

    def _curve(self, places: NDArray[np.float64], window: Any) -> Iterator[dict[str, float]]:
        from coverslip.measure.spatial import ripley

        if len(places) < LEAST:
            return
        radii = np.asarray(self.radii_um, np.float64)
        found = ripley(places, window, radii, edge="border", simulations=self.simulations)
        low, high = (np.sqrt(np.asarray(k) / np.pi) for k in (found.low, found.high))
        for i, radius in enumerate(radii.tolist()):
            row = {"radius_um": radius, "l_um": float(found.l_um[i])}
            yield row | {"low_um": float(low[i]), "high_um": float(high[i]), "p": float(found.p or 0)}

    def _neighbours(
        self, xy: NDArray[np.float64], codes: NDArray[Any], classes: tuple[str, ...], mpp: float
    ) -> list[dict[str, Any]]:
        from coverslip.measure.spatial import delaunay, enrichment, k_nearest

        if len(xy) < LEAST:
            return []
        join = delaunay if self.graph == "delaunay" else k_nearest
        edges = join(xy, mpp, longest_um=self.longest_um)
        found = enrichment(edges, codes, len(classes), permutations=self.simulations)
        return [
            {
                "class": one,
                "neighbour": other,
                "edges": float(found.counts[i, j]),
                "by_chance": float(found.expected[i, j]),
                "z": float(found.z[i, j]),
            }
            for i, one in enumerate(classes)
            for j, other in enumerate(classes)
            if j >= i
        ]


LYING = (
    *("class", "count", "per_mm2", "per_mm2_low", "per_mm2_high"),
    *("nearest_um", "by_chance_um", "ratio", "p"),
)
CURVE = ("class", "radius_um", "l_um", "low_um", "high_um", "p")
NEAR = ("class", "neighbour", "edges", "by_chance", "z")
NAMES = ("class", "neighbour")


def table_of(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    """Return rows as a table; what a row does not know is NaN."""
    made: dict[str, NDArray[Any]] = {}
    for column in columns:
        values = [row.get(column, float("nan")) for row in rows]
        made[column] = np.array(values, np.str_ if column in NAMES else np.float64)
    return Table(made)


def wanted_in(objects: Any, step: str, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    """Say which objects are of these classes, of any where none is named.

    Raises
    ------
    UnknownNameError
        When there is no such class; the nearest match is in the message.
    """
    for name in classes:
        if name not in objects.classes:
            raise unknown(f"class of {step!r}", name, objects.classes)
    codes = [i for i, name in enumerate(objects.classes) if name in classes]
    return np.asarray(np.isin(objects.codes, codes) | (not classes))


def valued(objects: Any, name: str, values: Iterator[NDArray[np.float64]], start: int) -> ObjectStream:
    """Return the objects with one measurement more, part by part from number `start` on."""
    parts = (
        part.with_measurements({name: value.astype(np.float32)})
        for part, value in zip(objects.batches(start), values, strict=True)
    )
    kept = tuple(own for own in objects.measurements if own != name)
    return ObjectStream(
        parts,
        n=objects.n_batches,
        classes=objects.classes,
        mpp=objects.mpp,
        measurements=(*kept, name),
        notes=objects.notes,
    )
