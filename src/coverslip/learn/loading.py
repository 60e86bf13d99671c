"""Loaders whose epochs depend on seed and epoch alone, so that a resumed run draws what a whole one does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from coverslip.core.errors import UsageError

if TYPE_CHECKING:
    from coverslip.learn.fit import FitSpec


class Drawn(Protocol):
    """A dataset whose items may be drawn at random: ``dataset[(epoch, row)]``."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, key: tuple[int, int]) -> Any:
        """Return row `row` as epoch `epoch` sees it; random choices come from `rng_of`."""
        ...


def rng_of(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return the generator of one row in one epoch."""
    return np.random.default_rng([seed, epoch, row])


class EpochSampler(Sampler[tuple[int, int]]):
    """Rows of an epoch in an order that follows from seed and epoch; each process of DDP takes its share.

    Parameters
    ----------
    rows
        Number of rows.
    weights
        (rows,): chances of being drawn, with replacement; None draws each row once.
    shuffle
        False keeps the order, for validation.
    """

    def __init__(
        self, rows: int, *, seed: int, weights: ArrayLike | None = None, shuffle: bool = True
    ) -> None:
        self._rows, self._seed, self._shuffle = rows, seed, shuffle
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._rows / _world()[1])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = _world()
        order = np.resize(self._order(), len(self) * world)[rank::world]
        epoch = self.epoch
        return ((epoch, row) for row in order.tolist())

    def _order(self) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, self.epoch])
        if self._weights is not None:
            return rng.choice(self._rows, self._rows, p=self._weights / self._weights.sum())
        return rng.permutation(self._rows) if self._shuffle else np.arange(self._rows)


def loader(
    dataset: Drawn,
    spec: FitSpec,
    *,
    train: bool,
    weights: ArrayLike | None = None,
    collate: Any = None,
    batch_size: int | None = None,
) -> DataLoader[Any]:
    """Return the loader of a dataset for `coverslip.learn.fit`.

    Parameters
    ----------
    dataset
        Indexed by (epoch, row).
    train
        Whether rows are shuffled (or drawn by `weights`), and a last batch of one row left out.
    weights
        Chances of the rows.
    collate
        Makes a batch of a list of rows; None for torch's own.

    Raises
    ------
    UsageError
        When there are no rows.
    """
    if not len(dataset):
        raise UsageError("there are no rows to learn from", mend="look at the splits: a part is empty")
    size = batch_size or spec.batch_size
    sampler = EpochSampler(len(dataset), seed=spec.seed, weights=weights, shuffle=train)
    lone = train and len(sampler) > size and len(sampler) % size == 1  # a batch norm cannot learn from one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # more workers than cores is the user's choice
        return DataLoader(
            _cast(dataset),
            batch_size=size,
            sampler=sampler,
            num_workers=spec.workers,
            drop_last=lone,
            collate_fn=collate,
            pin_memory=spec.device == "cuda",
        )


def balancing(codes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return chances of rows under which all classes are drawn alike.

    Examples
    --------
    >>> balancing([0, 0, 0, 1]).tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    codes = np.asarray(codes)
    counts = np.bincount(codes)
    return counts.max() / counts[codes].astype(np.float64)


def _world() -> tuple[int, int]:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _cast(dataset: Drawn) -> Dataset[Any]:
    return dataset  # type: ignore[return-value]
