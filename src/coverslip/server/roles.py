"""Which role each address needs; an address that is not listed is not served."""

from __future__ import annotations

import re
from typing import Literal

from coverslip.server.access import Role

ROLES: tuple[tuple[str, str, Role | Literal["anyone"]], ...] = (
    ("GET", "/login", "anyone"),
    ("POST", "/login", "anyone"),
    ("GET", "/login/oidc", "anyone"),
    ("GET", "/login/callback", "anyone"),
    ("GET", "/login/invitation", "anyone"),
    ("POST", "/login/invitation", "anyone"),
    ("GET", "/login/done", "reader"),
    ("POST", "/api/logout", "reader"),
    ("GET", "/api/me", "reader"),
    ("GET", "/api/people", "admin"),
    ("POST", "/api/people", "admin"),
    ("PUT", "/api/people/{person}", "admin"),
    ("POST", "/api/people/{person}/invitation", "admin"),
    ("GET", "/api/projects", "admin"),
    ("PUT", "/api/projects/{project}", "admin"),
    ("DELETE", "/api/projects/{project}", "admin"),
    ("GET", "/api/docs", "reader"),
    ("GET", "/api/openapi.json", "reader"),
    ("GET", "/api/slides", "reader"),
    ("GET", "/api/slides/{slide}", "reader"),
    ("GET", "/api/slides/{slide}/thumbnail", "reader"),
    ("GET", "/api/slides/{slide}/tiles/{level}/{column}/{row}", "reader"),
    ("GET", "/api/slides/{slide}/region", "reader"),
    ("GET", "/api/slides/{slide}/overlays", "reader"),
    ("GET", "/api/slides/{slide}/tissue", "reader"),
    ("GET", "/api/slides/{slide}/grid", "reader"),
    ("GET", "/api/slides/{slide}/suspicious", "reader"),
    ("GET", "/api/slides/{slide}/maps/{name}/tiles/{level}/{column}/{row}", "reader"),
    ("GET", "/api/slides/{slide}/objects/{name}", "reader"),
    ("GET", "/api/slides/{slide}/objects/{name}/histogram", "reader"),
    ("GET", "/api/slides/{slide}/objects/{name}/tiles/{step}/{column}/{row}", "reader"),
    ("GET", "/api/slides/{slide}/objects/{name}/outlines", "reader"),
    ("GET", "/api/slides/{slide}/objects/{name}/at", "reader"),
    ("GET", "/api/slides/{slide}/quality", "reader"),
    ("GET", "/api/slides/{slide}/predictions/{name}/at", "reader"),
    ("GET", "/api/slides/{slide}/queue", "reader"),
    ("POST", "/api/slides/{slide}/corrections", "annotator"),
    ("GET", "/api/slides/{slide}/shapes", "reader"),
    ("POST", "/api/slides/{slide}/shapes", "annotator"),
    ("PUT", "/api/slides/{slide}/shapes/{shape_id}", "annotator"),
    ("DELETE", "/api/slides/{slide}/shapes/{shape_id}", "annotator"),
    ("GET", "/api/slides/{slide}/shapes/export", "reader"),
    ("POST", "/api/slides/{slide}/shapes/import", "annotator"),
    ("POST", "/api/slides/{slide}/readings", "reader"),
    ("GET", "/api/slides/{slide}/suggestions", "reader"),
    ("GET", "/api/readings/{reading}", "reader"),
    ("PUT", "/api/readings/{reading}/finding", "reader"),
    ("POST", "/api/readings/{reading}/reveal", "reader"),
    ("PUT", "/api/readings/{reading}/decision", "reader"),
    ("GET", "/api/slides/{slide}/picture", "reader"),
    ("GET", "/api/cases", "reader"),
    ("GET", "/api/reports", "reader"),
    ("POST", "/api/reports", "annotator"),
    ("GET", "/api/reports/{report}", "reader"),
    ("PUT", "/api/reports/{report}", "annotator"),
    ("POST", "/api/reports/{report}/sign", "annotator"),
    ("GET", "/api/reports/{report}/pdf", "reader"),
    ("GET", "/api/study.csv", "admin"),
    ("GET", "/api/record", "admin"),
    ("GET", "/api/record/export", "admin"),
    ("GET", "/", "reader"),
    ("GET", "/{file}", "reader"),
    ("GET", "/assets/{file}", "anyone"),
)
"""Method, address and the least role that may use it; ``anyone`` needs no login.

The page's scripts and styles, the same in every installation, are among these: a part that is loaded late
must come even when the login has just expired.
"""

