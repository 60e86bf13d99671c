"""From a training's checkpoint to a model folder that finds nuclei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from coverslip.core.errors import StoreError
from coverslip.learn.nuclei.augment import DIAMETER
from coverslip.models.folder import FolderCard, ModelFolder
from coverslip.models.nuclei.detector import TASK, NucleiNetworkDetector, fused
from coverslip.models.nuclei.network import WIDTHS, NucleiNetwork
from coverslip.models.nuclei.reading import Reading


@dataclass(frozen=True)
class Make:
    """What a model is besides its weights; by default the one that goes with the package.

    Attributes
    ----------
    id
        Its name.
    widths
        Of the network; see `coverslip.models.nuclei.network.NucleiNetwork`.
    mpp
        Microns per pixel at which slides are read.
    diameter
        Pixels of a usual nucleus.
    """

    id: str = "nuclei"
    widths: tuple[int, int, int, int, int] = WIDTHS
    mpp: float = 0.5
    diameter: float = DIAMETER


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
    weights: Mapping[str, torch.Tensor], reading: Reading, make: Make | None = None
) -> NucleiNetworkDetector:
    """Return a detector with these weights, as the package would load it."""
    make = make or Make()
    network = NucleiNetwork(make.widths)
    network.load_state_dict(dict(weights))
    return NucleiNetworkDetector(
        network=fused(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last),
        reading=reading,
        mpp=make.mpp,
        diameter=make.diameter,
        digest="",
    )


def halved(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights in half precision, as they are shipped; counters stay whole numbers."""
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}


def ship(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    reading: Reading,
    facts: Mapping[str, Any],
    make: Make | None = None,
) -> ModelFolder:
    """Write the model folder, the weights in half precision.

    Parameters
    ----------
    facts
        ``trained_on`` and ``metrics`` of the card.
    make
        `Make` when None.
    """
    make = make or Make()
    card = FolderCard(
        id=make.id,
        task=TASK,
        architecture="coverslip.models.nuclei.network:NucleiNetwork",
        parameters={"widths": list(make.widths)},
        classes=("nucleus",),
        mpp=make.mpp,
        licence="CC0-1.0",
        preprocessing={"diameter": make.diameter, **asdict(reading)},
        **facts,
    )
    return ModelFolder.save(folder, halved(weights), card)
