"""Which tiles the slide is cut into, and how each fares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from coverslip.core.errors import GeometryError, NoTissueError, UsageError
from coverslip.pipeline.stage import LIMITED, NOTES, chosen
from coverslip.slides import Slide
from coverslip.store import GradedTiles
from coverslip.tiles import GridSpec, lay


@dataclass(frozen=True)
class TilesStage(GridSpec):
    """Lay a grid of tiles on the tissue; the parameters are those of `coverslip.tiles.GridSpec` and two more.

    Parameters
    ----------
    quality
        Say of each tile how much of it every quality flag covers; needs the stage ``quality`` before it.
    min_usable
        Least share of a tile's tissue that must have no flag, 0 to 1; 0 keeps all.
    """

    name: ClassVar[str] = "tiles"
    version: ClassVar[int] = 1

    quality: bool = True
    min_usable: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.min_usable <= 1:
            raise UsageError(f"min_usable {self.min_usable!r} is no share", mend="give 0 to 1")
        if self.min_usable and not self.quality:
            raise UsageError("min_usable needs quality", mend="leave quality on, or min_usable at 0")

    def reads(self) -> tuple[str, ...]:
        """Return the keys of polygons and, if wanted, of the assessment."""
        return ("tissue", "quality") if self.quality else ("tissue",)

    def writes(self) -> tuple[str, ...]:
        """Return the key of the tiles."""
        return ("tiles",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Lay the grid.

        Raises
        ------
        NoTissueError
            When no tile has enough tissue.
        GeometryError
            When the slide is smaller than a tile.
        MppError
            When the grid's mpp is finer than the slide's.
        """
        spec = GridSpec(**{field.name: getattr(self, field.name) for field in fields(GridSpec)})
        try:
            tiles = lay(slide, spec, chosen(inputs, "tissue"))
        except GeometryError as error:
            mend = "take smaller tiles (--set tiles.size=128), or fill up with white (--set tiles.edge=pad)"
            raise GeometryError(error.message, mend=mend) from error
        if not len(tiles) and LIMITED in inputs:
            return {"tiles": self._graded(tiles, inputs), NOTES: [self._too_small(tiles, inputs)]}
        if not len(tiles):
            raise NoTissueError(
                f"{slide.path}: no tile of {self.size} px at {tiles.mpp:g} µm per pixel has "
                f"{self.min_tissue:.0%} tissue",
                mend="take smaller tiles (--set tiles.size=128) or ask for less (--set tiles.min_tissue=0.1)",
            )
        return {"tiles": self._graded(tiles, inputs)}

    def _too_small(self, tiles: Any, inputs: Mapping[str, Any]) -> str:
        limited, places = inputs[LIMITED], len(chosen(inputs, "tissue").polygons)
        if not places:
            return f"there is no tissue {limited}, so there are no tiles"
        return (
            f"none of the {places} places {limited} fills {self.min_tissue:.0%} of a tile of {self.size} px "
            f"at {tiles.mpp:g} µm per pixel, so there are no tiles: take smaller ones, or a lower min_tissue"
        )

    def _graded(self, tiles: Any, inputs: Mapping[str, Any]) -> GradedTiles:
        if not self.quality:
            return GradedTiles.of(tiles)
        quality = chosen(inputs, "quality")
        shares = quality.at(tiles.xy, tiles.side_px)
        shares["usable"] = quality.usable_at(tiles.xy, tiles.side_px)
        graded = GradedTiles.of(tiles, shares)
        return graded.take(np.flatnonzero(shares["usable"] >= self.min_usable))
