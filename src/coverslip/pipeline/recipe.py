"""Recipes: stages with their parameters, as YAML; checked before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from coverslip.core import load_plugin, plugins, unknown
from coverslip.core.errors import RecipeError, UnknownNameError
from coverslip.pipeline.parameters import build
from coverslip.pipeline.record import StageRecord, records_of
from coverslip.pipeline.stage import ROOT, Stage, parameters_of
from coverslip.store.layout import find

SUFFIXES = (".yaml", ".yml")
KEYS = ("name", "description", "stages")


@dataclass(frozen=True)
class Recipe:
    """A list of stages, in the order in which they run.

    Parameters
    ----------
    name
        For people.
    stages
        Each reads only what the slide or a stage before it gives, and no two write the same.
    description
        One sentence.

    Raises
    ------
    RecipeError
        When a stage needs what no stage before it writes, or two write the same.

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
        object.__setattr__(self, "stages", tuple(self.stages))
        check_order(self.stages)

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
        text, source = _text_of(str(name_or_path))
        return cls.from_dict(_parsed(text, source), source=source)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, source: str = "recipe") -> Self:
        """Make a recipe of plain values.

        Parameters
        ----------
        values
            ``name``, ``description`` and ``stages``, a list of names or ``{name: {parameter: value}}``.
        source
            Where they come from, for messages.
        """
        for key in values:
            if key not in KEYS:
                raise _refused(source, unknown("key", str(key), KEYS))
        entries = values.get("stages")
        if not isinstance(entries, list) or not entries:
            raise RecipeError(f"{source} lists no stages", mend="write stages: [tissue, tiles]")
        stages = tuple(_stage(*_entry(entry, source), source) for entry in entries)
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
        stages = [{stage.name: parameters_of(stage)} for stage in self.stages]
        return {"name": self.name, "description": self.description, "stages": stages}

    def to_yaml(self) -> str:
        """Return the recipe as YAML, with all parameters written out."""
        import json

        import yaml

        plain = json.loads(json.dumps(self.to_dict()))  # tuples become lists, which YAML knows
        return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def built_in() -> dict[str, Path]:
    """Return the recipes of the package by name."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


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
            raise RecipeError(f"stage {stage.name!r} is there twice", mend="leave one of them out")
        missing = [key for key in stage.reads() if key not in there]
        if missing:
            needs = ", ".join(map(repr, missing))
            raise RecipeError(
                f"stage {stage.name!r} needs {needs}, which no stage before it writes",
                mend=_who_writes(missing[0], stages),
            )
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
        candidate = load_plugin("stages", name)()
        if key in candidate.writes():
            return f"add stage {name!r} before it"
    return "leave the stage out, or install the plug-in that writes it"


# ------------------------------------------------------------------ reading
def _text_of(name: str) -> tuple[str, str]:
    known = built_in()
    path = known.get(name, Path(name))
    if name not in known and path.suffix.lower() not in SUFFIXES:
        raise unknown("recipe", name, known)
    try:
        return path.read_text(encoding="utf-8"), name
    except FileNotFoundError as error:
        raise UnknownNameError(f"there is no recipe file {name}", mend="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name} cannot be read: {error}", mend="expected a YAML file in UTF-8") from error


def _parsed(text: str, source: str) -> Mapping[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not YAML: {error}", mend="see docs/how-to/survey.md") from error
    if not isinstance(values, Mapping):
        raise RecipeError(f"{source} holds no recipe", mend="write name: …, stages: [tissue, tiles]")
    return values


def _entry(entry: Any, source: str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        (name, parameters), *_ = entry.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, Mapping)):
            return name, parameters or {}
    raise RecipeError(
        f"{source}: {entry!r} is no stage",
        mend="write a name, or name: {parameter: value}, one per list item",
    )


def _stage(name: str, values: Mapping[str, Any], source: str) -> Stage:
    try:
        kind: type[Stage] = load_plugin("stages", name)
    except UnknownNameError as error:
        raise _refused(source, error) from error
    made: Stage = build(kind, values, where=f"{source}, stage {name}")
    return made


def _changed(stage: Stage, values: Mapping[str, Any]) -> Stage:
    if not values:
        return stage
    settings = parameters_of(stage) | dict(values)
    made: Stage = build(type(stage), settings, where=f"stage {stage.name}")
    return made


def _refused(source: str, error: UnknownNameError) -> RecipeError:
    return RecipeError(f"{source}: {error.message}", mend=error.mend)
