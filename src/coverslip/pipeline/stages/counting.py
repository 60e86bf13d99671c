"""Counts, shares and densities of objects, and of the stages that choose some of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.interval import LEVEL, count_interval, share_interval
from coverslip.pipeline.stage import chosen
from coverslip.slides import Slide
from coverslip.store import Table


@dataclass(frozen=True)
class CountStage:
    """Count objects, and say how much of a reference they cover and how densely they lie.

    There is a row per class and one for all: ``count``; ``area_mm2``, that of the objects; ``share``, that
    area over the reference's; ``part``, the count over that of all classes (with Wilson's interval);
    ``per_mm2``, the count over the reference's area (with the exact interval of a Poisson count);
    ``reference_mm2``. The intervals are of 95 % and tell of sampling alone: they take objects to lie by
    chance, and no object to be missed.

    Parameters
    ----------
    of
        Name of the step whose objects are counted.
    per
        What they are held against: ``"tissue"``, or the name of a step whose regions are.
    per_classes
        Classes of those regions; none: all.
    """

    name: ClassVar[str] = "count"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    per: str = "tissue"
    per_classes: tuple[str, ...] = ()

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the objects and of the reference."""
        per = "tissue" if self.per == "tissue" else f"objects/{self.per}"
        return tuple(dict.fromkeys((f"objects/{self.of}", "tissue", per)))

    def writes(self) -> tuple[str, ...]:
        """Return the key of the table."""
        return ("tables/count",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Count."""
        mpp = slide.require_mpp()
        reference = self._reference(inputs) * mpp**2 / 1e6
        objects = chosen(inputs, f"objects/{self.of}")
        codes, areas = codes_and_areas(objects)
        rows = [np.ones(len(codes), bool), *(codes == i for i in range(len(objects.classes)))]
        names = ["all", *objects.classes]
        columns: dict[str, list[Any]] = {"class": names}
        for kept in rows:
            area = float(areas[kept].sum()) * mpp**2 / 1e6
            for name, value in densities(int(kept.sum()), area, len(codes), reference):
                columns.setdefault(name, []).append(value)
        made = {name: np.asarray(values) for name, values in columns.items()}
        return {"tables/count": Table(made, {"of": self.of, "per": self.per, "confidence": LEVEL})}

    def _reference(self, inputs: Mapping[str, Any]) -> float:
        """Return the area of the reference in level-0 pixels."""
        if self.per == "tissue":
            return float(chosen(inputs, "tissue").area_px)
        regions = chosen(inputs, f"objects/{self.per}")
        codes, areas = codes_and_areas(regions)
        wanted = [
            i for i, name in enumerate(regions.classes) if not self.per_classes or name in self.per_classes
        ]
        missing = sorted(set(self.per_classes) - set(regions.classes))
        if missing:
            raise UsageError(
                f"{self.per!r} finds no class {', '.join(missing)}",
                mend=f"it finds {', '.join(regions.classes)}",
            )
        return float(areas[np.isin(codes, wanted)].sum())


@dataclass(frozen=True)
class SelectStage:
    """Take those objects of a step that the recipe's ``within`` and ``where`` let through, under this name.

    Parameters
    ----------
    of
        Name of the step that found the objects.
    """

    name: ClassVar[str] = "select"
    version: ClassVar[int] = 1

    of: str = "nuclei"

    def reads(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the objects that are chosen."""
        return ("objects/select",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's
        """Return the objects: the recipe has chosen them already."""
        return {"objects/select": chosen(inputs, f"objects/{self.of}")}


def codes_and_areas(objects: Any) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return class and area (level-0 pixels) of each object, going through the file part by part."""
    import shapely

    codes, areas = [np.empty(0, np.int32)], [np.empty(0)]
    for part in objects.batches():
        codes.append(part.codes)
        areas.append(shapely.area(part.polygons))
    return np.concatenate(codes), np.concatenate(areas)


def densities(count: int, area: float, total: int, reference: float) -> list[tuple[str, float]]:
    """Return the columns of a row of `CountStage`; areas in mm².

    Examples
    --------
    >>> row = dict(densities(10, 0.5, 40, 2.0))
    >>> row["share"], row["part"], row["per_mm2"], round(row["per_mm2_low"], 3), round(row["per_mm2_high"], 3)
    (0.25, 0.25, 5.0, 2.398, 9.195)
    """
    part, seen = share_interval(count, total), count_interval(count)
    over = 1 / reference if reference > 0 else float("nan")
    return [
        ("count", float(count)),
        ("area_mm2", area),
        ("share", area * over),
        ("part", part.value),
        ("part_low", part.low),
        ("part_high", part.high),
        ("per_mm2", count * over),
        ("per_mm2_low", seen.low * over),
        ("per_mm2_high", seen.high * over),
        ("reference_mm2", reference),
    ]
