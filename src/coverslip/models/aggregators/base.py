"""What all aggregators share: their promise, projection of features, attention, sums over tiles.

All modules here take a padded batch of bags: features (b, n, d) of any float dtype and a mask (b, n) that is
True where a row is a tile. Rows that are no tiles may hold anything, NaN included, and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from torch.nn import Module

ROWS_AT_ONCE = 16384
"""Tiles that are projected together when a bag is large; more are taken in turns, and computed twice."""


class Aggregated(NamedTuple):
    """What an aggregator says of a batch of bags.

    Attributes
    ----------
    logits
        (b, outputs).
    attention
        (b, a, n) with a = 1 or a = outputs: how much each tile counts; at least 0, a sum of 1 over the tiles
        of a bag, 0 where there is no tile.
    tiles
        (b, n, outputs): what the aggregator says of each tile alone, as logits; None where the method does
        not define it.
    hidden
        What `Aggregator.auxiliary` needs, of the method's own kind.
    """

    logits: Tensor
    attention: Tensor
    tiles: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()


class Supervision(NamedTuple):
    """How training judges a batch, for methods with losses of their own.

    Attributes
    ----------
    loss
        Takes logits (m, outputs) and for each the number of its bag (m,), and returns a scalar.
    classes
        int64 (b,): the class of each bag, when there is one target and it has classes; else None.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    classes: Tensor | None = None


class Aggregator(nn.Module):
    """From bags to one prediction each.

    Parameters of the constructors are the same for all: `dim`, the length of a tile's features; `outputs`,
    how many numbers are wanted of a bag; then, by keyword, what the method has.

    Attributes
    ----------
    uses_coords
        True when the places of the tiles matter, so that `coords` must be given.
    """

    uses_coords = False

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate.

        Parameters
        ----------
        bags
            Features, (b, n, dim).
        mask
            True where a row is a tile, (b, n); None when all are. Each bag has one tile at least.
        coords
            ``(x, y)`` of the tiles, (b, n, 2); only read by aggregators with `uses_coords`.
        """
        raise NotImplementedError

    def auxiliary(self, result: Aggregated, supervision: Supervision) -> Tensor:
        """Return the losses that the method adds to that of its logits; 0 for most."""
        del supervision
        return result.logits.new_zeros(())


class Projection(nn.Module):
    """Features → hidden vectors: a linear layer, ReLU and dropout, in bounded memory.

    Large bags are projected `ROWS_AT_ONCE` tiles at a time and, in training, once more on the way back, so
    that a bag of float16 features is never held as float32.

    Parameters
    ----------
    dim, hidden
        Length of the features and of the hidden vectors.
    dropout
        Share of the hidden values that training leaves out.

    Attributes
    ----------
    shift, scale
        (dim,): features are shifted and scaled by these first, ``(x - shift) * scale``; 0 and 1 unless set
        from training data. Saved with the weights.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, dim: int, hidden: int, dropout: float = 0.25) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.linear = nn.Linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, bags: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (b, n, hidden); zero where there is no tile."""
        return row_by_row(self._project, bags, mask)

    def _project(self, bags: Tensor, mask: Tensor | None) -> Tensor:
        bags = (bags.to(self.linear.weight.dtype) - self.shift) * self.scale
        if mask is not None:
            bags = bags.masked_fill(~mask.unsqueeze(-1), 0)
        hidden: Tensor = self.dropout(torch.relu(self.linear(bags)))
        return hidden if mask is None else hidden * mask.unsqueeze(-1)


def row_by_row(
    function: Callable[[Tensor, Tensor | None], Tensor], bags: Tensor, mask: Tensor | None
) -> Tensor:
    """Apply a function that treats each tile alone, to all at once or, when there are many, part by part."""
    if bags.shape[1] <= ROWS_AT_ONCE:
        return function(bags, mask)
    masks: tuple[Tensor | None, ...] | list[Tensor | None]
    parts = bags.split(ROWS_AT_ONCE, dim=1)
    masks = [None] * len(parts) if mask is None else mask.split(ROWS_AT_ONCE, dim=1)
    results = [
        checkpoint(function, part, some, use_reentrant=False) if torch.is_grad_enabled() else
        function(part, some)
        for part, some in zip(parts, masks, strict=True)
    ]  # fmt: skip
    return torch.cat(results, dim=1)


class Attention(nn.Module):
    """A score per tile: plain, wᵀ tanh(V h), or gated, wᵀ (tanh(V h) ⊙ σ(U h)).

    Parameters
    ----------
    hidden, width
        Length of the hidden vectors and of the layer in between.
    heads
        Scores per tile.
    gated
        Whether the second branch opens and closes the first.
    dropout
        Share of the layer in between that training leaves out.

    Notes
    -----
    Ilse, Tomczak and Welling: Attention-based deep multiple instance learning, ICML 2018, equations 8 and 9.
    """

    def __init__(
        self, hidden: int, width: int, *, heads: int = 1, gated: bool = True, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.content = nn.Linear(hidden, width)
        self.gate = nn.Linear(hidden, width) if gated else None
        self.score = nn.Linear(width, heads)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scores (b, heads, n) of hidden vectors (b, n, hidden), before the softmax."""
        return row_by_row(self._scores, hidden, None).transpose(1, 2)

    def _scores(self, hidden: Tensor, _: Tensor | None) -> Tensor:
        between = self.dropout(torch.tanh(self.content(hidden)))
        if self.gate is not None:
            between = between * self.dropout(torch.sigmoid(self.gate(hidden)))
        scores: Tensor = self.score(between)
        return scores


def softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Turn scores (b, a, n) into shares of each bag's tiles; 0 where there is no tile."""
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(1), float("-inf"))
    return scores.softmax(dim=-1)


def even(bags: Tensor, mask: Tensor | None) -> Tensor:
    """Return equal shares of each bag's tiles, (b, 1, n) float32."""
    some = bags.new_ones(bags.shape[:2], dtype=torch.float32) if mask is None else mask.float()
    return (some / some.sum(dim=1, keepdim=True)).unsqueeze(1)


def highest(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return for each output which tile has the highest score: scores (b, n, k) → int64 (b, k)."""
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(-1), float("-inf"))
    return scores.argmax(dim=1)


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """Take rows of each bag: values (b, n, d) and index (b, m) → (b, m, d)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def single_class(supervision: Supervision, module: Module) -> Tensor:
    """Return the class of each bag, for methods that are defined for one target with classes only.

    Raises
    ------
    UsageError
        When there is none.
    """
    from coverslip.core.errors import UsageError

    if supervision.classes is None:
        name = type(module).__name__
        raise UsageError(
            f"{name} learns from one target with classes; these are others, or several",
            mend="train one target at a time, or choose another aggregator, e.g. abmil",
        )
    return supervision.classes
