"""What a draft report says: gathered from run, readings and drawings; then a person edits it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from coverslip import __version__
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.server.db.drawings import Drawings, Drawn, as_annotations
from coverslip.server.db.readings import Reading
from coverslip.server.library import Entry, Library
from coverslip.server.overlays.gather import Overlays
from coverslip.server.statements import USE, Statements, suggestion

SECTIONS = ("question", "findings", "conclusion")
"""What a person writes."""

LONGEST = 20_000
"""Characters of a section."""

SUSPICIOUS, DRAWN = 4, 12
"""Regions of each slide that a draft begins with: what a model suspects most, and what people drew."""

MEASURED = 40
"""Measurements of each slide."""


@dataclass(frozen=True)
class Gatherer:
    """Where a draft comes from.

    Attributes
    ----------
    library, overlays, statements, drawings
        Slides, what lies over them, what stands beside it, and what people drew.
    """

    library: Library
    overlays: Overlays
    statements: Statements
    drawings: Drawings

    def draft(self, case: str, slides: Sequence[str], readings: Iterable[Reading]) -> dict[str, Any]:
        """Gather the draft of a case.

        Parameters
        ----------
        slides
            Of the case.
        readings
            Of the person who drafts: their own findings, and what became of them.
        """
        regions = [one for slide in slides for one in self._regions(slide)]
        measurements = [one for slide in slides for one in self._measured(slide)]
        return {
            "case": case,
            "slides": [self._facts(slide) for slide in slides],
            "sections": dict.fromkeys(SECTIONS, ""),
            "own": [_own(one) for one in readings if one.locked is not None],
            "models": [one for slide in slides for one in self._said(slide)],
            "measurements": [
                {"id": f"m{number}", "kept": True, **one} for number, one in enumerate(measurements)
            ],
            "regions": [{"id": f"r{number}", "kept": True, **one} for number, one in enumerate(regions)],
            "use": USE,
            "coverslip": __version__,
        }

    def _facts(self, slide: str) -> dict[str, Any]:
        try:
            with self.library.use(slide) as pyramid:
                opened = pyramid.slide
                size = [opened.size.width, opened.size.height]
                return {"id": slide, "size": size, "mpp": opened.mpp, "vendor": opened.facts.vendor}
        except CoverslipError as error:  # the report of a case says so and goes on with its other slides
            return {"id": slide, "size": None, "mpp": None, "vendor": None, "problem": error.message}

    def _said(self, slide: str) -> list[dict[str, Any]]:
        said = self.overlays.suggestion(slide)
        return [] if said is None else [{"slide": slide, **suggestion(self.statements, slide, said)}]

    # ------------------------------------------------------------------ numbers
    def _measured(self, slide: str) -> list[dict[str, Any]]:
        entry = self.library.entry(slide)
        found = [*_of_run(entry), *self._of_drawings(slide)]
        return [{"slide": slide, **one} for one in found[:MEASURED]]

    def _of_drawings(self, slide: str) -> list[dict[str, Any]]:
        """Return areas and lengths of what people drew, by class."""
        with_scale = self._facts(slide)["mpp"]
        if with_scale is None:
            return []
        drawn = as_annotations(self.drawings.of(slide))
        found = []
        for name in sorted({shape.class_name or "no class" for shape in drawn.shapes}):
            shapes = [one for one in drawn.shapes if (one.class_name or "no class") == name]
            area = sum(one.geometry.area for one in shapes) * with_scale**2 / 1e6
            long = sum(one.geometry.length for one in shapes if one.geometry.area == 0) * with_scale
            where = f"{name}, {len(shapes)} drawn"
            if area:
                found.append({"name": f"Area of {where}", "value": area, "unit": "mm²"})
            if long:
                found.append({"name": f"Length of {where}", "value": long, "unit": "µm"})
        return found

    # ------------------------------------------------------------------ regions
    def _regions(self, slide: str) -> list[dict[str, Any]]:
        found = [
            {
                "slide": slide, "x": one["x"], "y": one["y"], "width": one["width"], "height": one["height"],
                "caption": f"{one['class']}", "why": one["why"], "by": f"model {one['model']}",
            }
            for one in self.overlays.suspicious(slide, SUSPICIOUS)
        ]  # fmt: skip
        return [*found, *(_region(slide, one) for one in self.drawings.of(slide)[:DRAWN])]


def _region(slide: str, drawn: Drawn) -> dict[str, Any]:
    import json

    left, top, right, bottom = shapely.from_geojson(json.dumps(drawn.geometry)).bounds
    return {
        "slide": slide, "x": left, "y": top, "width": max(1.0, right - left),
        "height": max(1.0, bottom - top),
        "caption": drawn.class_name or drawn.kind, "why": f"drawn as {drawn.kind}", "by": drawn.author,
    }  # fmt: skip


def _of_run(entry: Entry) -> list[dict[str, Any]]:
    """Return tissue area, and numbers of the slide's row in tables of the run; no probabilities."""
    run, found = entry.run, []
    if run is None:
        return []
    mpp = run.get(entry.id, "slide").get("mpp") if run.has(entry.id, "slide") else None
    if run.has(entry.id, "tissue") and mpp:
        area = sum(polygon.area for polygon in run.get(entry.id, "tissue").polygons) * mpp**2 / 1e6
        found.append({"name": "Tissue", "value": area, "unit": "mm²"})
    for key in run.keys(None):
        if not key.startswith("predictions/"):
            continue
        columns = run.get(None, key).columns
        names = [str(name) for name in columns.get("slide", ())]
        if entry.id in names:
            found += _numbers(columns, names.index(entry.id), key.partition("/")[2])
    return found


