"""Recipes: stages with their parameters, as YAML; checked before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from coverslip.core import load_plugin, plugins, unknown
from coverslip.core.errors import CoverslipError, RecipeError, UnknownNameError
from coverslip.pipeline.parameters import build
from coverslip.pipeline.reading import KEYS, built_in, parsed, stage_of, text_of
from coverslip.pipeline.record import StageRecord, records_of
from coverslip.pipeline.stage import ROOT, Casewise, Following, Stage, parameters_of
from coverslip.pipeline.step import Step, core_of
from coverslip.store.layout import find

__all__ = ["Recipe", "bound", "built_in", "check_order"]


@dataclass(frozen=True)
class Recipe:
    """A list of stages, in the order in which they run.

    Parameters
    ----------
    name
        For people.
    stages
        Each reads only what the slide or a stage before it gives, and no two write the same. A
        `coverslip.pipeline.Step` is a stage under a name of its own, limited to what earlier ones found.
    description
        One sentence.

    Raises
    ------
    RecipeError
        When a stage needs what no stage before it writes, two write the same, or a limit refers to what no
        step before it finds.

    Examples
    --------
    >>> recipe = Recipe.load("survey")
    >>> [stage.name for stage in recipe.stages]
    ['tissue', 'quality', 'tiles', 'stain', 'pathomics', 'overview']
    >>> recipe.with_parameters({"tiles.size": 512}).stages[2].size
    512
    """

    name: str
    stages: tuple[Stage, ...]
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", bound(self.stages))

    # ------------------------------------------------------------------ making one
    @classmethod
    def load(cls, name_or_path: str | Path) -> Self:
        """Load a built-in recipe by name, or a YAML file.

        Raises
        ------
        UnknownNameError
            When there is no such recipe or file; the nearest match is in the message.
        RecipeError
            When the recipe cannot run.
        """
        source = str(name_or_path)
        return cls.from_dict(parsed(text_of(source), source), source=source)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "recipe") -> Self:
        """Make a recipe of plain values.

        Parameters
        ----------
        values
            ``name``, ``description`` and ``stages``, a list as `coverslip.pipeline.reading.stage_of` takes.
        source
            Where they come from, for messages.
        """
        for key in values:
            if key not in KEYS:
                raise _refused(source, unknown("key", str(key), KEYS))
        entries = values.get("stages")
        if not isinstance(entries, list) or not entries:
            raise RecipeError(f"{source} lists no stages", mend="write stages: [tissue, tiles]")
        stages = tuple(stage_of(entry, source) for entry in entries)
        name, description = values.get("name", Path(source).stem), values.get("description", "")
        return cls(str(name), stages, str(description))

    def with_parameters(self, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with some parameters changed, e.g. ``{"tiles.size": 512}``.

        Raises
        ------
        RecipeError
            When there is no such stage or parameter, or the value cannot be one.
        """
        by_stage: dict[str, dict[str, Any]] = {}
        names = [stage.name for stage in self.stages]
        for key, value in settings.items():
            stage, dot, parameter = key.partition(".")
            if not dot:
                raise RecipeError(
                    f"{key!r} names no parameter", mend="write stage.parameter=value, e.g. tiles.size=512"
                )
            if stage not in names:
                raise _refused(f"recipe {self.name}", unknown("stage", stage, names))
            by_stage.setdefault(stage, {})[parameter] = value
        changed = (_changed(stage, by_stage.get(stage.name, {})) for stage in self.stages)
        return dataclasses.replace(self, stages=tuple(changed))

    # ------------------------------------------------------------------ looking at it
    def records(self) -> tuple[StageRecord, ...]:
        """Return the stages as ``run.json`` keeps them."""
        return records_of(self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` takes, with all parameters written out."""
        stages = [_entry(stage) for stage in self.stages]
        return {"name": self.name, "description": self.description, "stages": stages}

    def to_yaml(self) -> str:
        """Return the recipe as YAML, with all parameters written out."""
        import json

        import yaml

        plain = json.loads(json.dumps(self.to_dict()))  # tuples become lists, which YAML knows
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def bound(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return stages that know each other: steps their references, a report what it shows.

    Raises
    ------
    RecipeError
        When a reference leads nowhere, or `check_order` finds something.
    """
    given, known = tuple(stages), list[Stage]()
    for number, stage in enumerate(given):
        made = stage.bound(known, given[number + 1 :]) if isinstance(stage, Step) else stage
        inner = core_of(made)
        if isinstance(inner, Following):
            follower = inner.after(known)
            made = dataclasses.replace(made, stage=follower) if isinstance(made, Step) else follower
        known.append(made)
    check_order(known)
    return tuple(known)


def check_order(stages: Sequence[Stage]) -> None:
    """Check that every stage finds what it reads, and that no two write the same.

    Raises
    ------
    RecipeError
        With what is missing and which stage would write it.
    """
    there: dict[str, str] = dict.fromkeys(ROOT, "slide")
    names = [stage.name for stage in stages]
    for stage in stages:
        if names.count(stage.name) > 1:
            raise RecipeError(
                f"stage {stage.name!r} is there twice",
                mend=f"give one of them another name: - name: NEW, stage: {core_of(stage).name}",
            )
        missing = [key for key in stage.reads() if key not in there]
        if missing:
            needs = ", ".join(map(repr, missing))
            raise RecipeError(
                f"stage {stage.name!r} needs {needs}, which no stage before it writes",
                mend=_who_writes(missing[0], stages),
            )
        if not stage.writes() and not isinstance(core_of(stage), Casewise):
            raise RecipeError(f"stage {stage.name!r} writes nothing", mend="report this to its author")
        for key in stage.writes():
            find(Path(), "slide", key)  # a key that has no place in a run is refused now
            if key in there:
                both = f"{there[key]!r} and {stage.name!r}"
                raise RecipeError(f"stages {both} both write {key!r}", mend="leave one of them out")
            there[key] = stage.name


def _who_writes(key: str, stages: Iterable[Stage]) -> str:
    for stage in stages:
        if key in stage.writes():
            return f"put stage {stage.name!r} before it"
    for name in plugins("stages"):
        try:
            candidate = load_plugin("stages", name)()
        except CoverslipError:
            continue  # one that needs a model, or an extra that is not installed
        if key in candidate.writes():
            return f"add stage {name!r} before it"
    return "leave the stage out, or install the plug-in that writes it"


def _entry(stage: Stage) -> dict[str, Any]:
    """Return a stage as a recipe writes it."""
    if isinstance(stage, Step):
        words = stage.words()
        return {"name": stage.name, "stage": words.pop("stage")} | parameters_of(stage.stage) | words
    return {stage.name: parameters_of(stage)}


NAMING_A_FILE = {"model", "target", "weights", "encoder"}
"""Parameters of stages whose digest stands in a parameter beside them."""


def _changed(stage: Stage, values: Mapping[str, Any]) -> Stage:
    if not values:
        return stage
    inner = core_of(stage)
    # a digest that was filled in belongs to the file that another now stands for
    kept = {name: value for name, value in parameters_of(inner).items() if not name.endswith("_digest")}
    pinned = {} if NAMING_A_FILE & set(values) else parameters_of(inner)
    settings = kept | pinned | dict(values)
    made: Stage = build(type(inner), settings, where=f"stage {stage.name}")
    return dataclasses.replace(stage, stage=made) if isinstance(stage, Step) else made


def _refused(source: str, error: UnknownNameError) -> RecipeError:
    return RecipeError(f"{source}: {error.message}", mend=error.mend)
