"""What Lightning fits: a network of classes with its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from coverslip.core.errors import UsageError
from coverslip.models.classifiers import Transfer, layers_of


@dataclass(frozen=True, kw_only=True)
class LossSpec:
    """What is minimised.

    Parameters
    ----------
    imbalance
        ``"none"``; ``"weights"``, rare classes weigh more in the loss; ``"focal"``, certain rows weigh less
        (Lin et al., Focal loss for dense object detection, ICCV 2017); ``"sampling"``, classes are drawn
        alike.
    focus
        Exponent of the focal loss.
    smoothing
        Share of the truth that is spread over all classes.
    mixup
        Parameter of the beta distribution by which pictures and labels of pairs are mixed (Zhang et al.,
        mixup: Beyond empirical risk minimization, ICLR 2018); 0 for none.
    """

    imbalance: Literal["none", "weights", "focal", "sampling"] = "none"
    focus: float = 2.0
    smoothing: float = 0.05
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1 or self.focus < 0 or not 0 <= self.mixup <= 10:
            raise UsageError(
                f"smoothing {self.smoothing}, focus {self.focus}, mixup {self.mixup}: expected smoothing "
                "from 0 to below 1, focus from 0, mixup 0 to 10",
                mend="mend these",
            )


def class_weights(codes: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return weights inverse to the classes' numbers of rows, 1 on average over the rows.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 1, 1, 1, 1]), 2).tolist()
    [1.5, 0.75]
    """
    counts = np.maximum(np.bincount(codes, minlength=classes), 1)
    return (len(codes) / (classes * counts)).astype(np.float32)


class Classifying(pl.LightningModule):
    """A network of classes: uint8 pictures (n, side, side, 3) and codes (n,) in, loss out.

    Parameters
    ----------
    network
        Of `coverslip.models.classifiers.build_classifier`.
    scale
        Mean and standard deviation per channel, on the scale 0 to 1.
    loss
        What is minimised.
    weights
        Of the classes, (k,); None for 1.
    transfer, blocks, decay
        What learns: everything (``"scratch"``, ``"full"``), the head (``"frozen"``), or the head and the last
        `blocks` groups of layers. Each group before the head learns `decay` times as fast as the one after.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        scale: tuple[tuple[float, ...], tuple[float, ...]],
        loss: LossSpec,
        weights: NDArray[np.float32] | None = None,
        transfer: Transfer = "scratch",
        blocks: int = 2,
        decay: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss, self._decay = loss, decay
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in scale)
        self.register_buffer("mean", mean * 255, persistent=False)
        self.register_buffer("std", std * 255, persistent=False)
        self.register_buffer(
            "class_weights", None if weights is None else torch.from_numpy(weights), persistent=False
        )
        self._layers = layers_of(network)
        self._learning = learning_layers(self._layers, transfer, blocks)
        for layer in self._layers[: len(self._layers) - self._learning]:
            for parameter in layer:
                parameter.requires_grad_(False)
        self._fixed_norms = transfer in {"frozen", "blocks"}

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return scores (n, k)."""
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        return self.network(x.contiguous(memory_format=torch.channels_last))

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return the groups that learn, each with its rate."""
        learning = self._layers[-self._learning :]
        last = len(learning) - 1
        return [{"params": g, "lr": lr * self._decay ** (last - i)} for i, g in enumerate(learning) if g]

    def on_train_epoch_start(self) -> None:
        """Keep the statistics of layers that do not learn."""
        self.train()
        if self._fixed_norms:
            for module in self.modules():
                own = [*module.parameters(recurse=False)]
                if own and not any(p.requires_grad for p in own):
                    module.eval()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> torch.Tensor:
        """Return the loss of a batch, mixed if wanted."""
        pixels, codes = batch
        if not self.loss.mixup:
            loss = self._loss(self(pixels), codes)
        else:
            share = float(np.random.beta(self.loss.mixup, self.loss.mixup))  # noqa: NPY002 - seeded per step
            other = torch.randperm(len(codes), device=codes.device)
            scores = self(share * pixels.float() + (1 - share) * pixels[other].float())
            loss = share * self._loss(scores, codes) + (1 - share) * self._loss(scores, codes[other])
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(codes), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> None:
        """Log loss and accuracy; the loss without smoothing and weights, so that specs compare."""
        pixels, codes = batch
        scores = self(pixels).float()
        right = (scores.argmax(dim=1) == codes).float().mean()
        self.log("val_loss", F.cross_entropy(scores, codes), batch_size=len(codes), sync_dist=True)
        self.log("val_accuracy", right, batch_size=len(codes), sync_dist=True)

    def _loss(self, scores: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        options: dict[str, Any] = {"weight": self.class_weights, "label_smoothing": self.loss.smoothing}
        if self.loss.imbalance != "focal":
            return F.cross_entropy(scores.float(), codes, **options)
        each = F.cross_entropy(scores.float(), codes, reduction="none", **options)
        certain = scores.float().softmax(dim=1).gather(1, codes[:, None])[:, 0]
        return ((1 - certain) ** self.loss.focus * each).mean()


def learning_layers(layers: list[Any], transfer: Transfer, blocks: int) -> int:
    """Return how many of the groups of layers, counted from the head, learn.

    Raises
    ------
    UsageError
        When there are not so many.
    """
    if transfer == "frozen":
        return 1
    if transfer == "blocks":
        if not 1 <= blocks < len(layers):
            raise UsageError(
                f"the last {blocks} blocks cannot learn: the network has {len(layers) - 1} before its head",
                mend=f"give blocks from 1 to {len(layers) - 1}",
            )
        return blocks + 1
    return len(layers)
