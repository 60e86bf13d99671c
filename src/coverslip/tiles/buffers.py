"""Memory that is used again: fresh pages cost a third of the time that decoding their pixels does."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.slides.reader import pixel_buffer

LINE = 64
"""Bytes of a line of the cache."""


class _Lease:
    """Owner of an array's memory while anyone holds the array or a view of it."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, store: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        address = store.__array_interface__["data"]
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": address,
        }


class Pool:
    """Arrays of one shape whose memory comes back by itself when nobody holds them any more.

    The receiver may keep an array as long as it likes; it is handed out again only after the array and
    every view of it are gone.

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
        self._make = _on_a_line if lines else _for_decoding
        self._free: list[NDArray[np.uint8]] = []

    def take(self) -> NDArray[np.uint8]:
        """Return an array of the pool's shape with any content."""
        try:
            store = self._free.pop()
        except IndexError:
            store = self._make(math.prod(self._shape))
        lease = _Lease(store, self._shape)
        end = weakref.finalize(lease, _back, self._free, store, self._most)
        end.atexit = False
        return np.asarray(lease)


def _for_decoding(size: int) -> NDArray[np.uint8]:
    return pixel_buffer(1, size, 1).ravel()


def _on_a_line(size: int) -> NDArray[np.uint8]:
    store = np.empty(size + LINE, np.uint8)
    start = -store.ctypes.data % LINE
    return store[start : start + size]


def _back(free: list[NDArray[np.uint8]], store: NDArray[np.uint8], most: int) -> None:
    """Put `store` back, unless enough are waiting."""
    if len(free) < most:
        free.append(store)
