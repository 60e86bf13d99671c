"""``coverslip models``: which encoders there are, and what must be known of each."""

from __future__ import annotations

from dataclasses import asdict

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, pairs, table


@click.group()
def models() -> None:
    """Say which models there are, under which licence and at which resolution each works."""


@models.command("list")
@json_option
def listing(in_json: bool) -> None:
    """List the models."""
    from coverslip.models import ENCODERS

    if in_json:
        return as_json([asdict(card) for card in ENCODERS.values()])
    rows = [
        (
            c.id,
            c.task,
            c.dim,
            c.tile_px,
            c.mpp,
            c.licence,
            "" if c.commercial_use else "no",
            "yes" if c.gated else "",
        )
        for c in ENCODERS.values()
    ]
    return table(("name", "task", "features", "tile px", "mpp", "licence", "commercial use", "gated"), rows)


@models.command()
@click.argument("name")
@json_option
def show(name: str, in_json: bool) -> None:
    """Show the card of one model."""
    from coverslip.models import encoder_card

    values = asdict(encoder_card(name))
    as_json(values) if in_json else pairs({k.replace("_", " "): _told(v) for k, v in values.items()})


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "not stated" if value is None else str(value)
