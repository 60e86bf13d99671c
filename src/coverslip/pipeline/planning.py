"""What a run would do, without doing it: the tree of steps, what is there already, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from coverslip.core.errors import CoverslipError, SlideError
from coverslip.pipeline.found import head_of
from coverslip.pipeline.opening import opened
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.record import OPENING, StageRecord, provenances
from coverslip.pipeline.slide_run import same_slide
from coverslip.pipeline.stage import Stage
from coverslip.pipeline.step import Step, core_of
from coverslip.slides import SlideSource
from coverslip.store import RunFolder
from coverslip.store.folder import RUN_JSON
from coverslip.tiles import GridSpec


@dataclass(frozen=True)
class PlannedStep:
    """A step in the tree.

    Attributes
    ----------
    name, stage
        Its name, and the stage that it runs.
    depth
        0 at the root; one more than the step that limits it.
    limits
        By what it is limited, in words.
    cached, stale, to_do
        Number of slides of which its results hold, were made otherwise, or are not there.
    tiles
        Tiles that it will work on for the slides that are left, or None when nothing is known of it.
    at_most
        True when nothing was measured yet: `tiles` are then all that a slide has room for.
    seconds
        Time for the slides that are left, one after the other, as slides of this run took; None before one
        has.
    """

    name: str
    stage: str
    depth: int
    above: str | None
    limits: tuple[str, ...]
    cached: int
    stale: int
    to_do: int
    tiles: int | None = None
    at_most: bool = False
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    steps
        In the order of the tree: each after the step that limits it.
    left
        By slide id, the stages that would run.
    """

    steps: tuple[PlannedStep, ...]
    left: Mapping[str, tuple[str, ...]]

    @property
    def seconds(self) -> float | None:
        """Time for all that is left, one slide after the other; None when not all of it is known."""
        times = [step.seconds for step in self.steps if step.stale + step.to_do]
        return None if None in times else float(sum(time for time in times if time is not None))


def plan_of(recipe: Recipe, sources: Sequence[SlideSource] = (), folder: str | Path | None = None) -> Plan:
    """Return what a run would do; no slide's pixels are read.

    Parameters
    ----------
    sources
        Slides; none for the bare tree.
    folder
        A run, with whose slides tiles and time are estimated; None, or a folder that is not there yet, means
        that everything is left to do.

    Raises
    ------
    StoreError
        When the folder holds a run of a later version.
    """
    run = _run_of(folder)
    records = recipe.records()
    states = {source.id: _states(run, records, source) for source in sources}
    left = {
        slide: tuple(name for name, state in found.items() if state != "cached")
        for slide, found in states.items()
    }
    sizes = {source.id: size for source in sources if left[source.id] and (size := _size(source)) is not None}
    known = {} if run is None else history(run)
    stages = {stage.name: stage for stage in recipe.stages}
    steps = []
    for record, depth in in_tree(records):
        name, stage = record.name, stages[record.name]
        count = Counter(found.get(name) for found in states.values())
        rest = [sizes[slide] for slide, names in left.items() if name in names and slide in sizes]
        step = PlannedStep(
            name,
            core_of(stage).name,
            depth,
            above=record.above,
            limits=_limits(stage),
            cached=count["cached"],
            stale=count["stale"],
            to_do=count["to do"],
        )
        steps.append(replace(step, **_guess(stages, name, rest, known)))
    return Plan(tuple(steps), left)


