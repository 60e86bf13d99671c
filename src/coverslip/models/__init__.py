"""Networks and their cards: encoders now, aggregators and segmenters as their rooms open."""

from coverslip.models.card import ModelCard
from coverslip.models.encoder import BACKENDS, Encoder, load_encoder
from coverslip.models.encoders import ENCODERS, encoder_card

__all__ = ["BACKENDS", "ENCODERS", "Encoder", "ModelCard", "encoder_card", "load_encoder"]
