"""What the routes of an application share."""

# FastAPI reads the annotations of `only_seen` at run time, so they are no strings
from typing import TYPE_CHECKING

from starlette.requests import Request

from coverslip.core import unknown
from coverslip.server.access import Person
from coverslip.server.accounts import People, Projects
from coverslip.server.db import Drawings, Readings, Record, Reports
from coverslip.server.overlays.gather import Overlays
from coverslip.server.roles import tells
from coverslip.server.statements import Statements
from coverslip.server.tiles import TileService

if TYPE_CHECKING:
    from coverslip.server.app import Site


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


def statements_of(request: Request) -> Statements:
    """Return what must stand beside what models say."""
    statements: Statements = request.app.state.statements
    return statements


def readings_of(request: Request) -> Readings:
    """Return the readings."""
    return Readings(request.app.state.site.database, record_of(request))


def reports_of(request: Request) -> Reports:
    """Return the reports of cases."""
    return Reports(request.app.state.site.database, record_of(request))


def record_of(request: Request) -> Record:
    """Return the record of who did what."""
    return Record(request.app.state.site.database)


def person_of(request: Request) -> Person:
    """Return who asks."""
    person: Person = request.state.person
    return person


def site_of(request: Request) -> "Site":
    """Return what the server is made of."""
    site: Site = request.app.state.site
    return site


def people_of(request: Request) -> People:
    """Return the people who have accounts."""
    return People(request.app.state.site.database, record_of(request))


def projects_of(request: Request) -> Projects:
    """Return who sees which slides."""
    return Projects(request.app.state.site.database, record_of(request))


def sees(request: Request, slide: str) -> bool:
    """Say whether who asks may see a slide; one that is not there is seen by all, to be told so."""
    entry = service_of(request).library.entries.get(slide)
    if entry is None:
        return True
    return person_of(request).sees(slide, None if entry.run is None else entry.run.path.name)


def seen_by(request: Request) -> list[str]:
    """Return the slides that who asks may see."""
    return [slide for slide in service_of(request).library.entries if sees(request, slide)]


def only_seen(request: Request) -> None:
    """Refuse an address that names a slide of somebody else's project, as if there were none.

    Raises
    ------
    UnknownNameError
        When who asks does not see it.
    """
    slide = request.path_params.get("slide")
    if slide is not None and not sees(request, slide):
        raise unknown("slide", slide, seen_by(request))


def is_blind(request: Request, slide: str) -> bool:
    """Say whether who asks reads a slide alone, and must not see yet what models found on it."""
    return readings_of(request).is_blind(person_of(request), slide)


def check_revealed(request: Request, slide: str) -> None:
    """Refuse what models found to who reads a slide alone.

    Raises
    ------
    WithheldError
        When their own finding comes first.
    """
    readings_of(request).check_revealed(person_of(request), slide)


def only_revealed(request: Request) -> None:
    """Refuse an address that says what models found to who reads its slide alone.

    Raises
    ------
    WithheldError
        When their own finding comes first.
    """
    slide = request.path_params.get("slide")
    if slide is not None and tells(request.method, request.url.path):
        check_revealed(request, slide)
