"""Sessions: kept by the server, ended when idle, when old, and by whoever logs out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from coverslip.server.access import Person
from coverslip.server.accounts.people import Account, digest_of_code
from coverslip.server.accounts.projects import patterns_of
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now, stamp
from coverslip.server.db.schema import people, sessions

Kind = Literal["browser", "program"]

MOST = 50
"""Sessions of one person; the one seen longest ago ends for the next."""


@dataclass(frozen=True)
class Spans:
    """How long sessions last.

    Attributes
    ----------
    idle
        After the last request.
    longest
        After the login, however busy.
    """

    idle: timedelta = timedelta(minutes=60)
    longest: timedelta = timedelta(hours=12)


class Sessions:
    """The sessions of a database.

    Parameters
    ----------
    database, record
        Where they, and who came and went, are kept.
    spans
        How long they last.
    """

    def __init__(self, database: Database, record: Record, spans: Spans | None = None) -> None:
        self._database, self._record = database, record
        self.spans = Spans() if spans is None else spans

    def begin(
        self, who: Account, *, way: str, kind: Kind = "browser", longest: timedelta | None = None
    ) -> str:
        """Log somebody in and return the session's token, of which only a digest is kept."""
        token = secrets.token_urlsafe(32)
        time = datetime.now(UTC)
        row = {
            "digest": digest_of_code(token), "person": who.id, "kind": kind, "begun": stamp(time),
            "seen": stamp(time), "ends": stamp(time + (longest or self.spans.longest)),
        }  # fmt: skip
        with self._database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.ends <= now()))
            _make_room(connection, who.id)
            connection.execute(sessions.insert().values(**row))
            self._record.add(connection, who.name, "log in", way, {"ends": row["ends"], "kind": kind})
        return token

    def find(self, token: str) -> Person | None:
        """Return whose session a token is, and note that it is in use; None when it has ended."""
        from sqlalchemy import select

        digest = digest_of_code(token)
        joined = sessions.join(people, sessions.c.person == people.c.id)
        columns = (sessions.c.kind, sessions.c.seen, sessions.c.ends, people)
        wanted = select(*columns).select_from(joined).where(sessions.c.digest == digest)
        with self._database.reading() as connection:
            row = connection.execute(wanted).mappings().first()
            if row is None or row["blocked"] or self._has_ended(row):
                return None
            patterns = ("*",) if row["role"] == "admin" else patterns_of(connection, row["id"])
        self._touch(digest, row["seen"])
        return Person(row["id"], row["name"], row["role"], patterns)

    def end(self, token: str, name: str) -> None:
        """Log out."""
        with self._database.writing() as connection:
            connection.execute(sessions.delete().where(sessions.c.digest == digest_of_code(token)))
            self._record.add(connection, name, "log out", "")

    def _has_ended(self, row: Any) -> bool:
        idle_from = stamp(datetime.now(UTC) - self.spans.idle)
        return row["ends"] <= now() or (row["kind"] == "browser" and row["seen"] <= idle_from)

    def _touch(self, digest: str, seen: str) -> None:
        time = datetime.now(UTC)
        if seen > stamp(time - min(timedelta(minutes=1), self.spans.idle / 10)):
            return  # noted a moment ago: not every request is a write
        with self._database.writing() as connection:
            connection.execute(sessions.update().where(sessions.c.digest == digest).values(seen=stamp(time)))


def _make_room(connection: Any, person: str) -> None:
    from sqlalchemy import select

    mine = select(sessions.c.digest).where(sessions.c.person == person).order_by(sessions.c.seen.desc())
    for digest in list(connection.execute(mine).scalars())[MOST - 1 :]:
        connection.execute(sessions.delete().where(sessions.c.digest == digest))
