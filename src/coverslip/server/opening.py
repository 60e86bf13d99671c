"""From what a command line says to what is served."""

from __future__ import annotations

from coverslip.core.errors import UsageError
from coverslip.server.accounts import AccountsDoor, People, Sessions
from coverslip.server.accounts.settings import Settings, read_settings
from coverslip.server.app import Site
from coverslip.server.db import Database, Record
from coverslip.server.db.database import database_of
from coverslip.server.library import Library
from coverslip.server.limits import Limits


def open_site(library: Library, *, db: str | None = None, accounts: str | None = None) -> Site:
    """Return what is served: to one person, or to a group.

    Parameters
    ----------
    db
        Where shapes and readings are kept, over what the settings say.
    accounts
        File of a group's settings; None serves one person.

    Raises
    ------
    UsageError
        When the settings cannot be, or nobody could log in.
    """
    if accounts is None:
        return Site(library, Database(db or database_of(library)))
    settings = read_settings(accounts)
    return group_site(library, Database(db or settings.db or database_of(library)), settings)


def group_site(library: Library, database: Database, settings: Settings) -> Site:
    """Return what is served to a group.

    Raises
    ------
    UsageError
        When nobody could log in.
    """
    record = Record(database)
    if not any(one.role == "admin" and not one.blocked for one in People(database, record).all()):
        raise UsageError(
            f"nobody administers {database.shown} yet",
            mend=f"add somebody: coverslip users add NAME --role admin --db {database.shown}",
        )
    sessions = Sessions(database, record, settings.spans())
    tls = None if settings.tls is None else (str(settings.tls.certificate), str(settings.tls.key))
    return Site(
        library, database, AccountsDoor(sessions, secure=settings.is_secure), hosts=settings.hosts,
        url=settings.url, limits=Limits(), provider=settings.provider(), passwords=settings.passwords,
        tls=tls, proxy=settings.proxy,
    )  # fmt: skip
