"""Mean and max: the aggregators without parameters for where to look."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coverslip.models.aggregators.base import Aggregated, Aggregator, Projection, even, highest, rows_of


class MeanPool(Aggregator):
    """The mean of the tiles' hidden vectors, then a linear layer.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.

    Notes
    -----
    The embedding-level mean of Wang et al.: Revisiting multiple instance neural networks, Pattern Recognition
    2018. Invariant to the order of tiles, and to all tiles given twice.
    """

    def __init__(self, dim: int, outputs: int, *, hidden: int = 512, dropout: float = 0.25) -> None:
        super().__init__()
        self.project = Projection(dim, hidden, dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`."""
        del coords
        hidden = self.project(bags, mask)
        attention = even(bags, mask)
        pooled = (attention.to(hidden.dtype) @ hidden).squeeze(1)
        return Aggregated(self.head(pooled), attention, self.head(hidden))


class MaxPool(Aggregator):
    """Each tile is judged alone; for each output the tile with the highest score speaks for the bag.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.

    Notes
    -----
    The instance-level max of Campanella et al., Nature Medicine 2019. Invariant to the order of tiles and to
    any tile given twice.
    """

    def __init__(self, dim: int, outputs: int, *, hidden: int = 512, dropout: float = 0.25) -> None:
        super().__init__()
        self.project = Projection(dim, hidden, dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`."""
        del coords
        tiles = self.head(self.project(bags, mask))
        winner = highest(tiles, mask)
        logits = rows_of(tiles, winner).diagonal(dim1=1, dim2=2)
        attention = torch.zeros_like(tiles).scatter(1, winner.unsqueeze(1), 1.0).transpose(1, 2)
        return Aggregated(logits, attention.detach(), tiles)
