"""Memory that is used again: fresh pages cost a third of the time that decoding their pixels does."""

from __future__ import annotations

import math
import mmap
import threading
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.slides.reader import OFF_LANES, address

LINE = 64
"""Bytes of a line of the cache."""

KEPT = 320 * 2**20
"""Bytes that are kept for later streams at most: what one at half overlap of a wide slide takes."""


LEAST = 1 << 20
"""Smaller memory is not worth keeping."""


class _Store:
    """Pages of the system's, which it may take back when it needs them while nobody uses them."""

    __slots__ = ("_pages", "place", "size")

    def __init__(self, size: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
        self.size, self._pages = size, mmap.mmap(-1, size, **private)
        self._advise("MADV_HUGEPAGE")
        self.place = address(np.frombuffer(self._pages, np.uint8))

    def let_go(self) -> bool:
        """Leave the pages to the system; say whether it takes them only when it needs them."""
        return self._advise("MADV_FREE")

    def _advise(self, advice: str) -> bool:
        try:
            self._pages.madvise(getattr(mmap, advice))
        except (AttributeError, OSError):  # not on this system
            return False
        return True


class Kept:
    """Memory that no stream uses at present. Threads share it without a lock: each step on the queue is one.

    Examples
    --------
    >>> kept = Kept()
    >>> store = kept.take(LEAST)
    >>> kept.leave(store)
    >>> kept.take(LEAST + 1) is store
    False
    """

    def __init__(self) -> None:
        self._stores: deque[_Store] = deque()

    def take(self, size: int) -> _Store:
        """Return memory of `size` bytes: some that was left, or fresh."""
        with suppress(IndexError):
            for _ in range(len(self._stores)):
                store = self._stores.popleft()
                if store.size == size:
                    return store
                self._stores.append(store)
        return _Store(size)

    def leave(self, store: _Store) -> None:
        """Keep memory for later, and drop what was left longest ago above `KEPT`."""
        if store.size < LEAST or not store.let_go():
            return
        self._stores.append(store)
        with suppress(IndexError):
            while sum(each.size for each in self._stores.copy()) > KEPT:
                self._stores.popleft()


_kept = Kept()


class _Lease:
    """Owner of an array's memory while anyone holds the array or a view of it."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, place: int, shape: tuple[int, ...]) -> None:
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (place, False),
        }


class Pool:
    """Arrays of one shape whose memory comes back by itself when nobody holds them any more.

    The receiver may keep an array as long as it likes; it is handed out again only after the array and
    every view of it are gone. What a closed pool has is kept for pools to come.

    Parameters
    ----------
    most
        Arrays kept for later.
    lines
        Start arrays where a line of the cache starts, for `coverslip.tiles.kernels`; otherwise where blocks
        are decoded fastest.

    Examples
    --------
    >>> pool = Pool((4, 2))
    >>> first = pool.take()
    >>> place = first.ctypes.data
    >>> del first
    >>> pool.take().ctypes.data == place
    True
    """

    def __init__(self, shape: tuple[int, ...], *, most: int = 8, lines: bool = False) -> None:
        self._shape, self._most = shape, most
        self._start = 0 if lines else OFF_LANES
        self._free: deque[_Store] = deque()
        self._closed = threading.Event()

    def take(self) -> NDArray[np.uint8]:
        """Return an array of the pool's shape with any content."""
        try:
            store = self._free.pop()
        except IndexError:
            store = _kept.take(math.prod(self._shape) + self._start)
        lease = _Lease(store.place + self._start, self._shape)
        end = weakref.finalize(lease, self._back, store)
        end.atexit = False
        return np.asarray(lease)

    def close(self) -> None:
        """Keep memory for other pools from now on; arrays that are out stay as they are."""
        self._closed.set()
        with suppress(IndexError):
            while True:
                _kept.leave(self._free.pop())

    def _back(self, store: _Store) -> None:
        """Put memory back, unless enough is waiting."""
        if self._closed.is_set():
            _kept.leave(store)
        elif len(self._free) < self._most:
            self._free.append(store)
