"""Memory of a stream's batches goes to the next stream, and to nobody who still holds an array."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from coverslip.tiles import GridSpec, buffers, lay, stream
from coverslip.tiles.buffers import LEAST, Kept, Pool

keeps = pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="this system takes no such advice")


@pytest.fixture(autouse=True)
def kept(monkeypatch) -> Kept:
    fresh = Kept()
    monkeypatch.setattr(buffers, "_kept", fresh)
    return fresh


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("lines", [True, False])
def test_arrays_start_where_they_should_and_do_not_overlap(lines):
    pool = Pool((3, 5, 7), lines=lines)
    held = [pool.take() for _ in range(5)]
    for number, array in enumerate(held):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(held))
    assert all(place(array) % 64 == (0 if lines else 16) for array in held)


@keeps
def test_a_closed_pool_leaves_its_memory_to_the_next():
    pool, other = Pool((LEAST,)), Pool((LEAST,))
    first, second = pool.take(), pool.take()
    free, busy = place(first), place(second)
    del first
    pool.close()
    held = [other.take(), other.take()]
    assert place(held[0]) == free
    assert place(held[1]) not in (free, busy)
    second[...] = 7
    view = second[3:5]
    del second
    held.append(other.take())
    assert place(held[-1]) != busy  # a view of it is still held
    assert view.tolist() == [7, 7]
    del view
    assert place(other.take()) == busy


@keeps
def test_no_more_is_kept_than_said(kept, monkeypatch):
    monkeypatch.setattr(buffers, "KEPT", 3 * LEAST)
    stores = [kept.take(LEAST) for _ in range(5)]
    for store in stores:
        kept.leave(store)
    assert [kept.take(LEAST) for _ in range(3)] == stores[2:]
    assert kept.take(LEAST) not in stores


def test_small_memory_is_not_kept(kept):
    small = kept.take(LEAST - 1)
    kept.leave(small)
    assert kept.take(LEAST - 1) is not small


def test_a_system_without_such_advice_keeps_nothing(kept, monkeypatch):
    monkeypatch.delattr(mmap, "MADV_FREE", raising=False)
    store = kept.take(LEAST)
    kept.leave(store)
    assert kept.take(LEAST) is not store


@keeps
def test_a_second_stream_needs_no_fresh_memory(slide, monkeypatch):
    monkeypatch.setattr(buffers, "LEAST", 1)
    tiles = lay(slide, GridSpec(size=64, stride=32))
    first = np.concatenate([batch.pixels for batch in stream(slide, tiles, batch_size=8)])
    made: list[int] = []
    fresh = buffers._Store.__init__

    def counted(self, size):
        made.append(size)
        fresh(self, size)

    monkeypatch.setattr(buffers._Store, "__init__", counted)
    second = [batch.pixels.copy() for batch in stream(slide, tiles, batch_size=8)]
    assert not made
    assert np.array_equal(np.concatenate(second), first)
