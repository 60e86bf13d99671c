"""The task ``classify``, method ``tiles``: a classifier of tiles; of slides, their aggregation."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coverslip.learn.classify.cut import CutSpec
from coverslip.learn.classify.picture_task import PictureTask
from coverslip.learn.classify.specs import SplitBy
from coverslip.learn.classify.vote_fit import VotesSpec
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, silent
from coverslip.models.picture_classifier import VIEWS
from coverslip.models.slide_classifier import votes_card

if TYPE_CHECKING:
    from coverslip.learn.classify.slide_tiles import SlideTiles
    from coverslip.learn.classify.tile_set import TileSet

FIT = FitSpec(epochs=40, batch_size=64, lr=3e-3, ema=0.99)


@dataclass(frozen=True, kw_only=True)
class TilesTask(PictureTask):
    """Learn the class of tiles.

    Parameters
    ----------
    cohort
        A table of slides; or a tile set: a folder of class folders, or a table of ``path, label[, source]``.
    size
        Side in pixels of the network's input, and of tiles cut from slides.
    mpp
        Microns per pixel of tiles cut from slides; of a tile set at `size`, None where nobody knows.
    tiles, votes
        Of slides: which tiles teach (`CutSpec`), and how the slide follows from them (`VotesSpec`).
    views
        As of `PictureTask`; by default 8 of a tile set, 1 of slides.

    Notes
    -----
    The other parameters are those of `PictureTask`.
    """

    key: ClassVar[str] = "classify/tiles"

    tiles: CutSpec = field(default_factory=CutSpec)
    votes: VotesSpec = field(default_factory=VotesSpec)
    fit: FitSpec = FIT

    # ------------------------------------------------------------------ the task
    def plan(self) -> Plan:
        """See `coverslip.learn.Task.plan`."""
        return self._read().plan()

    def train(self, run: Path, *, listen: Listen = silent) -> Trained:
        """See `coverslip.learn.Task.train`."""
        read = self._read()
        read.plan()
        return read.train(run, listen=listen)

    def _read(self) -> TileSet | SlideTiles:
        from coverslip.learn.classify.slide_tiles import SlideTiles
        from coverslip.learn.classify.tile_set import TileSet

        return SlideTiles.read(self) if is_slide_table(self.cohort) else TileSet.read(self)

    # ------------------------------------------------------------------ what its readers share
    @property
    def of_tile_set(self) -> bool:
        """Whether the cohort is of pictures, not of slides."""
        return not is_slide_table(self.cohort)

    @property
    def split_of_set(self) -> SplitBy:
        """The split of a tile set: rows are held back only where they choose something."""
        idle = self.split.val is None and self.fit.patience is None
        return replace(self.split, val=0.0) if idle else self.split

    def preprocessing(self) -> dict[str, Any]:
        """Return how pixels become input, and tiles a slide, as the card says it."""
        if self.of_tile_set:
            return {**super().preprocessing(), "views": self.views or VIEWS}
        of_slides = {"tiles": self.tiles.recipe, "votes": votes_card(self.votes.rule, self.votes.top)}
        return {**super().preprocessing(), **of_slides}


def is_slide_table(path: Path) -> bool:
    """Say whether a table has a column ``slide``: then it is a cohort of slides, else a tile set."""
    if path.is_dir():
        return False
    if path.suffix.lower() in {".parquet", ".pq"}:
        from pyarrow import parquet

        return path.exists() and "slide" in [name.lower() for name in parquet.read_schema(path).names]
    if not path.exists():
        return False
    with path.open(encoding="utf-8-sig", newline="") as file:
        head: list[Any] = next(csv.reader(file), [])
    return "slide" in [str(name).strip().lower() for name in head]
