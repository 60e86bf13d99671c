"""A graph over the tiles: each hears its neighbours on the slide before the bag is pooled."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coverslip.core.errors import UsageError
from coverslip.models.aggregators.base import (
    ROWS_AT_ONCE,
    Aggregated,
    Aggregator,
    Attention,
    Projection,
    softmax,
)


class Message(nn.Module):
    """One round: each tile's vector, changed by its own and by the mean of its neighbours'."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.own, self.heard = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tiles: Tensor, neighbours: Tensor) -> Tensor:
        """Return (n, hidden) for tiles (n, hidden) and the rows of their neighbours (n, k)."""
        said = self.norm(tiles)
        heard = self.heard(said)
        mean = torch.zeros_like(heard)
        for column in neighbours.unbind(1):  # (n, k, hidden) at once would be k times the memory
            mean = mean + heard[column]
        change: Tensor = self.dropout(torch.relu(self.own(said) + mean / max(1, neighbours.shape[1])))
        return tiles + change


class GraphMIL(Aggregator):
    """Messages between neighbouring tiles, then gated attention over what each has become.

    Neighbours are the `neighbours` nearest tiles by the distance of their corners. After each round the
    vectors are kept, so that attention sees what a tile was and what it heard from near and farther.

    Parameters
    ----------
    dim, outputs, dropout
        See `Aggregator` and `Projection`.
    hidden
        Length of the vectors that travel.
    width
        Of the attention's layer.
    neighbours
        Of a tile; all others in a smaller bag.
    rounds
        Of messages.

    Notes
    -----
    After Chen et al.: Whole slide images are 2D point clouds: context-aware survival prediction using
    patch-based graph convolutional networks, MICCAI 2021, with the mean of neighbours of Hamilton et al.:
    GraphSAGE, NeurIPS 2017. Invariant to the order of tiles (given with their coordinates) and to shifts and
    scale of the coordinates.
    """

    uses_coords = True

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 128, width: int = 128, neighbours: int = 8,
        rounds: int = 3, dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        self.neighbours = neighbours
        self.project = Projection(dim, hidden, dropout)
        self.messages = nn.ModuleList(Message(hidden, dropout) for _ in range(rounds))
        joined = hidden * (rounds + 1)
        self.attend = Attention(joined, width, dropout=dropout)
        self.head = nn.Linear(joined, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`.

        Raises
        ------
        UsageError
            Without coords.
        """
        if coords is None:
            raise UsageError("a graph over tiles needs their coords", mend="give coords (b, n, 2)")
        hidden = self.project(bags, mask)
        masks = [None] * len(bags) if mask is None else mask
        told = torch.stack(
            [self._tell(tiles, at, some) for tiles, at, some in zip(hidden, coords, masks, strict=True)]
        )
        attention = softmax(self.attend(told), mask)
        pooled = (attention @ told).squeeze(1)
        return Aggregated(self.head(pooled), attention, self.head(told))

    def _tell(self, tiles: Tensor, coords: Tensor, some: Tensor | None) -> Tensor:
        """Return (n, hidden × (rounds + 1)) of one bag; zero where there is no tile."""
        inside = tiles if some is None else tiles[some]
        near = nearest(coords if some is None else coords[some], self.neighbours)
        vectors = [inside]
        for message in self.messages:
            if torch.is_grad_enabled() and len(inside) > ROWS_AT_ONCE:
                vectors.append(checkpoint(message, vectors[-1], near, use_reentrant=False))
            else:
                vectors.append(message(vectors[-1], near))
        joined = torch.cat(vectors, dim=-1)
        if some is None:
            return joined
        return joined.new_zeros(len(tiles), joined.shape[-1]).masked_scatter(some.unsqueeze(-1), joined)


def nearest(coords: Tensor, count: int) -> Tensor:
    """Return the rows of the nearest other tiles: coords (n, 2) → int64 (n, k), k = min(count, n - 1).

    Which of several tiles at the same distance is taken depends on where they lie, not on their order.

    Examples
    --------
    >>> nearest(torch.tensor([[0.0, 0.0], [5.0, 0.0], [1.0, 0.0]]), 1).tolist()
    [[2], [2], [0]]
    """
    count = min(count, len(coords) - 1)
    if coords.is_meta or count == 0:
        return torch.zeros(len(coords), max(0, count), dtype=torch.int64, device=coords.device)
    found = _nearest(coords.detach().cpu().numpy().astype(np.float64), count)
    return torch.from_numpy(found).to(coords.device)


def _nearest(coords: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    from scipy.spatial import cKDTree

    order = np.lexsort((coords[:, 0], coords[:, 1]))  # the tree's choice among equals follows this order
    place = coords[order]
    _, found = cKDTree(place).query(place, k=count + 1)
    me = found == np.arange(len(place))[:, None]
    me[~me.any(axis=1), -1] = True  # tiles at the very same place: drop the last instead
    others = order[found[~me].reshape(len(place), count)]
    neighbours = np.empty_like(others)
    neighbours[order] = others
    return neighbours.astype(np.int64)
