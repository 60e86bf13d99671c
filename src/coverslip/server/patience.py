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
    _in_head = False

    def connection_made(self, transport: Any) -> None:
        """Give the first request's head its time; refuse one client too many connections."""
        super().connection_made(transport)
        if self._is_too_many():
            transport.abort()
            return
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that goes on and on; one that ends with the first data is none."""
        went_on = self._in_head
        super().data_received(data)
        if went_on and self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Give this head its time."""
        super().on_message_begin()
        self._start_clock()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        """Stop the time: what may take long from now on is judged elsewhere."""
        self._stop_clock()
        self._in_head = False
        super().on_headers_complete()

    def _start_clock(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_clock(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.abort()

    def _is_too_many(self) -> bool:
        if len(self.connections) > CONNECTIONS:
            return True
        address = self.client[0] if self.client else ""
        if address in ("127.0.0.1", "::1", ""):  # a proxy in front speaks for many
            return False
        return sum(bool(one.client) and one.client[0] == address for one in self.connections) > PER_CLIENT
