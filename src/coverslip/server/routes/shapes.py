"""Shapes that people draw on a slide."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
import json
import tempfile
import uuid
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from coverslip.annotations import Annotations
from coverslip.annotations.formats import encode
from coverslip.core.errors import UsageError
from coverslip.server.app_state import drawings_of, is_blind, person_of, service_of
from coverslip.server.db.drawings import Drawn, as_annotations

router = APIRouter(prefix="/api/slides/{slide}/shapes", tags=["shapes"])

LARGEST = 64 << 20
"""Bytes of an annotation file that is taken in."""

MOST_SHAPES = 100_000


class ShapeIn(BaseModel):
    """A shape as a page sends it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kind: str
    geometry: dict[str, Any]
    class_name: str | None = None
    version: int | None = None


@router.get("")
def shapes(request: Request, slide: str) -> list[dict[str, Any]]:
    """Return the shapes of a slide, oldest first; without corrections while you read the slide alone."""
    service_of(request).library.entry(slide)
    return [one.to_dict() for one in shown_of(request, slide)]


@router.post("", status_code=201)
def draw(request: Request, slide: str, shape: ShapeIn) -> dict[str, Any]:
    """Keep a new shape. Once this answers, it is on disk. The same request again draws it once."""
    service_of(request).library.entry(slide)
    return drawings_of(request).add(person_of(request), slide, shape.model_dump()).to_dict()


@router.put("/{shape_id}")
def change(request: Request, slide: str, shape_id: str, shape: ShapeIn) -> dict[str, Any]:
    """Replace a shape by what was made of its version; 409 when somebody was faster."""
    new = {**shape.model_dump(), "id": shape_id}
    return drawings_of(request).change(person_of(request), slide, new).to_dict()


@router.delete("/{shape_id}", status_code=204)
def remove(request: Request, slide: str, shape_id: str, version: int) -> Response:
    """Take a shape away; the record keeps it. 409 when somebody was faster."""
    drawings_of(request).remove(person_of(request), slide, shape_id, version)
    return Response(status_code=204)


def shown_of(request: Request, slide: str) -> list[Drawn]:
    """Return the shapes that who asks may see: a correction says what a model found."""
    drawn = drawings_of(request).of(slide)
    return [one for one in drawn if one.origin is None] if is_blind(request, slide) else drawn


@router.get("/export", response_class=Response)
def export(request: Request, slide: str, form: Annotated[str, Query(alias="format")] = "geojson") -> Response:
    """Return the shapes as a file that QuPath, ASAP, ImageScope, … read."""
    drawn = as_annotations(shown_of(request, slide))
    with service_of(request).library.use(slide) as pyramid:
        data = encode(drawn, form, pyramid.slide, None)
    suffix = Path(form).name
    headers = {"Content-Disposition": f'attachment; filename="shapes.{suffix}"'}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post("/import")
async def take_in(
    request: Request, slide: str, form: Annotated[str | None, Query(alias="format")] = None
) -> dict[str, int]:
    """Take in an annotation file (the request's body), in any format that is known: all of it or nothing."""
    if int(request.headers.get("content-length") or 0) > LARGEST:
        raise too_large()
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > LARGEST:
            raise too_large()
    return await in_thread(_take_in, request, slide, bytes(data), form)


def too_large() -> UsageError:
    """Return the refusal of a file that is too large."""
    return UsageError(f"the file has more than {LARGEST >> 20} MiB", mend="split it, or view a run with it")


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Run what blocks in a thread."""
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(function, *arguments)


def _take_in(request: Request, slide: str, data: bytes, form: str | None) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder, service_of(request).library.use(slide) as pyramid:
        path = Path(folder) / ("shapes" + (".json" if data[:1] in (b"{", b"[") else ".xml"))
        path.write_bytes(data)
        drawn = Annotations.read(path, format=form, slide=pyramid.slide)
    if not len(drawn):
        raise UsageError("the file holds no shapes", mend="export it anew from where they were drawn")
    if len(drawn) > MOST_SHAPES:
        raise UsageError(f"the file has {len(drawn):,} shapes; {MOST_SHAPES:,} are the most", mend="split it")
    import shapely

    many = [
        {"id": uuid.uuid4().hex, "kind": one.kind, "class_name": one.class_name,
         "geometry": json.loads(shapely.to_geojson(one.geometry))}
        for one in drawn.shapes
    ]  # fmt: skip
    return {"shapes": drawings_of(request).add_all(person_of(request), slide, many)}
