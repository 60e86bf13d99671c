"""Reports of cases: drafted, saved, signed; what was signed stays, and a later edit is a new version."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from coverslip.core.errors import ConflictError, UnknownNameError, UsageError
from coverslip.server.access import Person
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now
from coverslip.server.db.schema import report_versions, reports


@dataclass(frozen=True)
class Report:
    """A version of a report.

    Attributes
    ----------
    case
        What it is about.
    version, edit
        Counts what was signed, and what was saved within a version; a change names both.
    digest
        SHA-256 of report, version, content, signer and time; None while it is a draft.
    """

    id: str
    case: str
    author: str
    created: str
    version: int
    edit: int
    content: Mapping[str, Any]
    saved_by: str
    saved: str
    signed_by: str | None = None
    signed: str | None = None
    digest: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "whole": self.is_whole}

    @property
    def is_whole(self) -> bool:
        """True when what was signed is what stands there now."""
        return self.signed is None or self.digest == signature(self, str(self.signed_by), self.signed)


def signature(report: Report, signer: str, time: str) -> str:
    """Return the digest that signs a report."""
    text = json.dumps(
        [report.id, report.version, report.content, signer, time], sort_keys=True, ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


class Reports:
    """The reports of a database.

    Parameters
    ----------
    database, record
        Where they and their history are kept.
    """

    def __init__(self, database: Database, record: Record) -> None:
        self._database, self._record = database, record

    def begin(self, person: Person, case: str, content: Mapping[str, Any]) -> Report:
        """Keep a new draft."""
        made = Report(uuid.uuid4().hex, case, person.name, now(), 1, 1, content, person.name, now())
        with self._database.writing() as connection:
            row = {"id": made.id, "subject": case, "author": made.author, "created": made.created}
            connection.execute(reports.insert().values(**row))
            connection.execute(report_versions.insert().values(**_columns(made)))
            self._record.add(connection, person.name, "draft report", case, {"report": made.id})
        return made

    def get(self, report_id: str, version: int | None = None) -> Report:
        """Return the newest version of a report, or the one that is named.

        Raises
        ------
        UnknownNameError
            When there is none.
        """
        with self._database.reading() as connection:
            return _version(connection, report_id, version)

    def all(self) -> list[Report]:
        """Return the newest version of each report, newest first."""
        from sqlalchemy import select

        newest = select(reports.c.id).order_by(reports.c.created.desc())
        with self._database.reading() as connection:
            return [_version(connection, one, None) for one in connection.execute(newest).scalars().all()]

    def save(self, person: Person, report_id: str, at: tuple[int, int], content: Mapping[str, Any]) -> Report:
        """Save an edit; of a signed version it becomes the next one.

        Parameters
        ----------
        at
            Version and edit that it was made of.

        Raises
        ------
        ConflictError
            When somebody has saved or signed it in between; says who, and when.
        """
        with self._database.writing() as connection:
            before = _current(connection, report_id, at)
            fresh = before.signed is not None
            version, edit = (before.version + 1, 1) if fresh else (before.version, before.edit + 1)
            made = replace(
                before, version=version, edit=edit, content=content, saved_by=person.name, saved=now(),
                signed_by=None, signed=None, digest=None,
            )  # fmt: skip
            if fresh:
                connection.execute(report_versions.insert().values(**_columns(made)))
            else:
                connection.execute(_row(made).values(**_columns(made)))
            said = {"report": made.id, "version": made.version, "edit": made.edit}
            self._record.add(connection, person.name, "edit report", made.case, said)
        return made

    def sign(self, person: Person, report_id: str, at: tuple[int, int]) -> Report:
        """Sign what was saved: from now on this version stays as it is.

        Raises
        ------
        UsageError
            When it has no conclusion.
        ConflictError
            When it is signed already, or somebody has saved it in between.
        """
        with self._database.writing() as connection:
            before = _current(connection, report_id, at)
            if before.signed is not None:
                raise ConflictError(
                    f"{before.signed_by} signed this at {before.signed}", mend="edit it first"
                )
            if not str(before.content["sections"].get("conclusion", "")).strip():
                raise UsageError("the report has no conclusion", mend="write one, then sign")
            time = now()
            signed = {
                "signed_by": person.name,
                "signed": time,
                "digest": signature(before, person.name, time),
            }
            connection.execute(_row(before).values(**signed))
            said = {"report": before.id, "version": before.version, "digest": signed["digest"]}
            self._record.add(connection, person.name, "sign report", before.case, said)
            return _version(connection, report_id, before.version)


def _row(report: Report) -> Any:
    mine = (report_versions.c.report == report.id) & (report_versions.c.version == report.version)
    return report_versions.update().where(mine)


def _current(connection: Any, report_id: str, at: tuple[int, int]) -> Report:
    before = _version(connection, report_id, None)
    if (before.version, before.edit) != at:
        verb, who, time = "saved", before.saved_by, before.saved
        if before.signed is not None:
            verb, who, time = "signed", str(before.signed_by), before.signed
        raise ConflictError(
            f"{who} {verb} this report at {time}", mend="load it anew, then make your change again"
        )
    return before


def _version(connection: Any, report_id: str, version: int | None) -> Report:
    from sqlalchemy import select

    joined = reports.join(report_versions, reports.c.id == report_versions.c.report)
    wanted = select(reports, report_versions).select_from(joined).where(reports.c.id == report_id)
    if version is not None:
        wanted = wanted.where(report_versions.c.version == version)
    row = connection.execute(wanted.order_by(report_versions.c.version.desc()).limit(1)).mappings().first()
    if row is None:
        what = report_id if version is None else f"{report_id}, version {version}"
        raise UnknownNameError(f"there is no report {what}", mend="see /api/reports")
    names = (
        "id", "author", "created", "version", "edit", "saved_by", "saved", "signed_by", "signed", "digest",
    )  # fmt: skip
    return Report(
        case=row["subject"], content=json.loads(row["content"]), **{name: row[name] for name in names}
    )


def _columns(report: Report) -> dict[str, Any]:
    return {
        "report": report.id, "version": report.version, "edit": report.edit,
        "content": json.dumps(report.content, ensure_ascii=False, allow_nan=False),
        "saved_by": report.saved_by, "saved": report.saved,
    }  # fmt: skip
