"""What goes wrong, said to a browser: a status, a sentence and its mend; never a stack trace."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

ENTRY = "open the address that `coverslip view` printed"
"""What a stranger can do."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Refusal:
    """Why a request is not served.

    Attributes
    ----------
    code
        For the page to act on: ``"login"`` when the login has expired, ``"csrf"`` when the page is of an
        older one.
    wait
        Seconds after which it may be asked again.
    """

    status: int
    error: str
    mend: str | None
    code: str | None = None
    wait: float | None = None


async def refuse(send: Send, why: Refusal) -> None:
    """Send a refusal as JSON: ``{"error": …, "mend": …, "code": …}``."""
    more = {} if why.wait is None else {"retry-after": str(math.ceil(why.wait))}
    told = {"error": why.error, "mend": why.mend, **({} if why.code is None else {"code": why.code})}
    await _send_json(send, why.status, told, more)


async def problem(send: Send, status: int, message: str, *, mend: str | None = None) -> None:
    """Send an error as JSON: ``{"error": …, "mend": …}``."""
    await _send_json(send, status, {"error": message, "mend": mend}, {})


async def _send_json(send: Send, status: int, told: Mapping[str, Any], more: Mapping[str, str]) -> None:
    body = json.dumps(told).encode()
    headers = [
        *((name.encode(), value.encode()) for name, value in more.items()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
