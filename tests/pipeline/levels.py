"""Small stages that find regions, tiles and objects by place alone."""

# ruff: noqa: ARG002 - a stage takes slide and inputs, whether it needs them or not
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import shapely

from coverslip.core import Size
from coverslip.store import Derived, FeatureStream, ObjectStream, ObjectTable, Prediction, Resume, Table
from coverslip.tissue import Tissue


def note(diary: str, slide: Any, stage: str, count: int) -> None:
    """Write down that a stage ran, and on how much."""
    if diary:
        with Path(diary).open("a") as file:
            file.write(f"{slide.id} {stage} {count}\n")


@dataclass(frozen=True)
class Ground:
    """Tissue everywhere but for a margin."""

    name: ClassVar[str] = "ground"
    version: ClassVar[int] = 1
    margin: int = 0
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> tuple[str, ...]:
        return ("tissue",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        note(self.diary, slide, "ground", 1)
        width, height = slide.size
        shape = shapely.box(self.margin, self.margin, width - self.margin, height - self.margin)
        return {"tissue": Tissue.from_polygons([shape], Size(width, height), 4.0)}


@dataclass(frozen=True)
class Halves:
    """Says of every tile how far left it lies: the probability of class ``left``."""

    name: ClassVar[str] = "halves"
    version: ClassVar[int] = 1
    bend: float = 1.0
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        return ("predictions/halves",)

    def classes(self) -> tuple[str, ...]:
        return ("left", "right")

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        tiles = inputs["tiles"]
        note(self.diary, slide, "halves", len(tiles))
        middle = (tiles.xy[:, 0] + tiles.side_px / 2) / slide.size[0]
        left = (1 - middle).astype(np.float32) ** self.bend
        columns = {"tile": np.arange(len(tiles)), "label": (left <= 0.5).astype(np.int16), "left": left}
        columns |= {"right": 1 - left}
        return {"predictions/halves": Prediction(columns, {"names": ["left", "right"]})}


@dataclass(frozen=True)
class Blobs:
    """One square object in the middle of every tile, ``big`` in even rows and ``small`` in odd ones."""

    name: ClassVar[str] = "blobs"
    version: ClassVar[int] = 1
    side: float = 20.0
    streamed: bool = False
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        return ("objects/blobs",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        tiles = inputs["tiles"]
        note(self.diary, slide, "blobs", len(tiles))
        if not self.streamed:
            return {"objects/blobs": self._table(tiles)}
        start = inputs.get("resume", Resume()).rows("objects/blobs")
        parts = (self._table(tiles.take([i])) for i in range(start, len(tiles)))
        stream = ObjectStream(parts, n=len(tiles), classes=("big", "small"), measurements=("area_px",))
        return {"objects/blobs": stream}

    def _table(self, tiles: Any) -> ObjectTable:
        big = tiles.rows % 2 == 0
        half = np.where(big, self.side, self.side / 2) / 2
        x, y = (tiles.xy + tiles.side_px / 2).T
        return ObjectTable(
            shapely.box(x - half, y - half, x + half, y + half),
            classes=("big", "small"),
            labels=(~big).astype(np.int32),
            measurements={"area_px": (2 * half) ** 2},
        )


@dataclass(frozen=True)
class Counted:
    """How many tiles and objects there were."""

    name: ClassVar[str] = "counted"
    version: ClassVar[int] = 1
    factor: float = 1.0
    of: str = "blobs"
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ("tiles", f"objects/{self.of}", "tissue")

    def writes(self) -> tuple[str, ...]:
        return ("tables/counted",)

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        tiles, objects = inputs["tiles"], inputs[f"objects/{self.of}"]
        note(self.diary, slide, "counted", len(objects))
        columns = {"tiles": [len(tiles)], "objects": [self.factor * len(objects)]}
        columns |= {"area": [inputs["tissue"].area_px]}
        return {"tables/counted": Table({name: np.array(value) for name, value in columns.items()})}


@dataclass(frozen=True)
class Depths:
    """Streams the corner of every tile, and sums the rows up."""

    name: ClassVar[str] = "depths"
    version: ClassVar[int] = 1
    diary: str = ""

    def reads(self) -> tuple[str, ...]:
        return ("tiles",)

    def writes(self) -> tuple[str, ...]:
        return ("features/depths", "tables/depths")

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        tiles = inputs["tiles"]
        note(self.diary, slide, "depths", len(tiles))
        start = inputs.get("resume", Resume()).rows("features/depths")
        rows = (
            (tiles.xy[i : i + 1].astype(np.float32), tiles.xy[i : i + 1]) for i in range(start, len(tiles))
        )
        stream = FeatureStream(
            "depths",
            rows,
            d=2,
            n=len(tiles),
            names=("x", "y"),
            tile_side=tiles.side_px,
            tile_px=tiles.spec.size,
        )
        total = Derived(lambda done: {"sum": [float(done["features/depths"].X.sum())]})
        return {"features/depths": stream, "tables/depths": total}


@dataclass(frozen=True)
class PerCase:
    """Adds up what the slides of a case counted."""

    name: ClassVar[str] = "per-case"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[str, ...]:
        return ("tables/counted",)

    def writes(self) -> tuple[str, ...]:
        return ()

    def run(self, slide: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError

    def case(self, slides: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        return {"objects": sum(float(found["tables/counted"]["objects"][0]) for found in slides.values())}
