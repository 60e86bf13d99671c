"""The learning loop: what to label next, and a person's word on what a model found."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from coverslip.core.errors import UsageError
from coverslip.learn.active import next_to_label, uncertainty
from coverslip.server.app_state import drawings_of, overlays_of, person_of
from coverslip.server.corrections import found_at, judged

router = APIRouter(prefix="/api/slides/{slide}", tags=["learning"])


class Correction(BaseModel):
    """A verdict on a finding, as a page sends it."""

    model_config = ConfigDict(extra="forbid")

    key: str
    number: int
    verdict: str
    class_name: str | None = None
    version: int | None = None


@router.post("/corrections", status_code=201)
def correct(request: Request, slide: str, correction: Correction) -> dict[str, Any]:
    """Accept, reject or relabel what a model found; the answer is the shape that keeps it.

    The finding is looked up in the run, whose files stay as they are. A finding has one correction: another
    verdict takes its place. To reshape a finding, change the shape of its correction.
    """
    found = found_at(overlays_of(request), slide, correction.key, correction.number)
    shape = judged(found, correction.verdict, correction.class_name)
    whole = {**shape, "id": found.id_on(slide), "version": correction.version}
    return drawings_of(request).correct(person_of(request), slide, whole).to_dict()


@router.get("/queue")
def queue(
    request: Request, slide: str, name: str, how: Literal["margin", "entropy"] = "margin",
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
) -> dict[str, Any]:  # fmt: skip
    """Return the tiles of a prediction to label next, the most telling first.

    They are those of which the model is least sure, spread by the run's features of the tiles, or by place
    where it has none. Tiles that have a label are left out.
    """
    overlays = overlays_of(request)
    said = overlays.tilewise(slide, name)
    if len(said.chances) < 2:
        raise UsageError(
            f"predictions/{name} holds no probabilities of two classes or more",
            mend="choose the prediction of a classifier",
        )
    origins = [one.origin for one in drawings_of(request).of(slide) if one.origin]
    done = {one["number"] for one in origins if one["key"] == f"predictions/{name}"}
    labelled = np.isin(np.arange(len(said)), list(done))
    doubt = uncertainty(np.stack(list(said.chances.values()), axis=1), how)
    features = overlays.features(slide, len(said))
    spread = said.xy if features is None else features
    rows = next_to_label(doubt, spread, labelled, count=limit)
    return {
        "prediction": name,
        "classes": list(said.classes),
        "labelled": int(labelled.sum()),
        "tiles": len(said),
        "spread_by": "place" if features is None else "features",
        "queue": [{**said.told(int(row)), "doubt": float(doubt[row])} for row in rows],
    }
