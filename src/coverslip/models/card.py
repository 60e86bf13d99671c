"""What a model is, as data: its input, its output, its licence and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass

from coverslip.core.errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """The facts of a model that a run depends on and a user must know.

    Attributes
    ----------
    id
        The name used everywhere: command line, files, provenance.
    task
        ``"encoder"``: tile → vector.
    architecture
        The timm name that builds the network.
    dim
        Length of the feature vector.
    tile_px
        Side of the tile that the network was trained on.
    any_size
        True when the network takes other tile sizes as well (fully convolutional).
    mpp
        Microns per pixel it was trained at; None for a network that has seen no slides.
    mean, std
        Of the training pixels, per channel, on the scale 0 to 1.
    licence, commercial_use, gated
        Of the weights, as their publisher states it.
    source
        Hub repository of the weights.
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
        if self.mpp is not None and mpp is not None and abs(mpp / self.mpp - 1) > 0.05:
            raise UsageError(
                f"encoder {self.id!r} was trained at mpp {self.mpp:g}, these tiles have {mpp:g}",
                mend=f"lay the tiles anew: --set tiles.mpp={self.mpp:g}",
            )
