"""A PostgreSQL server of the tests' own: on a Unix socket in a temporary folder, stopped and started at will."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class DatabaseServer:
    """An empty database at :attr:`url`. As root the server runs as ``nobody``, for it refuses to run as root."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ivrea-pg-", dir="/tmp"))
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        self._data = self._folder / "data"
        self._added = 0

    @property
    def url(self) -> str:
        return self._url("postgres")

    def another(self) -> str:
        """The URL of one more database, also empty."""
        self._added += 1
        self.ask(f"CREATE DATABASE more{self._added}")
        return self._url(f"more{self._added}")

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://ivrea@/{name}?host={self._folder}"

    def __enter__(self) -> Self:
        try:
            self._run("initdb", "-D", str(self._data), "-U", "ivrea", "-A", "trust", "-E", "UTF8", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if (self._data / "postmaster.pid").exists():
                self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it; it takes connections then."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-o", options, "-l", str(self._folder / "log"), "start")

    def stop(self) -> None:
        """As a crash would: connections break off, transactions are lost."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def ask(self, query: str) -> list[list[str]]:
        """Rows of a query, as texts."""
        command = ["psql", "-h", str(self._folder), "-U", "ivrea", "-d", "postgres", "-XAtF", "\t", "-c", query]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def _run(self, *command: str) -> None:
        environment = {**os.environ, "LC_ALL": "C"}
        subprocess.run(
            command, check=True, user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL, env=environment
        )
