"""What goes wrong, said to a browser: a status, a sentence and its mend; never a stack trace."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

ENTRY = "open the address that `coverslip view` printed"
"""What a stranger can do."""

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def problem(send: Send, status: int, message: str, *, mend: str | None = None) -> None:
    """Send an error as JSON: ``{"error": …, "mend": …}``."""
    body = json.dumps({"error": message, "mend": mend}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
