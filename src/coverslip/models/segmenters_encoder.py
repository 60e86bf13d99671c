"""A small encoder to train from scratch: residual blocks, batch normalisation, every stride from 1 on.

Normalisation is over batches, not over a tile's own pixels (instance or group normalisation), so that once it
is trained a pixel's result depends on its surroundings alone, and tiles stitch to what one pass would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import nn

WIDTHS = (24, 40, 64, 96, 144, 192)
"""Channels at strides 1, 2, 4, 8, 16 and 32."""

SIZES = {"small": WIDTHS, "tiny": (16, 24, 40, 64, 96, 128)}
"""Name of an encoder → its channels. The tiny one has half the weights."""


class Residual(nn.Module):
    """Two convolutions around which the input goes as well (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(width, width), _convolution(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, width, h, w)."""
        inner = torch.relu_(self.first(x))
        return torch.relu_(x + self.second(inner))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after)
    )


class SmallEncoder(nn.Module, EncoderMixin):
    """About 2 million weights; features at strides 1 to ``2 ** depth``.

    Parameters
    ----------
    widths
        Channels at strides 1, 2, 4 …; one more than `depth`.
    blocks
        Residual blocks per stride.
    """

    def __init__(
        self, widths: Sequence[int] = WIDTHS, *, depth: int = 5, blocks: int = 2, output_stride: int = 32
    ) -> None:
        super().__init__()
        self._depth, self._in_channels, self._output_stride = depth, 3, output_stride
        # the decoders expect the picture itself as the first of the features
        self._out_channels = [3, *widths[1 : depth + 1]]
        self.stem = nn.Sequential(_convolution(3, widths[0]), nn.ReLU(inplace=True))
        stages: list[nn.Module] = []
        for before, after in pairwise(widths[: depth + 1]):
            stages.append(
                nn.Sequential(
                    _convolution(before, after, 2),
                    nn.ReLU(inplace=True),
                    *(Residual(after) for _ in range(blocks)),
                )
            )
        self.stages = nn.ModuleList(stages)

    def get_stages(self) -> dict[int, Sequence[nn.Module]]:
        """Return the stages by their stride, for decoders that replace strides by dilation."""
        return {2 ** (i + 1): [stage] for i, stage in enumerate(self.stages)}

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the picture and the features of every stride."""
        features = [x]
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def register(size: str = "small") -> str:
    """Make an encoder of `SIZES` known to segmentation-models-pytorch; return its name there."""
    from segmentation_models_pytorch.encoders import encoders

    name = f"coverslip-{size}"
    entry: dict[str, Any] = {
        "encoder": SmallEncoder,
        "pretrained_settings": {},
        "params": {"widths": SIZES[size]},
    }
    encoders.setdefault(name, entry)
    return name
