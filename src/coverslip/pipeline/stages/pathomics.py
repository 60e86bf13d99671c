"""What the tiles look like under measurement, and which look alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import UsageError
from coverslip.measure.lookalike import CLUSTERS, lookalike
from coverslip.measure.pathomics import PATHOMICS, measure_tiles
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.stain import StainMatrix
from coverslip.store import Derived, Features, FeatureStream, LabelMap, Prediction, Resume
from coverslip.tiles import Tiles, stream

KEY = "features/pathomics"
BATCH = 32
NO_LABEL = -1
"""Label of a tile that could not be read."""

Rows = tuple[NDArray[np.float32], NDArray[np.int32]]


@dataclass(frozen=True)
class PathomicsStage:
    """Measure every tile, and group tiles that look alike.

    Parameters
    ----------
    clusters
        Groups of tiles looked for, 1 to 26.
    seed
        Of the grouping.
    """

    name: ClassVar[str] = "pathomics"
    version: ClassVar[int] = 2

    clusters: int = CLUSTERS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.clusters <= 26:
            raise UsageError(f"{self.clusters} clusters cannot be", mend="give 1 to 26")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tiles and stains."""
        return ("tiles", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the measurements, of the groups, and of their map."""
        return (KEY, "predictions/lookalike", "maps/lookalike")

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure the tiles, after those that an earlier run left."""
        tiles: Tiles = chosen(inputs, "tiles")
        start = inputs.get("resume", Resume()).rows(KEY)
        notes: list[str] = []
        measured = FeatureStream(
            "pathomics",
            measurements(slide, tiles, chosen(inputs, "stain").stains, start=start, notes=notes),
            d=len(PATHOMICS),
            n=len(tiles),
            names=tuple(measurement.name for measurement in PATHOMICS),
            tile_px=tiles.spec.size,
            tile_side=tiles.side_px,
            mpp=tiles.mpp,
        )
        found: list[Prediction] = []

        def alike(done: Mapping[str, Any]) -> Prediction:
            if not found:
                found.append(self.alike(done[KEY]))
            return found[0]

        return {
            KEY: measured,
            "predictions/lookalike": Derived(alike),
            "maps/lookalike": Derived(lambda done: map_of(tiles, alike(done), slide.mpp)),
            NOTES: notes,
        }

    def alike(self, features: Features) -> Prediction:
        """Group the tiles; those that could not be read get no label."""
        rows = np.flatnonzero(~features.missing)
        names = features.names or ()
        found = lookalike(
            features.X[rows],
            clusters=self.clusters,
            names=names,
            order_by=features.X[rows, 0],
            seed=self.seed,
        )
        labels = np.full(len(features), NO_LABEL, np.int16)
        labels[rows] = found.labels
        x, y = features.coords.T
        columns = {"tile": np.arange(len(features), dtype=np.int32), "x": x, "y": y, "label": labels}
        examples = [rows[list(group)].tolist() for group in found.examples]
        notes = {"names": found.names, "examples": examples, "traits": found.traits}
        return Prediction(columns, notes | {"centres": found.centres, "features": names})


def map_of(tiles: Tiles, alike: Prediction, mpp: float | None) -> LabelMap:
    """Return the groups as a picture, a pixel per place in the grid; group 0 has label 1."""
    shape = (int(tiles.rows.max(initial=-1)) + 1, int(tiles.columns.max(initial=-1)) + 1)
    labels = np.zeros(shape, np.uint8)
    labels[tiles.rows, tiles.columns] = alike.labels + 1
    return LabelMap(labels, tiles.spec.step * tiles.downsample, names=alike.names, mpp=mpp)


def measurements(
    slide: Slide, tiles: Tiles, stains: StainMatrix, *, start: int, notes: list[str]
) -> Iterator[Rows]:
    """Yield measurements and corners of the tiles from number `start` on; unreadable tiles have NaN."""
    rest = tiles.take(np.arange(start, len(tiles)))
    unread = 0
    for batch in stream(slide, rest, batch_size=BATCH):
        values = np.full((len(batch), len(PATHOMICS)), np.nan, np.float32)
        good = np.flatnonzero(~batch.missing)
        values[good] = measure_tiles(batch.pixels[good], tiles.mpp, stains)
        unread += len(batch) - len(good)
        notes += (error for error in batch.errors if error not in notes)
        yield values, rest.xy[batch.index]
    if unread:
        notes.insert(0, f"{unread} of {len(rest)} tiles could not be read and have no measurements")
