"""What the first looks would wait for, done before anybody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, MutableMapping
from threading import Thread
from time import sleep
from typing import Any

from coverslip.core.errors import CoverslipError
from coverslip.server.library import Entry
from coverslip.server.overlays.gather import Overlays
from coverslip.server.shown import AS_STORED
from coverslip.server.tiles import TileService

LISTED = 128
"""Longer side of the thumbnails in the page's list of slides."""

LATER_S = 10.0
"""After which what is needed least soon is imported."""


async def rehearse(app: Callable[..., Any], host: str) -> None:
    """Ask an application for a page, as a stranger: the framework makes its routes at the first request."""
    told = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    scope = {
        "type": "http", "method": "GET", "path": "/assets/none", "raw_path": b"/assets/none",
        "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "headers": [(b"host", host.encode())], "client": ("127.0.0.1", 0), "server": (host, 0),
    }  # fmt: skip

    async def receive() -> MutableMapping[str, Any]:
        return told.pop(0) if len(told) > 1 else told[0]

    async def send(_message: MutableMapping[str, Any]) -> None:
        """Nobody listens."""

    await app(scope, receive, send)


def start(service: TileService, overlays: Overlays) -> None:
    """Warm up in the background, the first slide's whole picture first; the server answers meanwhile."""
    Thread(target=warm, args=(service, overlays), daemon=True, name="warm").start()


def warm(service: TileService, overlays: Overlays) -> None:
    """Make ready what a page asks for first: the first slide from afar, and where its objects lie."""
    first = next((one for one in service.library.entries.values() if one.path is not None), None)
    if first is None:
        return
    with contextlib.suppress(CoverslipError):  # told to whoever looks at it
        with service.library.use(first.id) as pyramid:
            coarsest = pyramid.levels[-1]
        service.make(first.id, (coarsest.index, 0, 0), AS_STORED)
        service.thumbnail(first.id, LISTED)
    for name in objects_of(first):
        with contextlib.suppress(CoverslipError):
            overlays.objects(first.id, name)
    sleep(LATER_S)
    import shapely  # noqa: F401

    from coverslip.slides import kernels  # noqa: F401 - pictures of any size are averaged by them


def objects_of(entry: Entry) -> list[str]:
    """Return the names of a slide's objects."""
    keys = () if entry.run is None else entry.run.keys(entry.id)
    return [key.partition("/")[2] for key in keys if key.startswith("objects/")]
