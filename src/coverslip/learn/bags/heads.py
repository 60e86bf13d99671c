"""From an aggregator's logits to losses and predictions, for each kind of target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from coverslip.learn.bags.targets import BagTarget


class Head(nn.Module):
    """One target: how many logits it takes, its loss, what it says. Rows whose truth is NaN teach nothing.

    Parameters
    ----------
    target, classes
        What is predicted.
    weights
        Of the classes in the loss, (k,); None for 1.
    """

    def __init__(self, target: BagTarget, classes: tuple[str, ...], weights: Tensor | None = None) -> None:
        super().__init__()
        self.target, self.classes = target, classes
        self.register_buffer("weights", weights, persistent=False)

    @property
    def outputs(self) -> int:
        """Numbers of logits that it takes."""
        return len(self.classes)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the mean loss of logits (n, outputs) over rows whose truth (n,) or (n, k) is known."""
        known = ~truth.isnan() if truth.ndim == 1 else ~truth.isnan().any(dim=1)
        if not known.any():
            return logits.sum() * 0
        return self._loss(logits[known].float(), truth[known])

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return F.cross_entropy(logits, truth.long(), weight=self.weights)

    def said(self, logits: Tensor) -> Tensor:
        """Return probabilities (n, k), or numbers (n, 1) of a regression."""
        return logits.float().softmax(dim=-1)


class Labels(Head):
    """Labels that may hold together: a probability of each, binary cross-entropy."""

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, truth.float(), pos_weight=self.weights)

    def said(self, logits: Tensor) -> Tensor:
        """Return probabilities (n, k) that need not sum to 1."""
        return logits.float().sigmoid()


class Ordered(Head):
    """Classes in order: one score, and thresholds between the classes that stay in order.

    The proportional-odds model (McCullagh: Regression models for ordinal data, 1980): the chance to be above
    class j is σ(score - threshold j). So probabilities never contradict the order.
    """

    def __init__(self, target: BagTarget, classes: tuple[str, ...], weights: Tensor | None = None) -> None:
        super().__init__(target, classes, weights)
        steps = len(classes) - 1
        self.first = nn.Parameter(torch.tensor(-(steps - 1) / 2))
        self.gaps = nn.Parameter(torch.full((steps - 1,), 0.5413))  # softplus of it is 1

    @property
    def outputs(self) -> int:
        """One score."""
        return 1

    @property
    def thresholds(self) -> Tensor:
        """Between the classes, (k - 1,), ascending."""
        return torch.cat([self.first.view(1), self.first + F.softplus(self.gaps).cumsum(0)])

    def said(self, logits: Tensor) -> Tensor:
        """Return probabilities (n, k)."""
        above = (logits.float() - self.thresholds).sigmoid()
        edges = torch.cat([torch.ones_like(above[:, :1]), above, torch.zeros_like(above[:, :1])], dim=1)
        return edges[:, :-1] - edges[:, 1:]

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        chances = self.said(logits).clamp_min(1e-7).log()
        return F.nll_loss(chances, truth.long(), weight=self.weights)


class Number(Head):
    """A number: squared error on the scale of the training rows, whose mean and spread are kept."""

    def __init__(self, target: BagTarget, classes: tuple[str, ...], weights: Tensor | None = None) -> None:
        super().__init__(target, classes, weights)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def scale_to(self, truth: Tensor) -> None:
        """Take mean and spread from the truth of training rows."""
        self.mean, self.spread = truth.mean().float(), truth.std().clamp_min(1e-12).float()

    def said(self, logits: Tensor) -> Tensor:
        """Return numbers (n, 1) on the target's own scale."""
        return logits.float() * self.spread + self.mean

    def _loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return F.mse_loss(logits[:, 0], ((truth - self.mean) / self.spread).float())


HEADS: dict[str, type[Head]] = {
    "binary": Head,
    "multiclass": Head,
    "multilabel": Labels,
    "ordinal": Ordered,
    "regression": Number,
}


class Heads(nn.Module):
    """The heads of all targets, side by side on one aggregator's logits.

    Parameters
    ----------
    heads
        One per target.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    @classmethod
    def of(
        cls, targets: Sequence[BagTarget], classes: Sequence[tuple[str, ...]], weights: Any = None
    ) -> Heads:
        """Make the heads of some targets."""
        given = weights or [None] * len(targets)
        rows = zip(targets, classes, given, strict=True)
        return cls([HEADS[target.kind](target, names, weight) for target, names, weight in rows])

    @property
    def outputs(self) -> int:
        """Logits of all heads."""
        return sum(head.outputs for head in self.heads)

    def split(self, logits: Tensor) -> list[Tensor]:
        """Return each head's part of logits (…, outputs)."""
        return list(torch.split(logits, [head.outputs for head in self.heads], dim=-1))

    def loss(self, logits: Tensor, truths: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of all heads' losses."""
        parts = zip(self.heads, self.split(logits), truths, strict=True)
        return torch.stack([head.target.weight * head.loss(part, truth) for head, part, truth in parts]).sum()

    def said(self, logits: Tensor) -> list[Tensor]:
        """Return what each head says, (n, k) each."""
        return [head.said(part) for head, part in zip(self.heads, self.split(logits), strict=True)]

    def single(self) -> bool:
        """Say whether there is one target, with a logit for each of classes that exclude each other."""
        return len(self.heads) == 1 and self.heads[0].target.kind in {"binary", "multiclass"}
