"""Plain values of a YAML file, held against the fields of dataclasses, nested ones included."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from coverslip.core import unknown
from coverslip.core.errors import CoverslipError, UsageError
from coverslip.core.units import parse_mpp


def made(kind: type[Any], values: Mapping[str, Any], *, where: str, folder: Path) -> Any:
    """Make a `kind`, a dataclass, of plain values.

    A field that is a dataclass takes a mapping, of which what is not said stays as the field's default has
    it; one that is a `pathlib.Path` is relative to `folder`; one called ``mpp``, or ending in ``_mpp``, also
    takes a magnification such as ``20x``. All problems are listed at once.

    Parameters
    ----------
    where
        Names the place in messages: the file, then the keys that lead there.

    Raises
    ------
    UsageError
        When a key is unknown (with the nearest match) or missing, or a value has another type or is refused.
    """
    problems: list[str] = []
    found = _made(kind, values, problems, (where, folder))
    if problems:
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "".join(f"\n  {number}. {text}" for number, text in enumerate(problems, 1))
        raise UsageError(f"{where} has {many}:{listed}\n", mend="mend these lines and try again")
    return found


def plain(value: Any) -> Any:
    """Return a dataclass as JSON types: what `made` takes, with all defaults written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _made(kind: type[Any], values: Any, problems: list[str], at: tuple[str, Path], base: Any = None) -> Any:
    if isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        problems.append(f"{_key(at[0])}: {values!r} is no mapping of {', '.join(_names(kind))}")
        return None
    before = len(problems)
    for name in values:
        if name not in _names(kind):
            error = unknown("key", str(name), _names(kind))
            problems.append(f"{_key(at[0])}{error.message}; {error.mend}")
    arguments = {
        name: _value(kind, name, values[name], problems, at) for name in _names(kind) if name in values
    }
    needed = () if base is not None else dataclasses.fields(kind)
    missing = [f.name for f in needed if _needed(f) and f.name not in values]
    problems += [f"{_key(at[0])}{name} is missing" for name in missing]
    if len(problems) > before:
        return None
    try:
        return kind(**arguments) if base is None else dataclasses.replace(base, **arguments)
    except CoverslipError as error:
        problems.append(f"{_key(at[0])}{error}")
        return None


def _value(kind: type[Any], name: str, value: Any, problems: list[str], at: tuple[str, Path]) -> Any:
    hint, where = _hints(kind)[name], f"{_key(at[0])}{name}"
    inner = _dataclass_in(hint)
    if inner is not None and value is not None and not isinstance(value, (str, int, float)):
        return _made(inner, value, problems, (f"{where}: ", at[1]), _default(kind, name, inner))
    if Path in _parts(hint) and isinstance(value, str) and value:
        return _path(at[1], value)
    stray = (
        isinstance(value, bool) and bool not in _parts(hint) and hint is not Any
    )  # yes and no are no numbers
    try:
        if not stray:
            return _checked(hint, name, value)
    except CoverslipError as error:
        problems.append(f"{where}: {error}")
        return None
    except ValueError:
        pass
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    problems.append(f"{where} is {value!r}, expected {_expected(str(field.type))}")
    return None


def _checked(hint: Any, name: str, value: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    if isinstance(value, str) and (name == "mpp" or name.endswith("_mpp")):
        value = parse_mpp(value)
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)


def _path(folder: Path, text: str) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() else folder / path


def _key(where: str) -> str:
    return where if where.endswith(": ") else ""


def _expected(text: str) -> str:
    return text.replace("typing.", "").replace("Literal", "one of ").replace(" | None", " or nothing")


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]


def _needed(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.init and field.default is missing and field.default_factory is missing


def _default(kind: type[Any], name: str, inner: type[Any]) -> Any:
    """Return the default of a field when it is an `inner`."""
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    made_by = field.default_factory
    default = field.default if made_by is dataclasses.MISSING else made_by()
    return default if isinstance(default, inner) else None


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _dataclass_in(hint: Any) -> type[Any] | None:
    found = [part for part in _parts(hint) if dataclasses.is_dataclass(part)]
    return found[0] if found and isinstance(found[0], type) else None


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)
