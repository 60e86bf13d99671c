"""Attention U-Net: what skips from encoder to decoder passes a gate that the coarser stage opens and shuts.

Oktay et al., Attention U-Net: learning where to look for the pancreas, MIDL 2018, equations 1 and 2. (The
``scse`` attention of segmentation-models-pytorch is another thing: it weighs channels and pixels of one
feature map by itself.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional


class Gate(nn.Module):
    """Additive attention: how much of each pixel of the skip is let through.

    Parameters
    ----------
    skip, signal
        Channels of the encoder's features and of the decoder's coarser ones.

    Examples
    --------
    >>> gate = Gate(8, 16).eval()
    >>> gate(torch.zeros(1, 8, 6, 6), torch.zeros(1, 16, 3, 3)).shape
    torch.Size([1, 8, 6, 6])
    """

    def __init__(self, skip: int, signal: int) -> None:
        super().__init__()
        inner = max(1, skip // 2)
        self.of_skip = nn.Sequential(nn.Conv2d(skip, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.of_signal = nn.Sequential(nn.Conv2d(signal, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.opening = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.Sigmoid())

    def share(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """Return what is let through, (n, 1, h, w) from 0 to 1."""
        size = skip.shape[-2:]
        coarse = functional.interpolate(self.of_signal(signal), size, mode="bilinear", align_corners=False)
        opened: torch.Tensor = self.opening(torch.relu(self.of_skip(skip) + coarse))
        return opened

    def forward(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """Return the skip's features, weighed."""
        return skip * self.share(skip, signal)


class GatedDecoder(nn.Module):
    """A U-Net's decoder with a gate before every skip."""

    def __init__(self, decoder: nn.Module, skips: Sequence[int], signals: Sequence[int]) -> None:
        super().__init__()
        self.decoder = decoder
        self.gates = nn.ModuleList(Gate(skip, signal) for skip, signal in zip(skips, signals, strict=True))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Go from the coarsest features to the finest."""
        sizes = [feature.shape[2:] for feature in reversed(features[:-1])]
        x, *skips = features[:0:-1]
        for number, block in enumerate(self.decoder.blocks):  # type: ignore[arg-type, unused-ignore]
            skip = self.gates[number](skips[number], x) if number < len(skips) else None
            x = block(x, *sizes[number], skip_connection=skip)
        return x


class AttentionUnet(smp.Unet):  # type: ignore[misc, unused-ignore]
    """U-Net whose skips pass gates; takes what ``smp.Unet`` takes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        widths = list(self.encoder.out_channels)[:0:-1]
        signals = [widths[0], *options["decoder_channels"]]
        self.decoder = GatedDecoder(self.decoder, widths[1:], signals[: len(widths) - 1])
