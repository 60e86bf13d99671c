"""A small convolutional network to be trained from scratch: residual blocks, one to five million weights.

The residual blocks are those of He et al., Deep residual learning for image recognition, CVPR 2016. Each
stage halves the picture first and works after, and the stem takes squares of 2 × 2 pixels as channels, so
that a CPU with bf16 spends its time in products of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from coverslip.core.errors import UsageError

EPSILON = 1e-5
"""Added to a variance, so that its root has a slope at 0."""


class Residual(nn.Module):
    """Two 3 × 3 convolutions beside the identity; the whole branch is dropped at random while training.

    Parameters
    ----------
    channels
        In and out.
    drop
        Chance, per picture, that the branch is left out (Huang et al., Deep networks with stochastic depth,
        ECCV 2016).
    """

    def __init__(self, channels: int, drop: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *_convolved(channels, channels), *_convolved(channels, channels, last=True)
        )
        nn.init.zeros_(self.branch[-1].weight)  # type: ignore[arg-type] # begins as the identity
        self.drop = drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, c, h, w) to the same shape."""
        branch = self.branch(x)
        if self.training and self.drop:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            branch = branch * keep.to(branch.dtype) / (1 - self.drop)
        return torch.relu(x + branch)


class SmallCNN(nn.Module):
    """Pictures (n, 3, h, w) → class scores (n, classes).

    Parameters
    ----------
    classes
        Number of outputs.
    width
        Channels of the first stage; each of the others doubles them.
    depths
        Residual blocks per stage. The stem makes pictures four times smaller, each stage after the first
        halves them once more.
    dropout
        Of the pooled features.
    drop_path
        Chance that the last block's branch is left out, growing from 0 at the first.
    spread
        Whether the head sees, beside each channel's mean over the picture, its standard deviation: texture is
        as much how a pattern varies as how much of it there is.

    Raises
    ------
    UsageError
        When a number cannot be.

    Examples
    --------
    >>> SmallCNN(3, width=8)(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        classes: int,
        *,
        width: int = 32,
        depths: tuple[int, ...] = (1, 1, 1, 1),
        dropout: float = 0.2,
        drop_path: float = 0.1,
        spread: bool = True,
    ) -> None:
        super().__init__()
        if classes < 1 or width < 1 or not depths or min(depths) < 0 or not 0 <= drop_path < 1:
            raise UsageError(
                f"classes {classes}, width {width}, depths {depths}, drop_path {drop_path} make no network"
            )
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), *_convolved(12, width, stride=2))
        stages, channels, drops = [], width, _rising(sum(depths), drop_path)
        for number, depth in enumerate(depths):
            wider = width * 2**number
            blocks = [Residual(wider, next(drops)) for _ in range(depth)]
            halving = _convolved(channels, wider, stride=2) if number else ()
            stages.append(nn.Sequential(*halving, *blocks))
            channels = wider
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * (2 if spread else 1), classes)
        self._spread = spread

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) to pooled features (n, d)."""
        found = self.stages(self.stem(x)).float()
        mean = found.mean(dim=(2, 3))
        if not self._spread:
            return mean
        variance = (found - mean[:, :, None, None]).square().mean(dim=(2, 3))
        return torch.cat([mean, (variance + EPSILON).sqrt()], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, h, w) to scores (n, classes)."""
        return self.head(self.dropout(self.features(x)))


def _convolved(inside: int, outside: int, *, stride: int = 1, last: bool = False) -> Iterator[nn.Module]:
    yield nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
    yield nn.BatchNorm2d(outside)
    if not last:
        yield nn.ReLU(inplace=True)


def _rising(count: int, most: float) -> Iterator[float]:
    return (most * i / max(1, count - 1) for i in range(count))
