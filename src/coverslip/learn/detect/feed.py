"""Examples as a PyTorch dataset: squares cut at random, turned and recoloured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from coverslip.learn.detect.augment import WIDELY, Augment
from coverslip.learn.detect.example import Example, whole
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
    repeats
        Squares of each example per epoch, (n,); one each when None.
    scales
        By which factor each example is resized, (n,), before it is varied; then some squares show objects of
        any size. None leaves all as they are.
    """

    def __init__(
        self,
        examples: Examples,
        augment: Augment,
        *,
        seed: int = 0,
        repeats: Sequence[int] | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        self._examples, self._augment, self._seed = examples, augment, seed
        self._scales = scales
        each = [1] * len(examples) if repeats is None else repeats
        self._rows = [index for index, count in enumerate(each) for _ in range(count)]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return a square and its objects, as epoch ``key[0]`` sees row ``key[1]``."""
        epoch, row = key
        index = self._rows[row]
        example, rng = self._examples[index], rng_of(self._seed, epoch, row)
        if self._scales is None:
            square = self._augment(example, rng)
        else:
            square = self._augment(example, rng, scale=self._scales[index], widely=WIDELY)
        picture, target = sample_of(square)
        return picture, {**target, "place": torch.tensor(index)}


def sample_of(example: Example, *, masks: bool = True) -> Sample:
    """Return what torchvision's detectors take of an example."""
    target: dict[str, torch.Tensor] = {
        "boxes": torch.from_numpy(example.boxes),
        "labels": torch.from_numpy(example.classes),
    }
    if masks and example.labels is not None:
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


class Whole(Dataset[Sample]):
    """Examples as they are, or resized by `scales`, to validate on."""

    def __init__(self, examples: Examples, scales: Sequence[float] | None = None) -> None:
        self._examples, self._scales = examples, scales

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Return row ``key[1]``."""
        example = self._examples[key[1]]
        scale = 1.0 if self._scales is None else self._scales[key[1]]
        return sample_of(whole(example, scale), masks=False)
