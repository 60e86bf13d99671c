"""What Lightning fits: a network of bags with the losses of its heads and its aggregator."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import Tensor

from coverslip.learn.bags.feed import BagBatch
from coverslip.learn.bags.model import BagNetwork
from coverslip.models.aggregators.base import Supervision


class LearningBags(pl.LightningModule):
    """A network of bags, and how far it is from the truth.

    Parameters
    ----------
    network
        What learns.
    """

    def __init__(self, network: BagNetwork) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: BagBatch, _index: int) -> Tensor:
        """Return the loss of a batch, that of the aggregator's own included."""
        loss = self._loss(batch, auxiliary=True)
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.features), sync_dist=True
        )
        return loss

    def validation_step(self, batch: BagBatch, _index: int) -> None:
        """Log the loss of the bags' logits alone."""
        self.log(
            "val_loss", self._loss(batch, auxiliary=False), batch_size=len(batch.features), sync_dist=True
        )

    def _loss(self, batch: BagBatch, *, auxiliary: bool) -> Tensor:
        heads, truths = self.network.heads, batch.truths
        result = self.network(batch.features, batch.mask, batch.coords)
        loss = heads.loss(result.logits, truths)
        if auxiliary:
            classes = truths[0].nan_to_num(-1).long() if heads.single() else None
            supervision = Supervision(
                lambda logits, rows: heads.loss(logits, [truth[rows] for truth in truths]), classes
            )
            loss = loss + self.network.aggregator.auxiliary(result, supervision)
        return loss


def spread_of(batches: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and spread of the columns of tiles (n, d); the spread of constant ones is 1.

    Examples
    --------
    >>> spread_of([torch.tensor([[0.0, 5.0], [2.0, 5.0]])])
    (tensor([1., 5.]), tensor([1., 1.]))
    """
    rows = torch.cat([batch.double() for batch in batches])
    spread = rows.std(dim=0, unbiased=False)
    return rows.mean(dim=0).float(), torch.where(spread > 1e-6, spread, 1.0).float()