TELLING = (
    ("GET", "/api/slides/{slide}/suspicious"),
    ("GET", "/api/slides/{slide}/maps/{name}/tiles/{level}/{column}/{row}"),
    ("GET", "/api/slides/{slide}/objects/{name}"),
    ("GET", "/api/slides/{slide}/objects/{name}/histogram"),
    ("GET", "/api/slides/{slide}/objects/{name}/tiles/{step}/{column}/{row}"),
    ("GET", "/api/slides/{slide}/objects/{name}/outlines"),
    ("GET", "/api/slides/{slide}/objects/{name}/at"),
    ("GET", "/api/slides/{slide}/predictions/{name}/at"),
    ("GET", "/api/slides/{slide}/queue"),
    ("POST", "/api/slides/{slide}/corrections"),
    ("GET", "/api/slides/{slide}/suggestions"),
)
"""What says nothing but what models found: refused to who reads the slide and has not had that shown yet."""

TELLING_IN_PART = (
    ("GET", "/api/slides/{slide}/overlays"),
    ("GET", "/api/slides/{slide}/grid"),
    ("GET", "/api/slides/{slide}/shapes"),
    ("GET", "/api/slides/{slide}/shapes/export"),
)
"""What says other things too, and leaves that part out or refuses it."""

SILENT = (
    ("GET", "/api/slides/{slide}"),
    ("GET", "/api/slides/{slide}/thumbnail"),
    ("GET", "/api/slides/{slide}/tiles/{level}/{column}/{row}"),
    ("GET", "/api/slides/{slide}/region"),
    ("GET", "/api/slides/{slide}/picture"),
    ("GET", "/api/slides/{slide}/tissue"),
    ("GET", "/api/slides/{slide}/quality"),
    ("POST", "/api/slides/{slide}/shapes"),
    ("PUT", "/api/slides/{slide}/shapes/{shape_id}"),
    ("DELETE", "/api/slides/{slide}/shapes/{shape_id}"),
    ("POST", "/api/slides/{slide}/shapes/import"),
    ("POST", "/api/slides/{slide}/readings"),
)
"""What of a slide says nothing of what models found."""

BODY = 8 << 20
"""Bytes that a request may bring."""

BODIES = {("POST", "/api/slides/{slide}/shapes/import"): 64 << 20}
"""Where it may bring more."""


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


_TABLE = [(method, _pattern(path), role) for method, path, role in ROLES]


_LARGE = [(method, _pattern(path), limit) for (method, path), limit in BODIES.items()]


_TELLING = [(method, _pattern(path)) for method, path in TELLING]


def tells(method: str, path: str) -> bool:
    """Say whether an address says what models found on a slide, and nothing else.

    Examples
    --------
    >>> tells("HEAD", "/api/slides/a/suspicious"), tells("GET", "/api/slides/a/thumbnail")
    (True, False)
    """
    asked = "GET" if method == "HEAD" else method
    return any(known == asked and pattern.fullmatch(path) for known, pattern in _TELLING)


def body_limit(method: str, path: str) -> int:
    """Return how many bytes a request may bring.

    Examples
    --------
    >>> body_limit("POST", "/api/slides/a/shapes/import") >> 20, body_limit("PUT", "/api/projects/a") >> 20
    (64, 8)
    """
    return next((most for known, at, most in _LARGE if known == method and at.fullmatch(path)), BODY)


def role_of(method: str, path: str) -> Role | Literal["anyone"] | None:
    """Return the role that an address needs, or None when it is not listed.

    Examples
    --------
    >>> role_of("GET", "/api/slides/a%20b"), role_of("DELETE", "/api/slides")
    ('reader', None)
    """
    asked = "GET" if method == "HEAD" else method
    for known, pattern, role in _TABLE:
        if known == asked and pattern.fullmatch(path):
            return role
    return None
