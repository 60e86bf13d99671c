"""People and projects, for administrators."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from coverslip.core.errors import UsageError
from coverslip.server.access import Role
from coverslip.server.accounts.people import EVERYTHING
from coverslip.server.app_state import people_of, person_of, projects_of, site_of

router = APIRouter(prefix="/api", tags=["people"])


class NewPerson(BaseModel):
    """Somebody to be added."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role = "reader"
    email: str | None = None
    projects: list[str] = Field(default=[EVERYTHING], max_length=1000)


class Change(BaseModel):
    """What becomes of somebody."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    blocked: bool | None = None


class Held(BaseModel):
    """What a project holds."""

    model_config = ConfigDict(extra="forbid")

    slides: list[str] = Field(max_length=10_000)
    people: list[str] = Field(max_length=10_000)


@router.get("/people")
def people(request: Request) -> list[dict[str, Any]]:
    """List who may log in."""
    return [one.to_dict() for one in people_of(request).all()]


@router.post("/people", status_code=201)
def add(request: Request, person: NewPerson) -> dict[str, Any]:
    """Add somebody; the invitation works once, for three days, and is shown this once."""
    _check_accounts(request)
    who, code = people_of(request).add(
        person_of(request).name, person.name, person.role, email=person.email, projects=person.projects
    )
    return {**who.to_dict(), "invitation": invitation_of(request, code)}


@router.put("/people/{person}")
def change(request: Request, person: str, to: Change) -> dict[str, Any]:
    """Give somebody another role, or block or unblock them; it ends their logins."""
    changed = people_of(request).change(person_of(request).name, person, role=to.role, blocked=to.blocked)
    site_of(request).door.forget()
    return changed.to_dict()


@router.post("/people/{person}/invitation", status_code=201)
def invite(request: Request, person: str) -> dict[str, str]:
    """Invite somebody again, who forgot the password say; an older invitation no longer works."""
    _check_accounts(request)
    return {"invitation": invitation_of(request, people_of(request).invite(person_of(request).name, person))}


@router.get("/projects")
def projects(request: Request) -> list[dict[str, Any]]:
    """List the projects: who sees which slides."""
    return [one.to_dict() for one in projects_of(request).all()]


@router.put("/projects/{project}")
def put_project(request: Request, project: str, held: Held) -> dict[str, Any]:
    """Make a project, or replace what it holds."""
    by = person_of(request).name
    made = projects_of(request).put(by, project, slides=held.slides, members=held.people)
    site_of(request).door.forget()
    return made.to_dict()


@router.delete("/projects/{project}", status_code=204)
def remove_project(request: Request, project: str) -> Response:
    """Take a project away; its slides stay where they are."""
    projects_of(request).remove(person_of(request).name, project)
    site_of(request).door.forget()
    return Response(status_code=204)


def invitation_of(request: Request, code: str) -> str:
    """Return the address that an invited person opens."""
    return f"{site_of(request).url}/login/invitation?code={code}"


def _check_accounts(request: Request) -> None:
    if site_of(request).door.is_for_one:
        raise UsageError(
            "this server has no accounts", mend="start it with --accounts, see docs/how-to/accounts.md"
        )
