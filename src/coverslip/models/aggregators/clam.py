"""CLAM: attention that is also taught by the tiles it looks at most and least."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coverslip.models.aggregators.base import (
    Aggregated,
    Aggregator,
    Attention,
    Projection,
    Supervision,
    rows_of,
    single_class,
    softmax,
)


class CLAM(Aggregator):
    """Gated attention with one branch, or one per class, and a loss on single tiles.

    For the class of the bag, the `sample` tiles with most attention should be evidence for that class and the
    `sample` tiles with least should not be. With a branch per class and classes that exclude each other, the
    most attended tiles of the other branches should be no evidence for theirs.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`; one output per class. The attention's layer has half of `hidden`.
    branches
        ``"single"`` or ``"multi"``.
    sample
        Tiles taken from each end of the attention; half the bag when it is smaller.
    weight
        Of the loss on single tiles; that of the bag has 1 - weight in the paper, here 1.

    Notes
    -----
    Lu et al.: Data-efficient and weakly supervised computational pathology on whole-slide images, Nature
    Biomedical Engineering 2021. The tile loss is the smooth top-1 SVM loss (Berrada et al., ICLR 2018) with
    margin and temperature 1. Invariant to the order of tiles.
    """

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 512, branches: str = "single", sample: int = 8,
        weight: float = 0.3, dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        self.multi, self.sample, self.weight, self.outputs = branches == "multi", sample, weight, outputs
        self.project = Projection(dim, hidden, dropout)
        self.attend = Attention(
            hidden, max(1, hidden // 2), heads=outputs if self.multi else 1, dropout=dropout
        )
        self.head = nn.Linear(hidden, outputs)
        self.evidence = nn.Linear(hidden, 2 * outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`. `Aggregated.hidden` holds the hidden vectors and the mask."""
        del coords
        hidden = self.project(bags, mask)
        attention = softmax(self.attend(hidden), mask)
        pooled = attention @ hidden
        if self.multi:
            logits = (pooled * self.head.weight).sum(dim=-1) + self.head.bias
        else:
            logits = self.head(pooled.squeeze(1))
        some = attention.new_ones(bags.shape[:2], dtype=torch.bool) if mask is None else mask
        return Aggregated(logits, attention, self.head(hidden), (hidden, some))

    def auxiliary(self, result: Aggregated, supervision: Supervision) -> Tensor:
        """Return the weighted loss on single tiles.

        Raises
        ------
        UsageError
            When the bags have no single class.
        """
        classes = single_class(supervision, self)
        hidden, mask = result.hidden
        terms = []
        for bag, tiles in enumerate(mask.sum(dim=1).tolist()):
            scores = result.attention[bag].masked_fill(~mask[bag], -1)  # below any attention
            terms += self._tile_losses(hidden[bag], scores, int(classes[bag]), tiles)
        return self.weight * torch.stack(terms).mean() if terms else result.logits.new_zeros(())

    def _tile_losses(self, hidden: Tensor, attention: Tensor, label: int, tiles: int) -> list[Tensor]:
        count = min(self.sample, tiles // 2)
        if not count or label < 0:
            return []
        order = attention.detach().argsort(dim=-1, descending=True, stable=True)
        own = order[label if self.multi else 0]
        ends = torch.cat([own[:count], own[tiles - count : tiles]])
        wanted = torch.tensor([1] * count + [0] * count, device=hidden.device)
        losses = [svm_loss(self._evidence(hidden, ends, label), wanted)]
        if self.multi:
            others = [other for other in range(self.outputs) if other != label]
            none = wanted.new_zeros(count)
            losses += [
                svm_loss(self._evidence(hidden, order[other][:count], other), none) for other in others
            ]
        return losses

    def _evidence(self, hidden: Tensor, rows: Tensor, label: int) -> Tensor:
        chosen = rows_of(hidden.unsqueeze(0), rows.unsqueeze(0))[0]
        evidence: Tensor = self.evidence(chosen)[:, 2 * label : 2 * label + 2]
        return evidence


def svm_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the smooth top-1 SVM loss, margin 1 and temperature 1: scores (m, k), labels (m,) → scalar.

    Berrada, Zisserman and Kumar: Smooth loss functions for deep top-k classification, ICLR 2018, for k = 1.

    Examples
    --------
    >>> round(float(svm_loss(torch.tensor([[9.0, 0.0]]), torch.tensor([0]))), 3)
    0.0
    """
    rival = 1 - nn.functional.one_hot(labels, scores.shape[-1]).to(scores.dtype)
    own = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    return (torch.logsumexp(scores + rival, dim=1) - own).mean()
