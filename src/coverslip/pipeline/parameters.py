"""Parameters from YAML or the command line, held against the fields of a stage's dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from coverslip.core import unknown
from coverslip.core.errors import CoverslipError, RecipeError
from coverslip.core.units import parse_mpp


def build(kind: type[Any], values: Mapping[str, Any], *, where: str) -> Any:
    """Make a `kind`, a dataclass, of `values` that must be known, of the right type and accepted by it.

    A parameter called ``mpp``, or ending in ``_mpp``, also takes a magnification such as ``20x``.

    Raises
    ------
    RecipeError
        When one is unknown (with the nearest match), of another type, or refused by the dataclass.
    """
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    for name in values:
        if name not in names:
            error = unknown("parameter", str(name), names)
            raise RecipeError(f"{where}: {error.message}", mend=error.mend)
    arguments = {name: _checked(kind, name, value, where) for name, value in values.items()}
    try:
        return kind(**arguments)
    except CoverslipError as error:
        raise RecipeError(f"{where}: {error.message}", mend=error.mend) from error


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``tiles.size=512``; the value is YAML.

    Raises
    ------
    RecipeError
        When it is nothing of the kind.

    Examples
    --------
    >>> parse_setting("tiles.size=512"), parse_setting("tiles.mpp=20x")
    (('tiles.size', 512), ('tiles.mpp', '20x'))
    """
    import yaml

    key, equals, value = text.partition("=")
    if not (equals and key.strip()):
        raise RecipeError(f"{text!r} sets nothing", mend="write stage.parameter=value, e.g. tiles.size=512")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"{text!r}: the value cannot be read as YAML", mend="quote it") from error


def _checked(kind: type[Any], name: str, value: Any, where: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if isinstance(value, str) and (name == "mpp" or name.endswith("_mpp")):
        try:
            value = parse_mpp(value)
        except CoverslipError as error:
            raise RecipeError(f"{where}: {name}: {error.message}", mend=error.mend) from error
    if isinstance(value, bool) and "bool" not in str(_hints(kind)[name]):
        raise _wrong(kind, name, value, where)
    try:
        return TypeAdapter(_hints(kind)[name]).validate_python(value)
    except ValidationError as error:
        raise _wrong(kind, name, value, where) from error


def _wrong(kind: type[Any], name: str, value: Any, where: str) -> RecipeError:
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    expected = str(field.type).replace("typing.", "")
    default = "" if field.default is dataclasses.MISSING else f"; the default is {field.default!r}"
    return RecipeError(f"{where}: {name} is {value!r}, expected {expected}", mend=f"give {expected}{default}")


def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)
