"""How far a run is, read off its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from coverslip.pipeline.record import OPEN, OPENING, StageRecord, provenances
from coverslip.store import Event, RunFolder

State = Literal["done", "stale", "missing", "failed", "partial"]


@dataclass(frozen=True)
class SlideStatus:
    """How far one slide is.

    Attributes
    ----------
    stages
        State by stage: ``done``; ``stale``, made with other parameters or of another content; ``partial``, a
        stream that can be resumed; ``failed``; ``missing``.
    failure
        Why it went no further, or None.
    """

    slide: str
    path: str | None
    stages: Mapping[str, State]
    failure: Event | None = None

    @property
    def state(self) -> Literal["done", "failed", "unfinished"]:
        """The slide in one word."""
        if all(state == "done" for state in self.stages.values()):
            return "done"
        return "failed" if self.failure is not None else "unfinished"


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    path: str
    recipe: str | None
    slides: tuple[SlideStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of slides by state."""
        states = [slide.state for slide in self.slides]
        return {state: states.count(state) for state in ("done", "failed", "unfinished")}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        slides = [
            {
                "slide": s.slide,
                "path": s.path,
                "state": s.state,
                "stages": dict(s.stages),
                "failure": None if s.failure is None else _told(s.failure),
            }
            for s in self.slides
        ]
        return {"path": self.path, "recipe": self.recipe, "counts": self.counts, "slides": slides}


def _told(failure: Event) -> dict[str, Any]:
    return {k: v for k, v in asdict(failure).items() if k in {"stage", "error", "message", "mend", "time"}}


def status_of(run: RunFolder) -> RunStatus:
    """Read off the files how far each slide is.

    Nothing is computed and no slide is opened, so it works where the slides are not, and while the run goes
    on.
    """
    info = run.info
    records = tuple(StageRecord.from_dict(values) for values in info.get("stages", ()))
    paths = {slide["id"]: slide["path"] for slide in info.get("slides", ())}
    last = {event.slide: event for event in run.events() if event.slide is not None}
    slides = (_slide(run, name, records, last.get(name)) for name in run.slides())
    found = tuple(SlideStatus(name, paths.get(name), stages, failure) for name, stages, failure in slides)
    return RunStatus(str(run.path), info.get("recipe"), found)


def _slide(
    run: RunFolder, slide: str, records: tuple[StageRecord, ...], last: Event | None
) -> tuple[str, dict[str, State], Event | None]:
    root = run.root(slide)
    wanted = {} if root is None else provenances(records, root)
    states: dict[str, State] = {}
    for record in (OPENING, *records):
        mark = wanted[record.name].fingerprint if wanted else ""
        states[record.name] = _state(run, slide, record, mark)
    failure = last if last is not None and last.status == "failed" else None
    if failure is not None and states.get(failure.stage or OPEN) == "done":
        failure = None  # it was mended by hand, e.g. the file was brought from elsewhere
    elif failure is not None and failure.stage in states:
        states[failure.stage] = "failed"
    return slide, states, failure


def _state(run: RunFolder, slide: str, record: StageRecord, mark: str) -> State:
    marks = [run.fingerprint(slide, key) for key in record.writes]
    if all(found == mark for found in marks):
        return "done"
    if any(run.kept(slide, key, mark) for key in record.writes):
        return "partial"
    return "stale" if any(found is not None for found in marks) else "missing"
