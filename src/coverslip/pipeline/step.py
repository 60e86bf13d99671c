"""A stage at its place in a recipe: under a name of its own, limited to what earlier steps found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import RecipeError, UnknownNameError
from coverslip.pipeline.found import askable, head_of
from coverslip.pipeline.limits import Limit, limits_of
from coverslip.pipeline.selection import Selection, steps_of
from coverslip.pipeline.stage import GIVEN, LIMITED, NOTES, RESUME, Naming, Stage, parameters_of
from coverslip.slides import Slide
from coverslip.store import Derived, ObjectStream, ObjectTable, Resume, Table
from coverslip.store.layout import find
from coverslip.tiles import Tiles

WORDS = ("name", "stage", "within", "where", "using")
"""What a step says beside the parameters of its stage; no parameter may be called so."""


@dataclass(frozen=True)
class Step:
    """A stage under a name of its own, limited to regions or tiles that earlier steps found.

    It is a stage itself: a `Recipe` and a `Pipeline` take it like one.

    Parameters
    ----------
    stage
        What is done.
    name
        How later steps and results call it; the stage's own name when left out. Results follow it: stage
        ``classify`` under the name ``grade`` writes ``predictions/grade``.
    within
        Regions of a class that an earlier step found, ``{"segment": "tumour"}``, or a list of such. Tiles
        that touch one are kept, with ``at_least`` those that lie in it by that share; objects by their
        centre, those that the stage itself makes as well.
    where
        A test on what an earlier step found, ``{"gate": "tumour", "at_least": 0.5}``, or a list of such:
        class, probability, score, measurement, quality.
    using
        Which step gives an input that several give: ``{"tiles": "fine"}``.

    Raises
    ------
    RecipeError
        When a limit cannot be read, or the stage's results cannot have another name.

    Examples
    --------
    >>> from coverslip.pipeline.stages import TilesStage
    >>> step = Step(TilesStage(quality=False), name="fine", within={"segment": "tumour"})
    >>> step.writes(), [str(limit) for limit in step.limits]
    (('tiles/fine',), ['within segment: tumour'])
    """

    stage: Stage
    name: str = ""
    within: Any = ()
    where: Any = ()
    using: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    links: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.stage.name)
        object.__setattr__(self, "within", limits_of("within", self.within))
        object.__setattr__(self, "where", limits_of("where", self.where))
        object.__setattr__(self, "using", dict(self.using))
        for key in self.stage.writes():
            renamed(key, self.stage, self.name)

    # ------------------------------------------------------------------ what it is
    @property
    def version(self) -> int:
        """The stage's."""
        return self.stage.version

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All conditions."""
        return (*self.within, *self.where)

    def reads(self) -> tuple[str, ...]:
        """Return what the stage reads, and what the limits ask."""
        asked = [key for name in steps_of(self.limits) for key in self.sources.get(name, ())]
        return tuple(dict.fromkeys([*(self.links.get(key, key) for key in self.stage.reads()), *asked]))

    def writes(self) -> tuple[str, ...]:
        """Return what the stage writes, under the step's name."""
        return tuple(renamed(key, self.stage, self.name) for key in self.stage.writes())

    def words(self) -> dict[str, Any]:
        """Return what the step says beside the stage's parameters, as plain values."""
        said: dict[str, Any] = {"stage": self.stage.name}
        for word in ("within", "where"):
            limits = [limit.to_plain() for limit in getattr(self, word)]
            said |= {word: limits[0] if len(limits) == 1 else limits} if limits else {}
        return said | ({"using": dict(self.using)} if self.using else {})

    # ------------------------------------------------------------------ its place among the others
    def bound(self, before: Sequence[Stage], after: Sequence[Stage] = ()) -> Self:
        """Return the step with its references looked up among the stages before it.

        Raises
        ------
        RecipeError
            When one is unknown, stands after it, goes round in a circle, or finds nothing of the kind.
        """
        earlier = {stage.name: stage for stage in before}
        sources = {}
        for limit in self.limits:
            stage = self._known(str(limit), limit.step, earlier, after)
            sources[limit.step] = _keys_of(self, limit, stage)
        links: dict[str, str] = {}
        for key, name in self.using.items():
            stage = self._known(f"using {key}", name, earlier, after)
            links |= _linked(self, key, stage)
        return replace(self, sources=sources, links=links)

    def _known(self, said: str, name: str, earlier: Mapping[str, Stage], after: Sequence[Stage]) -> Stage:
        if name in earlier:
            return earlier[name]
        if name == self.name:
            raise RecipeError(f"step {self.name!r}, {said}: it names itself", mend="name a step before it")
        later = next((stage for stage in after if stage.name == name), None)
        if later is None:
            error = unknown("step before it", name, earlier)
            raise RecipeError(f"step {self.name!r}, {said}: {error.message}", mend=error.mend)
        circle = _way(later, self.name, {stage.name: stage for stage in (*after, self)})
        if circle:
            raise RecipeError(
                f"step {self.name!r}, {said}: the steps go round in a circle: "
                f"{' → '.join((self.name, *circle))}",
                mend="leave one of these references out",
            )
        raise RecipeError(
            f"step {self.name!r}, {said}: {name!r} stands after it", mend=f"put {name!r} before {self.name!r}"
        )

    # ------------------------------------------------------------------ running
    def run(self, slide: Slide, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the stage on what the limits let through.

        Raises
        ------
        CoverslipError
            As the stage does; and a RecipeError when a limit names a class that its step did not look for.
        """
        return Running(self, inputs).run(slide)

    def selection(self, inputs: Mapping[str, Any]) -> Selection:
        """Return the limits worked out on a slide's results."""
        return Selection(self.limits, self.sources, inputs)


class Running:
    """A step at work on one slide."""

    def __init__(self, step: Step, inputs: Mapping[str, Any]) -> None:
        self._step, self._inputs = step, inputs
        self._selection = step.selection(inputs)
        self._rows: NDArray[np.intp] | None = None
        self._tiles: Tiles | None = None
        self._notes: list[str] = []
        self._counts: dict[str, tuple[int, int]] = {}
        self._names = {key: renamed(key, step.stage, step.name) for key in step.stage.writes()}

    def run(self, slide: Slide) -> dict[str, Any]:
        """Filter, run, rename."""
        outputs = dict(self._step.stage.run(slide, self._given()))
        notes = outputs.pop(NOTES, ())
        made = {self._names.get(key, key): self._made(key, value) for key, value in outputs.items()}
        return made | {NOTES: _Both(self._notes, notes), GIVEN: self._counts}

    def _given(self) -> dict[str, Any]:
        step, given = self._step, {}
        whole = {key: self._inputs[step.links.get(key, key)] for key in step.stage.reads()}
        for key, value in whole.items():
            name = step.links.get(key, key)
            given[key], rows = self._selection.apply(name, value) if step.limits else (value, None)
            if isinstance(value, Tiles) and rows is not None:
                self._rows, self._tiles = rows, given[key]
            if head_of(name) in ("tiles", "objects"):
                self._counts[name] = (len(given[key]), len(value))
            if rows is not None and not len(rows):
                self._notes.append(self._nothing(name, len(value)))
        if self._tiles is not None:
            given |= {
                k: self._selection.table(v, self._tiles) for k, v in given.items() if isinstance(v, Table)
            }
        return given | self._beside()

    def _beside(self) -> dict[str, Any]:
        beside: dict[str, Any] = {LIMITED: self._said()} if self._step.limits else {}
        if RESUME in self._inputs:
            kept = self._inputs[RESUME].kept
            back = {name: key for key, name in self._names.items()}
            beside[RESUME] = Resume({back[name]: rows for name, rows in kept.items() if name in back})
        return beside

    def _said(self) -> str:
        return " and ".join(map(str, self._step.limits))

    def _nothing(self, name: str, count: int) -> str:
        what = head_of(name)
        if not count:
            return f"{self._step.name}: there were no {what} to choose from"
        return f"{self._step.name}: none of the {count} {what} passed ({self._said()}), so nothing was done"

    def _made(self, key: str, value: Any) -> Any:
        """Return an output with its rows numbered as on the whole slide, and without what lies outside."""
        if isinstance(value, Derived):
            return Derived(lambda done: self._made(key, value.make(self._own(done))))
        if head_of(key) == "objects" and self._step.within:
            return self._inside(value)
        if isinstance(value, Table) and self._tiles is not None:
            return self._numbered(value)
        return value

    def _own(self, done: Mapping[str, Any]) -> dict[str, Any]:
        return {key: done[name] for key, name in self._names.items() if name in done}

    def _inside(self, value: Any) -> Any:
        def kept(part: Any) -> Any:
            return self._selection.points(part.xy, kinds=("within",))

        if isinstance(value, ObjectStream):
            return replace(value, batches=(part.take(kept(part)) for part in value.batches))
        return value.take(kept(value)) if isinstance(value, ObjectTable) else value.where(kept(value))

    def _numbered(self, table: Table) -> Table:
        """Give rows their numbers in ``tiles``, and their places."""
        tiles, rows = self._tiles, self._rows
        if tiles is None or rows is None or "tile" not in table.columns:
            return table
        local = np.asarray(table.columns["tile"])
        columns = dict(table.columns) | {"tile": rows[local].astype(local.dtype)}
        if not {"x", "y"} <= set(columns):
            columns |= {"x": tiles.xy[local, 0], "y": tiles.xy[local, 1]}
        return replace(table, columns=columns)


class _Both(Sequence[str]):
    """Two lists of sentences as one; the second may still grow while a stream is written."""

    def __init__(self, one: Sequence[str], other: Iterable[str]) -> None:
        self._one, self._other = one, other

    def _all(self) -> list[str]:
        return [*self._one, *self._other]

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())


