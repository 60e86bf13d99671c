"""The stage that shows a hierarchy: a page per slide with a panel for each step, in the order of the tree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from coverslip.pipeline.found import head_of
from coverslip.pipeline.planning import in_tree
from coverslip.pipeline.record import records_of
from coverslip.pipeline.stage import Stage
from coverslip.pipeline.step import Step, core_of
from coverslip.report.findings import Findings
from coverslip.report.html import render
from coverslip.report.index import thumbnail_of
from coverslip.report.levels_panel import Level, panels
from coverslip.report.overview import BACK, run_report
from coverslip.report.page import subtitle
from coverslip.report.summary import row_of
from coverslip.slides.slide import Slide
from coverslip.store import RunFolder

SHOWN = ("tissue", "tiles", "stain", "objects", "predictions", "tables", "maps")
"""Kinds of results that a panel shows."""


@dataclass(frozen=True)
class LevelsStage:
    """Show what each step of a recipe was given and what it found: a page per slide, and one for the run.

    Put it last. What it shows, it takes from the recipe.

    Parameters
    ----------
    levels
        Filled in by the recipe: one JSON text per step before this one.
    """

    name: ClassVar[str] = "levels"
    version: ClassVar[int] = 2

    levels: tuple[str, ...] = ()

    def after(self, stages: Sequence[Stage]) -> LevelsStage:
        """Return the stage that shows these."""
        known = {stage.name: stage for stage in stages}
        told = (level_of(known[record.name], depth) for record, depth in in_tree(records_of(stages)))
        return replace(self, levels=tuple(json.dumps(asdict(level)) for level in told))

    def _levels(self) -> list[Level]:
        return [Level.from_dict(json.loads(text)) for text in self.levels]

    def reads(self) -> tuple[str, ...]:
        """Return the keys of all that is shown."""
        levels = self._levels()
        shown = [key for level in levels for key in level.writes if shows(level, key)]
        asked = [key for level in levels for key in level.keys if key not in level.writes]
        return tuple(dict.fromkeys(("slide", "thumbnail", *shown, *asked)))

    def writes(self) -> tuple[str, ...]:
        """Return the key of the page."""
        return ("page",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the slide's page; returns ``{"page": html}``."""
        info = inputs.get("slide") or slide.info()
        basics = {part: inputs[part] for part in ("tissue", "tiles") if part in inputs}
        findings = Findings(str(info.get("id", slide.id)), info, inputs.get("thumbnail"), **basics)
        row, picture = row_of(findings), None
        if findings.thumbnail is not None:
            picture = thumbnail_of(findings.slide_id, findings.thumbnail)
        carried = {"row": asdict(row), "picture": None if picture is None else asdict(picture)}
        html = render(
            "levels.html.j2",
            title=findings.slide_id,
            subtitle=subtitle(findings),
            back=BACK,
            carried=carried,
            panels=panels(self._levels(), inputs),
        )
        return {"page": html}

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Write the run's page, its tables, and pages for slides that did not get through."""
        return {"report": run_report(run, self)}


def shows(level: Level, key: str) -> bool:
    """Say whether a panel shows a result; of maps only those of measurements, which are small."""
    return head_of(key) in SHOWN and (head_of(key) != "maps" or level.stage == "map")


def level_of(stage: Stage, depth: int) -> Level:
    """Return what a panel needs to know of a step."""
    limits = stage.limits if isinstance(stage, Step) else ()
    sources = stage.sources if isinstance(stage, Step) else {}
    plain = tuple((limit.kind, json.dumps(limit.to_plain())) for limit in limits)
    asked = tuple((name, tuple(keys)) for name, keys in sources.items())
    words = " and ".join(map(str, limits))
    links = stage.links if isinstance(stage, Step) else {}
    reads = tuple(links.get(key, key) for key in core_of(stage).reads())
    return Level(
        stage.name,
        core_of(stage).name,
        depth,
        words,
        limits=plain,
        sources=asked,
        reads=reads,
        writes=tuple(stage.writes()),
    )
