"""What a model's card says of how its training slides look, so that others can be told to be unlike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from coverslip.core.errors import MppError, SlideError, StainError
from coverslip.models.folder import ModelFolder
from coverslip.models.seen import Seen, looks_of
from coverslip.slides import open_slide

if TYPE_CHECKING:
    from coverslip.slides import SlideSource

MOST_SLIDES = 200
"""Training slides that are looked at; more of them, evenly chosen, would say the same."""


def keep_seen(folder: Path, sources: Iterable[SlideSource]) -> None:
    """Look at training slides and note in a model's card how they look.

    Nothing is noted where the model has no scale of its own, or too few slides can be looked at: whether a
    slide is unlike is unknown then.

    Parameters
    ----------
    folder
        Of the model, saved.
    sources
        The slides that were trained on.
    """
    model = ModelFolder.load(folder)
    mpp, tile_px = model.card.mpp, model.card.tile_px
    if mpp is None or tile_px is None:
        return
    every = list(sources)
    looks = []
    for source in every[:: max(1, -(-len(every) // MOST_SLIDES))]:
        try:
            with open_slide(source.path, mpp=source.mpp) as slide:
                looks.append(looks_of(slide, mpp=mpp, tile_px=tile_px))
        except (SlideError, MppError, StainError):  # it was trained on by other means: from features, say
            continue
    seen = Seen.of(looks, mpp=mpp, tile_px=tile_px)
    if seen is not None:
        model.noted(seen=seen.to_dict())
