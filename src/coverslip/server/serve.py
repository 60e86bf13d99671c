"""Running the server: a socket, the address to open, and an end in good order."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from coverslip.core.errors import MissingExtraError, UsageError
from coverslip.server.access import LOOPBACK, TokenDoor
from coverslip.server.app import Site, make_app
from coverslip.server.tiles import TileRoute
from coverslip.server.warming import rehearse, start

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
        When the port is taken, or others would reach a server that knows no accounts.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError.of("uvicorn", "server") from error
    check_reach(site, host)
    listening = bound(host, port)
    name, number = listening.getsockname()[:2]
    if site.hosts is not None and site.door.is_for_one:
        site = replace(site, hosts=site.hosts | {str(name)} | LOOPBACK)

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                await rehearse(app, LOCAL if site.hosts is None else min(site.hosts))
                start(app.service, app.overlays)
                ready(address(site, host, number))

    app = make_app(site)
    try:
        Announced(_config(site, app)).run(sockets=[listening])
    finally:
        listening.close()


def _config(site: Site, app: TileRoute) -> Any:
    import uvicorn

    from coverslip.server.patience import PatientProtocol

    by_tls = {} if site.tls is None else {"ssl_certfile": site.tls[0], "ssl_keyfile": site.tls[1]}
    return uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_level="warning", access_log=False, lifespan="on",
        server_header=False, date_header=False, timeout_keep_alive=30, backlog=BACKLOG,
        proxy_headers=site.proxy is not None, forwarded_allow_ips=site.proxy or "", **by_tls,
    )  # fmt: skip


def check_reach(site: Site, host: str) -> None:
    """Refuse to be reached from other machines where one token opens everything.

    Raises
    ------
    UsageError
        With the mend.
    """
    if not site.door.is_for_one:
        return
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise UsageError(
            f"at {host} other machines would reach this server, which knows no accounts",
            mend="give it accounts (--accounts, see docs/how-to/accounts.md), or reach 127.0.0.1 by `ssh -L`",
        )


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
    if site.url:
        return f"{site.url}/"
    name = f"[{host}]" if ":" in host else host
    token = f"?token={site.door.token}" if isinstance(site.door, TokenDoor) else ""
    return f"http://{name}:{port}/{token}"
