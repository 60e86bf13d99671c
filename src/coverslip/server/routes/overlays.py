"""What lies over a slide: maps, tissue, tiles, objects."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from coverslip.core import Box
from coverslip.core.errors import UnknownNameError
from coverslip.server.app_state import check_revealed, is_blind, overlays_of
from coverslip.server.overlays.maps import Look
from coverslip.server.overlays.objects import Filter, ObjectIndex
from coverslip.server.routes.numbers import Extent, Place, Share, StepOfPath

router = APIRouter(prefix="/api/slides/{slide}", tags=["overlays"])

PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
FINEST = 0.01
"""Least level-0 pixels per pixel at which objects are drawn."""


def chosen_by(
    classes: Annotated[str | None, Query(description="names, separated by commas; all when left out")] = None,
    ranges: Annotated[
        list[str] | None, Query(alias="range", description="name:least:greatest, e.g. area_um2:20:80")
    ] = None,
) -> Filter:
    """Return the filter that an address states."""
    return Filter.parse(classes, ranges or ())


def index_of(request: Request, slide: str, name: str) -> ObjectIndex:
    """Return the objects that an address names."""
    return overlays_of(request).objects(slide, name)


def look_of(scale: str = "viridis", low: Share = 0.0, high: Share = 1.0) -> Look:
    """Return the colours that an address asks for."""
    return Look(scale, low, high)


def box_of(x: Place, y: Place, width: Extent, height: Extent) -> Box:
    """Return the box that an address names, in level-0 pixels."""
    return Box(x, y, width, height)


Chosen = Annotated[Filter, Depends(chosen_by)]
Index = Annotated[ObjectIndex, Depends(index_of)]


def _picture(data: bytes) -> Response:
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=60"})


@router.get("/overlays")
def overlays(request: Request, slide: str) -> dict[str, Any]:
    """List what a run holds of this slide that can be laid over it.

    ``withheld`` is true while you read the slide alone; then what models found is left out.
    """
    return overlays_of(request).listed(slide, withheld=is_blind(request, slide))


@router.get("/tissue")
def tissue(request: Request, slide: str) -> dict[str, Any]:
    """Return the tissue as GeoJSON in level-0 pixels."""
    return overlays_of(request).tissue(slide)


@router.get("/grid")
def grid(request: Request, slide: str, name: str | None = None) -> dict[str, Any]:
    """Return the tiles' corners and side in level-0 pixels, with what prediction `name` says of each."""
    if name is not None:
        check_revealed(request, slide)
    return overlays_of(request).grid(slide, name)


@router.get("/quality")
def quality(request: Request, slide: str) -> dict[str, Any]:
    """Return what is wrong with the tissue: the cells that are blurred, folded, under pen, … by flag."""
    return overlays_of(request).quality(slide)


@router.get("/predictions/{name}/at")
def tile_at(request: Request, slide: str, name: str, x: Place, y: Place) -> dict[str, Any]:
    """Return what a prediction says of the tile at a point of level-0 pixels."""
    said = overlays_of(request).tilewise(slide, name)
    row = said.at(x, y)
    if row is None:
        raise UnknownNameError(f"there is no tile at {x:g}, {y:g}", mend="click inside a tile")
    return said.told(row)


@router.get("/suspicious")
def suspicious(
    request: Request, slide: str, limit: Annotated[int, Query(ge=1, le=200)] = 24
) -> list[dict[str, Any]]:
    """Return the regions that models found most suspicious, the most suspicious first, with why."""
    return overlays_of(request).suspicious(slide, limit)


@router.get("/maps/{name}/tiles/{level}/{column}/{row}", response_class=Response, responses=PNG)
def map_tile(  # noqa: PLR0913, PLR0917 - the parameters of an address
    request: Request, slide: str, name: str, level: int, column: int, row: int,
    look: Annotated[Look, Depends(look_of)], plane: Annotated[str | None, Query(alias="class")] = None,
) -> Response:  # fmt: skip
    """Return a tile of a map as PNG: labels by class, probabilities of one class by a colour scale."""
    layer = overlays_of(request).map(slide, name)
    return _picture(layer.picture((level, column, row), plane, look))


@router.get("/objects/{name}")
def objects(index: Index, chosen: Chosen) -> dict[str, Any]:
    """Count objects, all and those that a filter keeps."""
    return index.facts(chosen)


@router.get("/objects/{name}/histogram")
def histogram(index: Index, chosen: Chosen, measurement: str) -> dict[str, Any]:
    """Return how a measurement is spread over all objects and over those that a filter keeps."""
    return index.histogram(measurement, chosen)


@router.get("/objects/{name}/tiles/{step}/{column}/{row}", response_class=Response, responses=PNG)
def object_tile(index: Index, chosen: Chosen, step: StepOfPath, column: int, row: int) -> Response:
    """Draw the objects of a tile of 512 px at `step` level-0 pixels per pixel, as PNG."""
    return _picture(index.drawn((column, row), max(step, FINEST), chosen))


@router.get("/objects/{name}/outlines", response_model=None)
def outlines(
    index: Index, chosen: Chosen, box: Annotated[Box, Depends(box_of)], *, packed: bool = False
) -> dict[str, Any] | Response:
    """Return the outlines of the objects that meet a box, in level-0 pixels.

    ``packed=1`` sends the same in few bytes, little-endian: numbers of objects, rings and points (int32);
    rows and classes of the objects; the object of each ring; the points of each ring (int32); then x and y of
    each point (float32).
    """
    if packed:
        return Response(index.packed(box, chosen), media_type="application/octet-stream")
    return index.polygons(box, chosen)


@router.get("/objects/{name}/at")
def object_at(index: Index, x: Place, y: Place) -> dict[str, Any]:
    """Return the object at a point of level-0 pixels, with its numbers."""
    found = index.at(x, y)
    if found is None:
        raise UnknownNameError(f"there is no object at {x:g}, {y:g}", mend="click inside an outline")
    return found
