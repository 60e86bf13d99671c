"""The Lightning module of segmentation: a step on tiles, and Dice by class on those that train nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from coverslip.annotations import IGNORE
from coverslip.core.errors import UsageError
from coverslip.learn.segment.losses import Loss
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "network."
"""Of the network's weights in the module's state."""

MEMORY = 0.5
"""How much of a place's hardness its newest loss makes."""


class SegmentModule(pl.LightningModule):
    """Network and loss.

    Parameters
    ----------
    network
        Of `coverslip.models.segmenters.build_segmenter`.
    classes
        Names, for the log.
    loss
        Of scores and masks.
    hardness
        Array of `coverslip.learn.segment.feed.TrainTiles` that is filled in; None where nobody wants it.
    where
        Says where a place lies, for messages.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: Sequence[str],
        loss: Loss,
        *,
        hardness: NDArray[np.float64] | None = None,
        where: Callable[[int], str] = str,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self._classes, self._loss, self._where = tuple(classes), loss, where
        self._hardness = hardness
        k = len(classes)
        self.register_buffer("confusion", torch.zeros(k, k, dtype=torch.int64), persistent=False)
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Turn uint8 tiles (n, 3, h, w), and views of their surroundings, into scores (n, k, h, w)."""
        inputs = [batch[name] for name in ("pixels", "view") if name in batch]
        normal = [(pixels.float() - self.mean) / self.std for pixels in inputs]
        scores: torch.Tensor = self.network(
            *(n.contiguous(memory_format=torch.channels_last) for n in normal)
        )
        return scores

    def training_step(self, batch: dict[str, torch.Tensor], _index: int) -> torch.Tensor:
        """Return the loss of a batch.

        Raises
        ------
        UsageError
            When it is no number; the tiles are named.
        """
        scores = self(batch)
        loss: torch.Tensor = self._loss(scores, batch["mask"])
        self._refuse_nan(loss, batch["place"])
        self._note_hardness(scores.detach(), batch)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(scores))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew."""
        self.confusion.zero_()

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """Count pixels by truth and prediction; after the last batch, log what they come to."""
        scores = self(batch)
        loss = self._loss(scores, batch["mask"])
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(scores))
        mask, found = batch["mask"].long(), scores.argmax(1)
        known = mask != IGNORE
        k = len(self._classes)
        counts = torch.bincount(mask[known] * k + found[known], minlength=k * k)
        self.confusion += counts.view(k, k)
        if index + 1 == self.trainer.num_val_batches[0]:  # the epoch's end is too late to be monitored
            self._log_dice()

    def _log_dice(self) -> None:
        """Log Dice by class over all tiles together, and its mean over the classes that are there."""
        counts = self.trainer.strategy.reduce(self.confusion.double(), reduce_op="sum")
        both, total = counts.diagonal(), counts.sum(0) + counts.sum(1)
        there = counts.sum(1) > 0
        dice = (2 * both / total.clamp(min=1)).float()
        for name, value, seen in zip(self._classes, dice, there, strict=True):
            if seen:
                self.log(f"val_dice_{name}", value, on_step=False, on_epoch=True, batch_size=1)
        self.log("val_dice", dice[there].mean(), on_step=False, on_epoch=True, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what places were hard, so that a resumed run draws the same tiles."""
        if self._hardness is not None:
            checkpoint["hardness"] = torch.from_numpy(self._hardness.copy())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        if self._hardness is not None:
            self._hardness[:] = checkpoint["hardness"].numpy()

    def _refuse_nan(self, loss: torch.Tensor, places: torch.Tensor) -> None:
        if torch.isfinite(loss):
            return
        some = ", ".join(self._where(place) for place in places.tolist()[:8])
        raise UsageError(
            f"the loss became {float(loss)} in epoch {self.current_epoch} on the tiles {some}",
            mend="lower fit.lr, take precision: f32, or look at these tiles",
        )

    def _note_hardness(self, scores: torch.Tensor, batch: dict[str, torch.Tensor]) -> None:
        if self._hardness is None:
            return
        mask = batch["mask"].long()
        each = functional.cross_entropy(scores.float(), mask, ignore_index=IGNORE, reduction="none")
        known = (mask != IGNORE).sum((1, 2)).clamp(min=1)
        losses = (each.sum((1, 2)) / known).cpu().numpy()
        for place, loss in zip(batch["place"].tolist(), losses.tolist(), strict=True):
            before = self._hardness[place]
            self._hardness[place] = loss if np.isnan(before) else (1 - MEMORY) * before + MEMORY * loss


def network_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the network's weights of a module's state, under the network's own names."""
    return {name.removeprefix(PREFIX): v for name, v in state.items() if name.startswith(PREFIX)}
