"""TransMIL: a transformer over the tiles of a bag."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coverslip.models.aggregators.base import ROWS_AT_ONCE, Aggregated, Aggregator, Projection
from coverslip.models.aggregators.nystrom import NystromAttention


class Layer(nn.Module):
    """Layer norm and Nyström attention, added to what came in."""

    def __init__(self, width: int, heads: int, landmarks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = NystromAttention(width, heads=heads, landmarks=landmarks)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (b, n, width) for rows (b, n, width)."""
        mixed: Tensor = rows + self.attend(self.norm(rows))
        return mixed


class PPEG(nn.Module):
    """Position by convolution: the tiles as a square picture, depth-wise convolutions of 7, 5 and 3 added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.looks = nn.ModuleList(
            nn.Conv2d(width, width, side, padding=side // 2, groups=width) for side in (7, 5, 3)
        )

    def forward(self, rows: Tensor, side: int) -> Tensor:
        """Return (b, 1 + side², width) for rows of that shape; the first row, the bag's own, stays."""
        own, tiles = rows[:, :1], rows[:, 1:]
        picture = tiles.transpose(1, 2).unflatten(2, (side, side))
        for look in self.looks:
            tiles = tiles + look(picture).flatten(2).transpose(1, 2)
        return torch.cat([own, tiles], dim=1)


class TransMIL(Aggregator):
    """Two layers of Nyström attention with convolutions over the tiles between them.

    The tiles, in their order, fill a square (the first ones again where it is not full); a row for the bag
    goes in front and is read off at the end. Attention is that of the bag's row in the last layer.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.
    heads
        Attention heads.
    landmarks
        See `NystromAttention`.

    Notes
    -----
    Shao et al.: TransMIL: transformer based correlated multiple instance learning for whole slide image
    classification, NeurIPS 2021. Not invariant to the order of tiles, by design; bags of a batch do not see
    each other, and padding changes nothing, because each bag is run alone.
    """

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 512, heads: int = 8, landmarks: int = 256,
        dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        self.project = Projection(dim, hidden, dropout)
        self.own = nn.Parameter(torch.randn(1, 1, hidden) * 0.02)
        self.first, self.second = Layer(hidden, heads, landmarks), Layer(hidden, heads, landmarks)
        self.position = PPEG(hidden)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`."""
        del coords
        if mask is None:
            return Aggregated(*self._bags(bags))
        results = []
        for bag, some in zip(bags, mask, strict=True):
            logits, attention = self._bags(bag[some].unsqueeze(0))
            spread = attention.new_zeros(1, len(some))
            spread[0, some] = attention[0, 0]
            results.append((logits[0], spread))
        return Aggregated(*(torch.stack(part) for part in zip(*results, strict=True)))

    def _bags(self, bags: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.project(bags)
        tiles = hidden.shape[1]
        side = math.ceil(math.sqrt(tiles))
        again = torch.arange(side * side, device=bags.device) % tiles
        own = self.own.expand(len(bags), -1, -1)
        rows = torch.cat([own, hidden[:, again]], dim=1)
        rows = _cheaply(self.first, rows)
        rows = self.position(rows, side)
        attention = self._attention(rows)[:, :tiles]
        rows = _cheaply(self.second, rows)
        attention = attention / attention.sum(dim=-1, keepdim=True).clamp_min(1e-12)
        return self.head(self.norm(rows[:, 0])), attention.unsqueeze(1)

    def _attention(self, rows: Tensor) -> Tensor:
        """Return the share of each tile, (b, side²): what the bag's row attends to, itself left out."""
        return self.second.attend.attention_of_first(self.second.norm(rows))[:, 1:]


def _cheaply(layer: Layer, rows: Tensor) -> Tensor:
    """Run a layer; for large bags in training, keep only what came in and run it again on the way back."""
    if torch.is_grad_enabled() and rows.shape[1] > ROWS_AT_ONCE:
        again: Tensor = checkpoint(layer, rows, use_reentrant=False)
        return again
    once: Tensor = layer(rows)
    return once
