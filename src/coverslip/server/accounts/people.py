"""People: added by an administrator, let in by an invitation that works once, a password, or OIDC."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from coverslip.core.errors import ConflictError, UnknownNameError, UsageError
from coverslip.server.access import RANK, Role
from coverslip.server.accounts.passwords import check_password, fits, hashed, is_outdated
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now, stamp
from coverslip.server.db.schema import people, project_people, sessions

INVITED_DAYS = 3
"""How long an invitation works."""

EVERYTHING = "everything"
"""The project that is there from the start; it holds all slides."""


@dataclass(frozen=True)
class Account:
    """Somebody who may log in.

    Attributes
    ----------
    email
        By which a login provider finds who was added here.
    comes_by
        ``"password"``, ``"oidc"``, both, or nothing yet.
    invited
        True while an invitation is open.
    """

    id: str
    name: str
    role: Role
    email: str | None
    blocked: bool
    created: str
    comes_by: tuple[str, ...]
    invited: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**self.__dict__, "comes_by": list(self.comes_by)}


class People:
    """The people of a database.

    Parameters
    ----------
    database, record
        Where they and what became of them are kept.
    """

    def __init__(self, database: Database, record: Record) -> None:
        self._database, self._record = database, record

    def all(self) -> list[Account]:
        """Return all, by name."""
        from sqlalchemy import select

        with self._database.reading() as connection:
            rows = connection.execute(select(people).order_by(people.c.name)).mappings().all()
        return [_account(row) for row in rows]

    def get(self, name_or_id: str) -> Account:
        """Return somebody, by name or id.

        Raises
        ------
        UnknownNameError
            When there is nobody of that name.
        """
        with self._database.reading() as connection:
            return _account(_somebody(connection, name_or_id))

    def add(
        self,
        by: str,
        name: str,
        role: Role,
        *,
        email: str | None = None,
        projects: Sequence[str] = (EVERYTHING,),
    ) -> tuple[Account, str]:
        """Add somebody and return the code of an invitation, which is kept nowhere.

        Raises
        ------
        UsageError
            When name, role or address of mail cannot be one.
        ConflictError
            When name or address are taken.
        UnknownNameError
            When there is no such project.
        """
        name, email = _checked(name, role, email)
        code = secrets.token_urlsafe(24)
        row = {
            "id": uuid.uuid4().hex,
            "name": name,
            "role": role,
            "email": email,
            "created": now(),
            "blocked": False,
        }
        with self._database.writing() as connection:
            _refuse_taken(connection, name, email)
            connection.execute(people.insert().values(**row, **_invitation(code)))
            _join(connection, str(row["id"]), projects)
            details = {"role": role, "email": email, "projects": list(projects)}
            self._record.add(connection, by, "add person", name, details)
            return _account(_somebody(connection, str(row["id"]))), code

    def invite(self, by: str, name_or_id: str) -> str:
        """Return the code of a new invitation; an older one no longer works."""
        code = secrets.token_urlsafe(24)
        with self._database.writing() as connection:
            found = _somebody(connection, name_or_id)
            connection.execute(people.update().where(people.c.id == found["id"]).values(**_invitation(code)))
            self._record.add(connection, by, "invite", found["name"])
        return code

    def change(
        self, by: str, name_or_id: str, *, role: Role | None = None, blocked: bool | None = None
    ) -> Account:
        """Give somebody another role, or block or unblock them; a change ends their sessions.

        Raises
        ------
        ConflictError
            When no administrator would be left.
        """
        new = {key: value for key, value in (("role", role), ("blocked", blocked)) if value is not None}
        with self._database.writing() as connection:
            found = _somebody(connection, name_or_id)
            if role is not None and role not in RANK:
                raise _no_role(role)
            _keep_an_admin(connection, found, new)
            if new:
                connection.execute(people.update().where(people.c.id == found["id"]).values(**new))
                connection.execute(sessions.delete().where(sessions.c.person == found["id"]))
                self._record.add(connection, by, "change person", found["name"], new)
            return _account(_somebody(connection, found["id"]))

    # ------------------------------------------------------------------ letting in
    def invited(self, code: str) -> Account:
        """Return who an invitation is for.

        Raises
        ------
        UsageError
            When it does not work (any more).
        """
        with self._database.reading() as connection:
            return _account(_guest(connection, code))

    def accept(self, code: str, password: str) -> Account:
        """Let somebody set a password by an invitation, which then no longer works.

        Raises
        ------
        UsageError
            When the invitation does not work, or the password is quickly guessed.
        """
        with self._database.writing() as connection:
            found = _guest(connection, code)
            check_password(password, found["name"])
            kept = {"password": hashed(password), "invitation": None, "invitation_ends": None}
            connection.execute(people.update().where(people.c.id == found["id"]).values(**kept))
            connection.execute(sessions.delete().where(sessions.c.person == found["id"]))
            self._record.add(connection, found["name"], "set password", found["name"])
            return _account(_somebody(connection, found["id"]))

    def by_password(self, name: str, password: str) -> Account | None:
        """Return who has this name and password, or None; a wrong one is recorded."""
        from sqlalchemy import select

        with self._database.reading() as connection:
            row = connection.execute(select(people).where(people.c.name == name.strip())).mappings().first()
        right = fits(password, None if row is None else row["password"])
        if row is None or not right or row["blocked"]:
            self._record.note("" if row is None else row["name"], "login refused", "password")
            return None
        if is_outdated(row["password"]):
            with self._database.writing() as connection:
                new = {"password": hashed(password)}
                connection.execute(people.update().where(people.c.id == row["id"]).values(**new))
        return _account(row)

    def by_oidc(self, claims: Mapping[str, Any], *, admit: Role | None) -> Account | None:
        """Return who a login provider vouches for, or None when they may not come in.

        Known by issuer and subject; else by a verified address of mail that an administrator added; else,
        where everybody of the provider is admitted, added now with the role `admit`.
        """
        subject = f"{claims['iss']}|{claims['sub']}"
        email = str(claims.get("email", "")).lower() if claims.get("email_verified") is True else ""
        with self._database.writing() as connection:
            row = _by_subject(connection, subject, email)
            if row is None and admit is not None:
                row = self._admitted(connection, claims, subject, email or None, admit)
            if row is None or row["blocked"]:
                self._record.add(connection, "" if row is None else row["name"], "login refused", "oidc")
                return None
            if row["subject"] is None:
                connection.execute(people.update().where(people.c.id == row["id"]).values(subject=subject))
                self._record.add(connection, row["name"], "join login", row["name"], {"subject": subject})
            return _account(_somebody(connection, row["id"]))

    def _admitted(
        self, connection: Any, claims: Mapping[str, Any], subject: str, email: str | None, role: Role
    ) -> Any:
        wanted = str(
            claims.get("name") or claims.get("preferred_username") or email or claims["sub"]
        ).strip()[:200]
        name, number = wanted, 2
        while _named(connection, name) is not None:
            name, number = f"{wanted} ({number})", number + 1
        row = {"id": uuid.uuid4().hex, "name": name, "role": role, "email": email, "subject": subject}
        connection.execute(people.insert().values(**row, created=now(), blocked=False))
        _join(connection, row["id"], (EVERYTHING,))
        self._record.add(connection, name, "add person", name, {"role": role, "subject": subject})
        return _somebody(connection, row["id"])


def digest_of_code(code: str) -> str:
    """Return what is kept of a code or token that lets somebody in."""
    return hashlib.sha256(code.encode()).hexdigest()


def _account(row: Mapping[str, Any]) -> Account:
    ways = [way for way, column in (("password", "password"), ("oidc", "subject")) if row[column] is not None]
    open_until = row["invitation_ends"]
    return Account(
        row["id"], row["name"], row["role"], row["email"], bool(row["blocked"]), row["created"], tuple(ways),
        open_until is not None and open_until > now(),
    )  # fmt: skip


def _invitation(code: str) -> dict[str, str]:
    ends = stamp(datetime.now(UTC) + timedelta(days=INVITED_DAYS))
    return {"invitation": digest_of_code(code), "invitation_ends": ends}


def _checked(name: str, role: str, email: str | None) -> tuple[str, str | None]:
    name = name.strip()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise UsageError(f"{name!r} is no name of a person", mend="use 1 to 200 printable characters")
    if role not in RANK:
        raise _no_role(role)
    email = email.strip().lower() if email else None
    if email and (email.count("@") != 1 or len(email) > 320 or not email.isprintable() or " " in email):
        raise UsageError(f"{email!r} is no address of mail", mend="write it as name@host")
    return name, email


def _no_role(role: object) -> UsageError:
    return UsageError(f"{role!r} is no role", mend=f"expected {', '.join(RANK)}")


def _named(connection: Any, name: str) -> Any:
    from sqlalchemy import select

    return connection.execute(select(people).where(people.c.name == name)).mappings().first()


def _somebody(connection: Any, name_or_id: str) -> Any:
    from sqlalchemy import or_, select

    wanted = select(people).where(or_(people.c.id == name_or_id, people.c.name == name_or_id))
    found = connection.execute(wanted).mappings().first()
    if found is None:
        raise UnknownNameError(f"there is nobody called {name_or_id!r}", mend="see: coverslip users list")
    return found


def _guest(connection: Any, code: str) -> Any:
    from sqlalchemy import select

    wanted = select(people).where(people.c.invitation == digest_of_code(code), people.c.blocked.is_(False))
    found = connection.execute(wanted).mappings().first()
    if found is None or found["invitation_ends"] <= now():
        raise UsageError(
            "this invitation does not work (any more)", mend="ask an administrator for a new one"
        )
    return found


def _by_subject(connection: Any, subject: str, email: str) -> Any:
    from sqlalchemy import select

    found = connection.execute(select(people).where(people.c.subject == subject)).mappings().first()
    if found is None and email:
        known = select(people).where(people.c.email == email, people.c.subject.is_(None))
        found = connection.execute(known).mappings().first()
    return found


def _refuse_taken(connection: Any, name: str, email: str | None) -> None:
    from sqlalchemy import select

    if _named(connection, name) is not None:
        raise ConflictError(
            f"there is somebody called {name!r} already", mend="take a name that tells them apart"
        )
    if email and connection.execute(select(people.c.id).where(people.c.email == email)).first() is not None:
        raise ConflictError(f"{email} belongs to somebody else", mend="see: coverslip users list")


def _join(connection: Any, person: str, names: Sequence[str]) -> None:
    from coverslip.server.accounts.projects import project_named

    for name in dict.fromkeys(names):
        project = project_named(connection, name)
        connection.execute(project_people.insert().values(project=project["id"], person=person))


def _keep_an_admin(connection: Any, found: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    from sqlalchemy import func, select

    if (
        found["role"] != "admin"
        or found["blocked"]
        or ({**found, **new}["role"] == "admin" and not new.get("blocked"))
    ):
        return
    others = (people.c.role == "admin") & people.c.blocked.is_(False) & (people.c.id != found["id"])
    if not connection.execute(select(func.count()).select_from(people).where(others)).scalar():
        raise ConflictError(f"{found['name']} is the last administrator", mend="make somebody else one first")
