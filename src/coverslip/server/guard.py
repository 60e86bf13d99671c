"""What every request but a tile's goes through: who asks, what they may, and how much."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from coverslip.server.access import (
    CSRF,
    Person,
    admitted,
    cookie_of,
    csrf_of,
    header_of,
    host_is_known,
    token_of,
)
from coverslip.server.errors import ENTRY, Refusal, refuse
from coverslip.server.roles import body_limit, role_of

if TYPE_CHECKING:
    from coverslip.server.app import Site

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self'; script-src 'self'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""What a page of ours may load and run: this server's files alone, no code that is made at run time."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer."""

BY_TLS = (b"strict-transport-security", b"max-age=31536000")

SAFE = frozenset({"GET", "HEAD"})

NOBODY = Refusal(401, "you are not logged in", ENTRY, code="login")
"""What a stranger is told."""

PATIENCE_S = 30.0
"""How long the next part of a request's body may take."""


class Guard:
    """An ASGI application that lets through to another what may come through.

    Parameters
    ----------
    site
        What is served, and to whom.
    app
        Answers what is let through.
    """

    def __init__(self, site: Site, app: App) -> None:
        self.site, self.app = site, app
        more = (BY_TLS,) if site.url.startswith("https:") else ()
        self._headers = (*HEADERS, *more)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return None
        send = self._marked(send)
        person = await admitted(self.site.door, scope)
        refused = refusal(scope, self.site, person)
        if refused is not None:
            if refused.code == "login" and not self.site.door.is_for_one and _is_a_page(scope):
                return await redirect(send, f"/login?{urlencode({'then': whole_path(scope)})}")
            return await refuse(send, refused)
        token = token_of(scope)
        if token and self.site.door.is_for_one and scope["path"] == "/" and scope["method"] == "GET":
            return await redirect(send, _without_token(scope), (self._cookie(scope, token),))
        scope.setdefault("state", {})["person"] = person
        return await self.app(scope, _bounded(scope, receive), send)

    def _cookie(self, scope: Scope, token: str) -> tuple[bytes, bytes]:
        value = f"{self.site.door.cookie(scope)}={token}; HttpOnly; Path=/; SameSite=Strict"
        return b"set-cookie", value.encode()

    def _marked(self, send: Send) -> Send:
        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                given = {name.lower() for name, _ in headers}
                headers += [one for one in self._headers if one[0] not in given]
                if b"cache-control" not in given:
                    headers.append((b"cache-control", b"no-cache"))
                message["headers"] = headers
            await send(message)

        return marked


def refusal(scope: Mapping[str, Any], site: Site, person: Person | None) -> Refusal | None:
    """Return why a request is not served, or None when it is."""
    if site.hosts is not None and not host_is_known(scope, site.hosts):
        return Refusal(421, "this server is not known under that name", ENTRY)
    wait = _wait(scope, site, person)
    if wait:
        return Refusal(429, "too many requests", f"wait {wait:.0f} s", wait=wait)
    role = role_of(scope["method"], scope["path"])
    if person is None and role != "anyone":
        mend = ENTRY if site.door.is_for_one else "log in; nothing that you drew is lost"
        return Refusal(401, "you are not logged in", mend, code="login")
    if role is None:
        return Refusal(404, f"there is nothing at {scope['path']}", "see /api/docs")
    if role != "anyone" and person is not None and not person.may(role):
        return Refusal(403, f"this needs the role {role}; you are {person.role}", "ask an administrator")
    return None if scope["method"] in SAFE else _forged(scope, site)


def _wait(scope: Mapping[str, Any], site: Site, person: Person | None) -> float:
    if site.limits is None:
        return 0.0
    if person is None:
        return site.limits.strangers.wait((scope.get("client") or ("",))[0])
    return site.limits.asking.wait(person.id)


def _forged(scope: Mapping[str, Any], site: Site) -> Refusal | None:
    """Return why a change is not taken for one of our own page's or of a program's."""
    if not _same_site(scope, site.url):
        return Refusal(403, "the request comes from another site", "use the page of this server")
    name = site.door.cookie(scope)
    token = cookie_of(scope, name)
    if (
        token
        and header_of(scope, CSRF) != csrf_of(token)
        and role_of(scope["method"], scope["path"]) != "anyone"
    ):
        mend = "send the header X-Coverslip-CSRF as GET /api/me states it"
        return Refusal(403, "the page is of an earlier login", mend, code="csrf")
    return None


def _same_site(scope: Mapping[str, Any], url: str) -> bool:
    """Say whether a change is asked for by our own page or by a program, not by a page elsewhere."""
    origin = header_of(scope, b"origin")
    if not origin:
        return header_of(scope, b"sec-fetch-site") in ("", "same-origin", "none")
    return urlsplit(origin).netloc in (header_of(scope, b"host"), urlsplit(url).netloc or None)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Give up on a body that is too large, or of which the next part does not come."""
    limit, taken = body_limit(scope["method"], scope["path"]), 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal taken
        if taken < 0:  # all of the body is here: what comes now is that somebody went away
            return await receive()
        try:
            async with asyncio.timeout(PATIENCE_S):
                message = await receive()
        except TimeoutError as error:
            raise _broken_off(408, f"nothing more came for {PATIENCE_S:.0f} s") from error
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _broken_off(413, f"the request has more than {limit >> 20} MiB")
        if not message.get("more_body"):
            taken = -1
        return message

    return bounded


def _broken_off(status: int, said: str) -> Exception:
    """Return what the framework lets through while it reads a body, and answers."""
    from starlette.exceptions import HTTPException

    return HTTPException(status, said, {"Connection": "close"})  # what still comes is not a request


def _is_a_page(scope: Mapping[str, Any]) -> bool:
    return scope["method"] == "GET" and b"text/html" in header_of(scope, b"accept").encode()


def whole_path(scope: Mapping[str, Any]) -> str:
    """Return path and question of a request."""
    query = scope.get("query_string", b"").decode("latin-1")
    return scope["path"] + (f"?{query}" if query else "")


def _without_token(scope: Mapping[str, Any]) -> str:
    asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    rest = [(key, value) for key, value in asked if key != "token"]
    return "/" + (f"?{urlencode(rest)}" if rest else "")


async def redirect(send: Send, to: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Send a browser elsewhere."""
    both = [(b"location", to.encode()), (b"content-length", b"0"), (b"cache-control", b"no-store"), *headers]
    await send({"type": "http.response.start", "status": 303, "headers": both})
    await send({"type": "http.response.body", "body": b""})


def tile_refusal(scope: Mapping[str, Any], site: Site, person: Person | None) -> Refusal | None:
    """Return why a tile is not sent, or None when it is."""
    if site.hosts is not None and not host_is_known(scope, site.hosts):
        return Refusal(421, "this server is not known under that name", ENTRY)
    if person is None:
        wait = _wait(scope, site, None)
        if wait:
            return Refusal(429, "too many requests", f"wait {wait:.0f} s", wait=wait)
        return NOBODY
    wait = 0.0 if site.limits is None else site.limits.tiles.wait(person.id)
    return Refusal(429, "too many tiles", f"wait {wait:.0f} s", wait=wait) if wait else None
