"""``coverslip doctor``: is everything there."""

from __future__ import annotations

from typing import Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, pairs, table


@click.command()
@json_option
def doctor(in_json: bool) -> None:
    """Say what is installed: readers and the formats they open, stages, recipes, extras, versions."""
    from coverslip.pipeline.health import health

    found = health()
    as_json(found) if in_json else _show(found)


def _show(found: dict[str, Any]) -> None:
    pairs(found["system"])
    click.echo("\nreaders")
    rows = [(r["name"], "yes" if r["available"] else r["problem"], r["formats"]) for r in found["readers"]]
    table(("name", "ready", "formats"), rows)
    click.echo("\nextras")
    rows = [(e["name"], e["version"] or e["problem"], e["for"]) for e in found["extras"]]
    table(("name", "version", "for"), rows)
    click.echo()
    pairs({"stages": ", ".join(found["stages"]), "recipes": ", ".join(found["recipes"])})
    click.echo()
    pairs(found["versions"])
    for problem in found["problems"]:
        click.echo(f"\nproblem: {problem}")
