"""``coverslip bench``: the published tables, re-run."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, table

BENCHES = {"engine": "coverslip.tiles.bench"}
"""Name and module; its ``run(slide)`` returns rows, mappings of the same keys."""


@click.command()
@click.argument("name", type=click.Choice(sorted(BENCHES)))
@click.option("--slide", help="A slide of yours; by default a phantom is made.")
@json_option
def bench(name: str, slide: str | None, in_json: bool) -> None:
    """Measure how fast NAME is here, with the floor beside each figure."""
    rows = import_module(BENCHES[name]).run(slide)
    if in_json:
        as_json(rows)
    elif rows:
        table(tuple(rows[0]), [tuple(map(_figure, row.values())) for row in rows])


def _figure(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
