"""DSMIL: two streams, the highest tile and attention by likeness to it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from coverslip.models.aggregators.base import (
    Aggregated,
    Aggregator,
    Projection,
    Supervision,
    highest,
    rows_of,
    softmax,
)


class DSMIL(Aggregator):
    """Dual-stream aggregation: for each output the tile with the highest score, and a bag around it.

    The first stream judges each tile alone and keeps, per output, the highest. The second weighs all tiles by
    how like their query is to that tile's query, and judges the weighted sums. A bag's logits are the mean of
    both; in training each stream has its own loss.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.
    width
        Length of the queries.

    Notes
    -----
    Li, Li and Eliceiri: Dual-stream multiple instance learning network for whole slide image classification
    with self-supervised contrastive learning, CVPR 2021. Invariant to the order of tiles.
    """

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 512, width: int = 128, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.project = Projection(dim, hidden, dropout)
        self.tile_head = nn.Linear(hidden, outputs)
        self.query = nn.Sequential(nn.Linear(hidden, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh())
        self.value = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU())
        self.bag_head = nn.Conv1d(outputs, outputs, kernel_size=hidden)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`. `Aggregated.hidden` holds the logits of both streams."""
        del coords
        hidden = self.project(bags, mask)
        tiles = self.tile_head(hidden)
        winner = highest(tiles, mask)
        by_tile = rows_of(tiles, winner).diagonal(dim1=1, dim2=2)
        queries = self.query(hidden)
        likeness = rows_of(queries, winner) @ queries.transpose(1, 2) / math.sqrt(queries.shape[-1])
        attention = softmax(likeness, mask)
        by_bag = self.bag_head(attention @ self.value(hidden)).squeeze(-1)
        return Aggregated((by_tile + by_bag) / 2, attention, tiles, (by_tile, by_bag))

    def auxiliary(self, result: Aggregated, supervision: Supervision) -> Tensor:
        """Return the mean loss of the two streams."""
        rows = torch.arange(len(result.logits), device=result.logits.device)
        by_tile, by_bag = result.hidden
        return (supervision.loss(by_tile, rows) + supervision.loss(by_bag, rows)) / 2
