"""Colour and texture of a whole picture, judged beside a network by a logistic regression.

Few tiles teach a network much about shapes and, as training varies the colours, little about colour. Counts
of colours, of local binary patterns (Ojala et al., Multiresolution gray-scale and rotation invariant texture
classification, IEEE TPAMI 24, 2002) and how neighbouring pixels go together see what it does not.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from coverslip.models.committee import mean_of, pooled
from coverslip.stain.matrices import RUIFROK_JOHNSTON

COLOURS, BINS, SCALES = 6, 16, (1, 2, 4)
DENSITIES = ((-0.2, 1.8), (-0.2, 1.2), (-0.4, 0.8))
"""Range of the amounts of haematoxylin, eosin and what is left that are counted, in decades."""

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours of a pixel, in order."""

APART = (1, 3)
"""Distances in pixels at which pairs are compared."""

PATTERNS = 10
"""Of eight neighbours: 0 to 8 set in one run, and all else."""

PER_SCALE = PATTERNS + 2 * (2 + 2 * len(APART))
SHARE = 0.25
"""How much texture counts beside a network.

Chosen out of fold on the training sources of LC25000's lung tiles: 0.959 are right without, 0.960
with a share of 0.2 or 0.35, 0.951 with a half.
"""

WIDTH = COLOURS**3 + 5 * BINS + len(SCALES) * PER_SCALE
"""How many numbers describe a picture."""


class Texture(nn.Module):
    """Pictures (n, 3, h, w), normalised → class scores (n, k) from colour and texture.

    Parameters
    ----------
    classes
        Number of outputs.
    mean, std
        By which pictures were normalised, per channel, on the scale 0 to 1.

    Examples
    --------
    >>> texture = Texture(3, mean=(0.5,) * 3, std=(0.2,) * 3)
    >>> texture(torch.zeros(2, 3, 32, 32)).shape, texture.describe(torch.zeros(2, 3, 32, 32)).shape
    (torch.Size([2, 3]), torch.Size([2, 362]))
    """

    def __init__(self, classes: int, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.register_buffer("spread", torch.ones(WIDTH))
        self._fixed("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self._fixed("std", torch.tensor(std).view(1, 3, 1, 1))
        self._fixed("unmix", torch.linalg.inv(torch.tensor(RUIFROK_JOHNSTON["HED"].array).float()))
        self._fixed("patterns", _patterns())

    def _fixed(self, name: str, values: torch.Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    @torch.no_grad()
    def describe(self, x: torch.Tensor) -> torch.Tensor:
        """Return what a picture's colours and textures are, (n, `WIDTH`); turning it changes nothing."""
        with torch.autocast(x.device.type, enabled=False):
            rgb = ((x.float() * self.std + self.mean) * 255).round().clamp(0, 255)
            stains = torch.einsum("nchw,cd->ndhw", -torch.log10(rgb.clamp(min=1) / 255), self.unmix)
            grey = (0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2])[:, None]
            parts = [_colours(rgb, stains)]
            for scale in SCALES:
                light, nuclei = F.avg_pool2d(grey, scale)[:, 0], F.avg_pool2d(stains[:, :1], scale)[:, 0]
                parts.append(_counts(self.patterns[_runs(light.round())], PATTERNS))
                parts += [_pairs(light / 32), _pairs(nuclei * 4)]
            return torch.cat(parts, dim=1)

    def judge(self, described: torch.Tensor) -> torch.Tensor:
        """Return scores (n, k) of descriptions (n, `WIDTH`)."""
        with torch.autocast(described.device.type, enabled=False):
            return self.head((described - self.centre) / self.spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores (n, k)."""
        return self.judge(self.describe(x))


class WithTexture(nn.Module):
    """A network and a `Texture` that judge together: mean probabilities, `SHARE` of them the texture's."""

    def __init__(self, network: nn.Module, texture: Texture) -> None:
        super().__init__()
        self.network, self.texture = network, texture

    def describe(self, x: torch.Tensor) -> torch.Tensor:
        """Return what members of a committee share, so that it is worked out once."""
        return self.texture.describe(x)

    def forward(self, x: torch.Tensor, described: torch.Tensor | None = None) -> torch.Tensor:
        """Return scores (n, k)."""
        seen = self.describe(x) if described is None else described
        return mean_of([self.network(x), self.texture.judge(seen)], (1 - SHARE, SHARE))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the network's head sees, (n, d)."""
        return pooled(self.network, x)


def _colours(rgb: torch.Tensor, stains: torch.Tensor) -> torch.Tensor:
    """Return shares of colours, of amounts of stain, of saturation and of lightness."""
    cube = (rgb * (COLOURS / 256)).long()
    parts = [_counts((cube[:, 0] * COLOURS + cube[:, 1]) * COLOURS + cube[:, 2], COLOURS**3)]
    for number, (low, high) in enumerate(DENSITIES):
        parts.append(_counts(_bins((stains[:, number] - low) / (high - low)), BINS))
    highest = rgb.amax(dim=1)
    parts.append(_counts(_bins((highest - rgb.amin(dim=1)) / highest.clamp(min=1)), BINS))
    parts.append(_counts(_bins(highest / 256), BINS))
    return torch.cat(parts, dim=1)


def _bins(values: torch.Tensor) -> torch.Tensor:
    return (values * BINS).long().clamp(0, BINS - 1)


def _counts(codes: torch.Tensor, bins: int) -> torch.Tensor:
    """Return square roots of the share of each code in each picture (n, h, w) → (n, bins)."""
    n = len(codes)
    rows = torch.arange(n, device=codes.device).view(n, 1) * bins
    counts = torch.bincount((codes.reshape(n, -1) + rows).ravel(), minlength=n * bins).view(n, bins)
    return (counts.float() / codes[0].numel()).sqrt()


def _runs(grey: torch.Tensor) -> torch.Tensor:
    """Return a byte per inner pixel of (n, h, w): which of its neighbours are at least as light."""
    height, width = grey.shape[1:]
    middle, code = grey[:, 1:-1, 1:-1], None
    for bit, (y, x) in enumerate(AROUND):
        there = (grey[:, 1 + y : height - 1 + y, 1 + x : width - 1 + x] >= middle).to(torch.uint8) << bit
        code = there if code is None else code | there
    return code.long()  # type: ignore[union-attr] # there are neighbours


def _patterns() -> torch.Tensor:
    bits = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
    changes = (bits != bits.roll(1, dims=1)).sum(dim=1)
    return torch.where(changes <= 2, bits.sum(dim=1), PATTERNS - 1)


def _pairs(values: torch.Tensor) -> torch.Tensor:
    """Return mean, spread, and how pairs of pixels agree and differ, along rows and columns alike."""
    mean, spread = values.mean(dim=(1, 2)), values.var(dim=(1, 2)).add(1e-4).sqrt()
    level = (values - mean[:, None, None]) / spread[:, None, None]
    parts = [mean, spread]
    for gap in APART:
        down, across = (level[:, gap:], level[:, :-gap]), (level[:, :, gap:], level[:, :, :-gap])
        agree = [(a * b).mean(dim=(1, 2)) for a, b in (down, across)]
        differ = [(a - b).abs().mean(dim=(1, 2)) * spread for a, b in (down, across)]
        parts += [(agree[0] + agree[1]) / 2, (differ[0] + differ[1]) / 2]
    return torch.stack(parts, dim=1)
