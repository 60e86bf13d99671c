"""Examples as a PyTorch dataset: squares cut at random, turned and recoloured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from coverslip.core.errors import UsageError
from coverslip.learn.detect.example import Example, crop, recoloured, turned
from coverslip.learn.loading import rng_of

Sample = tuple[torch.Tensor, dict[str, torch.Tensor]]


class Examples(Protocol):
    """A sequence of examples, read when asked for."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Return one."""
        ...


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


class Squares(Dataset[Sample]):
    """What the network is trained on, for `coverslip.learn.loading.loader`.

    Parameters
    ----------
    examples
        Where squares are cut from.
    augment
        How.
    seed
        The same seed, epoch and row give the same square.
    repeat
        Squares per example and epoch.
    """

    def __init__(self, examples: Examples, augment: Augment, *, seed: int = 0, repeat: int = 1) -> None:
        self._examples, self._augment, self._seed, self._repeat = examples, augment, seed, repeat

    def __len__(self) -> int:
        return len(self._examples) * self._repeat

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return a square and its objects, as epoch ``key[0]`` sees row ``key[1]``."""
        epoch, row = key
        example = self._examples[row % len(self._examples)]
        return sample_of(self._augment(example, rng_of(self._seed, epoch, row)))


def sample_of(example: Example) -> Sample:
    """Return what torchvision's detectors take of an example."""
    target: dict[str, torch.Tensor] = {
        "boxes": torch.from_numpy(example.boxes),
        "labels": torch.from_numpy(example.classes),
    }
    if example.labels is not None:
        numbers = np.arange(1, len(example) + 1, dtype=np.int32)[:, None, None]
        target["masks"] = torch.from_numpy((example.labels[None] == numbers).astype(np.uint8))
    return picture_of(example.pixels), target


def picture_of(pixels: Any) -> torch.Tensor:
    """Turn (h, w, 3) uint8 into (3, h, w) from 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float().div_(255)


def together(samples: Sequence[Sample]) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    """Make a batch, for a DataLoader's ``collate_fn``."""
    pictures, targets = zip(*samples, strict=True)
    return list(pictures), list(targets)
