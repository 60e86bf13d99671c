"""The task ``classify``, method ``tiles``: a classifier of tiles; of slides, their aggregation."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from coverslip.cohort import Cohort, Rows, Target
from coverslip.core import as_mpp
from coverslip.core.errors import UsageError
from coverslip.learn.classify.augment import AugmentSpec
from coverslip.learn.classify.cut import CutSpec
from coverslip.learn.classify.learner import Learner, scale_of
from coverslip.learn.classify.module import LossSpec
from coverslip.learn.classify.specs import NetworkSpec, SplitBy, target_of
from coverslip.learn.classify.vote_fit import VotesSpec
from coverslip.learn.fit import FitSpec
from coverslip.learn.task import Plan, Trained
from coverslip.learn.told import Listen, silent
from coverslip.models.folder import FolderCard
from coverslip.models.slide_classifier import votes_card

if TYPE_CHECKING:
    from coverslip.learn.classify.slide_tiles import SlideTiles
    from coverslip.learn.classify.tile_set import TileSet

FIT = FitSpec(epochs=40, batch_size=64, lr=3e-3, ema=0.99)


@dataclass(frozen=True, kw_only=True)
class TilesTask:
    """Learn the class of tiles.

    Parameters
    ----------
    cohort
        A table of slides; or a tile set: a folder of class folders, or a table of ``path, label[, source]``.
    target
        The column to predict, or ``{column, kind, classes}``.
    size
        Side in pixels of the network's input, and of tiles cut from slides.
    mpp
        Microns per pixel of tiles cut from slides; of a tile set at `size`, None where nobody knows.
    labels_per
        Whether labels of slides describe a ``case`` (all its slides agree) or a ``slide``.
    tiles, votes
        Of slides: which tiles teach (`CutSpec`), and how the slide follows from them (`VotesSpec`).
    views
        Turns and mirrors of a picture over which a prediction is averaged: 1, 2, 4 or 8; by default 8 of a
        tile set, 1 of slides.
    network, loss, augment, fit, split
        See `NetworkSpec`, `LossSpec`, `AugmentSpec`, `FitSpec`, `SplitBy`.
    final
        The model that is kept: ``refit``, learned anew from all rows with as many epochs as the folds kept,
        ``committee``, the folds' models together (their mean probability), or ``first``, that of the first
        fold.
    stain, licence
        For the model's card.
    """

    key: ClassVar[str] = "classify/tiles"

    cohort: Path
    target: str | Target
    size: int = 128
    mpp: float | None = None
    labels_per: Literal["case", "slide"] = "case"
    tiles: CutSpec = field(default_factory=CutSpec)
    votes: VotesSpec = field(default_factory=VotesSpec)
    views: Literal[1, 2, 4, 8] | None = None
    network: NetworkSpec = field(default_factory=NetworkSpec)
    loss: LossSpec = field(default_factory=LossSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    fit: FitSpec = FIT
    split: SplitBy = field(default_factory=SplitBy)
    final: Literal["refit", "committee", "first"] = "refit"
    stain: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise UsageError(f"size {self.size} cannot be: expected 16 to 4096 pixels")
        if self.mpp is not None:
            as_mpp(self.mpp)
        target_of(self.target)

    @cached_property
    def classes_of(self) -> Target:
        """The target."""
        return target_of(self.target)

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
    def learner(self, classes: tuple[str, ...], cohort: Rows) -> Learner:
        """Return what learns, and the card of what it makes."""
        card = FolderCard(
            id=self.classes_of.column,
            task=self.key,
            architecture=self.network.name,
            parameters=self.network.parameters,
            classes=classes,
            mpp=self.mpp,
            tile_px=self.size,
            stain=self.stain,
            licence=self.licence,
            preprocessing=self._preprocessing(of_slides=isinstance(cohort, Cohort)),
            trained_on={"cohort": Path(cohort.name).name, "digest": cohort.digest, "rows": len(cohort)},
            **scale_of(self.network.name),
        )
        return Learner(network=self.network, loss=self.loss, augment=self.augment, fit=self.fit, card=card)

    def _preprocessing(self, *, of_slides: bool) -> dict[str, Any]:
        views = self.views or (1 if of_slides else 8)
        said: dict[str, Any] = {"views": views, "resize": "fit", "precision": self.fit.precision}
        if of_slides:
            said |= {"tiles": self.tiles.recipe, "votes": votes_card(self.votes.rule, self.votes.top)}
        return said

    def facts(self, weights: dict[str, int], folds: int) -> dict[str, str]:
        """Return what a plan says of network and loop."""
        spec = self.fit
        models = folds + (self.final == "refit")
        early = f", stops after {spec.patience} without a better {spec.monitor}" if spec.patience else ""
        return {
            "network": f"{self.network.name}, {weights['weights']:,} weights, {weights['learned']:,} learn "
            f"({self.network.transfer})",
            "input": f"{self.size} × {self.size} pixels",
            "training": f"{models} model(s) of up to {spec.epochs} epochs, "
            f"{spec.batch_size * spec.accumulate} rows per step, {spec.precision}{early}",
            "where": f"{spec.device}, {spec.devices} device(s), {spec.threads} thread(s)",
        }

    def refit(self, learner: Learner, models: Path, folds: int) -> Learner:
        """Return what learns from all rows: as many epochs as the folds' models kept, on average.

        Without early stopping the schedule is run to its end, as in the folds.
        """
        if self.fit.patience is None:
            return replace(learner, fit=replace(self.fit, monitor="train_loss"))
        kept = [_kept_epochs(models / f"fold{number}" / "fit") for number in range(folds)]
        epochs = max(1, round(sum(kept) / len(kept)))
        return replace(learner, fit=replace(self.fit, epochs=epochs, patience=None, monitor="train_loss"))


def _kept_epochs(folder: Path) -> int:
    import json

    from coverslip.learn.fit import FITTED

    return int(json.loads((folder / FITTED).read_text(encoding="utf-8"))["epoch"]) + 1


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
