"""Several gated-attention networks side by side, trained in step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from coverslip.learn.bags.likeness import Bag, Matrix
from coverslip.learn.bags.members import Codes, Member


@dataclass(frozen=True)
class Recipe:
    """How the networks are trained; the same for every data set."""

    networks: int = 5
    hidden: int = 64
    width: int = 32
    input_dropout: float = 0.25
    dropout: float = 0.5
    epochs: int = 60
    lr: float = 1e-3
    weight_decay: float = 1e-2
    bags_per_step: int = 16
    tiles_per_bag: int = 32


class Several(nn.Module):
    """Networks like the aggregator ``abmil``, as batched products, far faster than one after the other.

    In training features and hidden values are left out at random, not attention's.

    Parameters
    ----------
    dim, outputs
        Length of the features, numbers wanted of a bag.
    recipe
        Sizes.

    Notes
    -----
    Ilse, Tomczak and Welling: Attention-based deep multiple instance learning, ICML 2018. Weights begin as
    those of `torch.nn.Linear` do.
    """

    def __init__(self, dim: int, outputs: int, recipe: Recipe) -> None:
        super().__init__()
        count, hidden, width = recipe.networks, recipe.hidden, recipe.width
        self.input_dropout, self.dropout = recipe.input_dropout, recipe.dropout
        self.project, self.project_bias = _linear(count, dim, hidden)
        self.content, self.content_bias = _linear(count, hidden, width)
        self.gate, self.gate_bias = _linear(count, hidden, width)
        self.score, _ = _linear(count, width, 1)  # a constant on all scores would change nothing
        self.head, self.head_bias = _linear(count, hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor) -> Tensor:
        """Return logits (networks, b, outputs) of bags (b, n, dim) with a mask (b, n)."""
        rows = bags.flatten(0, 1).expand(len(self.project), -1, -1)
        rows = dropout(rows, self.input_dropout, self.training)
        hidden = torch.relu(torch.baddbmm(self.project_bias, rows, self.project))
        hidden = dropout(hidden, self.dropout, self.training)
        content = torch.tanh(torch.baddbmm(self.content_bias, hidden, self.content))
        gate = torch.sigmoid(torch.baddbmm(self.gate_bias, hidden, self.gate))
        scores = torch.bmm(content * gate, self.score).view(-1, *mask.shape)
        attention = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
        pooled = (attention.unsqueeze(2) @ hidden.unflatten(1, mask.shape)).squeeze(2)  # type: ignore[no-untyped-call]
        return torch.baddbmm(self.head_bias, pooled, self.head)


def _linear(count: int, rows: int, columns: int) -> tuple[nn.Parameter, nn.Parameter]:
    bound = 1 / math.sqrt(rows)
    weight = torch.empty(count, rows, columns).uniform_(-bound, bound)
    return nn.Parameter(weight), nn.Parameter(torch.empty(count, 1, columns).uniform_(-bound, bound))


class Attention(Member):
    """The mean of several gated-attention networks that began with different weights.

    They see the same bags in the same order, a random part of each bag's rows a time (all of them when
    predicting), and each leaves out other values.
    """

    def __init__(self, recipe: Recipe | None = None) -> None:
        self._recipe = recipe or Recipe()

    def fit(self, bags: Sequence[Bag], codes: Codes, *, seed: int) -> None:
        """Learn for a fixed number of epochs: there is nothing to choose."""
        recipe, rng = self._recipe, np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._networks = Several(bags[0].shape[1], int(codes.max()) + 1, recipe)
            optimiser = torch.optim.AdamW(
                self._networks.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
            )
            wanted = torch.from_numpy(codes)
            for _ in range(recipe.epochs):
                for rows in np.array_split(rng.permutation(len(bags)), -(-len(bags) // recipe.bags_per_step)):
                    logits = self._networks(*padded([self._some(bags[row], rng) for row in rows]))
                    truth = wanted[rows].repeat(recipe.networks)
                    loss = recipe.networks * cross_entropy(logits.flatten(0, 1), truth)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
        self._networks.eval()

    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return the mean over the networks."""
        with torch.no_grad():
            parts = [self._networks(*padded([bag])).softmax(dim=-1).mean(dim=0) for bag in bags]
        return torch.cat(parts).double().numpy()

    def _some(self, bag: Bag, rng: np.random.Generator) -> Bag:
        count = self._recipe.tiles_per_bag
        return bag if len(bag) <= count else bag[rng.choice(len(bag), count, replace=False)]


def padded(bags: Sequence[Bag]) -> tuple[Tensor, Tensor]:
    """Put bags into one batch: float32 (b, n, d) and a mask (b, n) that is True where a row is a tile.

    Examples
    --------
    >>> rows, mask = padded([np.ones((1, 2)), np.ones((3, 2))])
    >>> rows.shape, mask.sum(dim=1).tolist()
    (torch.Size([2, 3, 2]), [1, 3])
    """
    longest = max(len(bag) for bag in bags)
    rows = np.zeros((len(bags), longest, bags[0].shape[1]), np.float32)
    mask = np.zeros((len(bags), longest), np.bool_)
    for number, bag in enumerate(bags):
        rows[number, : len(bag)], mask[number, : len(bag)] = bag, True
    return torch.from_numpy(rows), torch.from_numpy(mask)
