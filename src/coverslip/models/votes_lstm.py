"""Recurrent aggregation: an LSTM reads the features of the most suspicious tiles, most suspicious first.

After Campanella et al., Clinical-grade computational pathology using weakly supervised deep learning on whole
slide images, Nature Medicine 25 (2019).
"""

from __future__ import annotations

import torch
from torch import nn


class TileReader(nn.Module):
    """Features of tiles (n, t, d), in order of suspicion → class scores (n, k).

    Parameters
    ----------
    width
        Length d of the features.
    classes
        Number k of classes.
    hidden
        Units of the LSTM.

    Examples
    --------
    >>> TileReader(8, 2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 2])
    """

    def __init__(self, width: int, classes: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, hidden)
        self.read = nn.LSTM(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return scores after the last tile."""
        steps, _ = self.read(torch.relu(self.project(self.norm(features))))
        scores: torch.Tensor = self.head(steps[:, -1])
        return scores


def reader_of(state: dict[str, torch.Tensor]) -> TileReader:
    """Return the reader whose weights these are."""
    width, classes = state["norm.weight"].shape[0], state["head.bias"].shape[0]
    reader = TileReader(width, classes, hidden=state["project.bias"].shape[0])
    reader.load_state_dict(state)
    return reader.eval().requires_grad_(False)
