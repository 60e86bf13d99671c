"""How the slides look that a model was trained on, in ten numbers a tile; whether another looks so too.

A model is sure of itself on stains and scanners that it has never seen. The numbers are those that change
with them: how much stain there is, of which colour, with which contrast, how sharp at the model's scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.slides import Slide

Floats = NDArray[np.float64]

LOOKS = (
    "amount of stain (red)", "amount of stain (green)", "amount of stain (blue)",
    "contrast (red)", "contrast (green)", "contrast (blue)",
    "colour of the stain (red)", "colour of the stain (green)",
    "sharpness", "coarse structure",
)  # fmt: skip
"""What the numbers of a tile are, in words."""

TILES = 48
"""Tiles that are looked at of a slide."""

LEAST_SLIDES = 3
"""Fewer say nothing of how slides differ."""

LEAST_TILES = 4

SPREADS = 3.0
"""A slide is unlike when it is further off than training slides are from each other, by so many spreads."""

SHRINK = 0.1
"""Share of the covariance that is its diagonal alone: few tiles leave directions unseen."""

OVERVIEW = 512
STAINED = 0.15
"""Optical density, over the glass, from which a pixel of the overview counts as stained."""


@dataclass(frozen=True)
class Likeness:
    """How far a slide is from those that a model was trained on.

    Attributes
    ----------
    distance
        Mahalanobis distance of the slide's mean tile, per square root of a number.
    limit
        From which a slide is unlike.
    most
        The number of `LOOKS` that is furthest off.
    """

    distance: float
    limit: float
    most: str

    @property
    def is_unlike(self) -> bool:
        """True when the slide is unlike the training data."""
        return self.distance > self.limit


@dataclass(frozen=True)
class Seen:
    """How tiles of the training slides look: mean, covariance, and how far slides are from the others.

    Attributes
    ----------
    mpp, tile_px
        Scale and side of the tiles.
    slides, tiles
        How many were looked at.
    mean, covariance
        Of the numbers of `LOOKS`, each slide with the same weight.
    limit
        Distance from which a slide is unlike: what training slides have when each is left out in turn, and
        `SPREADS` spreads of its logarithm on top.
    """

    mpp: float
    tile_px: int
    slides: int
    tiles: int
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    limit: float

    @classmethod
    def of(cls, looks: Sequence[Floats], *, mpp: float, tile_px: int) -> Self | None:
        """Summarise the looks of training slides, (n, 10) each; None when they are too few to tell.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> seen = Seen.of([rng.normal(size=(20, 10)) for _ in range(8)], mpp=0.5, tile_px=256)
        >>> seen.judge(rng.normal(size=(20, 10))).is_unlike
        False
        >>> seen.judge(rng.normal(size=(20, 10)) + 3).is_unlike
        True
        """
        enough = [one for one in looks if len(one) >= LEAST_TILES]
        if len(enough) < LEAST_SLIDES:
            return None
        left_out = []
        for number, one in enumerate(enough):
            mean, covariance = _spread([*enough[:number], *enough[number + 1 :]])
            left_out.append(np.log(_distance(one.mean(axis=0) - mean, covariance)))
        wide = SPREADS * float(np.std(left_out, ddof=1)) * np.sqrt(1 + 1 / len(enough))
        limit = max(float(np.exp(np.mean(left_out) + wide)), float(np.exp(max(left_out))))
        mean, covariance = _spread(enough)
        return cls(
            mpp, tile_px, len(enough), sum(map(len, enough)), tuple(mean.tolist()),
            tuple(map(tuple, covariance.tolist())), limit,
        )  # fmt: skip

    def judge(self, looks: Floats) -> Likeness:
        """Say how far a slide is, by the looks of its tiles (n, 10).

        Raises
        ------
        UsageError
            When it has too few tiles.
        """
        if len(looks) < LEAST_TILES:
            raise UsageError(f"{len(looks)} tiles of the slide can be looked at, {LEAST_TILES} are needed")
        covariance = np.array(self.covariance)
        off = looks.mean(axis=0) - np.array(self.mean)
        most = int(np.argmax(np.abs(off) / np.sqrt(np.diag(covariance))))
        return Likeness(_distance(off, covariance), self.limit, LOOKS[most])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a model's card."""
        return {"looks": list(LOOKS), **asdict(self)}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self | None:
        """Rebuild from `to_dict`; None where the numbers of a tile are others, of another version."""
        if tuple(kept.get("looks", ())) != LOOKS:
            return None
        rest = {name: kept[name] for name in ("mpp", "tile_px", "slides", "tiles", "limit")}
        return cls(
            **rest, mean=tuple(kept["mean"]), covariance=tuple(tuple(row) for row in kept["covariance"])
        )


