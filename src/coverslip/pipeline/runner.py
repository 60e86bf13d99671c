"""Run a recipe on many slides: resume, failures per slide, a log, and what is made of the run as a whole."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coverslip._version import __version__
from coverslip.core.errors import SlideError, StoreError, UsageError
from coverslip.pipeline.execution import Execution
from coverslip.pipeline.finishing import finish
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.slide_run import Outcome, SlideTask, is_fresh
from coverslip.pipeline.workers import outcomes, refuse_unguarded
from coverslip.slides import SlideSource
from coverslip.slides.digest import digest_of
from coverslip.store import Event, Provenance, RunFolder, log
from coverslip.store.claim import claimed
from coverslip.store.folder import LOG


class Listener:
    """Hears how a run goes; this one says nothing. Methods are called in the caller's thread."""

    def begin(self, slides: int, fresh: int) -> None:
        """Hear how many slides there are, and of how many all results hold."""

    def event(self, event: Event) -> None:
        """Hear of a line of the log."""

    def end(self, outcome: Outcome) -> None:
        """Hear that a slide is through."""


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Attributes
    ----------
    outcomes
        One per slide, in the order in which the slides were given.
    finishing
        Failures while something was made of the run as a whole.
    """

    run: RunFolder
    outcomes: tuple[Outcome, ...]
    finishing: tuple[Event, ...] = ()

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The slides that did not get through."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @property
    def ok(self) -> bool:
        """True when every slide got through and nothing else failed."""
        return not self.failed and not self.finishing


def run_recipe(
    recipe: Recipe,
    sources: Sequence[SlideSource],
    folder: str | Path,
    *,
    execution: Execution | None = None,
    listener: Listener | None = None,
) -> RunResult:
    """Run a recipe on slides and keep the results in a folder; what is there and holds is not made again.

    Parameters
    ----------
    sources
        From `coverslip.slides.find_slides`.
    folder
        A new or empty folder, or a run to go on with.
    execution
        Where it runs; two processes on this machine when None. Those are spawned, so a script that calls this
        needs the usual ``if __name__ == "__main__":``.

    Raises
    ------
    UsageError
        When the folder holds other things, the run knows another slide by the name of one of these, or a
        script calls this outside its guard.
    StoreError
        When the folder holds a run of a later version, cannot be written, or another run is at work in it.
    """
    refuse_unguarded()
    run = RunFolder.create(folder)
    with claimed(run.path):
        return _run(run, recipe, sources, execution=execution or Execution(), listener=listener or Listener())


def _run(
    run: RunFolder,
    recipe: Recipe,
    sources: Sequence[SlideSource],
    *,
    execution: Execution,
    listener: Listener,
) -> RunResult:
    _refuse_namesakes(run, sources)
    _write_info(run, recipe, sources)
    records = recipe.records()
    known = {source.id for source in sources if _fresh(run, source, records)}
    listener.begin(len(sources), len(known))
    found = {slide: Outcome(slide, "fresh") for slide in known}
    tasks = [SlideTask(run.path.absolute(), s, recipe) for s in sources if s.id not in known]
    if tasks:
        found |= {outcome.slide: outcome for outcome in _work(run, tasks, execution, listener)}
    done = tuple(found[source.id] for source in sources)
    return RunResult(run, done, finish(run, recipe, done))


def _work(run: RunFolder, tasks: list[SlideTask], execution: Execution, listener: Listener) -> list[Outcome]:
    """Run the tasks; let the listener follow the log, into which workers write as they go."""
    read = (run.path / LOG).stat().st_size if (run.path / LOG).exists() else 0
    place = [read]

    def tick() -> None:
        events, place[0] = log.read(run.path / LOG, place[0])
        for event in events:
            listener.event(event)

    found: list[Outcome] = []
    run.log(Event("started", note={"slides": len(tasks), "coverslip": __version__}))
    try:
        # closing: workers end at once when something is raised here, not when the generator is collected
        with closing(outcomes(tasks, execution, tick)) as coming:
            for outcome in coming:
                found.append(outcome)
                listener.end(outcome)
        tick()
    except BaseException:
        with suppress(StoreError):
            run.log(Event("interrupted"))
        raise
    failed = sum(outcome.status == "failed" for outcome in found)
    run.log(Event("finished", note={"slides": len(found), "failed": failed}))
    return found


def _fresh(run: RunFolder, source: SlideSource, records: Any) -> bool:
    try:
        return is_fresh(run, source, records)
    except SlideError:
        return False  # opening it will say why


def _refuse_namesakes(run: RunFolder, sources: Sequence[SlideSource]) -> None:
    """Refuse a slide whose name the run knows as that of another file with other content."""
    before = {slide["id"]: slide["path"] for slide in run.info.get("slides", ())}
    for source in sources:
        other = before.get(source.id)
        if other is None or _same_place(other, source.path) or not Path(source.path).exists():
            continue
        root = run.root(source.id)
        if root is not None and root.digest != digest_of(source.path):
            raise UsageError(
                f"two slides are called {source.id!r}: the run has {other}, now {source.path} is given",
                mend="name them in a CSV of slide,path, or use another -o RUN",
            )


def _same_place(one: str, two: str) -> bool:
    return one == two or Path(one).absolute() == Path(two).absolute()


def _write_info(run: RunFolder, recipe: Recipe, sources: Sequence[SlideSource]) -> None:
    before = run.info
    slides = {slide["id"]: slide for slide in before.get("slides", ())}
    slides |= {s.id: _told(s) for s in sources}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    info = {
        "recipe": recipe.name,
        "stages": [record.to_dict() for record in recipe.records()],
        "recipe_text": recipe.to_yaml(),
        "slides": list(slides.values()),
        "versions": _versions(),
        "created": before.get("created", now),
        "updated": now,
    }
    mark = Provenance.make("run", 1, parameters=recipe.to_dict(), inputs={}, slide=None)
    run.set_info(info, mark)


def _told(source: SlideSource) -> dict[str, Any]:
    about: dict[str, Any] = {"id": source.id, "path": source.path, "mpp": source.mpp}
    return about if source.case is None else about | {"case": source.case}


def _versions() -> Mapping[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"coverslip": __version__, "python": platform.python_version()}
    for name in ("numpy", "opencv-python-headless", "scikit-image", "scikit-learn", "scipy", "imagecodecs"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