# ------------------------------------------------------------------ names
def renamed(key: str, stage: Stage, name: str) -> str:
    """Return the key of a result when the stage is called `name`.

    What all its keys begin with (a model's name, say) gives way to `name`: ``maps/tissue`` and
    ``maps/tissue-labels`` become ``maps/name`` and ``maps/name-labels``.

    Raises
    ------
    RecipeError
        When a slide has only one such result.
    """
    head, slash, rest = key.partition("/")
    if name == stage.name:
        return key
    if not slash:
        return _singly(key, stage, name)
    alone = sum(head_of(other) == head for other in stage.writes()) == 1
    stem = _stem(stage)
    if rest == stem or alone:
        return f"{head}/{name}"
    return f"{head}/{name}-{rest.removeprefix(stem).lstrip('-_.') or rest}"


def _stem(stage: Stage) -> str:
    """Return what the names of all results of a stage begin with, or the stage's own name."""
    rests = [key.partition("/")[2] for key in stage.writes() if "/" in key]
    shortest = min(rests, key=len, default=stage.name)
    shared = all(rest == shortest or rest.startswith(f"{shortest}-") for rest in rests)
    return shortest if shared else stage.name


def _singly(key: str, stage: Stage, name: str) -> str:
    try:
        find(Path(), "slide", f"{key}/{name}")
    except UnknownNameError as error:
        raise RecipeError(
            f"stage {stage.name!r} cannot be called {name!r}: a slide has only one {key!r}",
            mend="leave the name out",
        ) from error
    return f"{key}/{name}"


