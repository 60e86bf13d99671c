"""How the slide is stained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError, UsageError
from coverslip.pipeline.stage import NOTES, chosen
from coverslip.slides import Slide
from coverslip.stain import RUIFROK_JOHNSTON, StainMatrix, estimate_background, fit, separate
from coverslip.stain.density import to_od
from coverslip.stain.sample import ENOUGH, FAINT, STRONG, stained
from coverslip.stain.targets import load_target, target_digest
from coverslip.store import GradedTiles, SlideStain
from coverslip.tiles import Tiles, stream

PIXELS_PER_TILE = 4096
"""Taken of each tile, evenly."""

USABLE = 0.5
"""Tiles with less than this share of usable tissue are passed over, unless too few are left."""


@dataclass(frozen=True)
class StainStage:
    """Fit the stains to pixels from all over the slide's tissue.

    Parameters
    ----------
    method
        ``"macenko"`` or ``"vahadane"``; or a fixed matrix of Ruifrok and Johnston: ``"H&E"``, ``"H-DAB"``.
    tiles
        How many tiles to look at, spread over the tissue.
    target
        Colours that the slide is to be normalised to: a built-in stain target, or a file of one.
    target_digest
        SHA-256 of that file, as ``sha256:…``. Filled in when not given; checked when given.

    Raises
    ------
    StainError
        When the file holds no target, or not that of `target_digest`.
    """

    name: ClassVar[str] = "stain"
    version: ClassVar[int] = 1

    method: Literal["macenko", "vahadane", "H&E", "H-DAB"] = "macenko"
    tiles: int = 64
    target: str = "cmu-1"
    target_digest: str | None = None

    def __post_init__(self) -> None:
        if self.tiles < 1:
            raise UsageError(f"{self.tiles} tiles are too few", mend="give 1 or more")
        load_target(self.target)
        found = target_digest(self.target)
        if self.target_digest not in (None, found):
            raise StainError(
                f"the target {self.target} has {found}, but the recipe names {self.target_digest}",
                mend="give the target that was meant, or leave target_digest out",
            )
        object.__setattr__(self, "target_digest", found)

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the thumbnail, which shows the glass, and of the tiles."""
        return ("thumbnail", "tiles")

    def writes(self) -> tuple[str, ...]:
        """Return the key of the stains."""
        return ("stain",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fit the stains.

        Raises
        ------
        StainError
            When the slide does not show the stains that the method looks for.
        """
        background = estimate_background(chosen(inputs, "thumbnail"))
        sample = sample_of(chosen(inputs, "tiles"), self.tiles)
        pixels, notes = pixels_of(slide, sample)
        try:
            stains = self._fit(pixels, background)
        except StainError as error:
            raise StainError(
                f"{slide.path}: {error.message}",
                mend="for haematoxylin with DAB use --set stain.method=H-DAB, for H&E with fixed colours "
                "--set 'stain.method=H&E', or leave the slide out",
            ) from error
        return {"stain": SlideStain(self.method, stains, target=self.target, tiles=len(sample)), NOTES: notes}

    def _fit(self, pixels: NDArray[np.uint8], background: tuple[float, float, float]) -> StainMatrix:
        if self.method not in RUIFROK_JOHNSTON:
            fitted: StainMatrix = fit(self.method, pixels, background)
            return fitted
        if self.method == "H-DAB":
            pixels = of_tissue(pixels, background)
        else:
            stained(pixels, background)  # refuses a slide that shows next to none, or is brown
        fixed = RUIFROK_JOHNSTON[self.method]
        matrix = StainMatrix(fixed.names, fixed.vectors, background=background)
        amounts = separate(pixels, matrix)
        strengths = np.maximum(np.percentile(amounts, STRONG, axis=0), 1e-3)
        return StainMatrix(fixed.names, fixed.vectors, tuple(strengths.tolist()), background)


def of_tissue(pixels: NDArray[np.uint8], background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return the pixels (m, 3) that show any stain, brown or blue; raises `StainError` when hardly any do."""
    shown: NDArray[np.uint8] = pixels[to_od(pixels, background).mean(axis=1) > FAINT]
    if len(shown) < ENOUGH:
        raise StainError(f"{len(shown)} of {len(pixels)} pixels show stain: expected at least {ENOUGH}")
    return shown


def sample_of(tiles: Tiles, count: int) -> Tiles:
    """Return `count` tiles spread evenly over the slide, usable ones where there are enough."""
    rows = np.arange(len(tiles))
    if isinstance(tiles, GradedTiles) and "usable" in tiles.quality:
        usable = np.flatnonzero(np.asarray(tiles.quality["usable"]) >= USABLE)
        rows = usable if len(usable) >= min(count, len(tiles) // 4 + 1) else rows
    places = np.linspace(0, len(rows) - 1, min(count, len(rows)))
    return tiles.take(rows[np.unique(np.rint(places).astype(np.intp))])


def pixels_of(slide: Slide, tiles: Tiles) -> tuple[NDArray[np.uint8], list[str]]:
    """Return pixels (n, 3) of tiles, `PIXELS_PER_TILE` of each, and what could not be read."""
    step = max(1, round(tiles.spec.size / PIXELS_PER_TILE**0.5))
    found: list[NDArray[np.uint8]] = [np.empty((0, 3), np.uint8)]
    notes: list[str] = []
    for batch in stream(slide, tiles, batch_size=16):
        found.append(batch.pixels[~batch.missing, ::step, ::step].reshape(-1, 3))
        notes += batch.errors
    return np.concatenate(found), notes
