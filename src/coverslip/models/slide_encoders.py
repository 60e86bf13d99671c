"""Slide encoders: the features of a slide's tiles in, one vector out.

Five published ones have cards. Coverslip runs none of them, and each card says why; ``mean``, which has no
weights, is what they are to be held against and stands for the interface.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import UsageError
from coverslip.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from coverslip.models.encoders import encoder_card

NC_ND = "CC-BY-NC-ND-4.0"
ND_CODE = "its network is published under CC-BY-NC-ND-4.0 alone, which forbids a derived one"


class SlideEncoder(Protocol):
    """A network that sums a slide up."""

    card: ModelCard

    def encode(
        self, features: NDArray[np.floating], xy: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Return one vector (d,) of the features (n, d) of a slide's tiles.

        Parameters
        ----------
        xy
            Shape (n, 2): the tiles' corners in level-0 pixels, for encoders that heed where tiles lie.

        Raises
        ------
        UsageError
            When no tile has features.
        """
        ...


class Mean:
    """The mean of the features; tiles that could not be read (NaN) are left out."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def encode(
        self,
        features: NDArray[np.floating],
        xy: NDArray[np.integer] | None = None,  # noqa: ARG002 - the protocol
    ) -> NDArray[np.float32]:
        """See `SlideEncoder`.

        Examples
        --------
        >>> load_slide_encoder("mean").encode(np.array([[1, 2], [3, 4], [np.nan, np.nan]])).tolist()
        [2.0, 3.0]
        """
        known = np.isfinite(features).all(axis=1)
        if not known.any():
            raise UsageError(
                f"none of {len(features)} tiles has features", mend="embed the slide again, or leave it out"
            )
        return np.asarray(features[known].mean(axis=0, dtype=np.float64), np.float32)


def _card(name: str, dim: int, source: str, takes: str, **facts: object) -> ModelCard:
    tile = encoder_card(takes)
    usual = {
        "licence": NC_ND, "commercial_use": False, "gated": True, "unavailable": ND_CODE,
        "facts": "its page on the hub; TRIDENT, slide_encoder_models/load.py",
    }  # fmt: skip
    return ModelCard(
        id=name, task="slide-encoder", architecture=name, dim=dim, source=source, takes=takes, mpp=tile.mpp,
        tile_px=tile.tile_px, any_size=tile.any_size, mean=tile.mean, std=tile.std,
        **(usual | facts),  # type: ignore[arg-type]
    )  # fmt: skip


_CARDS = (
    ModelCard(
        id="mean", task="slide-encoder", architecture="mean", dim=0, tile_px=0, any_size=True, mpp=None,
        mean=IMAGENET_MEAN, std=IMAGENET_STD, licence="Apache-2.0", commercial_use=True, gated=False,
        source="", cite="", files=(), note="of any encoder's features; as long as they are; has no weights",
    ),
    _card("titan", 768, "MahmoodLab/TITAN", "conch-1.5", cite="Ding et al., Nat Med 2025"),
    _card("prism", 1280, "paige-ai/Prism", "virchow", cite="Shaikovski et al., arXiv 2405.10254"),
    _card(
        "gigapath-slide", 768, "prov-gigapath/prov-gigapath", "gigapath", licence="Apache-2.0",
        commercial_use=True, cite="Xu et al., Nature 2024",
        unavailable="its LongNet needs flash-attn and a CUDA device; Coverslip has none of its own yet",
    ),
    _card(
        "chief", 768, "hms-dbmi/CHIEF", "ctranspath", licence="AGPL-3.0", gated=False,
        cite="Wang et al., Nature 2024",
        unavailable="its network is published under AGPL-3.0, its weights on no hub",
    ),
    _card(
        "madeleine", 512, "MahmoodLab/madeleine", "conch", licence="MIT (hub), CC-BY-NC-ND-4.0 (code)",
        cite="Jaume et al., ECCV 2024",
    ),
)  # fmt: skip

SLIDE_ENCODERS: dict[str, ModelCard] = {card.id: card for card in _CARDS}


def slide_encoder_card(name: str) -> ModelCard:
    """Return the card of slide encoder `name`.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    """
    if name not in SLIDE_ENCODERS:
        raise unknown("slide encoder", name, SLIDE_ENCODERS)
    return SLIDE_ENCODERS[name]


def load_slide_encoder(name: str) -> SlideEncoder:
    """Load a slide encoder by name.

    Raises
    ------
    UnknownNameError
        When there is none of that name.
    UsageError
        When Coverslip cannot run it; the reason is in the message.

    Examples
    --------
    >>> load_slide_encoder("titan")
    Traceback (most recent call last):
    coverslip.core.errors.UsageError: titan cannot be run by Coverslip: ...
    """
    card = slide_encoder_card(name)
    card.check_available()
    return Mean(card)
