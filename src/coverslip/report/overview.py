"""The stage that writes a page per slide and, in the end, one for the run.

A slide's page carries its own row of the summary (numbers and a small thumbnail) in its head, so the run's
page is made without opening any result again: a thousand slides take seconds.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from coverslip.core import atomic
from coverslip.pipeline.stage import Stage
from coverslip.report.findings import Findings
from coverslip.report.gather import KEYS, failure_of, from_inputs, from_run, last_events
from coverslip.report.index import Entry, RunFacts, run_page, thumbnail_of
from coverslip.report.page import slide_page
from coverslip.report.pictures import Picture
from coverslip.report.summary import Row, row_of, to_csv, to_json
from coverslip.slides.slide import Slide
from coverslip.store import Event, Provenance, RunFolder

BACK = "../index.html"
"""From a slide's page to the run's."""

HEAD = 1 << 16
"""Characters at the start of a page in which its row is found."""

START, END = '<script type="application/json" id="row">', "</script>"
"""Around a slide's row in its page."""


@dataclass(frozen=True)
class OverviewStage:
    """Show what was found: one self-contained HTML page per slide, and one for the run with its tables.

    Parameters
    ----------
    parts
        Results to show, by artefact key. A recipe without one of these stages leaves its result out here.
    """

    name: ClassVar[str] = "overview"
    version: ClassVar[int] = 1

    parts: tuple[str, ...] = tuple(KEYS)

    def __post_init__(self) -> None:
        from coverslip.core import unknown

        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            if part not in KEYS:
                raise unknown("part of the overview", part, KEYS)

    def reads(self) -> tuple[str, ...]:
        """Return the keys of the artefacts that `run` needs."""
        return ("slide", "thumbnail", *self.parts)

    def writes(self) -> tuple[str, ...]:
        """Return the keys of the artefacts that `run` makes."""
        return ("page",)

    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the slide's page; returns ``{"page": html}``."""
        return {"page": page_of(from_inputs(slide, inputs), slide)}

    def finish(self, run: RunFolder) -> Mapping[str, Any]:
        """Write the run's page, its tables, and pages for slides that did not get through.

        Returns
        -------
        ``{"report": html}``; ``report/summary.json`` and ``report/summary.csv`` are written here.
        """
        return {"report": run_report(run, self)}


def page_of(findings: Findings, slide: Slide | None = None) -> str:
    """Write a slide's page, with its row of the summary in the head."""
    row = row_of(findings)
    picture = None if findings.thumbnail is None else thumbnail_of(findings.slide_id, findings.thumbnail)
    carried = {"row": asdict(row), "picture": None if picture is None else asdict(picture)}
    return slide_page(findings, slide, back=BACK, carried=carried)


def write_run_report(run: RunFolder) -> Path:
    """Write ``report/index.html`` and the summaries anew from what the run holds.

    Parameters
    ----------
    run
        A finished, interrupted or still running run; slides without results are shown as such.

    Returns
    -------
    Path of the page.
    """
    stage = OverviewStage()
    html = run_report(run, stage)
    made = Provenance.make(stage.name, stage.version, parameters={}, inputs=_pages(run), slide=None)
    run.put(None, "report", html, provenance=made, replace=True)
    return run.path_of(None, "report")


def run_report(run: RunFolder, stage: Stage) -> str:
    """Make the run's page and write the summaries beside it."""
    by_slide = defaultdict(list)
    for event in run.events():
        if event.slide is not None:
            by_slide[event.slide].append(event)
    info = run.info
    paths = {slide["id"]: slide.get("path") for slide in info.get("slides", ())}
    entries = []
    for slide_id in run.slides():
        entry = _entry(run, slide_id, by_slide[slide_id], stage)
        entries.append(replace(entry, row=replace(entry.row, path=entry.row.path or paths.get(slide_id))))
    facts = facts_of(run.path.resolve().name, info)
    rows = [entry.row for entry in entries]
    folder = run.path_of(None, "report").parent
    for name, text in (("summary.json", to_json(rows, asdict(facts))), ("summary.csv", to_csv(rows))):
        with atomic(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return run_page(entries, facts)


def facts_of(name: str, info: Mapping[str, Any]) -> RunFacts:
    """Return how a run was made, from its ``run.json``."""
    return RunFacts(
        name=name,
        recipe=info.get("recipe"),
        made=info.get("updated"),
        versions=info.get("versions", {}),
        stages=info.get("stages", ()),
        recipe_text=info.get("recipe_text"),
    )


def _entry(run: RunFolder, slide_id: str, events: Sequence[Event], stage: Stage) -> Entry:
    """Take a slide's row from its page; make both anew where the page does not tell the end of the story."""
    failed = failure_of(events) is not None
    carried = None if failed else _carried(run.path_of(slide_id, "page"))
    if carried is None:
        html = page_of(from_run(run, slide_id, events))
        if failed:
            _put_page(run, slide_id, html, stage)
        carried = json.loads(_between(html) or "{}")
        if not failed and not _complete(run, slide_id):
            carried["row"]["status"] = "unfinished"
    notes = [note for event in last_events(events) for note in event.note or ()]
    known = carried["row"]
    known |= {"slide_id": slide_id, "warnings": list(dict.fromkeys([*known["warnings"], *notes]))}
    known["seconds"] = sum(event.seconds or 0 for event in last_events(events)) or None
    picture = None if carried["picture"] is None else Picture(**carried["picture"])
    return Entry(Row.from_dict(known), picture, _link(run, slide_id) if run.has(slide_id, "page") else None)


def _complete(run: RunFolder, slide_id: str) -> bool:
    """Say whether a slide has all that the recipe's stages write, its page apart."""
    keys = [key for record in run.info.get("stages", ()) for key in record["writes"] if key != "page"]
    return all(run.has(slide_id, key) for key in ("slide", *keys))


def _link(run: RunFolder, slide_id: str) -> str:
    """Return the address of a slide's page, seen from the run's."""
    folder = run.path_of(None, "report").parent
    return quote(Path(os.path.relpath(run.path_of(slide_id, "page"), folder)).as_posix())


def _put_page(run: RunFolder, slide_id: str, html: str, stage: Stage) -> None:
    """Write the page of a slide that failed; by its fingerprint a later run knows to replace it."""
    parameters, root = {"unfinished": True}, run.root(slide_id)
    made = Provenance.make(stage.name, stage.version, parameters=parameters, inputs={}, slide=root)
    run.put(slide_id, "page", html, provenance=made, replace=True)


def _carried(page: Path) -> dict[str, Any] | None:
    """Read the row that a page carries; None when there is none."""
    try:
        with page.open(encoding="utf-8") as file:
            text = _between(file.read(HEAD))
        return None if text is None else dict(json.loads(text))
    except (OSError, ValueError):
        return None


def _between(html: str) -> str | None:
    start = html.find(START)
    end = html.find(END, start)
    return None if start < 0 or end < 0 else html[start + len(START) : end]


def _pages(run: RunFolder) -> dict[str, str]:
    marks = ((f"{slide_id}/page", run.fingerprint(slide_id, "page")) for slide_id in run.slides())
    return {key: mark for key, mark in marks if mark is not None}
