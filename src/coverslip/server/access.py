"""Who may come in, and what each may do."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs

Role = Literal["reader", "annotator", "admin"]

RANK: dict[Role, int] = {"reader": 1, "annotator": 2, "admin": 3}
"""Each role may do what the ones before it may."""

COOKIE = "coverslip"
"""Name of the cookie that keeps a browser logged in."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is let in."""

    id: str
    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Say whether what needs `role` is allowed.

        Examples
        --------
        >>> Person("1", "Ada", "annotator").may("reader"), Person("1", "Ada", "reader").may("admin")
        (True, False)
        """
        return RANK[self.role] >= RANK[role]


class Door(Protocol):
    """Decides who a request comes from."""

    def admit(self, scope: Mapping[str, Any]) -> Person | None:
        """Return who an ASGI scope comes from, or None for a stranger."""
        ...


class TokenDoor:
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
        given = cookie_of(scope, COOKIE) or bearer_of(scope) or token_of(scope)
        return self._person if given and hmac.compare_digest(given, self.token) else None


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
