"""A cache of byte strings, bounded by what they weigh."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")

OVERHEAD = 200
"""Bytes that an entry takes besides its value."""


class WeighedCache(Generic[Value]):
    """Keeps what was used last, up to a number of bytes. Safe to use from several threads.

    Parameters
    ----------
    limit
        Bytes.

    Examples
    --------
    >>> cache = WeighedCache[bytes](1000)
    >>> for name in "abc":
    ...     cache.put(name, name.encode() * 200, 200)
    >>> cache.get("a"), cache.get("c") is not None
    (None, True)
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value of `key`, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, weight: int) -> None:
        """Keep a value of so many bytes; one that is heavier than the cache is not kept."""
        weight += OVERHEAD
        with self._lock:
            if key in self._entries:
                self._held -= self._entries.pop(key)[1]
            if weight > self._limit:
                return
            self._entries[key] = (value, weight)
            self._held += weight
            while self._held > self._limit:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._held -= dropped

    def forget(self, first: Hashable) -> None:
        """Drop all entries whose key is a tuple that starts with `first`."""
        with self._lock:
            for key in [key for key in self._entries if isinstance(key, tuple) and key[0] == first]:
                self._held -= self._entries.pop(key)[1]

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self._held
