"""Bags as a loader draws them: a random part of the tiles in training, all of them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coverslip.learn.bags.bags import Bag
from coverslip.learn.loading import rng_of


class BagBatch(NamedTuple):
    """A batch of bags.

    Attributes
    ----------
    features
        (b, n, d) as stored, often float16; rows without a tile are 0.
    mask
        (b, n), True where a row is a tile; None when all are.
    coords
        (b, n, 2) float32 or None.
    truths
        Per target (b,) or (b, k), float64; NaN where nobody knows.
    """

    features: Tensor
    mask: Tensor | None
    coords: Tensor | None
    truths: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class BagRows:
    """Some bags with their truth.

    Attributes
    ----------
    bags
        In order.
    truths
        Per target, (n,) or (n, k).
    sample
        Tiles of a bag seen at a time, drawn anew each epoch; None for all.
    coords
        Whether the tiles' places are read as well.
    """

    bags: Sequence[Bag]
    truths: Sequence[NDArray[np.float64]] = ()
    sample: int | None = None
    coords: bool = False
    seed: int = 0

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, key: tuple[int, int]) -> BagBatch:
        epoch, row = key
        bag, rows = self.bags[row], None
        if self.sample is not None and bag.tiles > self.sample:
            rng = rng_of(self.seed, epoch, row)
            rows = np.sort(rng.choice(bag.tiles, self.sample, replace=False))
        features, places = bag.read(rows, coords=self.coords)
        truths = tuple(torch.as_tensor(truth[row : row + 1]) for truth in self.truths)
        where = None if places is None else torch.from_numpy(places.astype(np.float32))[None]
        return BagBatch(torch.from_numpy(features)[None], None, where, truths)


def collated(bags: Sequence[BagBatch]) -> BagBatch:
    """Put bags of one into a batch, padded to the longest.

    Examples
    --------
    >>> one, two = (BagBatch(torch.ones(1, n, 4), None, None) for n in (2, 5))
    >>> batch = collated([one, two])
    >>> batch.features.shape, batch.mask.sum(dim=1).tolist()
    (torch.Size([2, 5, 4]), [2, 5])
    """
    if len(bags) == 1:
        return bags[0]
    lengths = [bag.features.shape[1] for bag in bags]
    truths = tuple(torch.cat(each) for each in zip(*(bag.truths for bag in bags), strict=True))
    features = _padded([bag.features[0] for bag in bags], max(lengths))
    places = [bag.coords[0] for bag in bags if bag.coords is not None]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return BagBatch(
        features,
        None if mask.all() else mask,
        _padded(places, max(lengths)) if places else None,
        truths,
    )


def _padded(rows: Sequence[Tensor], length: int) -> Tensor:
    out = torch.zeros(len(rows), length, rows[0].shape[1], dtype=rows[0].dtype)
    for number, some in enumerate(rows):
        out[number, : len(some)] = some
    return out
