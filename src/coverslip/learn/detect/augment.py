"""How examples are varied in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coverslip.core.errors import UsageError
from coverslip.learn.detect.example import Example, crop, recoloured, turned


@dataclass(frozen=True)
class Augment:
    """How examples are varied in training.

    Parameters
    ----------
    side
        Of the squares that the network sees, in pixels.
    zoom
        Objects appear up to so many times larger or smaller; 1 for never.
    turn
        Mirror and turn by quarters.
    colour
        See `coverslip.learn.detect.example.recoloured`.
    grey, invert
        Shares of squares that lose their colour, and that become their negative.

    Raises
    ------
    UsageError
        When a value cannot be served.
    """

    side: int = 256
    zoom: float = 1.5
    turn: bool = True
    colour: float = 0.2
    grey: float = 0.0
    invert: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.colour, self.grey, self.invert)
        if self.side < 32 or self.zoom < 1 or not all(0 <= share <= 1 for share in shares):
            raise UsageError(
                f"side {self.side}, zoom {self.zoom}, colour, grey and invert {shares}: expected a side of "
                "32 "
                "or more, a zoom of 1 or more, and shares from 0 to 1"
            )

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return a square of the example."""
        scale = float(np.exp(rng.uniform(-1, 1) * np.log(self.zoom)))
        high, wide = (side * scale for side in example.pixels.shape[:2])
        x, y = (int(rng.uniform(min(0, d - self.side), max(0, d - self.side) + 1)) for d in (wide, high))
        found = crop(example, (x, y), self.side, scale=scale)
        if self.turn:
            found = turned(found, int(rng.integers(4)), mirror=bool(rng.integers(2)))
        pixels = recoloured(found.pixels, rng, self.colour)
        if rng.random() < self.grey:
            pixels = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        if rng.random() < self.invert:
            pixels = 255 - pixels
        return Example(pixels, found.boxes, found.classes, found.labels, found.name)
