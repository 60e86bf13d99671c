"""Who may come in, and what each may do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal
from urllib.parse import parse_qs

Role = Literal["reader", "annotator", "admin"]

RANK: dict[Role, int] = {"reader": 1, "annotator": 2, "admin": 3}
"""Each role may do what the ones before it may."""

CSRF = b"x-coverslip-csrf"
"""Header of every change that a browser asks for: a page elsewhere can send our cookie, but not know this."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is let in.

    Attributes
    ----------
    slides
        Patterns of the slides that they see: of a slide's id, or of ``run/id``.
    """

    id: str
    name: str
    role: Role
    slides: tuple[str, ...] = ("*",)

    def may(self, role: Role) -> bool:
        """Say whether what needs `role` is allowed.

        Examples
        --------
        >>> Person("1", "Ada", "annotator").may("reader"), Person("1", "Ada", "reader").may("admin")
        (True, False)
        """
        return RANK[self.role] >= RANK[role]

    def sees(self, slide: str, run: str | None = None) -> bool:
        """Say whether a slide belongs to this person's projects.

        Examples
        --------
        >>> ada = Person("1", "Ada", "reader", ("lung-*", "breast/*"))
        >>> ada.sees("lung-7"), ada.sees("a", "breast"), ada.sees("a", "liver")
        (True, True, False)
        """
        return "*" in self.slides or _matches(self.slides, slide, run)


@lru_cache(maxsize=65_536)
def _matches(patterns: tuple[str, ...], slide: str, run: str | None) -> bool:
    names = (slide,) if run is None else (slide, f"{run}/{slide}")
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


class Unsure(Enum):
    """What a door says that must look somebody up."""

    UNSURE = 0


class Door(ABC):
    """Decides who a request comes from."""

    is_for_one = True
    """True where one person alone is let in, by a token; no accounts, no limits."""

    @abstractmethod
    def admit(self, scope: Mapping[str, Any]) -> Person | None:
        """Return who an ASGI scope comes from, or None for a stranger. May wait for a database."""

    def at_once(self, scope: Mapping[str, Any]) -> Person | Unsure | None:
        """Return the same without waiting, where that can be."""
        return self.admit(scope)

    def cookie(self, scope: Mapping[str, Any]) -> str:
        """Return the name of the cookie: servers at several ports of one machine must not share it."""
        return f"coverslip-{(scope.get('server') or ('', 0))[1]}"

    def forget(self) -> None:  # noqa: B027 - most doors keep nothing
        """Look everybody up anew."""


class TokenDoor(Door):
    """Lets in whoever knows the token that was printed when the server started.

    The token comes as ``?token=…`` (the first page then sets a cookie), as cookie, or as
    ``Authorization: Bearer …``. It is made anew at each start and never written to disk.

    Parameters
    ----------
    token
        None makes one.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self._person = Person("local", "You", "admin")

    def admit(self, scope: Mapping[str, Any]) -> Person | None:
        """Return the one person there is, or None."""
        # an old cookie of this port must not stand before the token in the address
        given = (cookie_of(scope, self.cookie(scope)), bearer_of(scope), token_of(scope))
        fits = any(one and hmac.compare_digest(one.encode(), self.token.encode()) for one in given)
        return self._person if fits else None


async def admitted(door: Door, scope: Mapping[str, Any]) -> Person | None:
    """Return who a request comes from; a door that must wait does so in a thread."""
    person = door.at_once(scope)
    if isinstance(person, Unsure):
        return await asyncio.get_running_loop().run_in_executor(None, door.admit, scope)
    return person


def csrf_of(token: str) -> str:
    """Return what a page must send with every change, made of the token that its cookie holds.

    Examples
    --------
    >>> csrf_of("a") == csrf_of("a"), csrf_of("a") == csrf_of("b")
    (True, False)
    """
    return hmac.new(token.encode(), b"coverslip csrf", hashlib.sha256).hexdigest()


def header_of(scope: Mapping[str, Any], name: bytes) -> str:
    """Return a header of an ASGI scope, or an empty text."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def cookie_of(scope: Mapping[str, Any], name: str) -> str:
    """Return a cookie of an ASGI scope, or an empty text."""
    header = header_of(scope, b"cookie")
    if name not in header:
        return ""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def bearer_of(scope: Mapping[str, Any]) -> str:
    """Return the token of an ``Authorization`` header, or an empty text."""
    scheme, _, value = header_of(scope, b"authorization").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def token_of(scope: Mapping[str, Any]) -> str:
    """Return the token of the address, or an empty text."""
    query = scope.get("query_string", b"")
    if b"token=" not in query:
        return ""
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def host_is_known(scope: Mapping[str, Any], hosts: frozenset[str]) -> bool:
    """Say whether the request names a host that is served.

    A page elsewhere may make its own name point at this machine (DNS rebinding); its requests name that host.

    Examples
    --------
    >>> host_is_known({"headers": [(b"host", b"127.0.0.1:8000")]}, LOOPBACK)
    True
    >>> host_is_known({"headers": [(b"host", b"evil.example:8000")]}, LOOPBACK)
    False
    """
    host = header_of(scope, b"host")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name in hosts
