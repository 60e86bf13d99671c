"""The member of a committee that is a network: gated attention, several small ones learned side by side.

Ilse, Tomczak and Welling: Attention-based deep multiple instance learning, ICML 2018. All networks, of all
seeds and of all inner folds, are learned in the same products of matrices, each on the bags that are its own,
so that a set of a hundred bags takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from coverslip.learn.bags.likeness import Bag, Matrix
from coverslip.learn.bags.members import Codes, Member, inner_folds

WIDTH, DROPOUT = 64, 0.25
RATE, DECAY = 3e-3, 1e-2
BAGS = 16
"""Bags of a step."""

EPOCHS, LEAST, VISITS = 60, 30, 200_000
"""Epochs; fewer, but not below the least, when rows would be seen more often than `VISITS` in all."""

SEEDS, MANY = 3, 20_000
"""Networks whose probabilities are averaged; one alone when the bags hold more rows than `MANY`."""

FOLDS = 3
"""Inner folds, a network each."""


@dataclass(frozen=True)
class Rows:
    """The rows of bags one after another, and whose they are.

    Attributes
    ----------
    x
        (n, d) float32.
    owner
        Number of the bag, (n,), ascending.
    bags
        How many bags.
    """

    x: Tensor
    owner: Tensor
    bags: int

    @classmethod
    def of(cls, bags: Sequence[Bag]) -> Rows:
        """Join bags (n, d)."""
        x = torch.from_numpy(np.concatenate([np.asarray(bag, np.float32) for bag in bags]))
        return cls(x, _owner(torch.tensor([len(bag) for bag in bags])), len(bags))

    def take(self, bags: NDArray[np.int64]) -> Rows:
        """Return the rows of some bags, in their order."""
        sizes = torch.bincount(self.owner, minlength=self.bags)
        starts, wanted = sizes.cumsum(0) - sizes, torch.from_numpy(bags)
        owner = _owner(sizes[wanted])
        within = torch.arange(len(owner)) - (sizes[wanted].cumsum(0) - sizes[wanted])[owner]
        return Rows(self.x[starts[wanted][owner] + within], owner, len(bags))


def _owner(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes)).repeat_interleave(sizes)


class Networks:
    """Networks of the same shape, side by side.

    Parameters
    ----------
    count, dim, classes
        How many; length of a row; numbers that each says of a bag.
    """

    def __init__(self, count: int, dim: int, classes: int, draws: torch.Generator) -> None:
        def layer(inside: int, outside: int) -> tuple[Tensor, Tensor]:
            reach = 1 / math.sqrt(inside)  # as torch's own linear layers begin
            weight = (torch.rand(count, inside, outside, generator=draws) * 2 - 1) * reach
            bias = (torch.rand(count, 1, outside, generator=draws) * 2 - 1) * reach
            return weight.requires_grad_(), bias.requires_grad_()

        shapes = ((dim, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, 1), (WIDTH, classes))
        self.layers = [layer(*shape) for shape in shapes]
        self._count, self._draws = count, draws

    @property
    def parameters(self) -> list[Tensor]:
        """All weights."""
        return [tensor for layer in self.layers for tensor in layer]

    def __call__(self, rows: Rows, *, learning: bool = False) -> Tensor:
        """Return logits (count, bags, classes)."""
        first, second, content, gate, score, head = self.layers
        hidden = torch.relu(_linear(rows.x.expand(self._count, *rows.x.shape), first))
        if learning:
            kept = torch.rand(hidden.shape, generator=self._draws) >= DROPOUT
            hidden = hidden * kept / (1 - DROPOUT)
        hidden = torch.relu(_linear(hidden, second))
        gated = torch.tanh(_linear(hidden, content)) * torch.sigmoid(_linear(hidden, gate))
        shares = _shares(_linear(gated, score)[..., 0], rows)
        empty = hidden.new_zeros(self._count, rows.bags, WIDTH)
        return _linear(empty.index_add(1, rows.owner, hidden * shares[..., None]), head)


class Attending(Member):
    """Gated attention networks; the mean of their probabilities."""

    def fit(self, bags: Sequence[Bag], codes: Codes, *, seed: int) -> None:
        """Learn from all bags and, in inner folds, from parts of them."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # small products: more threads would only wait for each other
        try:
            self._fit(bags, codes, seed)
        finally:
            torch.set_num_threads(before)

    def _fit(self, bags: Sequence[Bag], codes: Codes, seed: int) -> None:
        self._seeds = SEEDS if sum(map(len, bags)) <= MANY else 1
        tested = list(inner_folds(codes, FOLDS, seed))
        taught = np.ones((self._seeds + len(tested), len(bags)), np.float32)
        for row, test in enumerate(tested):
            taught[self._seeds + row, test] = 0
        classes = int(codes.max()) + 1
        draws = torch.Generator().manual_seed(seed)
        self._networks = Networks(len(taught), bags[0].shape[1], classes, draws)
        rows = Rows.of(bags)
        _learn(self._networks, rows, (torch.from_numpy(codes), torch.from_numpy(taught)), seed)
        said = self._said(rows)
        self.held = np.empty((len(bags), classes))
        for row, test in enumerate(tested):
            self.held[test] = said[self._seeds + row, test]

    def probability(self, bags: Sequence[Bag]) -> Matrix:
        """Return the mean over the networks that learned from all bags."""
        found: Matrix = self._said(Rows.of(bags))[: self._seeds].mean(axis=0)
        return found

    def _said(self, rows: Rows) -> NDArray[np.float64]:
        """Return probabilities, (networks, b, k)."""
        with torch.inference_mode():
            order = np.arange(rows.bags)
            parts = [self._networks(rows.take(order[at : at + BAGS])) for at in range(0, rows.bags, BAGS)]
            return torch.cat(parts, dim=1).double().softmax(dim=-1).numpy()


def _learn(networks: Networks, rows: Rows, truth: tuple[Tensor, Tensor], seed: int) -> None:
    """Fit networks in place; `truth` holds codes (b,) and which bags teach which network, (networks, b)."""
    codes, taught = truth
    epochs = int(np.clip(VISITS // len(rows.x), LEAST, EPOCHS))
    draws = np.random.default_rng(seed)
    batches = [some for _ in range(epochs) for some in _batches(rows.bags, draws)]
    optimiser = torch.optim.AdamW(networks.parameters, lr=RATE, weight_decay=DECAY, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(batches))
    for some in batches:
        logits = networks(rows.take(some), learning=True)
        wanted = codes[some].expand(len(logits), -1)
        each = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
        optimiser.zero_grad()
        (each * taught[:, some]).sum().div(len(some)).backward()
        optimiser.step()
        schedule.step()


def _batches(bags: int, draws: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    order = draws.permutation(bags)
    yield from np.array_split(order, math.ceil(bags / BAGS))


def _linear(x: Tensor, layer: tuple[Tensor, Tensor]) -> Tensor:
    return torch.baddbmm(layer[1], x, layer[0])


def _shares(scores: Tensor, rows: Rows) -> Tensor:
    """Softmax of scores (count, n) within each bag."""
    index = rows.owner.expand(len(scores), -1)
    none = scores.new_full((len(scores), rows.bags), -math.inf)
    highest = none.scatter_reduce(1, index, scores.detach(), "amax")
    powers = (scores - highest.gather(1, index)).exp()
    whole = powers.new_zeros(len(scores), rows.bags).index_add(1, rows.owner, powers)
    return powers / whole.gather(1, index)
