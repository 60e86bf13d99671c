"""The one route that is asked thousands of times: tiles, answered before any framework looks at them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from coverslip.core.errors import (
    ConflictError,
    CoverslipError,
    SlideError,
    UnknownNameError,
    UsageError,
    WithheldError,
)
from coverslip.server.access import Person, admitted
from coverslip.server.cache import WeighedCache
from coverslip.server.errors import problem, refuse
from coverslip.server.guard import NOBODY, Guard, tile_refusal
from coverslip.server.library import Library
from coverslip.server.pyramid import Picture, Pyramid, jpeg, smaller
from coverslip.server.shown import AS_STORED, Shown

if TYPE_CHECKING:
    from coverslip.server.app import Site
    from coverslip.server.overlays.gather import Overlays

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ROUTE = re.compile(rb"/api/slides/([^/]+)/tiles/(\d{1,3})/(\d{1,9})/(\d{1,9})")

CACHED = 96 << 20
"""Bytes of tiles that were made here and are kept for the next who asks."""

THUMBNAILS = 16 << 20
"""Bytes of thumbnails that are kept."""

KEEP = b"private, max-age=3600"
"""How long a browser may show a tile again without asking."""

DAMAGED = b"x-coverslip-damaged"


class TileService:
    """Makes tiles: at once where bytes need only be sent on, else in threads.

    Parameters
    ----------
    library
        The slides.
    threads
        That read and decode.
    """

    def __init__(self, library: Library, *, threads: int = 2) -> None:
        self.library = library
        self.cache = WeighedCache[Picture](CACHED)
        self.thumbnails = WeighedCache[bytes](THUMBNAILS)
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="tiles")

    def at_once(self, slide_id: str, place: tuple[int, int, int]) -> bytes | None:
        """Return a tile that costs nothing, else None.

        Raises
        ------
        UsageError
            When there is no such tile.
        """
        with self.library.at_hand(slide_id) as pyramid:
            return None if pyramid is None else pyramid.at_once(*place)

    def make(self, slide_id: str, place: tuple[int, int, int], shown: Shown) -> Picture:
        """Return a tile, opening the slide if need be. Blocks."""
        key = (slide_id, place, shown)
        found = self.cache.get(key)
        if found is None:
            with self.library.use(slide_id) as pyramid:
                found = pyramid.tile(*place, shown=shown)
            if found.damaged is None:
                self.cache.put(key, found, len(found.data))
        return found

    def thumbnail(self, slide_id: str, size: int) -> bytes:
        """Return the whole slide as JPEG, its longer side `size` pixels or less. Blocks.

        A small one is made of the coarsest tile, which is looked at first anyway.
        """
        key = (slide_id, size)
        found = self.thumbnails.get(key)
        if found is None:
            with self.library.use(slide_id) as pyramid:
                found = self._of_coarsest(slide_id, pyramid, size) or jpeg(pyramid.slide.thumbnail(size))
            self.thumbnails.put(key, found, len(found))
        return found

    def _of_coarsest(self, slide_id: str, pyramid: Pyramid, size: int) -> bytes | None:
        level = pyramid.levels[-1]
        if level.columns * level.rows > 1 or size > max(level.width, level.height):
            return None
        whole = self.make(slide_id, (level.index, 0, 0), AS_STORED)
        return None if whole.damaged else smaller(whole.data, level.tile_size(0, 0), size)

    def close(self) -> None:
        """Let go of threads and slides."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.library.close()


class TileRoute:
    """An ASGI application that answers tiles itself and leaves all else to another.

    Parameters
    ----------
    service
        Makes the tiles.
    site
        Knows who asks, and under which name it may be asked.
    rest
        Answers everything else.
    overlays
        What lies over the slides.
    """

    def __init__(self, service: TileService, site: Site, rest: Guard, overlays: Overlays) -> None:
        self.service, self._site, self.rest, self.overlays = service, site, rest, overlays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return await self.rest(scope, receive, send)
        match = ROUTE.fullmatch(scope["raw_path"].partition(b"?")[0])
        if match is None:
            return await self.rest(scope, receive, send)
        person = await admitted(self._site.door, scope)
        refused = tile_refusal(scope, self._site, person)
        if refused is not None or person is None:
            return await refuse(send, refused or NOBODY)
        slide_id = unquote(match[1].decode("latin-1"))
        place = (int(match[2]), int(match[3]), int(match[4]))
        try:
            self._check_seen(person, slide_id)
            picture = await self._picture(slide_id, place, scope["query_string"])
        except CoverslipError as error:
            return await problem(send, status_of(error), error.message, mend=error.mend)
        return await reply(send, picture, body=scope["method"] == "GET")

    def _check_seen(self, person: Person, slide_id: str) -> None:
        entry = self.service.library.entries.get(slide_id)
        if entry is not None and not person.sees(
            slide_id, None if entry.run is None else entry.run.path.name
        ):
            raise UnknownNameError(f"there is no slide {slide_id!r}", mend="see /api/slides")

    async def _picture(self, slide_id: str, place: tuple[int, int, int], query: bytes) -> Picture:
        shown = Shown.parse(query)
        if shown.as_stored:
            data = self.service.at_once(slide_id, place)
            if data is not None:
                return Picture(data)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.service.threads, self.service.make, slide_id, place, shown)


def status_of(error: CoverslipError) -> int:
    """Return the HTTP status.

    403 not to be seen yet, 404 not there, 409 changed by somebody else, 410 gone, 422 unreadable.

    Examples
    --------
    >>> status_of(UnknownNameError("no slide b")), status_of(UsageError("no level 99"))
    (404, 404)
    """
    if isinstance(error, (UnknownNameError, UsageError)):
        return 404
    if isinstance(error, WithheldError):
        return 403
    if isinstance(error, ConflictError):
        return 409
    if isinstance(error, FileNotFoundError):
        return 410
    return 422 if isinstance(error, SlideError) else 400


async def reply(send: Send, picture: Picture, *, body: bool) -> None:
    """Send a picture."""
    headers = [
        (b"content-type", picture.media_type.encode()),
        (b"content-length", str(len(picture.data)).encode()),
        (b"cache-control", b"no-store" if picture.damaged else KEEP),
        (b"x-content-type-options", b"nosniff"),
    ]
    if picture.damaged:
        headers.append((DAMAGED, b"1"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": picture.data if body else b""})
