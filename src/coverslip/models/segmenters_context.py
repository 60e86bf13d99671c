"""A second, coarser look around a tile, where what is near does not say what it is.

A tile and a view of its surroundings with the same middle go through two encoders, and meet in the coarsest
features: those of the view that lie over the tile are joined to the tile's own (the way of van Rijthoven et
al., HookNet, Medical Image Analysis 2021, whose second branch also decodes; ours only encodes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from coverslip.models.segmenters_encoder import WIDTHS, SmallEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Surround:
    """Where the coarser view of a tile lies.

    Attributes
    ----------
    factor
        Pixels of the tile, each way, that one pixel of the view covers.
    around
        Pixels of the view on each side of what lies over the tile.

    Examples
    --------
    >>> Surround(4, 24).side(256)
    112
    """

    factor: int
    around: int

    def side(self, tile: int) -> int:
        """Return the view's side, of a tile's side."""
        return tile // self.factor + 2 * self.around

    def of_picture(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the view of a picture (h, w, 3) of which nothing more is known: white lies around."""
        import cv2
        import numpy as np

        high, wide = (side // self.factor for side in pixels.shape[:2])
        small = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
        padding = ((self.around,) * 2, (self.around,) * 2, (0, 0))
        return np.pad(small, padding, constant_values=255)


class WithContext(nn.Module):
    """A U-Net whose coarsest features know the surroundings.

    Parameters
    ----------
    network
        Encoder, decoder and head, as segmentation-models-pytorch makes them.
    surround
        Where the view lies; `Surround.factor` is a power of two below ``2 ** depth``.
    depth
        Of the encoder: the strides of both meet at ``2 ** depth`` pixels of the tile.
    """

    def __init__(self, network: Any, surround: Surround, depth: int) -> None:
        super().__init__()
        self.network = network
        steps = depth - (surround.factor.bit_length() - 1)
        self.context = SmallEncoder(WIDTHS, depth=steps)
        self._edge = surround.around >> steps
        wide, own = WIDTHS[steps], network.encoder.out_channels[-1]
        self.joined = nn.Sequential(
            nn.Conv2d(own + wide, own, 1, bias=False), nn.BatchNorm2d(own), nn.ReLU(inplace=True)
        )

    def forward(self, tiles: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """Turn tiles (n, 3, h, w) and their views into scores (n, k, h, w)."""
        features = list(self.network.encoder(tiles))
        seen = self.context(views)[-1]
        high, wide = features[-1].shape[-2:]
        over = seen[:, :, self._edge : self._edge + high, self._edge : self._edge + wide]
        features[-1] = self.joined(torch.cat([features[-1], over], dim=1))
        scores: torch.Tensor = self.network.segmentation_head(self.network.decoder(features))
        return scores
