"""Measurements of objects, and maps of any measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.measure.objects import PixelSpec, measured
from coverslip.pipeline.stage import RESUME, chosen
from coverslip.pipeline.stages.lying import wanted_in
from coverslip.slides import Slide
from coverslip.store import Resume

KEY = "objects/measure"


@dataclass(frozen=True)
class MeasureStage:
    """Measure objects: their shape, the stains in them and around them, their texture.

    Names, units and definitions are those of `coverslip.measure.objects`. The classes, scores and
    measurements that the objects have stay; one of the same name is replaced. Objects are measured part by
    part, in bounded memory, and a run that was stopped goes on after the parts that are there.

    Parameters
    ----------
    of
        Name of the step that found the objects.
    shape
        Measure size and form.
    stain
        Measure each stain in the object, in the ring around it (``ring_…``) and in both (``cell_…``).
    texture
        Measure Haralick's texture of the first stain: as much work again.
    ring_um
        Width of the ring in µm; 0 for none.
    mpp
        Microns per pixel at which pixels are read; a coarser slide is read as it is.
    """

    name: ClassVar[str] = "measure"
    version: ClassVar[int] = 1

    of: str = "nuclei"
    shape: bool = True
    stain: bool = True
    texture: bool = False
    ring_um: float = 3.0
    mpp: float = 0.5

    def __post_init__(self) -> None:
        if not (self.shape or self.stain or self.texture):
            raise UsageError("there is nothing to measure", mend="leave shape, stain or texture on")
        PixelSpec(mpp=self.mpp, ring_um=self.ring_um)

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the objects and, where pixels are measured, of the stains."""
        return (f"objects/{self.of}", *(("stain",) if self.stain or self.texture else ()))

    def writes(self) -> tuple[str, ...]:
        """Return the key of the measured objects."""
        return (KEY,)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure the objects, after the parts that an earlier run left."""
        objects = chosen(inputs, f"objects/{self.of}")
        pixels = matrix = None
        if self.stain or self.texture:
            matrix = chosen(inputs, "stain").stains
            mpp = max(self.mpp, slide.require_mpp())
            pixels = PixelSpec(mpp=mpp, ring_um=self.ring_um, texture=self.texture)
        start = inputs.get(RESUME, Resume()).parts(KEY)
        return {KEY: measured(slide, objects, matrix=matrix, shape=self.shape, pixels=pixels, start=start)}


@dataclass(frozen=True)
class MapStage:
    """Draw a map of what objects measure, or of how many there are, in square cells: an OME-Zarr.

    Parameters
    ----------
    of
        Name of the step that found or measured the objects.
    value
        A measurement, or ``"score"``; none for ``count`` and ``density``.
    what
        Of the objects in each cell: the mean or the sum of the value, their number, or their number per mm².
    counted
        Classes of the objects that count; none: all.
    cell_um
        Side of a cell in µm.
    """

    name: ClassVar[str] = "map"
    version: ClassVar[int] = 1

    of: str = "measure"
    value: str | None = None
    what: Literal["mean", "sum", "count", "density"] = "density"
    counted: tuple[str, ...] = ()
    cell_um: float = 100.0

    def __post_init__(self) -> None:
        if self.what not in ("mean", "sum", "count", "density"):
            raise unknown("map", self.what, ("mean", "sum", "count", "density"))
        if (self.what in ("mean", "sum")) != (self.value is not None):
            raise UsageError(
                f"a map of the {self.what} with value {self.value!r} cannot be",
                mend="mean and sum need a value, count and density none",
            )
        if not self.cell_um > 0:
            raise UsageError(f"cell_um {self.cell_um!r} cannot be: expected above 0")

    def reads(self) -> tuple[str, ...]:
        """Return the key of the objects."""
        return (f"objects/{self.of}",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the map."""
        return ("maps/map",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Draw the map.

        Raises
        ------
        UnknownNameError
            When the objects have no such class or measurement; the nearest match is in the message.
        """
        from coverslip.measure.spatial import mapped

        objects = chosen(inputs, f"objects/{self.of}")
        rows = wanted_in(objects, self.of, self.counted)
        if self.value is not None and self.value not in (*objects.measurements, "score"):
            raise unknown(f"measurement of {self.of!r}", self.value, (*objects.measurements, "score"))
        values = None if self.value is None else np.asarray(objects[self.value], np.float64)[rows]
        xy = np.asarray(objects.xy, np.float64).reshape(-1, 2)[rows]
        said = self.value or f"{self.of}, {self.what}"
        options: dict[str, Any] = {"cell_um": self.cell_um, "what": self.what, "name": said}
        return {"maps/map": mapped(xy, values, slide.size, slide.require_mpp(), **options)}
