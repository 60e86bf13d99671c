"""All published models that have a card, by name."""

from __future__ import annotations

from coverslip.core import unknown
from coverslip.models.card import ModelCard
from coverslip.models.encoders import ENCODERS
from coverslip.models.slide_encoders import SLIDE_ENCODERS

MODELS: dict[str, ModelCard] = ENCODERS | SLIDE_ENCODERS


def model_card(name: str) -> ModelCard:
    """Return the card of model `name`, whatever its task.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]
