"""The web application: routes, who may use them, and the page itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coverslip._version import __version__
from coverslip.core.errors import CoverslipError
from coverslip.server.access import COOKIE, LOOPBACK, Door, TokenDoor, host_is_known, token_of
from coverslip.server.db import Database
from coverslip.server.errors import ENTRY
from coverslip.server.library import Library
from coverslip.server.overlays.gather import Overlays
from coverslip.server.roles import role_of
from coverslip.server.tiles import TileRoute, TileService, status_of

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(__file__).parent / "static"
"""The page as built: HTML, script, style, fonts."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page of ours may load: nothing but from this server.

``unsafe-eval`` is for the drawing library, whose WebGL shaders are set by functions that it compiles.
"""


@dataclass(frozen=True)
class Site:
    """What a server is made of.

    Attributes
    ----------
    library
        The slides.
    database
        Shapes, readings and the record of who did what.
    door
        Knows who asks.
    hosts
        Names under which it may be asked; None for any.
    threads
        That read and decode.
    """

    library: Library
    database: Database
    door: Door = field(default_factory=TokenDoor)
    hosts: frozenset[str] | None = LOOPBACK
    threads: int = 2


def make_app(site: Site) -> TileRoute:
    """Make the ASGI application of a site."""
    from fastapi import FastAPI

    from coverslip.server.routes import ROUTERS

    service = TileService(site.library, threads=site.threads)
    app = FastAPI(
        title="Coverslip", version=__version__, docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json", lifespan=_closing(service, site.database),
    )  # fmt: skip
    app.state.site, app.state.service = site, service
    app.state.overlays = Overlays(site.library)
    for router in ROUTERS:
        app.include_router(router)
    _say_errors(app)
    _guard(app, site)
    _serve_page(app)
    return TileRoute(service, site.door, site.hosts, app)


def _closing(service: TileService, database: Database) -> Callable[[Any], Any]:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(_app: Any) -> Any:
        yield
        service.close()
        database.close()

    return lifespan


def _say_errors(app: FastAPI) -> None:
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.requests import Request

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CoverslipError)  # noqa: S101 - registered for that class alone
        return JSONResponse({"error": error.message, "mend": error.mend}, status_of(error))

    async def asked_wrongly(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for that class alone
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": said, "mend": "see /api/docs"}, 422)

    async def fault(_request: Request, error: Exception) -> JSONResponse:
        text = "this is a fault of Coverslip; the server's own output says more"
        return JSONResponse({"error": text, "mend": f"report it: {type(error).__name__}"}, 500)

    app.add_exception_handler(CoverslipError, ours)
    app.add_exception_handler(RequestValidationError, asked_wrongly)
    app.add_exception_handler(Exception, fault)


def _guard(app: FastAPI, site: Site) -> None:
    """Let in who may come in; mark every answer as ours alone to show."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, RedirectResponse, Response

    @app.middleware("http")
    async def guard(request: Request, following: Callable[[Request], Any]) -> Response:
        refused = _refusal(request, site)
        if refused is not None:
            status, said, mend = refused
            return JSONResponse({"error": said, "mend": mend}, status)
        token = token_of(request.scope)
        if token and request.url.path == "/" and request.method == "GET":
            return _logged_in(RedirectResponse(_without_token(request), 303), token)
        answer: Response = await following(request)
        answer.headers["Content-Security-Policy"] = POLICY
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    def _logged_in(answer: Response, token: str) -> Response:
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answer


def _refusal(request: Any, site: Site) -> tuple[int, str, str] | None:
    """Return status, sentence and mend for a request that is not served, else None."""
    if site.hosts is not None and not host_is_known(request.scope, site.hosts):
        return 421, "this server is not known under that name", ENTRY
    person = site.door.admit(request.scope)
    if person is None:
        return 401, "log in first", ENTRY
    role = role_of(request.method, request.url.path)
    if role is None:
        return 404, f"there is nothing at {request.url.path}", "see /api/docs"
    if not person.may(role):
        return 403, f"this needs the role {role}; you are {person.role}", "ask an administrator"
    if request.method not in ("GET", "HEAD") and not _same_site(request):
        return 403, "the request comes from another site", "use the page of this server"
    request.state.person = person
    return None


def _same_site(request: Any) -> bool:
    """Say whether a change is asked for by our own page or by a program, not by a page elsewhere."""
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")


def _without_token(request: Any) -> str:
    rest = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
    from urllib.parse import urlencode

    return "/" + (f"?{urlencode(rest)}" if rest else "")


def _serve_page(app: FastAPI) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.staticfiles import StaticFiles

    if STATIC.is_dir():
        app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    def no_page() -> PlainTextResponse:
        return PlainTextResponse("The page is not built. To mend: make page, in the folder of the sources.")
