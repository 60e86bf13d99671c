"""Slow clients: a connection that dawdles is closed, so that it starves nobody."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 15.0
"""How long a request's head may take to come, from the connection or its first byte."""

HEAD_BYTES = 64 << 10
"""Of a request's address and headers."""

CONNECTIONS = 1000
"""At once, of all clients together; a page takes six at most."""

PER_CLIENT = 64
"""At once, of one address that is not this machine."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP, with an end to its patience: heads come in time and in size, or the connection ends."""

    _late: asyncio.TimerHandle | None = None
    _head = 0
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        """Give the first request's head its time; refuse one client too many connections."""
        super().connection_made(transport)
        if self._is_too_many():
            transport.abort()
            return
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count a head's bytes before they are parsed."""
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES and self.transport is not None:
                self.transport.abort()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Give this head its time."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """Stop the time: what may take long from now on is judged elsewhere."""
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count anew with the next request."""
        super().on_message_complete()
        self._in_head, self._head = True, 0

    def _begin_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)
        self._in_head = True

    def _end_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._in_head = None, False

    def _give_up(self) -> None:
        self._late = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    def _is_too_many(self) -> bool:
        if len(self.connections) > CONNECTIONS:
            return True
        address = self.client[0] if self.client else ""
        if address in ("127.0.0.1", "::1", ""):  # a proxy in front speaks for many
            return False
        return sum(bool(one.client) and one.client[0] == address for one in self.connections) > PER_CLIENT
