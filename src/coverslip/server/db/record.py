"""Who saw, changed and signed what: a record to which lines are added and from which none is taken.

Each line holds the digest of the one before, so that a line changed behind the server's back shows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coverslip.server.db.database import Database
from coverslip.server.db.schema import record

FIRST = "0" * 64
"""What the first line holds in place of a digest."""

COLUMNS = ("id", "time", "person", "action", "subject", "details", "previous", "digest")

PAGE = 1000
"""Lines that are held at once when going over the record."""

LOCK = 0x636F7665
"""Number under which PostgreSQL's writers of the record wait for each other."""


def now() -> str:
    """Return the time as it is written down: ISO 8601, UTC, to the millisecond."""
    return stamp(datetime.now(UTC))


def stamp(time: datetime) -> str:
    """Return a time of UTC as it is written down; two such texts compare as their times do.

    Examples
    --------
    >>> stamp(datetime(2026, 1, 2, tzinfo=UTC))
    '2026-01-02T00:00:00.000+00:00'
    """
    return time.isoformat(timespec="milliseconds")


def digest_of(line: Mapping[str, Any]) -> str:
    """Return the digest of a line's content and of the digest before it."""
    kept = [line[name] for name in ("previous", "time", "person", "action", "subject", "details")]
    return hashlib.sha256(json.dumps(kept, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Verified:
    """What going over the record found.

    Attributes
    ----------
    lines
        How many there are.
    last
        Digest of the last one: whoever notes it elsewhere can tell later that none was cut off.
    first_break
        The first line that was changed, or whose predecessor is missing.
    has_expected
        Whether the digest that was asked for is there; None when none was.
    """

    lines: int
    last: str
    first_break: int | None
    has_expected: bool | None = None

    @property
    def is_whole(self) -> bool:
        """True when nothing was changed, and nothing that was noted is missing."""
        return self.first_break is None and self.has_expected is not False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"count": self.lines, "last": self.last, "first_break": self.first_break}


class Record:
    """The record of a database.

    Parameters
    ----------
    database
        Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: Any, person: str, action: str, subject: str, details: Any = None) -> None:
        """Add a line within a transaction: what it speaks of is written with it, or neither is."""
        from sqlalchemy import select, text

        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        last = connection.execute(select(record.c.digest).order_by(record.c.id.desc()).limit(1)).scalar()
        line = {
            "time": now(),
            "person": person,
            "action": action,
            "subject": subject,
            "details": json.dumps(details, ensure_ascii=False, sort_keys=True),
            "previous": last or FIRST,
        }
        connection.execute(record.insert().values(**line, digest=digest_of(line)))

    def note(self, person: str, action: str, subject: str, details: Any = None) -> None:
        """Add a line of its own."""
        with self._database.writing() as connection:
            self.add(connection, person, action, subject, details)

    def lines(self, *, after: int = 0, skip: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return lines, oldest first."""
        from sqlalchemy import select

        wanted = select(record).where(record.c.id > after).order_by(record.c.id).offset(skip).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(wanted).mappings().all()
        return [{**row, "details": json.loads(row["details"])} for row in rows]

    def first_break(self) -> int | None:
        """Return the first line that was changed or whose predecessor is missing; None when all is whole."""
        return self.verify().first_break

    def verify(self, expected: str | None = None) -> Verified:
        """Go over the whole chain.

        Parameters
        ----------
        expected
            Digest of a line that was noted elsewhere: lines cut off the end do not break the chain, but
            then it is missing.
        """
        before, lines, broken, found = FIRST, 0, None, expected in (None, FIRST)
        for line in self._walk():
            if broken is None and (line["previous"] != before or digest_of(line) != line["digest"]):
                broken = int(line["id"])
            before, lines = line["digest"], lines + 1
            found = found or before == expected
        return Verified(lines, before, broken, None if expected is None else found)

    def exported(self, form: str) -> Iterator[str]:
        """Return the whole record piece by piece, as ``"csv"`` or as ``"json"``: a list of objects."""
        if form == "json":
            started = False
            for line in self._walk():
                whole = {**line, "details": json.loads(line["details"])}
                yield (",\n" if started else "[") + json.dumps(whole, ensure_ascii=False)
                started = True
            yield "]\n" if started else "[]\n"
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        for line in self._walk():
            writer.writerow({name: plain(line[name]) for name in COLUMNS})
            yield text.getvalue()
            text.seek(0)
            text.truncate()
        yield text.getvalue()

    def _walk(self) -> Iterator[dict[str, Any]]:
        """Return all lines, oldest first, a page at a time: a long record does not fill memory."""
        from sqlalchemy import select

        last = 0
        while True:
            wanted = select(record).where(record.c.id > last).order_by(record.c.id).limit(PAGE)
            with self._database.reading() as connection:
                rows = connection.execute(wanted).mappings().all()
            yield from (dict(row) for row in rows)
            if len(rows) < PAGE:
                return
            last = rows[-1]["id"]


def plain(value: Any) -> Any:
    """Return a value that a spreadsheet takes for text, not for a formula.

    Examples
    --------
    >>> plain("=1+1"), plain("tumour"), plain(2.5)
    ("'=1+1", 'tumour', 2.5)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
