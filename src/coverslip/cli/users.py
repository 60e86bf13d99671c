"""``coverslip users`` and ``coverslip record``: who may log in, and who did what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coverslip.cli.info import json_option
from coverslip.cli.output import as_json, pairs, table

if TYPE_CHECKING:
    from coverslip.server.db import Database

db_option = click.option(
    "--db",
    required=True,
    metavar="URL|FILE|RUN",
    help="Database, as URL, file, or the run it is in; or the file for --accounts.",
)
role_option = click.option("--role", type=click.Choice(["reader", "annotator", "admin"]))
BY = "command line"
"""Who is said to have done what is done here."""


@click.group()
def users() -> None:
    """Say who may log in to `coverslip view --accounts`, with which role, and who sees which slides."""


@users.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice(["reader", "annotator", "admin"]), default="reader", show_default=True
)
@click.option("--email", help="By which a login provider's word is matched to this person.")
@click.option("--project", "projects", multiple=True, help="What they see; may be given again.  [everything]")
@db_option
@json_option
def add(name: str, role: Any, db: str, in_json: bool, **more: Any) -> None:
    """Add NAME and print the code of an invitation, with which they set their own password."""
    people = _people(db)
    who, code = people.add(BY, name, role, email=more["email"], projects=more["projects"] or ("everything",))
    told = {"name": who.name, "role": who.role, "invitation": _invitation(db, code)}
    _tell(told, in_json)


@users.command()
@click.argument("name")
@db_option
@json_option
def invite(name: str, db: str, in_json: bool) -> None:
    """Invite NAME again, who forgot the password say; an older invitation no longer works."""
    _tell({"name": name, "invitation": _invitation(db, _people(db).invite(BY, name))}, in_json)


@users.command("list")
@db_option
@json_option
def listing(db: str, in_json: bool) -> None:
    """List who may log in."""
    found = _people(db).all()
    if in_json:
        return as_json([one.to_dict() for one in found])
    rows = [
        (one.name, one.role, one.email, "blocked" if one.blocked else "", " + ".join(one.comes_by),
         "open" if one.invited else "", one.created[:10])
        for one in found
    ]  # fmt: skip
    return table(("name", "role", "email", "blocked", "comes by", "invitation", "since"), rows)


@users.command()
@click.argument("name")
@role_option
@click.option("--block/--unblock", "blocked", default=None, help="Keep out, or let in again.")
@db_option
@json_option
def change(name: str, role: Any, blocked: bool | None, db: str, in_json: bool) -> None:
    """Give NAME another role, or block or unblock them; it ends their logins."""
    changed = _people(db).change(BY, name, role=role, blocked=blocked)
    _tell({"name": changed.name, "role": changed.role, "blocked": changed.blocked}, in_json)


@users.command()
@click.argument("name")
@click.option(
    "--days", type=click.FloatRange(0.001, 366), default=30, show_default=True, help="How long it works."
)
@db_option
@json_option
def token(name: str, days: float, db: str, in_json: bool) -> None:
    """Print a token with which a program asks as NAME: `Authorization: Bearer TOKEN`."""
    from datetime import timedelta

    from coverslip.server.accounts import Sessions
    from coverslip.server.db import Record

    database = _database(db)
    sessions = Sessions(database, Record(database))
    who = _people(db).get(name)
    made = sessions.begin(who, way="command line", kind="program", longest=timedelta(days=days))
    _tell({"name": who.name, "token": made}, in_json)


@users.command()
@click.option("--put", metavar="NAME", help="Make this project, or replace what it holds.")
@click.option("--remove", metavar="NAME", help="Take this project away.")
@click.option(
    "--slide", "slides", multiple=True, metavar="PATTERN", help="Of a slide's name or RUN/NAME; * is any."
)
@click.option("--person", "members", multiple=True, metavar="NAME", help="Who sees them.")
@db_option
@json_option
def projects(put: str | None, remove: str | None, db: str, in_json: bool, **held: tuple[str, ...]) -> None:
    """List the projects: who sees which slides. With --put or --remove, change them first."""
    from coverslip.server.accounts import Projects
    from coverslip.server.db import Record

    database = _database(db)
    kept = Projects(database, Record(database))
    if put is not None:
        kept.put(BY, put, slides=held["slides"], members=held["members"])
    if remove is not None:
        kept.remove(BY, remove)
    found = kept.all()
    if in_json:
        return as_json([one.to_dict() for one in found])
    return table(
        ("project", "slides", "people"), [(p.name, ", ".join(p.slides), ", ".join(p.people)) for p in found]
    )


@click.group()
def record() -> None:
    """Verify or export the record of who saw, changed and signed what."""


@record.command()
@db_option
@click.option(
    "--expect", metavar="DIGEST", help="A last digest that was noted earlier: it must still be there."
)
@json_option
def verify(db: str, expect: str | None, in_json: bool) -> None:
    """Go over the record; exit 1 when a line was changed, taken out, or cut off."""
    from coverslip.server.db import Record

    found = Record(_database(db)).verify(expect)
    told = {**found.to_dict(), "has_expected": found.has_expected, "whole": found.is_whole}
    _tell(told, in_json)
    if not found.is_whole:
        raise SystemExit(1)


@record.command("export")
@db_option
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
def export_record(db: str, form: str) -> None:
    """Write the whole record to stdout."""
    from coverslip.server.db import Record

    for part in Record(_database(db)).exported(form):
        click.echo(part, nl=False)


def _database(place: str) -> Database:
    return _opened(place)[0]


def _opened(place: str) -> tuple[Database, str]:
    """Return a database and the address of its server, as far as it is known."""
    from coverslip.core.errors import MissingExtraError, UsageError

    try:
        from coverslip.server.accounts.settings import read_settings
        from coverslip.server.db import Database
        from coverslip.server.db.database import NAME
    except ImportError as error:
        raise MissingExtraError.of(str(error.name), "server") from error
    if not place.endswith((".yaml", ".yml")):
        return Database(str(Path(place) / NAME) if (Path(place) / "run.json").is_file() else place), ""
    settings = read_settings(place)
    if settings.db is None:
        raise UsageError(f"{place} names no db", mend="write one, or give --db the run or its database")
    return Database(settings.db), settings.url


def _people(place: str) -> Any:
    from coverslip.server.accounts import People
    from coverslip.server.db import Record

    database = _database(place)
    return People(database, Record(database))


def _invitation(place: str, code: str) -> str:
    return f"{_opened(place)[1]}/login/invitation?code={code}"


def _tell(told: dict[str, Any], in_json: bool) -> None:
    as_json(told) if in_json else pairs(
        {name.replace("_", " "): _said(value) for name, value in told.items()}
    )


def _said(value: Any) -> str:
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
