"""From a training's checkpoint to the model folder that goes with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from coverslip.core.errors import StoreError
from coverslip.learn.nuclei.augment import DIAMETER
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.nuclei.detector import TASK, NucleiNetworkDetector, Precision, fused
from coverslip.models.nuclei.network import WIDTHS, NucleiNetwork
from coverslip.models.nuclei.reading import Reading

MPP = 0.5
"""Microns per pixel at which slides are read."""


def mean_weights(folder: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Return the mean weights of a training and its number of steps.

    Raises
    ------
    StoreError
        When the folder has no checkpoint.
    """
    path = folder / "checkpoint.pt"
    if not path.is_file():
        raise StoreError(f"there is no checkpoint in {folder}", mend="train first")
    state = torch.load(path, weights_only=True)
    return dict(state["mean"]), int(state["step"])


def detector_of(
    weights: Mapping[str, torch.Tensor], reading: Reading, *, precision: Precision = "bf16", views: int = 1
) -> NucleiNetworkDetector:
    """Return a detector with these weights, as the package would load it."""
    network = NucleiNetwork()
    network.load_state_dict(dict(weights))
    return NucleiNetworkDetector(
        network=fused(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last),
        reading=reading,
        mpp=MPP,
        diameter=DIAMETER,
        digest="",
        precision=precision,
        views=views,
    )


def ship(
    folder: Path, weights: Mapping[str, torch.Tensor], reading: Reading, facts: Mapping[str, Any]
) -> ModelFolder:
    """Write the model folder, the weights in half precision.

    Parameters
    ----------
    facts
        ``trained_on`` and ``metrics`` of the card.
    """
    halved = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    card = FolderCard(
        id="nuclei",
        task=TASK,
        architecture="coverslip.models.nuclei.network:NucleiNetwork",
        parameters={"widths": list(WIDTHS)},
        classes=("nucleus",),
        mpp=MPP,
        licence="CC0-1.0",
        preprocessing={"diameter": DIAMETER, **asdict(reading)},
        **facts,
    )
    return ModelFolder.save(folder, halved, card)
