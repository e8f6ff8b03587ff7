"""Databases of the tests' own: SQLite, and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from database_server import DatabaseServer
from sqlalchemy import text

from engine.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    with DatabaseServer() as server:
        yield server.url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.peer("initdb", "pg_ctl", "postgres"))])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one, of either kind; its tables are still to be made."""
    url = f"sqlite+aiosqlite:///{tmp_path}/new/folder/ivrea.db"
    store = Store(request.getfixturevalue("postgres") if request.param == "postgres" else url)
    if not store.is_sqlite:
        async with store.writing() as connection:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))
    yield store
    await store.close()
