"""How examples are varied in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coverslip.core.errors import UsageError
from coverslip.learn.detect.example import Example, crop, recoloured, turned

ON_OBJECT = 0.8
"""Share of the squares that are laid so that some object, drawn at random, is seen."""

WIDELY, WIDE = 0.2, 3.0
"""Of pictures that are brought to one size of object: the share of squares in which objects are up to `WIDE`
times larger or smaller, so that a picture whose scale nobody knows can be looked at as it is."""


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

    def __call__(
        self, example: Example, rng: np.random.Generator, *, scale: float = 1.0, widely: float = 0.0
    ) -> Example:
        """Return a square of the example.

        Parameters
        ----------
        scale
            Of the picture, before `zoom`.
        widely
            Share of the squares in which objects have any size; see `WIDE`.
        """
        zoom = WIDE if rng.random() < widely else self.zoom
        scale = scale * float(np.exp(rng.uniform(-1, 1) * np.log(zoom)))
        found = crop(example, self._corner(example, scale, rng), self.side, scale=scale)
        if self.turn:
            found = turned(found, int(rng.integers(4)), mirror=bool(rng.integers(2)))
        pixels = recoloured(found.pixels, rng, self.colour)
        if rng.random() < self.grey:
            pixels = np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        if rng.random() < self.invert:
            pixels = 255 - pixels
        return Example(pixels, found.boxes, found.classes, found.labels, found.name)

    def _corner(self, example: Example, scale: float, rng: np.random.Generator) -> tuple[int, int]:
        """Choose where to cut, x and y in pixels of the scaled picture: mostly so that an object is seen."""
        high, wide = (side * scale for side in example.pixels.shape[:2])
        low, last = (
            np.minimum(0, (wide - self.side, high - self.side)),
            np.maximum(0, (wide - self.side, high - self.side)),
        )
        corner = rng.uniform(low, last + 1)
        if len(example) and rng.random() < ON_OBJECT:
            left, top, right, bottom = example.boxes[rng.integers(len(example))] * scale
            middle = np.array([left + right, top + bottom]) / 2
            corner = np.clip(middle - rng.uniform(0.1, 0.9, 2) * self.side, low, last)
        x, y = corner.tolist()
        return int(x), int(y)
