"""How much one person, or one address, may ask: enough for any page, too little to starve the others."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from threading import Lock

MOST = 10_000
"""Who is remembered; whoever asked longest ago is forgotten first, and starts with a full measure."""


class Buckets:
    """Token buckets, one for each who asks. Bounded, and safe to use from several threads.

    Parameters
    ----------
    per_second
        Requests that come back each second.
    burst
        Requests at once.

    Examples
    --------
    >>> buckets = Buckets(1.0, 2)
    >>> [buckets.wait("Ada", at=0.0) for _ in range(3)], buckets.wait("Bob", at=0.0)
    ([0.0, 0.0, 1.0], 0.0)
    """

    def __init__(self, per_second: float, burst: float, *, most: int = MOST) -> None:
        self._rate, self._burst, self._most = per_second, burst, most
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, who: Hashable, *, at: float | None = None) -> float:
        """Take one request of somebody's measure; return 0, or the seconds until there is one."""
        now = time.monotonic() if at is None else at
        with self._lock:
            left, since = self._left.pop(who, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._rate)
            waits = 0.0 if left >= 1 else (1 - left) / self._rate
            self._left[who] = (left if waits else left - 1, now)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return waits

    def __len__(self) -> int:
        return len(self._left)


@dataclass(frozen=True)
class Limits:
    """The measures of a server for a group.

    Attributes
    ----------
    tiles
        Pictures, per person: a page that is moved fast asks some hundreds a second.
    asking
        Everything else, per person.
    strangers
        Whatever is asked without being logged in, per address.
    logins, names
        Attempts to log in, per address and per name.
    """

    tiles: Buckets = field(default_factory=lambda: Buckets(2000, 6000))
    asking: Buckets = field(default_factory=lambda: Buckets(50, 600))
    strangers: Buckets = field(default_factory=lambda: Buckets(10, 200))
    logins: Buckets = field(default_factory=lambda: Buckets(1 / 30, 20))
    names: Buckets = field(default_factory=lambda: Buckets(1 / 60, 10))
