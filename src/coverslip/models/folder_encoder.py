"""A classifier that ``coverslip train`` made, without its head: an encoder of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from coverslip.core.errors import UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from coverslip.models.committee import pooled

if TYPE_CHECKING:
    from coverslip.models.folder import FolderCard, ModelFolder

TASK = "classify/tiles"


def encoder_name(model: ModelFolder) -> str:
    """Return what its features are called: the model's name and the begin of its weights' digest.

    Raises
    ------
    UsageError
        When it is no classifier of tiles.
    """
    if model.card.task != TASK:
        raise UsageError(
            f"{model.path} is a model for {model.card.task}; features come from one for {TASK}",
            mend="give a model that was trained with method tiles, or an encoder of coverslip models list",
        )
    return f"{model.card.id}-{model.digest.partition(':')[2][:8]}"


class Features(nn.Module):
    """What the head of a classifier sees: pictures (n, 3, side, side) → (n, d)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, d)."""
        return pooled(self.network, x)


def folder_encoder(model: ModelFolder) -> tuple[ModelCard, Features]:
    """Return card and network of the encoder in a model folder.

    Raises
    ------
    UsageError, StoreError
        When it is no classifier of tiles, or its weights do not match.
    """
    from coverslip.models.classifiers import build_classifier
    from coverslip.models.picture_classifier import AGGREGATION

    name, card = encoder_name(model), model.card
    built = build_classifier(card.architecture, len(card.classes), card.parameters)
    network = Features(model.into(built, ignore=AGGREGATION)).eval()
    side = int(card.tile_px or 0)
    with torch.inference_mode():
        dim = network(torch.zeros(1, 3, side, side)).shape[1]
    return _card(name, card, dim), network


def _card(name: str, card: FolderCard, dim: int) -> ModelCard:
    return ModelCard(
        id=name,
        task="encoder",
        architecture=card.architecture,
        dim=dim,
        tile_px=int(card.tile_px or 0),
        any_size=False,
        mpp=card.mpp,
        mean=card.mean or IMAGENET_MEAN,
        std=card.std or IMAGENET_STD,
        licence=card.licence or "of its owner",
        commercial_use=True,
        gated=False,
        source="",
        cite="",
    )
