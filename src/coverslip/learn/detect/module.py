"""The Lightning module of detection: torchvision's losses, and mean AP on what trains nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import nn

from coverslip.core.errors import UsageError
from coverslip.learn.detect.objects import Found
from coverslip.learn.detect.scoring import Ranked, best_score, ranked

PREFIX = "network."
LEAST = 0.05

Batch = tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]


class DetectModule(pl.LightningModule):
    """Network and its own losses.

    Parameters
    ----------
    network
        Of `coverslip.models.detectors.build_detector`.
    classes
        Names of its outputs.
    where
        Names a window, for messages.
    """

    def __init__(
        self, network: nn.Module, classes: tuple[str, ...], *, where: Callable[[int], str] = str
    ) -> None:
        super().__init__()
        self._where = where
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._classes = classes
        self._pairs: list[Any] = []
        self.least_score = 0.5

    def training_step(self, batch: Batch, _index: int) -> torch.Tensor:
        """Return the sum of the losses.

        Raises
        ------
        UsageError
            When it is no number; the pictures are named.
        """
        losses = self.network(*batch)
        loss: torch.Tensor = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            said = ", ".join(f"{name} {float(value):.3g}" for name, value in losses.items())
            raise UsageError(
                f"the loss became {float(loss)} in epoch {self.current_epoch} ({said}) on squares of "
                f"{', '.join(self._where(int(target['place'])) for target in batch[1][:8])}",
                mend="lower fit.lr, take precision: f32, or look at these pictures",
            )
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin to gather anew; every object counts, however unsure."""
        self._pairs = []
        self.network.roi_heads.score_thresh = LEAST  # type: ignore[union-attr, assignment]

    def validation_step(self, batch: Batch, index: int) -> None:
        """Gather what was found; after the last batch, log what it comes to."""
        pictures, targets = batch
        for found, target in zip(self.network(pictures), targets, strict=True):
            truth = (target["boxes"].cpu().numpy(), target["labels"].cpu().numpy() - 1)
            self._pairs.append((truth, found_of(found)))
        if index + 1 == self.trainer.num_val_batches[0]:
            by_class = ranked(self._pairs, len(self._classes))
            self.least_score = best_score(by_class)
            self._log(by_class)

    def _log(self, by_class: list[Ranked]) -> None:
        values = [each.average_precision for each in by_class]
        for name, value in zip(self._classes, values, strict=True):
            if value == value:  # noqa: PLR0124 - NaN where there is no such object
                self.log(f"val_ap_{name}", value, on_step=False, on_epoch=True, batch_size=1)
        self.log("val_map", float(np.nanmean(values)), on_step=False, on_epoch=True, batch_size=1)
        self.log("least_score", self.least_score, on_step=False, on_epoch=True, batch_size=1)


def found_of(found: dict[str, torch.Tensor]) -> Found:
    """Return what torchvision gives of one picture, without masks."""
    return Found(
        found["boxes"].float().cpu().numpy(),
        (found["labels"] - 1).to(torch.int32).cpu().numpy(),
        found["scores"].float().cpu().numpy(),
    )


def network_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the network's weights of a module's state, under the network's own names."""
    return {name.removeprefix(PREFIX): v for name, v in state.items() if name.startswith(PREFIX)}
