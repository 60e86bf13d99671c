"""DTFD: bags cut into pseudo-bags, and a second attention over what was distilled from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coverslip.models.aggregators.base import (
    Aggregated,
    Aggregator,
    Attention,
    Projection,
    Supervision,
    softmax,
)


class DTFD(Aggregator):
    """Double-tier feature distillation: attention in each pseudo-bag, then over the pseudo-bags.

    Tiles are dealt to `parts` pseudo-bags, at random in training and in turn otherwise. The first tier is
    gated attention in each, judged with the bag's own label. What it distils of each pseudo-bag is the
    attention-weighted mean (aggregated feature selection, AFS), and the second tier attends over those.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.
    width
        Of the attention's layer, in both tiers.
    parts
        Pseudo-bags; as many as there are tiles when those are fewer.

    Notes
    -----
    Zhang et al.: DTFD-MIL: double-tier feature distillation multiple instance learning for histopathology
    whole slide image classification, CVPR 2022, variant AFS. With one part it is gated attention twice and
    invariant to the order of tiles; with more, invariant to orders that leave each tile in its part.
    Attention is the product of both tiers'; a tile alone is judged by the first tier.
    """

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 512, width: int = 256, parts: int = 5,
        dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        self.parts = parts
        self.project = Projection(dim, hidden, dropout)
        self.attend = Attention(hidden, width, dropout=dropout)
        self.tier1 = nn.Linear(hidden, outputs)
        self.attend_parts = Attention(hidden, width, dropout=dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`. `Aggregated.hidden`: first-tier logits, and which are real."""
        del coords
        hidden = self.project(bags, mask)
        member = self._deal(bags, mask)  # (b, parts, n)
        real = member.any(dim=-1)
        scores = self.attend(hidden).expand(-1, self.parts, -1).masked_fill(~member, float("-inf"))
        scores = scores.masked_fill(~real.unsqueeze(-1), 0)  # a part without tiles: no NaN, and no weight
        inner = scores.softmax(dim=-1) * member
        distilled = inner @ hidden
        outer = softmax(self.attend_parts(distilled), real)
        logits = self.head((outer @ distilled).squeeze(1))
        return Aggregated(logits, outer @ inner, self.tier1(hidden), (self.tier1(distilled), real))

    def auxiliary(self, result: Aggregated, supervision: Supervision) -> Tensor:
        """Return the loss of the first tier: each pseudo-bag against its bag's label."""
        logits, real = result.hidden
        bag, _ = real.nonzero(as_tuple=True)
        return supervision.loss(logits[real], bag)

    def _deal(self, bags: Tensor, mask: Tensor | None) -> Tensor:
        """Return which tile is in which part, (b, parts, n); parts differ by one tile at most."""
        some = bags.new_ones(bags.shape[:2], dtype=torch.bool) if mask is None else mask
        place = some.cumsum(dim=1) - 1
        if self.training:
            keys = torch.rand(some.shape, device=bags.device).masked_fill(~some, 2)
            place = keys.argsort(dim=1).argsort(dim=1)
        part = place % self.parts
        return (part.unsqueeze(1) == torch.arange(self.parts, device=bags.device)[:, None]) & some.unsqueeze(
            1
        )
