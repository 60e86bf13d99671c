"""Bring together what is known of a slide: from a stage's inputs, or from a run on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coverslip.core.errors import StoreError
from coverslip.report.findings import Failure, Findings, StageNote
from coverslip.slides.slide import Slide
from coverslip.store import Event, RunFolder

KEYS = {
    "tissue": "tissue",
    "quality": "quality",
    "tiles": "tiles",
    "stain": "stain",
    "features/pathomics": "features",
    "predictions/lookalike": "lookalike",
}
"""Which artefact goes where on the page."""


def from_inputs(slide: Slide, inputs: Mapping[str, Any]) -> Findings:
    """Gather what the stages before found."""
    info = inputs.get("slide") or slide.info()
    found = {part: inputs[key] for key, part in KEYS.items() if key in inputs}
    return Findings(str(info.get("id", slide.id)), info, inputs.get("thumbnail"), **found)


def from_run(run: RunFolder, slide_id: str, events: Iterable[Event] = ()) -> Findings:
    """Gather what a run holds of a slide; what is missing or damaged is left out."""
    info = _get(run, slide_id, "slide") or {}
    found = {part: _get(run, slide_id, key) for key, part in KEYS.items()}
    notes = last_events(events)
    return Findings(
        slide_id,
        info,
        _get(run, slide_id, "thumbnail"),
        failure=failure_of(notes),
        stages=tuple(_note(event) for event in notes),
        **found,
    )


def last_events(events: Iterable[Event]) -> list[Event]:
    """Keep the last event of each stage, in the order in which they happened.

    Examples
    --------
    >>> [e.status for e in last_events([Event("failed", "a", "tiles"), Event("done", "a", "tiles")])]
    ['done']
    """
    last: dict[str, Event] = {}
    for event in events:
        if event.stage is not None:
            last.pop(event.stage, None)
            last[event.stage] = event
    return list(last.values())


def failure_of(events: Sequence[Event]) -> Failure | None:
    """Return why a slide went no further, or None when the last that happened to it was no failure."""
    if not events or events[-1].status != "failed":
        return None
    last = events[-1]
    return Failure(last.stage or "", last.message or last.error or "the reason was not recorded", last.mend)


def _note(event: Event) -> StageNote:
    return StageNote(event.stage or "", event.status, seconds=event.seconds)


def _get(run: RunFolder, slide_id: str, key: str) -> Any:
    try:
        return run.get(slide_id, key) if run.has(slide_id, key) else None
    except StoreError:
        return None
