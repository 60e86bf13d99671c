"""Attention-based multiple-instance learning."""

from __future__ import annotations

from torch import Tensor, nn

from coverslip.models.aggregators.base import Aggregated, Aggregator, Attention, Projection, softmax


class ABMIL(Aggregator):
    """The attention-weighted mean of the tiles' hidden vectors, then a linear layer.

    Parameters
    ----------
    dim, outputs, hidden, dropout
        See `Aggregator` and `Projection`.
    width
        Of the attention's layer.
    gated
        Whether attention is gated.

    Notes
    -----
    Ilse, Tomczak and Welling: Attention-based deep multiple instance learning, ICML 2018. Invariant to the
    order of tiles, and to all tiles given twice. What is said of a tile alone is the linear layer on its own
    hidden vector.
    """

    def __init__(
        self, dim: int, outputs: int, *, hidden: int = 512, width: int = 256, gated: bool = True,
        dropout: float = 0.25,
    ) -> None:  # fmt: skip
        super().__init__()
        self.project = Projection(dim, hidden, dropout)
        self.attend = Attention(hidden, width, gated=gated, dropout=dropout)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, bags: Tensor, mask: Tensor | None = None, coords: Tensor | None = None) -> Aggregated:
        """Aggregate; see `Aggregator.forward`."""
        del coords
        hidden = self.project(bags, mask)
        attention = softmax(self.attend(hidden), mask)
        pooled = (attention @ hidden).squeeze(1)
        return Aggregated(self.head(pooled), attention, self.head(hidden))
