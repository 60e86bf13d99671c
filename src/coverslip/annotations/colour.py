"""Colours as red, green and blue, and the ways in which formats write them."""

from __future__ import annotations

import re
from typing import Any

Colour = tuple[int, int, int]
"""Red, green and blue from 0 to 255."""


def parse_colour(value: Any) -> Colour | None:
    """Read ``#rgb``, ``#rrggbb``, ``rgb(…)``, ``rgba(…)`` or a list; None when it is none of these.

    Examples
    --------
    >>> parse_colour("#F4FA58"), parse_colour("rgba(1, 2, 3, 0.5)"), parse_colour("red")
    ((244, 250, 88), (1, 2, 3), None)
    """
    if isinstance(value, (list, tuple)) and len(value) >= 3:
        return _colour(value[:3])
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{3}", text):
        text = "#" + "".join(2 * digit for digit in text[1:])
    if re.fullmatch(r"#[0-9a-f]{6}", text):
        return _colour([int(text[i : i + 2], 16) for i in (1, 3, 5)])
    if match := re.fullmatch(r"rgba?\(\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*(?:,.*)?\)", text):
        return _colour([float(part) for part in match.groups()])
    return None


def _colour(parts: Any) -> Colour:
    red, green, blue = (min(255, max(0, round(float(part)))) for part in parts)
    return red, green, blue


def hex_of(colour: Colour) -> str:
    """Write as ``#rrggbb``."""
    return "#" + bytes(colour).hex()


def rgb_of(colour: Colour) -> str:
    """Write as ``rgb(r,g,b)``."""
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def from_packed(value: int) -> Colour:
    """Read QuPath's packed integer: 32 bits of alpha, red, green, blue, mostly negative.

    Examples
    --------
    >>> from_packed(-8397766), to_packed((127, 220, 58))
    ((127, 220, 58), -8397766)
    """
    return (value >> 16) & 255, (value >> 8) & 255, value & 255


def to_packed(colour: Colour) -> int:
    """Write QuPath's packed integer, without transparency."""
    return (colour[0] << 16 | colour[1] << 8 | colour[2]) - (1 << 24)


def from_bgr(value: int) -> Colour:
    """Read ImageScope's decimal number, whose lowest byte is red.

    Examples
    --------
    >>> from_bgr(65535), to_bgr((255, 255, 0))
    ((255, 255, 0), 65535)
    """
    return value & 255, (value >> 8) & 255, (value >> 16) & 255


def to_bgr(colour: Colour) -> int:
    """Write ImageScope's decimal number."""
    return colour[2] << 16 | colour[1] << 8 | colour[0]
