"""Projects: who sees which slides."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coverslip.core.errors import ConflictError, UnknownNameError, UsageError
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now
from coverslip.server.db.schema import people, project_people, project_slides, projects


@dataclass(frozen=True)
class Project:
    """Slides, and the people who see them.

    Attributes
    ----------
    slides
        Patterns of slides' ids, or of ``run/id``; ``*`` stands for any characters.
    people
        Names.
    """

    id: str
    name: str
    slides: tuple[str, ...]
    people: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"id": self.id, "name": self.name, "slides": list(self.slides), "people": list(self.people)}


class Projects:
    """The projects of a database.

    Parameters
    ----------
    database, record
        Where they and what became of them are kept.
    """

    def __init__(self, database: Database, record: Record) -> None:
        self._database, self._record = database, record

    def all(self) -> list[Project]:
        """Return all, by name."""
        from sqlalchemy import select

        with self._database.reading() as connection:
            rows = connection.execute(select(projects).order_by(projects.c.name)).mappings().all()
            return [_project(connection, row) for row in rows]

    def put(self, by: str, name: str, *, slides: Sequence[str], members: Sequence[str]) -> Project:
        """Make a project, or replace what one of that name holds.

        Raises
        ------
        UsageError
            When a name or pattern cannot be one.
        UnknownNameError
            When there is no such person.
        """
        name = name.strip()
        if not 1 <= len(name) <= 200 or not name.isprintable() or "/" in name:
            raise UsageError(f"{name!r} is no name of a project", mend="use 1 to 200 characters, no /")
        patterns = _patterns(slides)
        with self._database.writing() as connection:
            found = _named(connection, name)
            if found is None:
                connection.execute(projects.insert().values(id=uuid.uuid4().hex, name=name, created=now()))
                found = _named(connection, name)
            who = [_person_id(connection, member) for member in dict.fromkeys(members)]
            _replace(connection, project_slides, found["id"], [{"pattern": one} for one in patterns])
            _replace(connection, project_people, found["id"], [{"person": one} for one in who])
            self._record.add(
                connection, by, "change project", name, {"slides": patterns, "people": list(members)}
            )
            return _project(connection, found)

    def remove(self, by: str, name: str) -> None:
        """Take a project away; its slides stay, seen through others alone.

        Raises
        ------
        UnknownNameError
            When there is none.
        ConflictError
            When it is the last.
        """
        from sqlalchemy import func, select

        with self._database.writing() as connection:
            found = project_named(connection, name)
            if connection.execute(select(func.count()).select_from(projects)).scalar() == 1:
                raise ConflictError("this is the last project", mend="change what it holds instead")
            for table in (project_slides, project_people):
                connection.execute(table.delete().where(table.c.project == found["id"]))
            connection.execute(projects.delete().where(projects.c.id == found["id"]))
            self._record.add(connection, by, "remove project", name)


def patterns_of(connection: Any, person: str) -> tuple[str, ...]:
    """Return the patterns of all slides that somebody's projects hold."""
    from sqlalchemy import select

    joined = project_slides.join(project_people, project_slides.c.project == project_people.c.project)
    wanted = select(project_slides.c.pattern).select_from(joined).where(project_people.c.person == person)
    return tuple(sorted(set(connection.execute(wanted).scalars())))


def project_named(connection: Any, name: str) -> Any:
    """Return a project's row.

    Raises
    ------
    UnknownNameError
        When there is none of that name.
    """
    found = _named(connection, name)
    if found is None:
        raise UnknownNameError(f"there is no project {name!r}", mend="see: coverslip users projects")
    return found


def _named(connection: Any, name: str) -> Any:
    from sqlalchemy import select

    return connection.execute(select(projects).where(projects.c.name == name)).mappings().first()


def _project(connection: Any, row: Any) -> Project:
    from sqlalchemy import select

    slides = select(project_slides.c.pattern).where(project_slides.c.project == row["id"])
    joined = people.join(project_people, people.c.id == project_people.c.person)
    members = select(people.c.name).select_from(joined).where(project_people.c.project == row["id"])
    return Project(
        row["id"], row["name"], tuple(sorted(connection.execute(slides).scalars())),
        tuple(sorted(connection.execute(members).scalars())),
    )  # fmt: skip


def _person_id(connection: Any, name: str) -> str:
    from sqlalchemy import select

    found = connection.execute(select(people.c.id).where(people.c.name == name)).scalar()
    if found is None:
        raise UnknownNameError(f"there is nobody called {name!r}", mend="see: coverslip users list")
    return str(found)


def _replace(connection: Any, table: Any, project: str, rows: list[dict[str, Any]]) -> None:
    connection.execute(table.delete().where(table.c.project == project))
    if rows:
        connection.execute(table.insert(), [{"project": project, **row} for row in rows])


def _patterns(slides: Sequence[str]) -> list[str]:
    patterns = sorted({one.strip() for one in slides if one.strip()})
    if any(len(one) > 512 for one in patterns):
        raise UsageError(
            "a pattern of slides has more than 512 characters", mend="use * for what may be anything"
        )
    return patterns