def core_of(stage: Stage) -> Stage:
    """Return the stage itself, without name and limits."""
    return stage.stage if isinstance(stage, Step) else stage


def said_of(stage: Stage) -> dict[str, Any]:
    """Return all parameters of a stage, and the words of a step, as plain values."""
    if not isinstance(stage, Step):
        return parameters_of(stage)
    return parameters_of(stage.stage) | stage.words()


def _keys_of(step: Step, limit: Limit, stage: Stage) -> tuple[str, ...]:
    keys = askable(limit.kind, stage.writes())
    if not keys:
        found = "no regions" if limit.kind == "within" else "nothing that can be tested"
        raise RecipeError(
            f"step {step.name!r}, {limit}: {limit.step!r} finds {found}; it writes "
            f"{', '.join(stage.writes()) or 'nothing'}",
            mend="name a step that finds objects, or says something of tiles",
        )
    inner = core_of(stage)
    bounded = limit.at_least is not None or limit.at_most is not None  # then it may be a measurement
    if isinstance(inner, Naming) and inner.classes() and (limit.kind == "within" or not bounded):
        for name in limit.what:
            if name not in inner.classes():
                error = unknown(f"class of {limit.step!r}", name, inner.classes())
                raise RecipeError(f"step {step.name!r}, {limit}: {error.message}", mend=error.mend)
    keys = keys[:1] if limit.kind == "within" else keys  # a test may be answered by any of them
    beside = [key for key in stage.reads() if head_of(key) == "tiles"][:1]
    return tuple(dict.fromkeys([*keys, *beside]))


def _linked(step: Step, key: str, stage: Stage) -> dict[str, str]:
    """Return which key of another step's results stands for an input."""
    wanted = [own for own in step.stage.reads() if key in (own, head_of(own))]
    if not wanted:
        error = unknown("input", key, step.stage.reads())
        raise RecipeError(f"step {step.name!r}, using: {error.message}", mend=error.mend)
    found = [name for name in stage.writes() if head_of(name) == head_of(wanted[0])]
    if not found:
        raise RecipeError(
            f"step {step.name!r}, using {key}: {stage.name!r} writes no {head_of(wanted[0])}",
            mend=f"it writes {', '.join(stage.writes())}",
        )
    return {wanted[0]: found[0]}


def _way(stage: Stage, goal: str, stages: Mapping[str, Stage]) -> tuple[str, ...]:
    """Return the references that lead from a step to `goal`; nothing when none do."""
    todo: list[tuple[str, ...]] = [(stage.name,)]
    seen = set()
    while todo:
        way = todo.pop()
        here = stages.get(way[-1])
        if not isinstance(here, Step) or way[-1] in seen:
            continue
        seen.add(way[-1])
        for name in (*steps_of(here.limits), *here.using.values()):
            if name == goal:
                return (*way, goal)
            todo.append((*way, name))
    return ()