def _numbers(columns: Mapping[str, Any], row: int, source: str) -> list[dict[str, Any]]:
    found = []
    for name, values in columns.items():
        if name.partition("_")[0] in ("p", "probability") or name in (
            "slide",
            "case",
            "patient",
            "fold",
            "label",
        ):
            continue
        value = values[row]
        if isinstance(value, (int, float, np.number)) and math.isfinite(float(value)):
            found.append({"name": f"{source}: {name}", "value": float(value), "unit": unit_of(name)})
    return found


def unit_of(name: str) -> str:
    """Return the unit that a measurement's name ends with.

    Examples
    --------
    >>> unit_of("area_um2"), unit_of("hot_spot_mm"), unit_of("mitoses_per_mm2"), unit_of("count")
    ('µm²', 'mm', '/mm²', '')
    """
    if name.endswith("_per_mm2"):
        return "/mm²"
    ends = {"um2": "µm²", "mm2": "mm²", "um": "µm", "mm": "mm", "percent": "%"}
    return ends.get(name.rpartition("_")[2], "")


def _own(reading: Reading) -> dict[str, Any]:
    found = dict(reading.finding or {})
    return {
        "slide": reading.slide, "reader": reading.reader, "label": found.get("label"),
        "confidence": found.get("confidence"), "note": found.get("note", ""), "locked": reading.locked,
        "digest": reading.digest, "decision": reading.decision, "reason": reading.reason,
        "final": None if reading.final is None else reading.final.get("label"),
    }  # fmt: skip


def edited(content: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what became of a report: a person writes sections, and keeps or leaves out regions and numbers.

    What models and readers said, and what was measured, stays as it was gathered.

    Raises
    ------
    UsageError
        When there is no such section, region or measurement, or a text is too long.
    """
    sections = {str(name): str(text) for name, text in given.get("sections", {}).items()}
    wrong = set(sections) - set(SECTIONS)
    if wrong:
        raise UsageError(
            f"a report has no section {sorted(wrong)[0]!r}", mend=f"expected {', '.join(SECTIONS)}"
        )
    longest = max(map(len, sections.values()), default=0)
    if longest > LONGEST:
        raise UsageError(f"a section has {longest:,} characters; {LONGEST:,} are the most", mend="shorten it")
    return {
        **content,
        "sections": {**content["sections"], **sections},
        "regions": _kept(content["regions"], given.get("regions", {}), ("kept", "caption")),
        "measurements": _kept(content["measurements"], given.get("measurements", {}), ("kept",)),
    }


def _kept(
    rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any], free: Sequence[str]
) -> list[dict[str, Any]]:
    unknown = set(given) - {row["id"] for row in rows}
    if unknown:
        raise UsageError(f"the report has no row {sorted(unknown)[0]!r}", mend="load it anew")
    made = []
    for row in rows:
        new = {name: value for name, value in dict(given.get(row["id"], {})).items() if name in free}
        if len(str(new.get("caption", ""))) > 500:
            raise UsageError("a caption has more than 500 characters", mend="shorten it")
        made.append({**row, **new})
    return made
