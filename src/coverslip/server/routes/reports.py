"""The draft report of a case: gathered, edited, signed, printed."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from coverslip.core import Box
from coverslip.core.errors import CoverslipError, UnknownNameError
from coverslip.server.app_state import (
    check_revealed,
    drawings_of,
    overlays_of,
    person_of,
    readings_of,
    reports_of,
    seen_by,
    service_of,
    statements_of,
)
from coverslip.server.db.reports import Report
from coverslip.server.routes.numbers import Extent, Place

if TYPE_CHECKING:
    from coverslip.server.drafts import RegionPicture

router = APIRouter(prefix="/api", tags=["reports"])

PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
PDF: dict[int | str, dict[str, Any]] = {200: {"content": {"application/pdf": {}}}}


class CaseIn(BaseModel):
    """The case that a report is about."""

    model_config = ConfigDict(extra="forbid")

    case: str


class At(BaseModel):
    """The version and edit that a change was made of."""

    model_config = ConfigDict(extra="forbid")

    version: int
    edit: int


class RowIn(BaseModel):
    """What becomes of a region or measurement."""

    model_config = ConfigDict(extra="forbid")

    kept: bool = True
    caption: str | None = None


class EditIn(At):
    """An edit of a report."""

    sections: dict[str, str] = Field(default={}, max_length=10)
    regions: dict[str, RowIn] = Field(default={}, max_length=10_000)
    measurements: dict[str, RowIn] = Field(default={}, max_length=10_000)


@router.get("/cases")
def cases(request: Request) -> list[dict[str, Any]]:
    """List cases with the slides of them that you see; a slide of no known case is a case itself."""
    return [{"case": case, "slides": slides} for case, slides in cases_of(request).items()]


@router.post("/reports", status_code=201)
def draft(request: Request, about: CaseIn) -> dict[str, Any]:
    """Gather the draft report of a case; 403 while you read one of its slides alone."""
    from coverslip.server.drafts import Gatherer  # what draws is not loaded before somebody reports

    slides = cases_of(request).get(about.case)
    if not slides:
        raise UnknownNameError(f"there is no case {about.case!r}", mend="see /api/cases")
    person, readings = person_of(request), readings_of(request)
    for slide in slides:
        check_revealed(request, slide)
    gatherer = Gatherer(
        service_of(request).library, overlays_of(request), statements_of(request), drawings_of(request)
    )
    content = gatherer.draft(about.case, slides, readings.of(slides, person.name))
    return reports_of(request).begin(person, about.case, content).to_dict()


@router.get("/reports")
def reports(request: Request) -> list[dict[str, Any]]:
    """List the reports of cases that you see, newest first, without their content."""
    seen = set(seen_by(request))
    told = [one for one in reports_of(request).all() if is_seen(one, seen)]
    return [{name: value for name, value in one.to_dict().items() if name != "content"} for one in told]


@router.get("/reports/{report}")
def report_of(request: Request, report: str, version: int | None = None) -> dict[str, Any]:
    """Return a report, its newest version or the one that is named."""
    return _report(request, report, version).to_dict()


@router.put("/reports/{report}")
def save(request: Request, report: str, edit: EditIn) -> dict[str, Any]:
    """Save an edit; of a signed report it is a new version. 409 when somebody was faster."""
    from coverslip.server.drafts import edited

    before = _report(request, report, None)
    given = edit.model_dump(exclude_unset=True)
    content = edited(before.content, given)
    made = reports_of(request).save(person_of(request), report, (edit.version, edit.edit), content)
    return made.to_dict()


@router.post("/reports/{report}/sign")
def sign(request: Request, report: str, at: At) -> dict[str, Any]:
    """Sign a report: you, the time and the digest of its content; from now on this version stays as it is."""
    _report(request, report, None)
    return reports_of(request).sign(person_of(request), report, (at.version, at.edit)).to_dict()


@router.get("/reports/{report}/pdf", response_class=Response, responses=PDF)
def pdf(request: Request, report: str, version: int | None = None) -> Response:
    """Return a report as PDF."""
    from coverslip.server.drafts import as_pdf

    found = _report(request, report, version)
    data = as_pdf(found, lambda region: _picture(request, region))
    name = f"report-{found.id[:8]}-v{found.version}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, media_type="application/pdf", headers=headers)


@router.get("/slides/{slide}/picture", response_class=Response, responses=PICTURE)
def picture(  # noqa: PLR0917 - the parameters of an address
    request: Request, slide: str, x: Place, y: Place, width: Extent, height: Extent,
    side: Annotated[int, Query(ge=64, le=2048)] = 900,
) -> Response:  # fmt: skip
    """Return a region with a frame, what lies around it, and a scale bar; all in level-0 pixels."""
    from coverslip.server.drafts import picture_of

    with service_of(request).library.use(slide) as pyramid:
        made = picture_of(pyramid.slide, Box(x, y, width, height), side=side)
    return Response(made.data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def cases_of(request: Request) -> dict[str, list[str]]:
    """Return the slides of each case that who asks sees."""
    from coverslip.pipeline.finishing import cases_of as of_run

    entries, known = service_of(request).library.entries, {}
    for run in {entry.run.path: entry.run for entry in entries.values() if entry.run is not None}.values():
        known.update({slide: case for case, slides in of_run(run).items() for slide in slides})
    found: dict[str, list[str]] = {}
    for slide in seen_by(request):
        found.setdefault(known.get(slide, slide), []).append(slide)
    return found


def is_seen(report: Report, seen: set[str]) -> bool:
    """Say whether all slides of a report are among those that somebody sees."""
    return {one["id"] for one in report.content["slides"]} <= seen


def _report(request: Request, report: str, version: int | None) -> Report:
    found = reports_of(request).get(report, version)
    if not is_seen(found, set(seen_by(request))):
        raise UnknownNameError(f"there is no report {report}", mend="see /api/reports")
    for slide in found.content["slides"]:
        check_revealed(request, slide["id"])
    return found


def _picture(request: Request, region: Mapping[str, Any]) -> "RegionPicture | None":
    from coverslip.server.drafts import picture_of

    box = Box(region["x"], region["y"], region["width"], region["height"])
    try:
        with service_of(request).library.use(region["slide"]) as pyramid:
            return picture_of(pyramid.slide, box)
    except CoverslipError:  # a slide that has gone: the report stays readable without its picture
        return None
