"""How much of each stain a tile shows: the cheapest look, for gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.stain import separate
from coverslip.store import Prediction
from coverslip.tiles import stream

SKIP = 2
"""Every so-manyth pixel of every so-manyth row is looked at."""


@dataclass(frozen=True)
class ColourStage:
    """Mean amount of each stain in every tile, in decades; a gate for what costs more.

    Columns: ``tile``, ``x``, ``y``, and one per stain (``haematoxylin``, ``eosin`` or ``dab``). Tiles that
    could not be read have NaN, which passes no test.

    Parameters
    ----------
    batch
        Tiles read at a time.
    """

    name: ClassVar[str] = "colour"
    version: ClassVar[int] = 1

    batch: int = 32

    def reads(self) -> tuple[str, ...]:
        """Return the keys of tiles and stains."""
        return ("tiles", "stain")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the amounts."""
        return ("predictions/colour",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at every tile."""
        tiles, stains = chosen(inputs, "tiles"), chosen(inputs, "stain").stains
        found = np.full((len(tiles), len(stains.names)), np.nan, np.float32)
        notes: list[str] = []
        for batch in stream(slide, tiles, batch_size=self.batch):
            for pixels, index, missing in zip(batch.pixels, batch.index, batch.missing, strict=True):
                if not missing:
                    found[index] = np.clip(separate(pixels[::SKIP, ::SKIP], stains), 0, None).mean(
                        axis=(0, 1)
                    )
            notes += (error for error in batch.errors if error not in notes)
        x, y = tiles.xy.T
        columns = {"tile": np.arange(len(tiles), dtype=np.int32), "x": x, "y": y}
        columns |= {name: found[:, i] for i, name in enumerate(stains.names)}
        return {"predictions/colour": Prediction(columns, {"side_px": tiles.side_px}), NOTES: notes}
