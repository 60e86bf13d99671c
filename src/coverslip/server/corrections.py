"""A person's word on what a model found: kept as a shape with author, time and origin.

The model's file is never changed. A correction names the finding (an object, or the tile of a prediction),
what the model said of it, and the fingerprint of the result that said so, so that it stays true after the run
was made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from coverslip.core import unknown
from coverslip.core.errors import UnknownNameError, UsageError
from coverslip.server.overlays.gather import Overlays

Verdict = Literal["accept", "reject", "relabel", "reshape"]
VERDICTS: tuple[str, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Found:
    """What a model found, as a correction refers to it.

    Attributes
    ----------
    key
        ``objects/<name>`` or ``predictions/<name>``.
    number
        Of the object, or row of the tile.
    predicted, score
        Class and how sure the model was, each None where nothing was said.
    made
        Fingerprint of the result.
    kind, geometry
        As a shape.
    """

    key: str
    number: int
    predicted: str | None
    score: float | None
    made: str | None
    kind: str
    geometry: Mapping[str, Any]

    def id_on(self, slide: str) -> str:
        """Return the id of the shape that corrects this; one finding has one."""
        text = json.dumps([slide, self.key, self.number])
        return "c-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def found_at(overlays: Overlays, slide: str, key: str, number: int) -> Found:
    """Look up a finding.

    Raises
    ------
    UsageError
        When the key is none of objects or predictions.
    UnknownNameError
        When the run holds no such finding.
    """
    head, _, name = key.partition("/")
    if head == "objects" and name:
        return _object(overlays, slide, name, number)
    if head == "predictions" and name:
        return _tile(overlays, slide, name, number)
    raise UsageError(f"{key!r} holds no findings", mend="expected objects/NAME or predictions/NAME")


def judged(found: Found, verdict: str, class_name: str | None) -> dict[str, Any]:
    """Return a verdict on a finding as a shape.

    Raises
    ------
    UnknownNameError
        When there is no such verdict.
    UsageError
        When a relabelled finding has no class, or a tile is rejected.
    """
    if verdict not in VERDICTS:
        raise unknown("verdict", verdict, VERDICTS)
    if verdict in ("relabel", "reshape") and not class_name and found.predicted is None:
        raise UsageError(f"a verdict {verdict} needs a class", mend="say what it is")
    if verdict == "reject" and found.key.startswith("predictions/"):
        raise UsageError("a tile is always something", mend="say which class it is instead")
    name = {"accept": found.predicted, "reject": None}.get(verdict, class_name or found.predicted)
    if verdict == "relabel" and name == found.predicted:
        verdict = "accept"
    origin = {
        "key": found.key, "number": found.number, "verdict": verdict, "predicted": found.predicted,
        "score": found.score, "made": found.made,
    }  # fmt: skip
    return {"kind": found.kind, "geometry": found.geometry, "class_name": name, "origin": origin}


def _object(overlays: Overlays, slide: str, name: str, number: int) -> Found:
    import shapely

    one = overlays.objects(slide, name).found(number)
    if one is None:
        raise UnknownNameError(
            f"objects/{name} of {slide} has no object {number}", mend="load the slide anew"
        )
    shape = one.polygons[0]
    label, score = one["class"][0], float(one["score"][0])
    return Found(
        f"objects/{name}", number, None if label is None else str(label),
        score if np.isfinite(score) else None, overlays.made(slide, f"objects/{name}"),
        "polygon" if shape.geom_type == "Polygon" else "multipolygon", json.loads(shapely.to_geojson(shape)),
    )  # fmt: skip


def _tile(overlays: Overlays, slide: str, name: str, row: int) -> Found:
    import shapely

    said = overlays.tilewise(slide, name)
    said.check(row)
    box = said.box(row)
    shape = shapely.box(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    label = said.label_of(row)
    chances = said.chances.get(label or "")
    score = None if chances is None or not np.isfinite(chances[row]) else float(chances[row])
    return Found(
        f"predictions/{name}", row, label, score, overlays.made(slide, f"predictions/{name}"), "rectangle",
        json.loads(shapely.to_geojson(shape)),
    )  # fmt: skip
