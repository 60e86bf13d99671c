"""All that is known of one slide, gathered for its page: results, or the reason there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.store import SlideStain

if TYPE_CHECKING:
    from coverslip.tissue.quality import Quality

LABEL = "label"
"""Column of the look-alike table that holds each tile's class."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a slide went no further."""

    stage: str
    error: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class StageNote:
    """One line of a slide's log: how a stage went and with what parameters."""

    name: str
    status: str
    version: int | None = None
    seconds: float | None = None
    fingerprint: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What the stages found on one slide; None where a stage did not run or did not end.

    Attributes
    ----------
    info
        The slide's facts, as `Slide.info` gives them; may be empty for a file that could not be opened.
    thumbnail
        Array (h, w, 3) uint8 of the whole slide.
    """

    slide_id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: NDArray[np.uint8] | None = None
    tissue: Any = None
    quality: Quality | None = None
    tiles: Any = None
    stain: SlideStain | None = None
    features: Any = None
    lookalike: Any = None
    failure: Failure | None = None
    stages: tuple[StageNote, ...] = ()

    @property
    def mpp(self) -> float | None:
        """Microns per pixel of level 0: the mean of both directions, or None."""
        both = self.info.get("mpp_x"), self.info.get("mpp_y")
        return None if both[0] is None or both[1] is None else float(both[0] + both[1]) / 2

    @property
    def classes(self) -> NDArray[np.int64] | None:
        """Look-alike class of each tile (n,), -1 for none; None when there is no map."""
        if self.lookalike is None or self.tiles is None:
            return None
        return np.asarray(self.lookalike[LABEL], np.int64)

    @property
    def shrinkage(self) -> float:
        """Level-0 pixels per pixel of the thumbnail."""
        if self.thumbnail is None or not self.info.get("width"):
            return 1.0
        return float(self.info["width"] / self.thumbnail.shape[1])

    def area_mm2(self, pixels: float | None) -> float | None:
        """Turn an area in level-0 pixels into mm²; None without a scale."""
        if pixels is None or self.mpp is None:
            return None
        return float(pixels * self.info["mpp_x"] * self.info["mpp_y"] / 1e6)


def flags_of(quality: Quality) -> dict[str, NDArray[np.bool_]]:
    """Return which cells (n,) each flag was raised on."""
    from coverslip.tissue.quality import FLAGS

    return {flag: np.asarray(quality.cells[flag], bool) for flag in FLAGS}


def flag_share(quality: Quality, flag: str) -> float:
    """Return the share of the tissue's area under a flag."""
    return float(quality.summary.get(flag) or 0.0)


def cell_corners(quality: Quality) -> NDArray[np.float64]:
    """Return the level-0 corners (n, 2) of quality's cells."""
    return np.stack([quality.cells["x"], quality.cells["y"]], axis=1).astype(np.float64)
