"""Tables of names: plug-ins by entry point, and the nearest match for a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from coverslip.core.errors import UnknownNameError, UsageError


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Make the error for a name that is not among `known`.

    Examples
    --------
    >>> print(unknown("stage", "tisue", ["tissue", "tiles"]))
    there is no stage 'tisue'; to mend: did you mean 'tissue'? There are: tiles, tissue
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownNameError(f"there is no {kind} {name!r}", mend=f"{hint}There are: {', '.join(choices)}")


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of ``coverslip.<group>`` by name; none is imported.

    Raises
    ------
    UsageError
        When two installed distributions claim the same name.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=f"coverslip.{group}"), key=lambda p: (p.name, p.value)):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise UsageError(
                f"coverslip.{group} has two plug-ins {point.name!r}: {other.value} and {point.value}",
                mend="uninstall one of them",
            )
    return found


def load_plugin(group: str, name: str) -> Any:
    """Import and return the plug-in `name` of ``coverslip.<group>``.

    Raises
    ------
    UnknownNameError
        When there is none of that name; the nearest match is in the message.
    """
    table = plugins(group)
    if name not in table:
        raise unknown(group.removesuffix("s"), name, table)
    return table[name].load()
