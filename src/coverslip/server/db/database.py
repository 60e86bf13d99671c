"""The database: opened by URL, brought to the newest form, safe against a kill between two writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coverslip.core.errors import StoreError, UsageError
from coverslip.server.library import Library

MIGRATIONS = Path(__file__).parent / "migrations"
NAME = "people.sqlite"
"""File of a run in which people leave shapes and readings."""

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000")


class Database:
    """A database of what people leave behind.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file.sqlite`` or ``postgresql+psycopg://user:password@host/name``. A plain path is
        an SQLite file.

    Raises
    ------
    UsageError
        When the URL is none, or names another kind of database.
    StoreError
        When it cannot be opened or brought to the newest form.
    """

    def __init__(self, url: str) -> None:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import ArgumentError, SQLAlchemyError

        self.url = as_url(url)
        try:
            self.engine = create_engine(self.url, pool_pre_ping=True)
        except (ArgumentError, ImportError) as error:
            raise UsageError(f"{url} is no database: {error}", mend="see docs/how-to/serve.md") from error
        if self.is_sqlite:
            _make_durable(self.engine)
        try:
            self._migrate()
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(
                f"the database {self.shown} cannot be opened: {error}", mend="check its address and rights"
            ) from error

    @property
    def is_sqlite(self) -> bool:
        """True for a file, False for a server."""
        return self.url.startswith("sqlite")

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return str(self.engine.url.render_as_string(hide_password=True))

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Open a transaction: all of it is on disk when this ends, or none.

        Raises
        ------
        StoreError
            When it cannot be written.
        """
        from sqlalchemy.exc import OperationalError

        try:
            with self.engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise StoreError(
                f"the database {self.shown} cannot be written: {error.orig}", mend="is its disk full?"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Open a connection that reads; it waits for no writer."""
        with self.engine.connect().execution_options(reads=True) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def database_of(library: Library) -> str:
    """Return where shapes and readings are kept when nobody says: in the first run, else at home.

    The user's folder is that of the XDG convention, ``~/.local/share/coverslip``.
    """
    for entry in library.entries.values():
        if entry.run is not None:
            return str(entry.run.path / NAME)
    folder = Path.home() / ".local" / "share" / "coverslip"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / NAME)


def as_url(url: str) -> str:
    """Return a URL; a path becomes that of an SQLite file.

    Examples
    --------
    >>> as_url("run/people.sqlite"), as_url("postgresql+psycopg://host/name")
    ('sqlite:///run/people.sqlite', 'postgresql+psycopg://host/name')
    """
    return url if "://" in url else f"sqlite:///{url}"


def _make_durable(engine: Any) -> None:
    """Have SQLite keep what was acknowledged, through a kill and through a power cut."""
    from sqlalchemy import event

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins transactions itself, see below
        cursor = connection.cursor()
        for line in PRAGMAS:
            cursor.execute(f"PRAGMA {line}")
        cursor.close()

    def begun(connection: Any) -> None:
        reads = connection.get_execution_options().get("reads", False)
        # two writers wait for each other instead of failing; readers wait for nobody
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)
