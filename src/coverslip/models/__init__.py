"""Networks and their cards: encoders now, aggregators and segmenters as their rooms open."""

from coverslip.models.card import ModelCard
from coverslip.models.encoder import BACKENDS, Encoder, load_encoder
from coverslip.models.encoders import ENCODERS, encoder_card
from coverslip.models.published import MODELS, model_card
from coverslip.models.slide_encoders import SLIDE_ENCODERS, load_slide_encoder, slide_encoder_card

__all__ = [
    "BACKENDS",
    "ENCODERS",
    "MODELS",
    "SLIDE_ENCODERS",
    "Encoder",
    "ModelCard",
    "encoder_card",
    "load_encoder",
    "load_slide_encoder",
    "model_card",
    "slide_encoder_card",
]
