"""Self-attention whose cost grows with the number of tiles, not with its square."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, conv2d, linear, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from coverslip.models.aggregators.base import ROWS_AT_ONCE

HEADS_AT_ONCE = 2
"""Of many rows in training."""


class NystromAttention(nn.Module):
    """Multi-head self-attention, approximated through landmarks.

    ``softmax(QKᵀ) V ≈ softmax(QK̃ᵀ) · softmax(Q̃K̃ᵀ)⁺ · softmax(Q̃Kᵀ) V``, where Q̃ and K̃ are means of
    consecutive queries and keys. With no more rows than landmarks, attention is exact. No matrix of tiles
    times landmarks is ever held, so that memory grows with the rows alone; of many rows in training, queries,
    keys and values are held of a few heads at a time.

    Parameters
    ----------
    width
        Length of the rows, a multiple of `heads`.
    heads
        Attention heads.
    landmarks
        Number of means.
    steps
        Iterations of the pseudo-inverse.
    kernel
        Length of the depth-wise convolution over the rows' values that is added; 0 for none.

    Notes
    -----
    Xiong et al.: Nyströmformer, AAAI 2021. Landmarks are means of equal parts of the rows (parts that differ
    by a row when it does not divide), where the paper fills up with zeros. The convolution sees the rows in
    their order, so neither it nor the landmarks are blind to it.
    """

    def __init__(
        self, width: int, *, heads: int = 8, landmarks: int = 256, steps: int = 6, kernel: int = 33
    ) -> None:
        super().__init__()
        self.heads, self.landmarks, self.steps = heads, landmarks, steps
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.local = (
            nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads, bias=False)
            if kernel
            else None
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Return (b, n, width) for rows (b, n, width)."""
        if not (torch.is_grad_enabled() and rows.shape[1] > ROWS_AT_ONCE):
            joined: Tensor = self.out(self._mixed(rows, 0, self.heads))
            return joined
        parts = [
            checkpoint(self._mixed, rows, first, min(first + HEADS_AT_ONCE, self.heads), use_reentrant=False)
            for first in range(0, self.heads, HEADS_AT_ONCE)
        ]
        few_at_a_time: Tensor = self.out(torch.cat(parts, dim=-1))
        return few_at_a_time

    def _mixed(self, rows: Tensor, first: int, last: int) -> Tensor:
        """Return what some heads make of the rows, (b, n, heads · width / all heads)."""
        q, k, v = self._heads(rows, first, last)
        if rows.shape[1] <= self.landmarks:
            mixed = scaled_dot_product_attention(q, k, v)
        else:
            q_few, k_few = self._means(q), self._means(k)
            summary = scaled_dot_product_attention(q_few, k, v)
            mixed = scaled_dot_product_attention(q, k_few, self._inverse(q_few, k_few) @ summary)
        if self.local is not None:
            weight, padding = self.local.weight[first:last], self.local.padding
            mixed = mixed + conv2d(v, weight, padding=padding, groups=len(weight))  # type: ignore[arg-type]
        return mixed.transpose(1, 2).flatten(2)

    @torch.no_grad()
    def attention_of_first(self, rows: Tensor) -> Tensor:
        """Return how much the first row attends to each, (b, n): mean over heads, negative shares as 0.

        The approximation can make single shares slightly negative; the rest is scaled to a sum of 1.
        """
        q, k, _ = self._heads(rows, 0, self.heads)
        scale = q.shape[-1] ** -0.5
        if rows.shape[1] <= self.landmarks:
            shares = (q[:, :, :1] @ k.transpose(-1, -2) * scale).softmax(-1)
        else:
            q_few, k_few = self._means(q), self._means(k)
            first = (q[:, :, :1] @ k_few.transpose(-1, -2) * scale).softmax(-1)
            mix = first @ self._inverse(q_few, k_few)
            heads = [
                mix[:, h] @ (q_few[:, h] @ k[:, h].transpose(-1, -2) * scale).softmax(-1)
                for h in range(self.heads)  # one at a time: landmarks × tiles is the largest matrix here
            ]
            shares = torch.stack(heads, dim=1)
        shares = shares.mean(dim=1).squeeze(1).clamp_min(0)
        return shares / shares.sum(dim=-1, keepdim=True).clamp_min(1e-12)

    def _heads(self, rows: Tensor, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of some heads, each (b, heads, n, width / all heads)."""
        weight = self.to_qkv.weight.unflatten(0, (3, self.heads, -1))[:, first:last]
        made = linear(rows, weight.flatten(0, 2))
        split = made.unflatten(-1, (3, last - first, -1)).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]

    def _means(self, rows: Tensor) -> Tensor:
        few = adaptive_avg_pool1d(rows.flatten(0, 1).transpose(1, 2), self.landmarks)
        return few.transpose(1, 2).unflatten(0, rows.shape[:2])

    def _inverse(self, q: Tensor, k: Tensor) -> Tensor:
        core = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return pseudo_inverse(core, self.steps)


def pseudo_inverse(matrix: Tensor, steps: int = 6) -> Tensor:
    """Return the Moore-Penrose inverse of square matrices (…, m, m) by iteration, with gradients.

    Xiong et al., AAAI 2021, equation 11; after Razavi et al. 2014. Converges when the rows sum to 1.

    Examples
    --------
    >>> matrix = torch.tensor([[0.7, 0.3], [0.2, 0.8]], dtype=torch.float64)
    >>> torch.allclose(pseudo_inverse(matrix, 12) @ matrix, torch.eye(2, dtype=torch.float64))
    True
    """
    rows, columns = matrix.abs().sum(-1).amax(-1), matrix.abs().sum(-2).amax(-1)
    guess = matrix.transpose(-1, -2) / (rows * columns)[..., None, None]
    one = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    for _ in range(steps):
        product = matrix @ guess
        guess = 0.25 * guess @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return guess
