"""The network of the nuclei model: a small residual U-Net with two heads.

One head says where nuclei and their contours are and how deep inside a pixel lies; the other, at half
resolution, draws the nucleus around each pixel as a star: its radius in `RAYS` directions [1]_, and the way
to its centre.

Layers at full resolution are narrow, and would cost a fifth of the time, so the network that ships has none:
four pixels come in as the channels of one, and the first head's go out again as four pixels [2]_.

References
----------
.. [1] U. Schmidt et al., "Cell detection with star-convex polygons", MICCAI 2018.
.. [2] W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
   convolutional neural network", CVPR 2016.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from coverslip.models.nuclei.layout import PLANES, RAYS

WIDTHS = (0, 32, 64, 128, 128)
"""Channels at strides 1, 2, 4, 8 and 16; see `NucleiNetwork`."""

UNIT = 8.0
"""Pixels that an output of one means, for radii and for the way to the centre."""


class Outputs(NamedTuple):
    """What the network says of a batch.

    Attributes
    ----------
    planes
        (n, 3, h, w): logits of nucleus, of contour, and of the depth (0 at the edge, 1 at the deepest).
    stars
        (n, RAYS + 2, h / GRID, w / GRID): of each grid point, what `radii` and `ways` turn into pixels.
    """

    planes: Tensor
    stars: Tensor


class Seen(NamedTuple):
    """What the network says, and what it saw to say so.

    Attributes
    ----------
    outputs
        What it says.
    fine, coarse
        (n, widths[1], h / 2, w / 2) and (n, widths[3], h / 8, w / 8): the maps before the last steps.
    """

    outputs: Outputs
    fine: Tensor
    coarse: Tensor


def radii(stars: Tensor) -> Tensor:
    """Return pixels from grid points to the edge of their nucleus, (..., RAYS), of stars (..., RAYS + 2)."""
    return functional.softplus(stars[..., :RAYS].float()) * UNIT


def ways(stars: Tensor) -> Tensor:
    """Return pixels (x, y) from grid points to the centre of their nucleus, (..., 2)."""
    return stars[..., RAYS:].float() * UNIT


def _convolve(inward: int, outward: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inward, outward, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outward), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolve(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape (n, width, h, w)."""
        return functional.relu(x + self.norm(self.second(self.first(x))))


class Widen(nn.Module):
    """Bring a coarse map to the next finer one, and add that."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(coarse, fine, 1)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """Return the shape of `finer`."""
        larger = functional.interpolate(self.lateral(x), scale_factor=2.0, mode="bilinear")
        return finer + larger


class NucleiNetwork(nn.Module):
    """From pictures on a common scale to maps from which nuclei are read.

    Parameters
    ----------
    widths
        Channels at strides 1, 2, 4, 8 and 16. The first may be 0: then nothing is judged at full resolution,
        pixels are folded into the channels of the second and unfolded from them.

    Examples
    --------
    >>> import torch
    >>> outputs = NucleiNetwork((0, 8, 8, 8, 8)).eval()(torch.zeros(1, 3, 32, 48))
    >>> tuple(outputs.planes.shape), tuple(outputs.stars.shape)
    ((1, 3, 32, 48), (1, 34, 16, 24))
    """

    def __init__(self, widths: tuple[int, int, int, int, int] = WIDTHS) -> None:
        super().__init__()
        self.widths = a, b, c, d, e = widths
        self.stem = _convolve(3, a) if a else nn.PixelUnshuffle(2)
        self.down2 = nn.Sequential(_convolve(a, b, 2) if a else _convolve(12, b), Residual(b))
        self.down4 = nn.Sequential(_convolve(b, c, 2), Residual(c), Residual(c))
        self.down8 = nn.Sequential(_convolve(c, d, 2), Residual(d), Residual(d))
        self.down16 = nn.Sequential(_convolve(d, e, 2), Residual(e), Residual(e))
        self.up8, self.mix8 = Widen(e, d), Residual(d)
        self.up4, self.mix4 = Widen(d, c), Residual(c)
        self.up2, self.mix2 = Widen(c, b), Residual(b)
        if a:
            self.up1, self.mix1 = Widen(b, a), _convolve(a, 24)
            self.planes: nn.Module = nn.Conv2d(24, PLANES, 1)
        else:
            self.planes = nn.Sequential(nn.Conv2d(b, 4 * PLANES, 3, padding=1), nn.PixelShuffle(2))
        drawn = 64 if a else 48
        self.stars = nn.Sequential(_convolve(b, drawn), nn.Conv2d(drawn, RAYS + 2, 1))

    def forward(self, x: Tensor) -> Outputs:
        """Judge normalised pictures (n, 3, h, w) whose sides are multiples of `STRIDE`."""
        return self.seen(x).outputs

    def seen(self, x: Tensor) -> Seen:
        """Judge pictures, and return the maps between as well."""
        at1 = self.stem(x).contiguous(memory_format=torch.channels_last)
        at2 = self.down2(at1)
        at4 = self.down4(at2)
        at8 = self.down8(at4)
        at8 = self.mix8(self.up8(self.down16(at8), at8))
        at4 = self.mix4(self.up4(at8, at4))
        at2 = self.mix2(self.up2(at4, at2))
        finest = self.mix1(self.up1(at2, at1)) if self.widths[0] else at2
        return Seen(Outputs(self.planes(finest), self.stars(at2)), at2, at8)
