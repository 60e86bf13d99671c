"""Read first, then reveal: a reader's own finding is locked before a model's is shown; both are kept."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from coverslip.core.errors import ConflictError, UnknownNameError, UsageError, WithheldError
from coverslip.server.access import Person
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now, plain
from coverslip.server.db.schema import readings

DECISIONS = ("agree", "disagree", "override")
"""The model says the same; the reader stays with the own finding; the reader takes over the model's."""


STUDY = (
    "reading", "slide", "reader", "own", "model", "decision", "final", "overturned", "seconds_alone",
    "seconds_after", "opened", "locked", "decided", "whole", "reason",
)  # fmt: skip
"""Columns of a study's export."""


@dataclass(frozen=True)
class Reading:
    """One reader's look at one slide.

    Attributes
    ----------
    finding
        What the reader found alone: ``{"label": …, "confidence": …, "note": …}``.
    digest
        SHA-256 of slide, reader, finding and time of locking: what was locked cannot be changed unseen.
    suggestion
        What the model said, as it was shown.
    decision
        One of `DECISIONS`.
    final
        The finding that stands.
    seconds_alone, seconds_after
        From opening to locking, and from the reveal to the decision.
    """

    id: str
    slide: str
    reader: str
    opened: str
    finding: Mapping[str, Any] | None = None
    locked: str | None = None
    digest: str | None = None
    seconds_alone: float | None = None
    suggestion: Mapping[str, Any] | None = None
    shown: str | None = None
    decision: str | None = None
    reason: str | None = None
    final: Mapping[str, Any] | None = None
    decided: str | None = None
    seconds_after: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @property
    def is_whole(self) -> bool:
        """True when what was locked is what stands there now."""
        return self.locked is None or self.digest == sealed(
            self.slide, self.reader, self.finding, self.locked
        )


