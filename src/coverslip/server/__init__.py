"""The second opinion in a browser: slides, overlays, annotations, reviews."""

from coverslip.server.library import Entry, Library
from coverslip.server.pyramid import Picture, Pyramid, ServedLevel

__all__ = ["Entry", "Library", "Picture", "Pyramid", "ServedLevel"]
