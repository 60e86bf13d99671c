"""Learning one model of bags: network, scale of the features, loop, model folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coverslip.learn.bags.bags import BagSet
from coverslip.learn.bags.origin import stages_behind
from coverslip.learn.bags.targets import Wanted
from coverslip.learn.fit import FITTED, FitSpec, fit, require_training
from coverslip.learn.told import Listen
from coverslip.models.aggregators import aggregator_card
from coverslip.models.folder import CARD, FolderCard, ModelFolder

if TYPE_CHECKING:
    from coverslip.learn.bags.model import BagModel, BagNetwork
    from coverslip.learn.bags.task import BagsTask

Rows = NDArray[np.int64]

TILES_FOR_SCALE = 256
"""Tiles of each training bag that tell mean and spread of the features."""


@dataclass(frozen=True, kw_only=True)
class BagLearner:
    """What is learned, from which bags, and how.

    Attributes
    ----------
    fit
        Takes the place of the task's, for the model of all bags.
    """

    task: BagsTask
    bags: BagSet
    wanted: tuple[Wanted, ...]
    trained_on: Mapping[str, Any]
    fit: FitSpec | None = None

    @property
    def spec(self) -> FitSpec:
        """How the network is fitted."""
        return self.fit or self.task.fit

    def check(self) -> int:
        """Build the network without memory for it, and return its number of weights."""
        require_training()
        import torch

        with torch.device("meta"):
            return sum(p.numel() for p in self._network(None).parameters())

    def learn(
        self, parts: tuple[Rows, Rows], folder: Path, *, listen: Listen, splits: Mapping[str, Any]
    ) -> BagModel:
        """Learn from bags `parts[0]`, choose the epoch on `parts[1]`; return the model, kept in `folder`."""
        from coverslip.learn.bags.model import BagModel

        if not (folder / CARD).exists():
            fitted = self._fitted(parts, folder, listen)
            prefix = "network."
            state = {k.removeprefix(prefix): v for k, v in fitted.state().items() if k.startswith(prefix)}
            metrics = {"epochs": fitted.epochs, "epoch": fitted.epoch, "loss": fitted.best}
            ModelFolder.save(folder, state, replace(self._card(), metrics=metrics, splits=dict(splits)))
        return BagModel.load(folder)

    def predict(self, model: BagModel, bags: Rows) -> list[NDArray[np.float64]]:
        """Return what a model says of some bags, all their tiles seen: per target (n, k)."""
        said = []
        for number in bags.tolist():
            features, coords = self.bags.bags[number].read(coords=model.uses_coords)
            said.append(model.say(features, coords).said)
        return [np.stack(each) for each in zip(*said, strict=True)]

    def for_all(self, models: Path, folds: int) -> BagLearner:
        """Return what learns from all bags: as many epochs as the folds' models kept, on average."""
        import json

        kept = [
            int(json.loads((models / f"fold{k}" / "fit" / FITTED).read_text(encoding="utf-8"))["epoch"]) + 1
            for k in range(folds)
        ]
        epochs = max(1, round(sum(kept) / len(kept)))
        return replace(self, fit=replace(self.task.fit, epochs=epochs, patience=None, monitor="train_loss"))

    def _fitted(self, parts: tuple[Rows, Rows], folder: Path, listen: Listen) -> Any:
        from coverslip.learn.bags.feed import collated
        from coverslip.learn.bags.module import LearningBags
        from coverslip.learn.loading import loader
        from coverslip.learn.loop import seed_everything

        train, val = parts
        seed_everything(self.spec.seed)
        network = self._network(train)
        if self.task.standardise:
            network.scale_to(*self._scale(train))
        held = None
        if len(val):
            held = loader(self._rows(val, None), self.spec, train=False, collate=collated, batch_size=1)
        return fit(
            LearningBags(network),
            loader(self._rows(train, self.task.sample), self.spec, train=True, collate=collated),
            held,
            spec=self.spec,
            folder=folder / "fit",
            listen=listen,
        )

    def _rows(self, bags: Rows, sample: int | None) -> Any:
        from coverslip.learn.bags.feed import BagRows

        return BagRows(
            [self.bags.bags[number] for number in bags.tolist()],
            [wanted.codes[bags] for wanted in self.wanted],
            sample=sample,
            coords=aggregator_card(self.task.aggregator).uses_coords,
            seed=self.spec.seed,
        )

    def _network(self, train: Rows | None) -> BagNetwork:
        import torch

        from coverslip.learn.bags.heads import Heads, Number
        from coverslip.learn.bags.model import BagNetwork

        weights = None
        if train is not None and self.task.balance:
            weights = [_weights(wanted, train) for wanted in self.wanted]
        heads = Heads.of([w.target for w in self.wanted], [w.classes for w in self.wanted], weights)
        for head, wanted in zip(heads.heads, self.wanted, strict=True):
            if isinstance(head, Number) and train is not None:
                head.scale_to(torch.from_numpy(wanted.codes[train]))
        return BagNetwork(self.task.aggregator, self.bags.dim, heads, self.task.chosen)

    def _scale(self, train: Rows) -> Any:
        import torch

        from coverslip.learn.bags.module import spread_of

        parts = []
        for number in train.tolist():
            bag = self.bags.bags[number]
            some = np.unique(np.linspace(0, bag.tiles - 1, TILES_FOR_SCALE).astype(np.int64))
            parts.append(torch.from_numpy(bag.read(some)[0]))
        return spread_of(parts)

    def _some_slide(self) -> tuple[str, str | None]:
        return next(iter(self.bags.bags[0].slides)), self.bags.encoder

    def _card(self) -> FolderCard:
        from coverslip.learn.bags.model import described

        targets = tuple(wanted.target for wanted in self.wanted)
        classes = tuple(wanted.classes for wanted in self.wanted)
        return FolderCard(
            id=self.task.model_name,
            task=self.task.key,
            architecture=self.task.aggregator,
            parameters={
                "dim": self.bags.dim,
                "aggregator": dict(self.task.chosen),
                "targets": described(targets, classes),
            },
            classes=classes[0],
            mpp=self.bags.mpp,
            tile_px=self.bags.tile_px,
            stain=self.task.stain,
            licence=self.task.licence,
            preprocessing={
                "encoder": self.bags.encoder,
                "bag": self.task.bag,
                "stages": stages_behind(self.task.features, *self._some_slide()),
            },
            trained_on=dict(self.trained_on),
        )


def _weights(wanted: Wanted, train: Rows) -> Any:
    """Return weights of classes, inverse to their numbers of bags; of labels, the odds against each."""
    import torch

    codes = wanted.codes[train]
    if wanted.target.kind == "regression":
        return None
    if codes.ndim == 2:
        held = codes.sum(axis=0)
        return torch.from_numpy(((len(codes) - held) / np.maximum(held, 1)).astype(np.float32))
    counts = np.maximum(np.bincount(codes.astype(np.int64), minlength=len(wanted.classes)), 1)
    return torch.from_numpy((len(codes) / (len(counts) * counts)).astype(np.float32))
