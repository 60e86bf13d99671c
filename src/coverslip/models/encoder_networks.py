"""Networks of encoders without their weights: timm's, and the few that timm has not.

The three that are built here follow the papers and the tensor names of the published weights; no code of
their authors is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from coverslip.core.errors import UsageError
from coverslip.models.card import ModelCard

LAYERS: dict[str, Any] = {"SiLU": nn.SiLU}
"""What a card's parameters may name; timm's own are added when it is there."""


def assemble(card: ModelCard) -> nn.Module:
    """Build the network of `card` with random weights: tiles (n, 3, h, w) in, features (n, dim) out.

    Raises
    ------
    UsageError
        When Coverslip cannot run this model.
    """
    card.check_available()
    return pooled(trunk(card), card)


def trunk(card: ModelCard) -> nn.Module:
    """Build the part of the network that has weights."""
    builder = BUILDERS.get(card.architecture)
    return _timm(card.architecture, card.parameters) if builder is None else builder()


def pooled(network: nn.Module, card: ModelCard) -> nn.Module:
    """Put the card's pooling behind the network."""
    if card.pooling == "own":
        return network
    if card.pooling == "class+mean":
        return ClassAndMean(network)
    raise UsageError(f"card {card.id!r} names the pooling {card.pooling!r}; expected 'own' or 'class+mean'")


class ClassAndMean(nn.Module):
    """The class token beside the mean of the tokens of the tile's parts; registers are left out.

    Parameters
    ----------
    network
        A timm vision transformer that gives all tokens.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.before = int(network.num_prefix_tokens)  # type: ignore[arg-type]

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return (n, 2 × width)."""
        tokens = self.network.forward_features(tiles)  # type: ignore[operator]
        return torch.cat([tokens[:, 0], tokens[:, self.before :].mean(dim=1)], dim=1)


class AttentionPooled(nn.Module):
    """A vision transformer whose tokens are pooled by one learned query (CoCa: Yu et al., TMLR 2022).

    Parameters
    ----------
    trunk
        The transformer.
    width, dim
        Of its tokens, and of the features.
    """

    def __init__(self, trunk: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_q, self.ln_k = nn.LayerNorm(dim), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(dim, 8, kdim=width, vdim=width, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return (n, dim)."""
        tokens = self.ln_k(self.trunk.forward_features(tiles))  # type: ignore[operator]
        query = self.ln_q(self.query).expand(len(tokens), 1, -1)
        found, _ = self.attn(query, tokens, tokens, need_weights=False)
        features: torch.Tensor = self.norm(found[:, 0])
        return features


class ConvolutionStem(nn.Module):
    """Two strided convolutions in place of Swin's cutting into squares (Wang et al., Med Image Anal 2022)."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        first, second = width // 8, width // 4
        self.proj = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU(),
            nn.Conv2d(second, width, 1),
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.grid_size = (56, 56)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return (n, h / 4, w / 4, width)."""
        tokens: torch.Tensor = self.norm(self.proj(tiles).permute(0, 2, 3, 1))
        return tokens


def _timm(architecture: str, parameters: Mapping[str, Any]) -> nn.Module:
    import timm

    layers = {**LAYERS, "SwiGLUPacked": import_module("timm.layers").SwiGLUPacked}
    given = {k: layers.get(v, v) if isinstance(v, str) else v for k, v in parameters.items()}
    if "norm_eps" in given:
        given["norm_layer"] = partial(nn.LayerNorm, eps=given.pop("norm_eps"))
    network: nn.Module = timm.create_model(architecture, pretrained=False, num_classes=0, **given)
    return network


def _conch() -> nn.Module:
    return AttentionPooled(
        _timm("vit_base_patch16_224", {"img_size": 448, "dynamic_img_size": True}), 768, 512
    )


def _conch_1_5() -> nn.Module:
    parameters = {"img_size": 448, "init_values": 1e-5, "dynamic_img_size": True}
    return AttentionPooled(_timm("vit_large_patch16_224", parameters), 1024, 768)


def _ctranspath() -> nn.Module:
    network = _timm("swin_tiny_patch4_window7_224", {})
    network.patch_embed = ConvolutionStem()
    return network


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "conch": _conch,
    "conch-1.5": _conch_1_5,
    "ctranspath": _ctranspath,
}
"""Networks that timm has not."""
