"""Slides: the list, the facts, thumbnails, tiles, regions."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from coverslip.core import Box
from coverslip.core.errors import UsageError
from coverslip.server.app_state import person_of, readings_of, record_of, seen_by, service_of
from coverslip.server.library import Entry, failure_of
from coverslip.server.pyramid import jpeg
from coverslip.server.routes.numbers import Downsample, Place
from coverslip.server.shown import Shown

router = APIRouter(prefix="/api/slides", tags=["slides"])

THUMBNAIL = 512
LARGEST_REGION = 4096
PICTURE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}


@router.get("")
def slides(request: Request) -> list[dict[str, Any]]:
    """List the slides that are served, with the state of the run that each belongs to."""
    entries = service_of(request).library.entries
    return [listed(entries[slide]) for slide in seen_by(request)]


def listed(entry: Entry) -> dict[str, Any]:
    """Return what the list says of a slide."""
    keys = () if entry.run is None else entry.run.keys(entry.id)
    return {
        "id": entry.id,
        "run": None if entry.run is None else entry.run.path.name,
        "results": list(keys),
        "there": entry.path is not None,
        "failure": failure_of(entry),
    }


@router.get("/{slide}")
def slide_facts(request: Request, slide: str) -> dict[str, Any]:
    """Say a slide's size, mpp and levels.

    Level 0 is the finest. Tiles of a level are ``tile_width`` × ``tile_height`` pixels, cut at the right and
    bottom edge. ``mpp`` is null where neither file nor user states one. ``reading`` is the one that you have
    begun and not ended, or null.
    """
    reading = readings_of(request).under_way(person_of(request), slide)
    with service_of(request).library.use(slide) as pyramid:
        record_of(request).note(person_of(request).name, "see", slide)
        opened = pyramid.slide
        return {
            "id": slide,
            "width": opened.size.width,
            "height": opened.size.height,
            "mpp": opened.mpp,
            "mpp_source": opened.scale.source,
            "objective_power": opened.facts.objective_power,
            "vendor": opened.facts.vendor,
            "has_icc": opened.facts.icc is not None,
            "levels": [level.to_dict() for level in pyramid.levels],
            "warnings": list(opened.warnings),
            "reading": None if reading is None else reading.to_dict(),
        }


@router.get("/{slide}/thumbnail", response_class=Response, responses=PICTURE)
def thumbnail(
    request: Request, slide: str, size: Annotated[int, Query(ge=16, le=2048)] = THUMBNAIL
) -> Response:
    """Return the whole slide with its longer side `size` pixels or less, as JPEG."""
    found = service_of(request).thumbnail(slide, size)
    return Response(found, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/{slide}/tiles/{level}/{column}/{row}", response_class=Response, responses=PICTURE)
def tile(  # noqa: PLR0913, PLR0917 - the parameters of an address
    request: Request, slide: str, level: int, column: int, row: int,
    icc: bool = False, decode: bool = False, stain: str | None = None,
) -> Response:  # fmt: skip
    """Return a tile as JPEG; where the file stores it as JPEG, its bytes as they are.

    ``icc=1`` applies the slide's colour profile; ``stain`` shows haematoxylin, eosin or dab alone;
    ``decode=1`` decodes what could be sent as it is, so that damage shows as a grey tile with a cross and
    the header ``x-coverslip-damaged``.
    """
    picture = service_of(request).make(slide, (level, column, row), Shown(icc, decode, stain))
    return Response(picture.data, media_type=picture.media_type)


@router.get("/{slide}/region", response_class=Response, responses=PICTURE)
def region(  # noqa: PLR0917 - the parameters of an address
    request: Request,
    slide: str,
    x: Place,
    y: Place,
    width: Place,
    height: Place,
    downsample: Downsample = 1.0,
) -> Response:
    """Return any part of a slide as JPEG: corner and size in level-0 pixels, level-0 pixels per pixel."""
    if not downsample > 0 or not (width > 0 and height > 0):
        raise UsageError("a region has a size above 0", mend="give width, height and downsample above 0")
    if max(width, height) / downsample > LARGEST_REGION:
        raise UsageError(
            f"a region of {width / downsample:.0f} × {height / downsample:.0f} px is too large",
            mend=f"ask for {LARGEST_REGION} px a side or less",
        )
    with service_of(request).library.use(slide) as pyramid:
        pixels = pyramid.slide.read_at(Box(x, y, width, height), downsample)
    return Response(jpeg(pixels), media_type="image/jpeg")
