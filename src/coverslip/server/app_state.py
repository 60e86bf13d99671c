"""What the routes of an application share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coverslip.server.access import Person
from coverslip.server.db import Drawings, Readings, Record
from coverslip.server.overlays.gather import Overlays
from coverslip.server.tiles import TileService

if TYPE_CHECKING:
    from starlette.requests import Request


def service_of(request: Request) -> TileService:
    """Return the service that makes tiles and knows the slides."""
    service: TileService = request.app.state.service
    return service


def overlays_of(request: Request) -> Overlays:
    """Return the layers over the slides."""
    overlays: Overlays = request.app.state.overlays
    return overlays


def drawings_of(request: Request) -> Drawings:
    """Return the shapes that people draw."""
    return Drawings(request.app.state.site.database, record_of(request))


def readings_of(request: Request) -> Readings:
    """Return the readings."""
    return Readings(request.app.state.site.database, record_of(request))


def record_of(request: Request) -> Record:
    """Return the record of who did what."""
    return Record(request.app.state.site.database)


def person_of(request: Request) -> Person:
    """Return who asks."""
    person: Person = request.state.person
    return person
