"""Running the server: a socket, the address to open, and an end in good order."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.server.access import LOOPBACK, TokenDoor
from coverslip.server.app import Site, make_app

LOCAL = "127.0.0.1"
BACKLOG = 256


def serve(site: Site, *, host: str = LOCAL, port: int = 0, ready: Callable[[str], None]) -> None:
    """Serve a site until it is stopped.

    Parameters
    ----------
    site
        What is served.
    host
        Address of this machine to listen at; by default it is reached from this machine alone.
    port
        0 takes a free one.
    ready
        Called with the address to open, token included, once requests are answered.

    Raises
    ------
    MissingExtraError
        When the extra ``server`` is not installed.
    UsageError
        When the port is taken.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError.of("uvicorn", "server") from error
    listening = bound(host, port)
    name, number = listening.getsockname()[:2]
    site = site if site.hosts is None else replace(site, hosts=site.hosts | {str(name)} | LOOPBACK)
    config = uvicorn.Config(
        make_app(site), log_level="warning", access_log=False, lifespan="on", server_header=False,
        date_header=False, timeout_keep_alive=30, backlog=BACKLOG,
    )  # fmt: skip

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(address(site, host, number))

    try:
        Announced(config).run(sockets=[listening])
    finally:
        listening.close()


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    UsageError
        When the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(
            f"cannot listen at {host}:{port}: {error}", mend="choose another --port, or leave it out"
        ) from error
    return listening


def address(site: Site, host: str, port: int) -> str:
    """Return the address to open in a browser."""
    name = f"[{host}]" if ":" in host else host
    token = f"?token={site.door.token}" if isinstance(site.door, TokenDoor) else ""
    return f"http://{name}:{port}/{token}"
