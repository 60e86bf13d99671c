"""Several networks of one kind that judge together: the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

MEMBER = "members.{}."
"""Prefix of a member's weights."""


class Committee(nn.Module):
    """Pictures (n, 3, h, w) → logarithms of mean probabilities (n, k), which a softmax turns back into them.

    Parameters
    ----------
    members
        Networks of class scores.

    Examples
    --------
    >>> one, other = (nn.Linear(2, 2) for _ in range(2))
    >>> Committee([one, other])(torch.zeros(3, 2)).exp().sum(dim=1).allclose(torch.ones(3))
    True
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores (n, k)."""
        shared = getattr(self.members[0], "describe", None)
        if shared is None:
            return mean_of([member(x) for member in self.members])
        described = shared(x)
        return mean_of([member(x, described) for member in self.members])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the members' features side by side, (n, d)."""
        return torch.cat([pooled(member, x) for member in self.members], dim=1)


def mean_of(scores: Sequence[torch.Tensor], shares: Sequence[float] | None = None) -> torch.Tensor:
    """Return the logarithm of the mean of the probabilities that scores (n, k) stand for.

    Parameters
    ----------
    shares
        How much each counts, summing to 1; None for all alike.
    """
    counts = [1 / len(scores)] * len(scores) if shares is None else shares
    said = [x.float().log_softmax(dim=1) + math.log(n) for x, n in zip(scores, counts, strict=True)]
    return torch.stack(said).logsumexp(dim=0)


def pooled(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the head of a network sees of pictures, (n, d)."""
    if not hasattr(network, "forward_head"):
        found: torch.Tensor = network.features(x)  # type: ignore[operator]
    else:
        found = network.forward_head(network.forward_features(x), pre_logits=True)  # type: ignore[operator]
    return found


def joined(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the weights of a committee of the networks with these weights."""
    return {MEMBER.format(i) + name: value for i, state in enumerate(states) for name, value in state.items()}
