"""The web application: routes, who may use them, and the page itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coverslip._version import __version__
from coverslip.core.errors import CoverslipError
from coverslip.server.access import LOOPBACK, Door, TokenDoor
from coverslip.server.db import Database
from coverslip.server.guard import Guard
from coverslip.server.library import Library
from coverslip.server.limits import Limits
from coverslip.server.overlays.gather import Overlays
from coverslip.server.statements import Statements
from coverslip.server.tiles import TileRoute, TileService, status_of

if TYPE_CHECKING:
    from fastapi import FastAPI

    from coverslip.server.accounts.oidc import Provider

STATIC = Path(__file__).parent / "static"
"""The page as built: HTML, script, style, fonts."""


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
    url
        Under which a group's browsers find it; empty for one person.
    limits
        How much each may ask; None for no limit.
    provider
        By which a group logs in; None for passwords alone.
    passwords
        False lets in by the provider alone.
    tls
        Certificate and key (PEM files) of a server that speaks TLS itself.
    proxy
        Address of the machine in front whose word on who asks is taken.
    """

    library: Library
    database: Database
    door: Door = field(default_factory=TokenDoor)
    hosts: frozenset[str] | None = LOOPBACK
    threads: int = 2
    url: str = ""
    limits: Limits | None = None
    provider: Provider | None = None
    passwords: bool = True
    tls: tuple[str, str] | None = None
    proxy: str | None = None


def make_app(site: Site) -> TileRoute:
    """Make the ASGI application of a site."""
    from fastapi import Depends, FastAPI

    from coverslip.server.app_state import only_revealed, only_seen
    from coverslip.server.routes import ROUTERS

    service = TileService(site.library, threads=site.threads)
    app = FastAPI(
        title="Coverslip", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False,
        openapi_url="/api/openapi.json", lifespan=_closing(service, site.database),
        dependencies=[Depends(only_seen), Depends(only_revealed)],
    )  # fmt: skip
    app.state.site, app.state.service = site, service
    app.state.overlays = Overlays(site.library)
    app.state.statements = Statements(site.library)
    for router in ROUTERS:
        app.include_router(router)
    _say_errors(app)
    _serve_page(app)
    return TileRoute(service, site, Guard(site, app), app.state.overlays)


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
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CoverslipError)  # noqa: S101 - registered for that class alone
        return JSONResponse({"error": error.message, "mend": error.mend}, status_of(error))

    async def asked_wrongly(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for that class alone
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": said, "mend": "see /api/docs"}, 422)

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for that class alone
        told = {"error": str(error.detail), "mend": "see /api/docs"}
        return JSONResponse(told, error.status_code, error.headers)

    async def fault(_request: Request, error: Exception) -> JSONResponse:
        text = "this is a fault of Coverslip; the server's own output says more"
        return JSONResponse({"error": text, "mend": f"report it: {type(error).__name__}"}, 500)

    app.add_exception_handler(CoverslipError, ours)
    app.add_exception_handler(RequestValidationError, asked_wrongly)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, fault)


def _serve_page(app: FastAPI) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.staticfiles import StaticFiles

    if STATIC.is_dir():
        app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    def no_page() -> PlainTextResponse:
        return PlainTextResponse("The page is not built. To mend: make page, in the folder of the sources.")
