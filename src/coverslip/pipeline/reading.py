"""A recipe's YAML, read into stages and steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coverslip.core import load_plugin, unknown
from coverslip.core.errors import RecipeError, UnknownNameError
from coverslip.pipeline.parameters import build
from coverslip.pipeline.stage import Stage
from coverslip.pipeline.step import WORDS, Step

SUFFIXES = (".yaml", ".yml")
KEYS = ("name", "description", "stages")


def built_in() -> dict[str, Path]:
    """Return the recipes of the package by name."""
    folder = Path(__file__).parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def text_of(name: str) -> str:
    """Return the YAML of a built-in recipe, or of a file.

    Raises
    ------
    UnknownNameError
        When there is no such recipe or file; the nearest match is in the message.
    RecipeError
        When the file cannot be read.
    """
    known = built_in()
    path = known.get(name, Path(name))
    if name not in known and path.suffix.lower() not in SUFFIXES:
        raise unknown("recipe", name, known)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UnknownNameError(f"there is no recipe file {name}", mend="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{name} cannot be read: {error}", mend="expected a YAML file in UTF-8") from error


def parsed(text: str, source: str) -> Mapping[str, Any]:
    """Return the YAML of a recipe as plain values."""
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not YAML: {error}", mend="see docs/how-to/recipes.md") from error
    if not isinstance(values, Mapping):
        raise RecipeError(f"{source} holds no recipe", mend="write name: …, stages: [tissue, tiles]")
    return values


def stage_of(entry: Any, source: str) -> Stage:
    """Make a stage, or a step, of one item of a recipe's list.

    Parameters
    ----------
    entry
        ``"tissue"``, ``{"tiles": {"size": 512}}``, or with a name of its own
        ``{"name": "fine", "stage": "tiles", "size": 512}``.
    source
        Where it comes from, for messages.

    Raises
    ------
    RecipeError
        When it is none of these, or the stage, a parameter or a value is not known.
    """
    stage, values = _entry(entry, source)
    said = {word: values[word] for word in WORDS if word in values}
    parameters = {key: value for key, value in values.items() if key not in said}
    name = said.get("name", stage)
    where = f"{source}, stage {stage}" if name == stage else f"{source}, step {name}"
    made = _stage(stage, parameters, where, source)
    if not isinstance(name, str) or not name:
        raise RecipeError(f"{where}: name is {name!r}, expected a word", mend="write name: gate")
    plain = name == stage and not set(said) - {"stage", "name"}
    return made if plain else _step(made, said, where)


def _step(stage: Stage, said: Mapping[str, Any], where: str) -> Step:
    using = said.get("using", {})
    if not (isinstance(using, Mapping) and all(isinstance(v, str) for pair in using.items() for v in pair)):
        raise RecipeError(f"{where}: using is {using!r}", mend="write using: {tiles: NAME}")
    try:
        return Step(stage, said.get("name", ""), said.get("within", ()), said.get("where", ()), using)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", mend=error.mend) from error


def _entry(entry: Any, source: str) -> tuple[str, Mapping[str, Any]]:
    """Return the stage's name, and all else that is said of it."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and isinstance(entry.get("stage"), str):
        return entry["stage"], dict(entry)
    if isinstance(entry, Mapping) and len(entry) == 1:
        (name, parameters), *_ = entry.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, Mapping)):
            return name, parameters or {}
    raise RecipeError(
        f"{source}: {entry!r} is no stage",
        mend="write a name, or name: {parameter: value}, or name: NEW, stage: NAME, parameter: value; "
        "one per list item",
    )


def _stage(name: str, values: Mapping[str, Any], where: str, source: str) -> Stage:
    try:
        kind: type[Stage] = load_plugin("stages", name)
    except UnknownNameError as error:
        raise RecipeError(f"{source}: {error.message}", mend=error.mend) from error
    made: Stage = build(kind, values, where=where)
    return made
