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
from coverslip.stain.density import WHITE, to_od
from coverslip.stain.sample import BROWN, ENOUGH, FAINT, STRONG, brown, stained
from coverslip.stain.targets import load_target, target_digest
from coverslip.store import GradedTiles, SlideStain
from coverslip.tiles import Tiles, stream

PIXELS_PER_TILE, LEAST_PIXELS = 4096, 65_536
"""Taken of each tile, evenly; more of each where all tiles together give less than the second."""

PINK, PINKEST = 0.5, 0.1
"""Green's part of a density from which it is pink: haematoxylin's is 0.43, that of DAB 0.35, of eosin 0.85;
and the share of stained pixels that may be so on a slide of haematoxylin and DAB. With eosin it is 0.3 to
0.9.
"""

LEAST_STRENGTH = 0.12
"""Haematoxylin (decades, 99th percentile) under which a slide is taken to have none."""

LOOKED_AT = 8
"""Tiles that tell how a slide is stained."""

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
    version: ClassVar[int] = 2

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
        if self.method == "H-DAB":
            require_no_eosin(slide, pixels, background)
        try:
            stains = self._fit(pixels, background)
        except StainError as error:
            raise StainError(
                f"{slide.path}: {error.message}",
                mend="for haematoxylin with DAB use --set stain.method=H-DAB, for H&E with fixed colours "
                "--set 'stain.method=H&E', or leave the slide out",
            ) from error
        if self.method == "H-DAB":
            require_haematoxylin(slide, stains)
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


def require_no_eosin(slide: Slide, pixels: NDArray[np.uint8], background: tuple[float, float, float]) -> None:
    """Refuse a slide that is pink where haematoxylin and DAB are looked for; raises `StainError`."""
    pink, _ = hues(pixels, background)
    if pink > PINKEST:
        raise StainError(
            f"{slide.path}: {pink:.0%} of the stained pixels are pink, as eosin is: expected haematoxylin "
            f"and DAB, at most {PINKEST:.0%} pink",
            mend="give this slide to a recipe for H&E, or leave it out",
        )


def hues(pixels: NDArray[np.uint8], background: tuple[float, float, float]) -> tuple[float, float]:
    """Return the shares of the stained pixels (n, 3) that are pink, as eosin is, and brown, as DAB is.

    Examples
    --------
    >>> hues(np.array([[230, 120, 190], [150, 100, 60], [250, 250, 250]], np.uint8), (255.0, 255.0, 255.0))
    (0.5, 0.5)
    """
    od = to_od(pixels, background)
    red, green, blue = od[od.mean(axis=1) > FAINT].T
    if not len(red):
        return 0.0, 0.0
    pink = green > PINK * (red + green + blue)
    return float(pink.mean()), float(brown(red, green, blue).mean())


def require_stain_of(model: str, stain: str | None, slide: Slide, tiles: Tiles) -> None:
    """Refuse a slide of another stain than that which a model learned from, where its card names one.

    Slides of H&E show pink pixels, slides of DAB brown ones; one that shows neither is let through.

    Raises
    ------
    StainError
        When the slide shows the other.
    """
    if stain not in RUIFROK_JOHNSTON or not len(tiles):
        return
    pixels, _ = pixels_of(slide, sample_of(tiles, LOOKED_AT))
    pink, dark = hues(pixels, (WHITE, WHITE, WHITE))
    seen = "H&E" if pink > PINKEST else "H-DAB" if dark > BROWN else stain
    if seen != stain:
        raise StainError(
            f"{slide.path} looks stained as {seen}, and the model {model!r} learned from {stain}",
            mend="name a model of this stain, or leave the slide out",
        )


def require_haematoxylin(slide: Slide, stains: StainMatrix) -> None:
    """Refuse a slide without a nuclear stain; raises `StainError`."""
    strength = stains.max_concentrations[0]
    if stains.names[0] != "haematoxylin" or strength < LEAST_STRENGTH:
        raise StainError(
            f"{slide.path} shows no haematoxylin: {stains.names[0]} has a strength of {strength:.2f}, "
            f"expected at least {LEAST_STRENGTH} decades",
            mend="nuclei without counterstain cannot be counted: leave the slide out, or check stain.method",
        )


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
    """Return pixels (n, 3) of tiles, `PIXELS_PER_TILE` of each or more, and what could not be read."""
    each = max(PIXELS_PER_TILE, LEAST_PIXELS / max(len(tiles), 1))
    step = max(1, round(tiles.spec.size / each**0.5))
    found: list[NDArray[np.uint8]] = [np.empty((0, 3), np.uint8)]
    notes: list[str] = []
    for batch in stream(slide, tiles, batch_size=16):
        found.append(batch.pixels[~batch.missing, ::step, ::step].reshape(-1, 3))
        notes += batch.errors
    return np.concatenate(found), notes
