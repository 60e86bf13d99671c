"""Training sees every tile once an epoch, at random, with its label, whatever the workers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.tiles import GridSpec, lay
from coverslip.tiles.dataset import Mixing, Source, mixed, share_of, tile_dataset


@pytest.fixture(scope="module")
def sources(wide):
    tiles = lay(wide, GridSpec(size=64))
    parts = [tiles.take(np.arange(len(tiles)) % 3 == part) for part in range(3)]
    return [Source(wide.path, part, part.xy.astype(np.int64)) for part in parts]


def test_every_tile_comes_once_with_its_label(wide, sources):
    seen = []
    for pixels, parts in mixed(sources, Mixing(batch_size=32, slides_at_once=2)):
        rows = [(number, tile) for number, tiles in parts for tile in tiles.tolist()]
        assert len(rows) == len(pixels) <= 32
        number, tile = rows[-1]
        box = sources[number].tiles.box(tile)
        assert np.array_equal(pixels[-1], wide.read_at(box, 1.0))
        seen += rows
    assert sorted(seen) == [
        (i, tile) for i, source in enumerate(sources) for tile in range(len(source.tiles))
    ]


def test_batches_are_mixed_and_repeatable(sources):
    def order(**options):
        found = mixed(sources, Mixing(batch_size=32, seed=options.pop("seed", 0)), **options)
        return [[(n, rows.tolist()) for n, rows in parts] for _, parts in found]

    first = order()
    assert first == order()
    assert first != order(epoch=1) != order(seed=1)
    assert all(len(parts) == 2 for parts in first[:5])


def test_workers_share_the_tiles(sources):
    tiles = sources[0].tiles
    shares = [share_of(tiles, worker, 3, 5) for worker in range(3)]
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(tiles)))
    assert min(map(len, shares)) > 0


def test_torch(sources):
    torch = pytest.importorskip("torch")
    dataset = tile_dataset(sources, Mixing(batch_size=48))
    assert isinstance(dataset, torch.utils.data.IterableDataset)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None)
    count = 0
    for batch in loader:
        count += len(batch["pixels"])
        assert batch["pixels"].shape[1:] == (3, 64, 64)
        assert batch["pixels"].is_contiguous(memory_format=torch.channels_last)
        for number, tile, label in zip(batch["source"], batch["tile"], batch["label"], strict=True):
            assert sources[number].tiles.xy[tile].tolist() == label.tolist()
    assert count == sum(len(source.tiles) for source in sources)


def test_wrong_use(sources, monkeypatch):
    with pytest.raises(UsageError, match="labels"):
        Source(sources[0].path, sources[0].tiles, np.zeros(3))
    with pytest.raises(UsageError, match="all or none"):
        tile_dataset([sources[0], Source(sources[0].path, sources[0].tiles)])
    with pytest.raises(UsageError, match="all or none"):
        tile_dataset([])
    with pytest.raises(UsageError, match="slides_at_once 0"):
        Mixing(slides_at_once=0)
    monkeypatch.setitem(sys.modules, "torch.utils.data", None)
    with pytest.raises(MissingExtraError):
        tile_dataset(sources)


def test_stopping_early_leaves_no_thread(sources):
    import threading

    batches = mixed(sources, Mixing())
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("coverslip-tiles")]
