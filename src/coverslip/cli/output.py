"""Printing: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click


def as_json(values: Any) -> None:
    """Print plain values as JSON on stdout."""
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def pairs(rows: Mapping[str, str]) -> None:
    """Print names and values in two columns; a value of several lines is indented."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        first, *more = value.splitlines() or [""]
        click.echo(f"{name:<{width}}  {first}".rstrip())
        for line in more:
            click.echo(" " * (width + 2) + line)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table with a head.

    Examples
    --------
    >>> table(("slide", "state"), [("a", "done"), ("long name", "failed")])
    slide      state
    a          done
    long name  failed
    """
    lines = [tuple(map(str, head)), *(tuple("" if v is None else str(v) for v in row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        click.echo("  ".join(f"{value:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip())
