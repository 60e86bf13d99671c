"""``coverslip models``: which encoders there are, what must be known of each, and their weights."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, pairs, table

if TYPE_CHECKING:
    from coverslip.models import ModelCard

cache_option = click.option(
    "--cache", type=Path, help="Folder of fetched weights.  [~/.cache/coverslip/models]"
)


@click.group()
def models() -> None:
    """Say which models there are, under which licence and at which resolution each works; fetch weights."""


@models.command("list")
@cache_option
@json_option
def listing(cache: Path | None, in_json: bool) -> None:
    """List the models: encoders of tiles, then of slides."""
    from coverslip.models import MODELS

    cards = list(MODELS.values())
    if in_json:
        return as_json([_plain(card, cache) for card in cards])
    rows = [
        (
            card.id,
            card.task,
            card.dim or "",
            card.tile_px or "",
            card.mpp,
            card.licence,
            "" if card.commercial_use else "no",
            "yes" if card.gated else "",
            "cannot be run" if card.unavailable else _state(card, cache),
        )
        for card in cards
    ]
    head = ("name", "task", "features", "tile px", "mpp", "licence", "commercial use", "gated", "fetched")
    return table(head, rows)


@models.command()
@click.argument("name")
@cache_option
@json_option
def show(name: str, cache: Path | None, in_json: bool) -> None:
    """Show the card of one model."""
    from coverslip.models import model_card

    values = _plain(model_card(name), cache)
    as_json(values) if in_json else pairs({k.replace("_", " "): _told(v) for k, v in values.items()})


@models.command()
@click.argument("name")
@click.option("--accept-licence", is_flag=True, help="You have read the licence and accept it.")
@click.option("--from", "file", type=Path, help="Take this file instead of downloading one.")
@click.option("--token-file", type=Path, help="File with your token of the hub, for gated weights.")
@click.option("--endpoint", help="Another hub.  [https://huggingface.co]")
@cache_option
@json_option
def fetch(
    name: str, accept_licence: bool, cache: Path | None, in_json: bool, **given: Path | str | None
) -> None:
    """Bring the weights of model NAME into the cache, once; afterwards no network is needed."""
    from coverslip.models import model_card
    from coverslip.models.fetch import ENDPOINT, as_record
    from coverslip.models.fetch import fetch as bring

    card, file = model_card(name), given["file"]
    found = bring(
        card,
        accept=accept_licence or _accepted(card, cache),
        cache=cache,
        endpoint=str(given["endpoint"] or ENDPOINT),
        token=_token(given["token_file"]),
        file=None if file is None else Path(file),
    )
    as_json(as_record(found)) if in_json else click.echo(str(found.path))


def _accepted(card: ModelCard, cache: Path | None) -> bool:
    """Ask a person at a terminal; a program must say --accept-licence."""
    from coverslip.models.fetch import fetched, terms

    if not card.restricted or card.unavailable or fetched(card, cache=cache) is not None:
        return False
    if not sys.stdin.isatty():
        return False
    click.echo(f"{card.id}: {card.licence}; {terms(card)}\ncite: {card.cite}", err=True)
    return click.confirm("Have you read the licence, and do you accept it?", err=True)


def _token(file: Path | str | None) -> str | None:
    if file is None:
        return None
    from coverslip.core.errors import UsageError

    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}", mend="give a file that holds the token"
        ) from error


def _state(card: ModelCard, cache: Path | None) -> str:
    """Say whether the weights are in the cache; one damaged file does not end the list."""
    from coverslip.core.errors import StoreError
    from coverslip.models.fetch import fetched

    try:
        return "" if fetched(card, cache=cache) is None else "yes"
    except StoreError:
        return "damaged"


def _plain(card: ModelCard, cache: Path | None) -> dict[str, object]:
    return {**asdict(card), "restricted": card.restricted, "fetched": _state(card, cache)}


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return "not stated" if value is None else str(value) or "–"