def sealed(slide: str, reader: str, finding: Mapping[str, Any] | None, time: str) -> str:
    """Return the digest of a locked finding."""
    text = json.dumps([slide, reader, finding, time], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Readings:
    """The readings of a database.

    Parameters
    ----------
    database, record
        Where they and their history are kept.
    """

    def __init__(self, database: Database, record: Record) -> None:
        self._database, self._record = database, record

    def open(self, person: Person, slide: str) -> Reading:
        """Begin a reading; one that the person has not ended goes on."""
        from sqlalchemy import select

        with self._database.writing() as connection:
            row = connection.execute(select(readings).where(_open(person, slide))).mappings().first()
            if row is not None:
                return Reading(**row)
            begun = Reading(uuid.uuid4().hex, slide, person.name, now())
            connection.execute(readings.insert().values(**begun.to_dict()))
            self._record.add(connection, person.name, "open reading", slide, {"reading": begun.id})
        return begun

    def get(self, person: Person, reading_id: str) -> Reading:
        """Return a reading of this person, or any for an administrator.

        Raises
        ------
        UnknownNameError
            When there is none.
        """
        with self._database.reading() as connection:
            found = _reading(connection, reading_id)
        if found is None or (found.reader != person.name and not person.may("admin")):
            raise UnknownNameError(f"there is no reading {reading_id} of yours", mend="open one")
        return found

    def lock(self, person: Person, reading_id: str, finding: Mapping[str, Any]) -> Reading:
        """Lock the reader's own finding.

        Raises
        ------
        UsageError
            When it says nothing.
        ConflictError
            When it is locked already.
        """
        label = str(finding.get("label", "")).strip()
        if not label:
            raise UsageError("a finding needs a label", mend="say what you found, before it is locked")
        kept = {"label": label, "confidence": finding.get("confidence"), "note": str(finding.get("note", ""))}
        found = self.get(person, reading_id)
        if found.locked is not None:
            raise ConflictError(
                f"this finding was locked at {found.locked}", mend="it can no longer be changed"
            )
        time = now()
        new = {
            "finding": kept,
            "locked": time,
            "digest": sealed(found.slide, found.reader, kept, time),
            "seconds_alone": seconds(found.opened, time),
        }
        self._put(person, found, new, "lock finding")
        return self.get(person, reading_id)

    def reveal(self, person: Person, reading_id: str, suggestion: Mapping[str, Any]) -> Reading:
        """Note what the reader is shown of the model; what was shown first stays.

        Raises
        ------
        ConflictError
            When the reader's own finding is not locked yet.
        """
        found = self.get(person, reading_id)
        if found.locked is None:
            raise ConflictError("your own finding comes first", mend="lock it, then the model's is shown")
        if found.shown is None:
            self._put(person, found, {"suggestion": dict(suggestion), "shown": now()}, "reveal suggestion")
        return self.get(person, reading_id)

    def decide(self, person: Person, reading_id: str, decision: str, reason: str) -> Reading:
        """Agree, disagree or override, with a reason where the two differ.

        Raises
        ------
        UsageError
            When the decision is none, or a reason is missing.
        ConflictError
            When nothing was revealed, or it is decided already.
        """
        if decision not in DECISIONS:
            raise UsageError(f"decision {decision!r} is none", mend=f"expected {', '.join(DECISIONS)}")
        if decision != "agree" and not reason.strip():
            raise UsageError(f"{decision!r} needs a reason", mend="say why, in a sentence")
        found = self.get(person, reading_id)
        if found.shown is None:
            raise ConflictError("the model's suggestion was not shown yet", mend="reveal it first")
        if found.decided is not None:
            raise ConflictError(f"this was decided at {found.decided}", mend="open a new reading")
        final = found.suggestion if decision == "override" else found.finding
        new = {"decision": decision, "reason": reason.strip(), "final": final, "decided": now()}
        new["seconds_after"] = seconds(found.shown, str(new["decided"]))
        self._put(person, found, new, "decide")
        return self.get(person, reading_id)

    def is_blind(self, person: Person, slide: str) -> bool:
        """Say whether somebody reads a slide alone: begun, and the model's word not shown yet."""
        from sqlalchemy import select

        mine = (readings.c.slide == slide) & (readings.c.reader == person.name)
        blind = mine & readings.c.shown.is_(None) & readings.c.decided.is_(None)
        with self._database.reading() as connection:
            return connection.execute(select(readings.c.id).where(blind)).first() is not None

    def check_revealed(self, person: Person, slide: str) -> None:
        """Refuse to tell somebody what a model says while they read the slide alone.

        Raises
        ------
        WithheldError
            When they have a reading open whose own finding comes first.
        """
        if self.is_blind(person, slide):
            raise WithheldError(
                f"you are reading {slide}: your own finding comes first",
                mend="lock it and have the model's shown",
            )

    def under_way(self, person: Person, slide: str) -> Reading | None:
        """Return the reading of a slide that somebody has begun and not ended; None without one."""
        from sqlalchemy import select

        with self._database.reading() as connection:
            row = connection.execute(select(readings).where(_open(person, slide))).mappings().first()
        return None if row is None else Reading(**row)

    def of(self, slides: Sequence[str], reader: str) -> list[Reading]:
        """Return somebody's readings of some slides, oldest first."""
        from sqlalchemy import select

        mine = readings.c.slide.in_(list(slides)) & (readings.c.reader == reader)
        with self._database.reading() as connection:
            rows = (
                connection.execute(select(readings).where(mine).order_by(readings.c.opened)).mappings().all()
            )
        return [Reading(**row) for row in rows]

    def all(self) -> list[Reading]:
        """Return all readings, oldest first."""
        from sqlalchemy import select

        with self._database.reading() as connection:
            rows = connection.execute(select(readings).order_by(readings.c.opened)).mappings().all()
        return [Reading(**row) for row in rows]

    def study(self) -> str:
        """Return all readings as CSV, a row each, for measuring automation bias."""
        table = io.StringIO()
        writer = csv.DictWriter(table, STUDY)
        writer.writeheader()
        for one in self.all():
            writer.writerow({name: plain(value) for name, value in _study_row(one).items()})
        return table.getvalue()

    def _put(self, person: Person, found: Reading, new: Mapping[str, Any], action: str) -> None:
        unchanged = (readings.c.id == found.id) & (
            readings.c.locked.is_(None) if found.locked is None else readings.c.locked == found.locked
        )
        with self._database.writing() as connection:
            done = connection.execute(readings.update().where(unchanged).values(**new))
            if done.rowcount != 1:
                raise ConflictError("this reading was changed in another window", mend="load it anew")
            self._record.add(connection, person.name, action, found.slide, {"reading": found.id, **new})


def _open(person: Person, slide: str) -> Any:
    mine = (readings.c.slide == slide) & (readings.c.reader == person.name)
    return mine & readings.c.decided.is_(None)


def _reading(connection: Any, reading_id: str) -> Reading | None:
    from sqlalchemy import select

    row = connection.execute(select(readings).where(readings.c.id == reading_id)).mappings().first()
    return None if row is None else Reading(**row)


def _study_row(one: Reading) -> dict[str, Any]:
    own, model = (one.finding or {}).get("label"), (one.suggestion or {}).get("label")
    final = (one.final or {}).get("label")
    return {
        "reading": one.id, "slide": one.slide, "reader": one.reader, "own": own, "model": model,
        "decision": one.decision, "final": final, "overturned": final is not None and final != own,
        "seconds_alone": one.seconds_alone, "seconds_after": one.seconds_after, "opened": one.opened,
        "locked": one.locked, "decided": one.decided, "whole": one.is_whole, "reason": one.reason,
    }  # fmt: skip


def seconds(start: str, end: str) -> float:
    """Return the seconds between two times.

    Examples
    --------
    >>> seconds("2026-01-01T00:00:00.000+00:00", "2026-01-01T00:01:00.500+00:00")
    60.5
    """
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
