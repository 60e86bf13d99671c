"""Who saw, changed and signed what: a record to which lines are added and from which none is taken.

Each line holds the digest of the one before, so that a line changed behind the server's back shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coverslip.server.db.database import Database
from coverslip.server.db.schema import record

FIRST = "0" * 64
"""What the first line holds in place of a digest."""

LOCK = 0x636F7665
"""Number under which PostgreSQL's writers of the record wait for each other."""


def now() -> str:
    """Return the time as it is written down: ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def digest_of(line: Mapping[str, Any]) -> str:
    """Return the digest of a line's content and of the digest before it."""
    kept = [line[name] for name in ("previous", "time", "person", "action", "subject", "details")]
    return hashlib.sha256(json.dumps(kept, ensure_ascii=False).encode()).hexdigest()


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

    def lines(self, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return lines, oldest first."""
        from sqlalchemy import select

        wanted = select(record).where(record.c.id > after).order_by(record.c.id).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(wanted).mappings().all()
        return [{**row, "details": json.loads(row["details"])} for row in rows]

    def first_break(self) -> int | None:
        """Return the first line that was changed or whose predecessor is missing; None when all is whole."""
        from sqlalchemy import select

        before = FIRST
        with self._database.reading() as connection:
            for line in connection.execute(select(record).order_by(record.c.id)).mappings():
                if line["previous"] != before or digest_of(line) != line["digest"]:
                    return int(line["id"])
                before = line["digest"]
        return None
