"""The encoders Coverslip knows, by name."""

from __future__ import annotations

from coverslip.core import unknown
from coverslip.models.card import ModelCard
from coverslip.models.encoder_table import CARDS

ENCODERS: dict[str, ModelCard] = {card.id: card for card in CARDS}


def encoder_card(name: str) -> ModelCard:
    """Return the card of encoder `name`.

    Raises
    ------
    UnknownNameError
        With the nearest name.

    Examples
    --------
    >>> encoder_card("resnet18").dim, encoder_card("virchow2").pooling
    (512, 'class+mean')
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    return ENCODERS[name]