def left_to_do(
    recipe: Recipe, sources: Sequence[SlideSource], folder: str | Path | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the stages that would run, by slide id; no slide's pixels are read.

    Raises
    ------
    StoreError
        When the folder holds a run of a later version.
    """
    run, records = _run_of(folder), recipe.records()
    states = {source.id: _states(run, records, source) for source in sources}
    return {
        slide: tuple(name for name, state in found.items() if state != "cached")
        for slide, found in states.items()
    }


def in_tree(records: Sequence[StageRecord]) -> list[tuple[StageRecord, int]]:
    """Return records with their depths, each after the one above it, in the recipe's order otherwise."""
    found: list[tuple[StageRecord, int]] = []

    def add(above: str | None, depth: int) -> None:
        for record in records:
            if record.above == above:
                found.append((record, depth))
                add(record.name, depth + 1)

    add(None, 0)
    return found


def drawn(rows: Iterable[tuple[str, int]]) -> list[str]:
    """Draw names and depths, in the order of a tree, as lines.

    Examples
    --------
    >>> drawn([("gate", 0), ("segment", 1), ("grade", 2), ("nuclei", 1), ("report", 0)])
    ['gate', '├─ segment', '│  └─ grade', '└─ nuclei', 'report']
    """
    nodes = list(rows)
    lines = []
    for number, (name, depth) in enumerate(nodes):
        bars = ""
        for level in range(1, depth + 1):
            later = (deep for _, deep in nodes[number + 1 :])
            goes_on = next((deep == level for deep in later if deep <= level), False)
            bars += ("├─ " if goes_on else "└─ ") if level == depth else ("│  " if goes_on else "   ")
        lines.append(bars + name)
    return lines


# ------------------------------------------------------------------ what is there
def _run_of(folder: str | Path | None) -> RunFolder | None:
    there = folder is not None and (Path(folder) / RUN_JSON).exists()
    return RunFolder(Path(folder)) if there and folder is not None else None


def _states(run: RunFolder | None, records: Sequence[StageRecord], source: SlideSource) -> dict[str, str]:
    every = (OPENING, *records)
    try:
        root = run.root(source.id) if run is not None and same_slide(run, source) else None
    except SlideError:
        root = None
    if run is None or root is None:
        return {record.name: "to do" for record in every if record.writes}
    wanted = provenances(records, root)
    return {r.name: _state(run, source.id, r, wanted[r.name].fingerprint) for r in every if r.writes}


def _state(run: RunFolder, slide: str, record: StageRecord, mark: str) -> str:
    marks = [run.fingerprint(slide, key) for key in record.writes]
    if all(found == mark for found in marks):
        return "cached"
    return "stale" if any(found is not None for found in marks) else "to do"


# ------------------------------------------------------------------ estimates
@dataclass(frozen=True)
class Past:
    """What a stage took on slides of a run, per level-0 µm² of the slide: tiles, and seconds."""

    tiles: float | None
    seconds: float


def history(run: RunFolder) -> dict[str, Past]:
    """Return what each stage took on the slides of a run, by its name."""
    events = (event for event in run.events() if event.status == "done" and event.slide and event.stage)
    last = {(str(event.slide), str(event.stage)): event for event in events}
    areas: dict[str, float] = {}
    for slide in {slide for slide, _ in last}:
        try:
            areas[slide] = _area(run.get(slide, "slide"))
        except (CoverslipError, TypeError):
            continue
    found: dict[str, list[tuple[float | None, float]]] = {}
    for (slide, stage), event in last.items():
        if event.seconds is not None and areas.get(slide):
            tiles = next((n for key, (n, _) in (event.given or {}).items() if head_of(key) == "tiles"), None)
            share = None if tiles is None else tiles / areas[slide]
            found.setdefault(stage, []).append((share, event.seconds / areas[slide]))
    return {stage: _mean(past) for stage, past in found.items()}


def _mean(past: Sequence[tuple[float | None, float]]) -> Past:
    tiles = [share for share, _ in past if share is not None]
    return Past(fmean(tiles) if tiles else None, fmean(seconds for _, seconds in past))


def _area(info: Mapping[str, Any]) -> float:
    return float(info["width"] * info["height"] * info["mpp_x"] * info["mpp_y"])


def _size(source: SlideSource) -> dict[str, Any] | None:
    try:
        with opened(source) as slide:
            info = slide.info()
            return info if info.get("mpp_x") else None
    except CoverslipError:
        return None  # running will say why


def _guess(
    stages: Mapping[str, Stage], name: str, sizes: Sequence[Mapping[str, Any]], known: Mapping[str, Past]
) -> dict[str, Any]:
    """Return tiles and time of a step on slides of these sizes."""
    area = sum(map(_area, sizes))
    if not sizes:
        return {}
    if name in known:
        past = known[name]
        tiles = None if past.tiles is None else round(past.tiles * area)
        return {"tiles": tiles, "seconds": past.seconds * area}
    grid = _grid(stages, stages[name])
    if grid is None:
        return {}
    room = sum(_area(info) / (grid.step * (grid.mpp or float(info["mpp_x"]))) ** 2 for info in sizes)
    return {"tiles": int(room), "at_most": True}


def _grid(stages: Mapping[str, Stage], stage: Stage) -> GridSpec | None:
    """Return the grid of the tiles that a stage reads."""
    for key in stage.reads():
        if head_of(key) == "tiles":
            maker = next((core_of(other) for other in stages.values() if key in other.writes()), None)
            return maker if isinstance(maker, GridSpec) else None
    return None


def _limits(stage: Stage) -> tuple[str, ...]:
    return tuple(map(str, stage.limits)) if isinstance(stage, Step) else ()
