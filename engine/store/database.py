"""The database engine: connections made right for SQLite and PostgreSQL, and the migrations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
import alembic.config
import msgspec
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_Found = TypeVar("_Found")

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 10_000
"""How long a SQLite connection waits for another one's transaction."""
SQLITE_MEMORY = 8 << 20
"""Octets that the page caches of all SQLite connections of the process take together. Each would grow to 2 MB in time,
over an hour of calls, and a busy daemon has up to fifteen.
"""

_MIGRATION_LOCK = 0x1F4EA  # any number, the same on all nodes


class Store:
    """One database. Made on the loop that uses it; :meth:`close` it, or its threads stay."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._make_engine()

    def _make_engine(self) -> AsyncEngine:
        if not self.is_sqlite:
            return create_async_engine(
                self.url,
                hide_parameters=True,  # errors go to the log, numbers and digits do not
                json_serializer=_as_json,
                pool_pre_ping=True,
                pool_timeout=10,
                connect_args={"timeout": 10, "command_timeout": 30},
            )
        if self.url.database and self.url.database != ":memory:":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(self.url, hide_parameters=True, pool_timeout=10, json_serializer=_as_json)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    async def migrate(self) -> None:
        """Bring the tables up to date. Raises SQLAlchemy's errors when the database is out of reach."""
        async with self.engine.begin() as connection:
            if not self.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end and rolled back when anything is raised."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: it waits for no writer."""
        async with self.engine.connect() as connection:
            await connection.execution_options(ivrea_reads=True)
            yield connection

    async def looking(self, work: Callable[[AsyncConnection], Awaitable[_Found]]) -> _Found:
        """What ``work`` finds in a transaction that only reads. If it has to make a row that is missing
        (:func:`about_to_write`) it is done once more, in one that writes.
        """
        try:
            async with self.reading() as connection:
                return await work(connection)
        except _OnlyReads:
            async with self.writing() as connection:
                return await work(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _as_json(value: Any) -> str:
    """``value`` for a JSON column: of what happens in calls there is a lot, and msgspec is ten times as fast."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):  # half a surrogate pair, which JSON can say and UTF-8 cannot
        return json.dumps(value)


class _OnlyReads(Exception):
    """The transaction is none in which anything may be written."""


def about_to_write(connection: AsyncConnection) -> None:
    """To be called before a row is made that somebody who only looks found missing: see :meth:`Store.looking`."""
    sync = connection.sync_connection
    if sync is not None and sync.get_execution_options().get("ivrea_reads", False):
        raise _OnlyReads


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA soft_heap_limit = {SQLITE_MEMORY}")
    cursor.execute("PRAGMA synchronous = FULL")  # a stored journal segment is deleted: a commit must last
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that will write takes the write lock first: later, SQLite refuses instead of waiting."""
    reads = connection.get_execution_options().get("ivrea_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def migration_config() -> alembic.config.Config:
    """Alembic's configuration, without any file."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    config = migration_config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
