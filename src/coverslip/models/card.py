"""What a model is, as data: its input, its output, its licence and where its weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coverslip.core.errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PERMISSIVE = frozenset({"Apache-2.0", "MIT", "BSD-3-Clause"})
"""Licences that ask for nothing before a download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts of a model that a run depends on and a user must know.

    Attributes
    ----------
    id
        The name used everywhere: command line, files, provenance.
    task
        ``"encoder"``: tile → vector; ``"slide-encoder"``: features of a slide's tiles → vector.
    architecture
        The timm name that builds the network, or a name of `coverslip.models.encoder_networks.BUILDERS`.
    parameters
        What it is built with, besides.
    dim
        Length of the feature vector.
    tile_px
        Side of the tile that the network was trained on.
    any_size
        True when the network takes other tile sizes as well (fully convolutional).
    mpp
        Microns per pixel it was trained at; None for a network that has seen no slides.
    also_mpp
        Other scales that it was trained at.
    pooling
        ``"own"``: what the network itself gives; ``"class+mean"``: the class token and the mean of the tokens
        of the tile's parts, end to end, registers left out.
    mean, std
        Of the training pixels, per channel, on the scale 0 to 1.
    licence, commercial_use, gated
        Of the weights, as their publisher states it.
    source
        Hub repository of the weights.
    files
        Names that the weights may have there, the one to take first. Pickled ones (``.bin``, ``.pth``) are
        read without running code from them and kept as safetensors.
    layout
        How the tensors are named there: a row of `coverslip.models.weights_layout.LAYOUTS`.
    takes
        Of a slide encoder: the encoder whose features it takes.
    unavailable
        Why Coverslip cannot run it; empty when it can.
    facts
        Where the card's figures were taken from.
    note
        What else to know.
    cite
        Who to cite.
    """

    id: str
    task: str
    architecture: str
    dim: int
    tile_px: int
    any_size: bool
    mpp: float | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    commercial_use: bool
    gated: bool
    source: str
    cite: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pooling: str = "own"
    also_mpp: tuple[float, ...] = ()
    files: tuple[str, ...] = ("model.safetensors",)
    layout: str = "timm"
    takes: str | None = None
    unavailable: str = ""
    facts: str = ""
    note: str = ""

    @property
    def restricted(self) -> bool:
        """Whether the licence must be accepted before the weights are downloaded."""
        return self.gated or not self.commercial_use or self.licence not in PERMISSIVE

    def check_available(self) -> None:
        """Refuse a model that has a card but cannot be run.

        Raises
        ------
        UsageError
            With the reason.
        """
        if self.unavailable:
            raise UsageError(
                f"{self.id} cannot be run by Coverslip: {self.unavailable}",
                mend="choose another of `coverslip models list`, or bring its features as HDF5",
            )

    def check_tiles(self, size: int, mpp: float | None = None) -> None:
        """Refuse tiles that the model cannot judge.

        Raises
        ------
        UsageError
            When the size or the mpp (by more than 5 %) is not the one that the model was trained on.
        """
        if size != self.tile_px and not self.any_size:
            raise UsageError(
                f"encoder {self.id!r} takes tiles of {self.tile_px} px, these have {size}",
                mend=f"lay the tiles anew: --set tiles.size={self.tile_px}",
            )
        if self.mpp is None or mpp is None:
            return
        scales = (self.mpp, *self.also_mpp)
        if all(abs(mpp / scale - 1) > 0.05 for scale in scales):
            said = ", ".join(f"{scale:g}" for scale in scales)
            raise UsageError(
                f"encoder {self.id!r} was trained at mpp {said}, these tiles have {mpp:g}",
                mend=f"lay the tiles anew: --set tiles.mpp={self.mpp:g}",
            )