def looks_of(slide: Slide, *, mpp: float, tile_px: int, tiles: int = TILES) -> Floats:
    """Look at stained tiles of a slide, spread over it: (n, 10), fewer than `tiles` where some are damaged.

    Raises
    ------
    MissingMppError
        When the slide has no mpp.
    StainError
        When its pixels are not 8-bit colour.
    """
    from coverslip.core.errors import CorruptTileError

    slide.require_colour()
    step = mpp / slide.require_mpp()
    side = tile_px * step
    found = []
    for x, y in _stained_places(slide, tiles):
        corner = [
            max(0.0, min(at - side / 2, whole - side)) for at, whole in zip((x, y), slide.size, strict=True)
        ]
        try:
            found.append(look(slide.read_at(Box(*corner, side, side), step)))
        except CorruptTileError:  # one block; the rest tells as much
            continue
    return np.array(found).reshape(-1, len(LOOKS))


def look(rgb: NDArray[np.uint8]) -> Floats:
    """Return the numbers of `LOOKS` of a tile, uint8 (h, w, 3)."""
    import cv2

    from coverslip.stain import to_od

    density = to_od(rgb).astype(np.float64)
    stained = density[density.sum(axis=2) > 3 * STAINED]
    if len(stained) < 16:
        stained = density.reshape(-1, 3)
    mean, spread = stained.mean(axis=0), stained.std(axis=0)
    total = max(float(mean.sum()), 1e-3)
    grey = density.mean(axis=2).astype(np.float32)
    coarse = cv2.GaussianBlur(grey, (0, 0), 3.0)
    fine, broad = float((grey - coarse).std()), float(coarse.std())
    numbers = [*mean, *np.log(spread + 0.01), mean[0] / total, mean[1] / total,
               np.log(fine + 0.003), np.log(broad + 0.003)]  # fmt: skip
    return np.array(numbers, np.float64)


def _stained_places(slide: Slide, most: int) -> list[tuple[float, float]]:
    """Return points of level 0 on stained tissue, spread evenly; all over the slide where there is none."""
    from coverslip.stain import to_od

    overview = slide.thumbnail(OVERVIEW)
    density = to_od(overview).mean(axis=2)
    glass = float(np.percentile(density, 5))
    rows, columns = np.nonzero(density > glass + STAINED)
    if not len(rows):
        rows, columns = np.nonzero(np.ones_like(density, bool))
    chosen = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))
    scale = slide.size.width / overview.shape[1]
    return [((columns[i] + 0.5) * scale, (rows[i] + 0.5) * scale) for i in chosen]


def _spread(looks: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return mean and covariance of tiles, each slide with the same weight, shrunk towards the diagonal."""
    means = np.stack([one.mean(axis=0) for one in looks])
    within = np.mean([np.cov(one, rowvar=False, bias=True) for one in looks], axis=0)
    between = np.cov(means, rowvar=False, bias=True)
    whole = within + between
    diagonal = np.diag(np.maximum(np.diag(whole), 1e-6))
    return means.mean(axis=0), (1 - SHRINK) * whole + SHRINK * diagonal


def _distance(off: Floats, covariance: Floats) -> float:
    return max(float(np.sqrt(off @ np.linalg.solve(covariance, off) / len(off))), 1e-6)
