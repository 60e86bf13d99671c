"""One slide through a recipe: the only place where stages meet the disk, and where their errors end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coverslip._version import __version__
from coverslip.core.errors import CoverslipError, RecipeError, StoreError
from coverslip.pipeline.found import head_of
from coverslip.pipeline.opening import opened, root_of, thumbnail_of
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.record import OPEN, OPENING, StageRecord, provenances
from coverslip.pipeline.stage import GIVEN, NOTES, Stage
from coverslip.slides import Slide, SlideSource
from coverslip.slides.digest import digest_of
from coverslip.store import STREAMS, Derived, Event, Provenance, Resume, RunFolder
from coverslip.store.writing import disk_full_said

FAULT = "this is a fault of Coverslip or of a plug-in: please report it with the traceback in log.jsonl"


@dataclass(frozen=True)
class SlideTask:
    """What a worker gets."""

    run: Path
    source: SlideSource
    recipe: Recipe


@dataclass(frozen=True)
class Outcome:
    """How a slide fared.

    Attributes
    ----------
    status
        ``"fresh"`` when everything was there already.
    failure
        The event that was logged, of a slide that failed.
    computed
        Names of the stages that ran.
    """

    slide: str
    status: Literal["done", "fresh", "failed"]
    failure: Event | None = None
    computed: tuple[str, ...] = ()


def same_slide(run: RunFolder, source: SlideSource) -> bool:
    """Say whether a slide is what the run's results were made of; opens no pixels.

    Raises
    ------
    SlideError
        When the slide cannot be read.
    """
    root = run.root(source.id)
    if root is None or run.provenance(source.id, "slide").coverslip != __version__:
        return False  # another release may open the same file in another way
    said = root.mpp if root.mpp_source == "user" else None
    return said == source.mpp and root.digest == digest_of(source.path)


def is_fresh(run: RunFolder, source: SlideSource, records: tuple[StageRecord, ...]) -> bool:
    """Say whether all results of a slide are there and still hold; opens no pixels.

    Raises
    ------
    SlideError
        When the slide cannot be read.
    """
    root = run.root(source.id)
    if root is None or not same_slide(run, source):
        return False
    wanted = provenances(records, root)
    return all(
        run.fingerprint(source.id, key) == wanted[record.name].fingerprint
        for record in (OPENING, *records)
        for key in record.writes
    )


def process(task: SlideTask) -> Outcome:
    """Take one slide through the recipe; never raises for what a slide or a stage can do."""
    work = _SlideRun(task)
    try:
        with opened(task.source) as slide:
            work.begin(slide)
            for stage in task.recipe.stages:
                work.step(slide, stage)
    except Exception as error:  # noqa: BLE001 - the one boundary: a slide's failure must not stop the others
        return work.failed(error)
    status: Literal["done", "fresh"] = "done" if work.computed else "fresh"
    return Outcome(task.source.id, status, computed=tuple(work.computed))


class _SlideRun:
    """State while one slide is worked on: where it is, what was computed, what was read back."""

    def __init__(self, task: SlideTask) -> None:
        self._task, self._id = task, task.source.id
        self._run = RunFolder(task.run)
        self._at, self._since = OPEN, time.perf_counter()
        self._wanted: dict[str, Provenance] = {}
        self._read: dict[str, Any] = {}
        self.computed: list[str] = []

    def begin(self, slide: Slide) -> None:
        """Write facts and thumbnail, and settle what all fingerprints must be."""
        self._run.sweep(self._id)
        root = root_of(slide)
        self._wanted = provenances(self._task.recipe.records(), root)
        if self._holds(OPEN, ("slide", "thumbnail")) and self._same_release():
            return
        thumbnail, lost = thumbnail_of(slide)
        self._put(OPEN, {"slide": slide.info() | {"id": self._id}, "thumbnail": thumbnail})
        self._done([f"{lost:.2%} of the slide cannot be read"] if lost else ())

    def step(self, slide: Slide, stage: Stage) -> None:
        """Run one stage, unless its results are there."""
        self._at, self._since = stage.name, time.perf_counter()
        if self._holds(stage.name, stage.writes()):
            return
        inputs = {key: self._get(key) for key in stage.reads()} | self._resume(stage)
        outputs = dict(stage.run(slide, inputs))
        notes, given = outputs.pop(NOTES, ()), outputs.pop(GIVEN, None) or counted(inputs)
        if set(outputs) != set(stage.writes()):
            said = sorted(stage.writes())
            raise RecipeError(
                f"stage {stage.name!r} gave {sorted(outputs)} and says that it writes {said}",
                mend="report this to the author of the stage",
            )
        self._put(stage.name, outputs)
        self._done(notes, given)

    def failed(self, error: Exception) -> Outcome:
        """Record a failure."""
        event = failure_of(error, self._id, self._at, time.perf_counter() - self._since)
        with suppress(StoreError):  # a full disk takes no log line either; the outcome tells it
            self._run.log(event)
        return Outcome(self._id, "failed", event, tuple(self.computed))

    def _holds(self, stage: str, keys: tuple[str, ...]) -> bool:
        mark = self._wanted[stage].fingerprint
        return all(self._run.fingerprint(self._id, key) == mark for key in keys)

    def _same_release(self) -> bool:
        return self._run.provenance(self._id, "slide").coverslip == __version__

    def _get(self, key: str) -> Any:
        # always what the disk holds, so that a resumed run computes the same as one in one go
        if key not in self._read:
            self._read[key] = self._run.get(self._id, key)
        return self._read[key]

    def _resume(self, stage: Stage) -> dict[str, Resume]:
        mark = self._wanted[stage.name].fingerprint
        kept = {key: n for key in stage.writes() if (n := self._run.kept(self._id, key, mark))}
        return {"resume": Resume(kept)} if kept else {}

    def _put(self, stage: str, outputs: Mapping[str, Any]) -> None:
        """Write streams first, then what is made from them."""
        streamed = [key for key, value in outputs.items() if isinstance(value, STREAMS)]
        for key, value in sorted(outputs.items(), key=lambda item: _order(item[1])):
            made = value
            if isinstance(value, Derived):
                made = value.make({k: self._get(k) for k in streamed})
            provenance = self._wanted[stage].now()
            self._run.put(self._id, key, made, provenance=provenance, replace=True)
            self._read.pop(key, None)

    def _done(self, notes: Any, given: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.computed.append(self._at)
        seconds = round(time.perf_counter() - self._since, 3)
        event = Event(
            "done", self._id, self._at, seconds=seconds, note=list(notes) or None, given=given or None
        )
        self._run.log(event)


def counted(inputs: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return how many tiles and objects a stage gets, all that there are."""
    rows = {key: len(value) for key, value in inputs.items() if head_of(key) in ("tiles", "objects")}
    return {key: (count, count) for key, count in rows.items()}


def _order(value: Any) -> int:
    return 0 if isinstance(value, STREAMS) else 2 if isinstance(value, Derived) else 1


def failure_of(error: Exception, slide: str | None, stage: str, seconds: float | None = None) -> Event:
    """Return the event that tells of an error."""
    try:
        with disk_full_said(Path("a result")):
            raise error
    except CoverslipError as known:
        told, mend, trace = known.message, known.mend, None
        name = type(known).__name__
    except MemoryError:
        name, told, trace = "MemoryError", "there was not enough memory", None
        mend = "run with fewer --workers, or on a machine with more memory"
    except Exception as unforeseen:  # noqa: BLE001 - part of the same boundary
        name, told = type(unforeseen).__name__, str(unforeseen) or type(unforeseen).__name__
        mend, trace = FAULT, "".join(traceback.format_exception(unforeseen))
    spent = None if seconds is None else round(seconds, 3)
    return Event("failed", slide, stage, seconds=spent, error=name, message=told, mend=mend, traceback=trace)
