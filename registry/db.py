"""The database: one engine, two kinds of transaction, and the migrations."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from registry.audit.order import CARRIES_OUT, CURRENT
from registry.backends import is_contention, lock_schema, make_engine, with_snapshots
from registry.errors import InvalidInput, RegistryError
from registry.storage.private import private_file
from registry.tables import CatalogRevision

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession

MIGRATIONS = Path(__file__).parent / "migrations"
BLOBS_AT = "blobs_at"
"""In a session's `info`: a function that says what the object storage is opened with (`registry.service` gives it)."""


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Database:
    """Owns the connection pool. Thread-safe; every method is blocking, so call it off the event loop."""

    def __init__(self, url: str, info: Mapping[str, Any] | None = None) -> None:
        """Connects to nothing yet; `info` is that of every session that reads. Raises `InvalidInput` for what is no URL
        of a database with a driver here.
        """
        self.url = url
        try:
            parts = make_url(url)
            if parts.drivername in ("postgresql", "postgres"):
                parts = parts.set(drivername="postgresql+psycopg")
            self.engine: Engine = make_engine(parts)
        except (ArgumentError, ImportError) as error:  # the URL itself may hold a password, so it is not shown
            raise InvalidInput(
                f"database_url cannot be used: {error}; expected an SQLAlchemy URL such as sqlite:////srv/registry.db "
                "or postgresql+psycopg://user:password@host/name (with the extra: pip install 'switchyard[postgres]')",
                param="database_url",
            ) from error
        self._readers = sessionmaker(with_snapshots(self.engine), expire_on_commit=False, info=dict(info or {}))

    def migrate(self) -> None:
        """Bring the schema to the newest revision, whole or not at all; does nothing when it is there already.

        Raises `RegistryError` when the database cannot be reached or written to.
        """
        if self.url.startswith("sqlite:///"):
            file = Path(self.url.removeprefix("sqlite:///"))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RegistryError(
                    f"the database {self.url} cannot be used: {file.parent} is no folder and cannot be made one "
                    f"({error.strerror})",
                    param="database_url",
                ) from error
            if str(file) != ":memory:":
                with suppress(OSError):  # SQLite says what is wrong, in its own words
                    private_file(file)
        try:
            if self._is_migrated():
                return
            # Brought in here because most processes find nothing to migrate, and alembic costs them memory and time.
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            with self.engine.execution_options(switchyard_write=True).begin() as connection:
                lock_schema(connection)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except DBAPIError as error:
            raise self.unusable(error) from error

    def unusable(self, error: DBAPIError) -> RegistryError:
        """What a person is told when the database has not done what it was asked for."""
        if is_contention(error):
            return RegistryError("the registry is busy with another change, and nothing was changed; try again")
        shown = self.engine.url.render_as_string(hide_password=True)
        return RegistryError(f"the database {shown} cannot be used: {error.orig}", param="database_url")

    def _is_migrated(self) -> bool:
        newest = max(path.stem.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py"))
        try:
            with self.engine.connect() as connection:
                return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [newest]
        except (OperationalError, ProgrammingError):  # no such table, or no such database: to migrate tells them apart
            return False

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent snapshot."""
        with self._readers() as session, session.begin():
            yield session

    @cached_property
    def _writers(self) -> sessionmaker[WriteSession]:
        from registry.catalog.changes import (
            WriteSession,  # it knows every table of the catalog: nothing for who only reads
        )

        writers = self.engine.execution_options(switchyard_write=True)
        return sessionmaker(writers, class_=WriteSession, expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[WriteSession]:
        """One transaction that commits when the block ends and vanishes when it raises.

        If it changes something that the catalog shows, it raises the catalog revision, and gateways learn what it was.
        What it changes for an order of an operator is in the audit log.
        """
        order = CURRENT.get()
        if order is not None:
            order.begin(self)
        with self._writers(info={CARRIES_OUT: order}) as session, session.begin():
            yield session

    @contextmanager
    def write_unordered(self) -> Iterator[WriteSession]:
        """The same for what is nobody's order: the audit log itself."""
        with self._writers() as session, session.begin():
            yield session

    def catalog_revision(self) -> int:
        """The revision in force: one cheap read, made about once a second by every gateway worker."""
        with self.read() as session:
            return session.scalars(select(CatalogRevision.value)).one()

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()
