"""The encoders Coverslip knows: a row each.

Figures are those of the weights' own pages on the Hugging Face hub (pretrained configuration of timm).
"""

from __future__ import annotations

from coverslip.core import unknown
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard

RESNET = "He et al., CVPR 2016"
CONVNEXT = "Liu et al., CVPR 2022"
EFFICIENTNET = "Tan and Le, ICML 2019"
VIT = "Dosovitskiy et al., ICLR 2021"


def _imagenet(name: str, tagged: str, dim: int, any_size: bool, cite: str) -> ModelCard:
    """Make the card of a timm network with ImageNet weights; `tagged` is timm's ``architecture.weights``."""
    architecture, _, _ = tagged.partition(".")
    return ModelCard(
        id=name, task="encoder", architecture=architecture, dim=dim, tile_px=224, any_size=any_size, mpp=None,
        mean=IMAGENET_MEAN, std=IMAGENET_STD, licence="Apache-2.0", commercial_use=True, gated=False,
        source=f"timm/{tagged}", cite=cite,
    )  # fmt: skip


_CARDS = (
    _imagenet("resnet18", "resnet18.a1_in1k", 512, True, RESNET),
    _imagenet("resnet50", "resnet50.a1_in1k", 2048, True, RESNET),
    _imagenet("convnext-tiny", "convnext_tiny.fb_in22k_ft_in1k", 768, True, CONVNEXT),
    _imagenet("efficientnet-b0", "efficientnet_b0.ra_in1k", 1280, True, EFFICIENTNET),
    _imagenet("vit-small", "vit_small_patch16_224.augreg_in21k_ft_in1k", 384, False, VIT),
    _imagenet("vit-base", "vit_base_patch16_224.augreg_in21k_ft_in1k", 768, False, VIT),
    _imagenet("vit-large", "vit_large_patch16_224.augreg_in21k_ft_in1k", 1024, False, VIT),
)

ENCODERS: dict[str, ModelCard] = {card.id: card for card in _CARDS}


def encoder_card(name: str) -> ModelCard:
    """Return the card of encoder `name`.

    Raises
    ------
    UnknownNameError
        With the nearest name.

    Examples
    --------
    >>> encoder_card("resnet18").dim
    512
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    return ENCODERS[name]
