"""Read first, then reveal; and the record of who did what."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from coverslip.core.errors import UnknownNameError
from coverslip.server.app_state import (
    check_revealed,
    overlays_of,
    person_of,
    readings_of,
    record_of,
    service_of,
    statements_of,
)
from coverslip.server.db.readings import Reading
from coverslip.server.statements import USE, listed, suggestion

router = APIRouter(prefix="/api", tags=["second opinion"])


class Finding(BaseModel):
    """What a reader found alone."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(max_length=500)
    confidence: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    note: str = Field("", max_length=20_000)


class Decision(BaseModel):
    """What a reader makes of the model's suggestion."""

    model_config = ConfigDict(extra="forbid")

    decision: str
    reason: str = Field("", max_length=20_000)


@router.post("/slides/{slide}/readings", status_code=201)
def open_reading(request: Request, slide: str) -> dict[str, Any]:
    """Begin a reading of a slide; one that you have not ended goes on."""
    service_of(request).library.entry(slide)
    return readings_of(request).open(person_of(request), slide).to_dict()


@router.get("/readings/{reading}")
def reading_of(request: Request, reading: str) -> dict[str, Any]:
    """Return a reading of yours; 403 for an earlier one of a slide that you read anew."""
    return _seen(request, reading).to_dict()


@router.put("/readings/{reading}/finding")
def lock(request: Request, reading: str, finding: Finding) -> dict[str, Any]:
    """Lock your own finding: hashed and timed, it can no longer be changed."""
    return readings_of(request).lock(person_of(request), reading, finding.model_dump()).to_dict()


@router.post("/readings/{reading}/reveal")
def reveal(request: Request, reading: str) -> dict[str, Any]:
    """Show what the model says; 409 until your own finding is locked."""
    mine = _seen(request, reading)
    if mine.locked is None:
        return (
            readings_of(request).reveal(person_of(request), reading, {}).to_dict()
        )  # refuses, with the mend
    said = overlays_of(request).suggestion(mine.slide)
    if said is None:
        raise UnknownNameError(f"no model spoke of {mine.slide}", mend="run a classifier on it first")
    whole = suggestion(statements_of(request), mine.slide, said)
    return readings_of(request).reveal(person_of(request), reading, whole).to_dict()


@router.get("/slides/{slide}/suggestions")
def suggestions(request: Request, slide: str) -> dict[str, Any]:
    """Say what models say of a slide, with all that must stand beside it.

    ``slide``: what is said of the slide as a whole, or null; ``models``: all that made a result of it.
    403 while a reading of yours is open and the model's word not revealed.
    """
    statements, run = statements_of(request), service_of(request).library.entry(slide).run
    said = overlays_of(request).suggestion(slide)
    whole = None if said is None else suggestion(statements, slide, said)
    return {"slide": whole, "models": listed(statements, slide, run), "use": USE}


@router.put("/readings/{reading}/decision")
def decide(request: Request, reading: str, decision: Decision) -> dict[str, Any]:
    """Agree, disagree or override; the last two with a reason."""
    readings = readings_of(request)
    return readings.decide(person_of(request), reading, decision.decision, decision.reason).to_dict()


def _seen(request: Request, reading: str) -> Reading:
    """Return a reading, unless it says of a slide that is read alone what a model found."""
    found = readings_of(request).get(person_of(request), reading)
    if found.suggestion is not None:
        check_revealed(request, found.slide)
    return found


@router.get("/study.csv", response_class=Response)
def study(request: Request) -> Response:
    """Export all readings, a row each: own finding, suggestion, decision, times."""
    headers = {"Content-Disposition": 'attachment; filename="study.csv"'}
    return Response(readings_of(request).study(), media_type="text/csv", headers=headers)


@router.get("/record")
def record(
    request: Request,
    after: int = 0,
    skip: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Return who did what, oldest first, and the first line that was tampered with, if any."""
    kept = record_of(request)
    found = kept.verify()
    return {"lines": kept.lines(after=after, skip=skip, limit=limit), **found.to_dict()}


@router.get("/record/export", response_class=Response)
def export_record(
    request: Request, form: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv"
) -> StreamingResponse:
    """Export the whole record, a line each."""
    headers = {"Content-Disposition": f'attachment; filename="record.{form}"'}
    kind = "text/csv" if form == "csv" else "application/json"
    return StreamingResponse(record_of(request).exported(form), media_type=kind, headers=headers)
