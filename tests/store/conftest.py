"""Databases of the tests' own: SQLite, and a PostgreSQL server on a Unix socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.store import Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty database. As root the server runs as ``nobody``, for it refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="ivrea-pg-", dir="/tmp"))
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(
            command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
        )

    try:
        run("initdb", "-D", str(data), "-U", "ivrea", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
        yield f"postgresql+asyncpg://ivrea@/postgres?host={folder}"
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


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
