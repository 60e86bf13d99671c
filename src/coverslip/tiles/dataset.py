"""Tiles of many slides as a PyTorch dataset, for training: mixed at random, at the speed of the stream.

Reading needs no torch; it is imported when a dataset is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.slides import open_slide
from coverslip.tiles.blocks import NormaliserLike
from coverslip.tiles.grid import Tiles
from coverslip.tiles.shuffle import square_of
from coverslip.tiles.stream import Batch, stream


@dataclass(frozen=True, eq=False)
class Source:
    """A slide to learn from.

    Attributes
    ----------
    path
        Of the slide; every worker opens it for itself.
    tiles
        Its tiles.
    labels
        Any array with a row per tile (n, …), or None.
    mpp
        Microns per pixel of level 0, where the user states it.
    normaliser
        Applied to its tiles.
    """

    path: str
    tiles: Tiles
    labels: NDArray[Any] | None = None
    mpp: float | None = None
    normaliser: NormaliserLike | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.tiles):
            raise UsageError(f"{self.path} has {len(self.tiles)} tiles and {len(self.labels)} labels")


@dataclass(frozen=True)
class Mixing:
    """How tiles are drawn.

    Parameters
    ----------
    batch_size
        Tiles in a batch; the last ones may have fewer.
    seed
        The same seed and epoch give the same batches.
    slides_at_once
        Slides whose tiles are mixed in a batch. Each takes about 130 MB for blocks that are still needed.
    threads
        Threads that decode, for each of these slides.
    """

    batch_size: int = 64
    seed: int = 0
    slides_at_once: int = 2
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "slides_at_once", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is too small: expected 1 or more")


def share_of(tiles: Tiles, worker: int, workers: int, seed: int) -> NDArray[np.int64]:
    """Return the tiles that one of several workers reads: whole squares, so that blocks are decoded once.

    The shares of all workers are all tiles, each once.
    """
    square = square_of(tiles)
    turn = np.random.default_rng(seed).permutation(int(square.max()) + 1 if len(square) else 0)
    return np.flatnonzero(turn[square] % workers == worker).astype(np.int64)


def mixed(
    sources: Sequence[Source], mixing: Mixing, *, epoch: int = 0, worker: int = 0, workers: int = 1
) -> Iterator[tuple[NDArray[np.uint8], list[tuple[int, NDArray[np.int64]]]]]:
    """Yield batches mixed of several slides: pixels (n, size, size, 3), and (source, tiles) of their parts.

    Tiles that touch a damaged block are left out.
    """
    seeds = np.random.SeedSequence([mixing.seed, epoch]).generate_state(len(sources) + 1).tolist()
    order = np.random.default_rng(seeds[-1]).permutation(len(sources)).tolist()
    each = -(-mixing.batch_size // min(mixing.slides_at_once, max(1, len(sources))))
    with ExitStack() as stack:

        def begin(number: int) -> Iterator[tuple[int, Batch, NDArray[np.int64]]]:
            source = sources[number]
            share = share_of(source.tiles, worker, workers, seeds[number])
            slide = stack.enter_context(open_slide(source.path, mpp=source.mpp))
            options: dict[str, Any] = {"threads": mixing.threads, "normaliser": source.normaliser}
            batches = stream(
                slide, source.tiles.take(share), batch_size=each, shuffle=seeds[number], **options
            )
            stack.callback(batches.close)  # type: ignore[attr-defined]
            for batch in batches:
                yield number, batch, share[batch.index]
            slide.close()

        waiting = (begin(number) for number in order)
        active = list(islice(waiting, mixing.slides_at_once))
        while active:
            parts, still = [], []
            for one in active:
                found = next(one, None)
                following = one if found is not None else next(waiting, None)
                parts += [] if found is None else [found]
                still += [] if following is None else [following]
            active = still
            kept = [
                (number, batch.pixels[~batch.missing], index[~batch.missing])
                for number, batch, index in parts
            ]
            if sum(len(index) for _, _, index in kept):
                pixels = np.concatenate([pixels for _, pixels, _ in kept])
                yield pixels, [(number, index) for number, _, index in kept]


def tile_dataset(sources: Sequence[Source], mixing: Mixing | None = None) -> Any:
    """Return a ``torch.utils.data.IterableDataset`` of batches, to be given to a DataLoader as it is.

    Each batch is a dict of tensors: ``pixels`` (n, 3, size, size) uint8 in channels-last memory, ``source``
    and ``tile`` (n,) int64 that say where from, and ``label`` (n, …) if the sources have labels. Workers of
    the DataLoader share out the tiles. Set ``dataset.epoch`` before each epoch for another order.

    Raises
    ------
    MissingExtraError
        When torch is not installed.
    UsageError
        When there is no source, or only some have labels.

    Examples
    --------
    ::

        dataset = tile_dataset([Source(path, tiles, labels)], Mixing(batch_size=128))
        for batch in torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2):
            model(batch["pixels"].float() / 255)
    """
    try:
        from torch.utils.data import IterableDataset
    except ImportError as error:
        raise MissingExtraError.of("torch", "torch") from error
    labelled = [source.labels is not None for source in sources]
    if not labelled or any(labelled) != all(labelled):
        raise UsageError(
            f"{sum(labelled)} of {len(labelled)} sources have labels: expected all or none, and one"
        )

    class TileDataset(IterableDataset):  # type: ignore[misc,type-arg,unused-ignore]
        """Batches of tiles, see `tile_dataset`."""

        epoch = 0

        def __iter__(self) -> Iterator[dict[str, Any]]:
            return _tensors(sources, mixing or Mixing(), self.epoch)

    return TileDataset()


def _tensors(sources: Sequence[Source], mixing: Mixing, epoch: int) -> Iterator[dict[str, Any]]:
    """Yield this worker's batches as tensors."""
    import torch
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
    for pixels, parts in mixed(sources, mixing, epoch=epoch, worker=worker, workers=workers):
        batch = {
            "pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2),
            "source": torch.from_numpy(np.concatenate([np.full(len(rows), i) for i, rows in parts])),
            "tile": torch.from_numpy(np.concatenate([rows for _, rows in parts])),
        }
        labels = [found[rows] for i, rows in parts if (found := sources[i].labels) is not None]
        yield batch | ({"label": torch.from_numpy(np.concatenate(labels))} if labels else {})
