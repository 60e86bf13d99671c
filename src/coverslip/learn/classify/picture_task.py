"""What the tasks that learn from pictures share: tiles, and whole slides made small."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from coverslip.cohort import Rows, Target
from coverslip.core import as_mpp
from coverslip.core.errors import UsageError
from coverslip.learn.classify.augment import AugmentSpec
from coverslip.learn.classify.learner import Learner, scale_of
from coverslip.learn.classify.module import LossSpec
from coverslip.learn.classify.specs import NetworkSpec, SplitBy, target_of
from coverslip.learn.fit import FitSpec
from coverslip.models.classifiers import SMALL, TEXTURE
from coverslip.models.folder import FolderCard


@dataclass(frozen=True, kw_only=True)
class PictureTask:
    """Learn the class of pictures.

    Parameters
    ----------
    cohort
        The table.
    target
        The column to predict, or ``{column, kind, classes}``.
    size
        Side in pixels of the network's input.
    mpp
        Microns per pixel of it.
    labels_per
        Whether labels of slides describe a ``case`` (all its slides agree) or a ``slide``.
    views
        Turns and mirrors of a picture over which a prediction is averaged: 1, 2, 4 or 8.
    network, loss, augment, fit, split
        See `NetworkSpec`, `LossSpec`, `AugmentSpec`, `FitSpec`, `SplitBy`.
    final
        The model that is kept: ``refit``, learned anew from all rows with as many epochs as the folds kept,
        ``committee``, the folds' models together (their mean probability), or ``first``, that of the first
        fold. By default ``committee`` of a tile set learned from scratch in folds, else ``refit``.
    stain, licence
        For the model's card.
    """

    key: ClassVar[str] = ""

    cohort: Path
    target: str | Target
    size: int = 128
    mpp: float | None = None
    labels_per: Literal["case", "slide"] = "case"
    views: Literal[1, 2, 4, 8] | None = None
    network: NetworkSpec = field(default_factory=NetworkSpec)
    loss: LossSpec = field(default_factory=LossSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    fit: FitSpec = field(default_factory=FitSpec)
    split: SplitBy = field(default_factory=SplitBy)
    final: Literal["refit", "committee", "first"] | None = None
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

    @property
    def of_tile_set(self) -> bool:
        """Whether the cohort is of pictures, not of slides."""
        raise NotImplementedError

    @property
    def kept(self) -> str:
        """Which model is kept: as `final`."""
        several = self.of_tile_set and self.split.how == "folds"
        return self.final or ("committee" if several and self.network.transfer == "scratch" else "refit")

    @property
    def textured(self) -> bool:
        """Whether colour and texture judge beside the network: as `NetworkSpec.texture`."""
        asked = self.network.texture
        return self.of_tile_set and self.network.name == SMALL if asked is None else asked

    def preprocessing(self) -> dict[str, Any]:
        """Return how pixels become input, as the card says it."""
        return {"views": self.views or 1, "resize": "fit", "precision": self.fit.precision}

    def learner(self, classes: tuple[str, ...], cohort: Rows) -> Learner:
        """Return what learns, and the card of what it makes."""
        card = FolderCard(
            id=self.classes_of.column,
            task=self.key,
            architecture=self.network.name,
            parameters={**self.network.parameters, **({TEXTURE: True} if self.textured else {})},
            classes=classes,
            mpp=self.mpp,
            tile_px=self.size,
            stain=self.stain,
            licence=self.licence,
            preprocessing=self.preprocessing(),
            trained_on={"cohort": Path(cohort.name).name, "digest": cohort.digest, "rows": len(cohort)},
            **scale_of(self.network.name),
        )
        return Learner(network=self.network, loss=self.loss, augment=self.augment, fit=self.fit, card=card)

    def facts(self, weights: dict[str, int], folds: int) -> dict[str, str]:
        """Return what a plan says of network and loop."""
        spec = self.fit
        models = folds + (self.kept == "refit")
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
