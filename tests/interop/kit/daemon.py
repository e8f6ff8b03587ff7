"""The daemon under test: a real ``serve`` process in a folder of its own, on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from kit import sound
from kit.network import Namespace
from kit.ports import free_port, free_range
from kit.sound import Samples

ROOT = Path(__file__).parents[3]
T = TypeVar("T")
UNLIMITED = 1e6
"""Milliseconds: what else runs on the machine is no reason to refuse a test its call."""


def poll(what: Callable[[], T | None], patience: float, complaint: str, *, every: float = 0.02) -> T:
    """Ask ``what`` until it gives something; for facts that only a look can tell, as in files and /proc."""
    deadline = time.monotonic() + patience
    while (result := what()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint} within {patience} s")
        time.sleep(every)
    return result


def processes_below(pid: int) -> list[int]:
    """All descendants of a process, from /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return repr(value)


class Daemon:
    """``ivrea serve`` with flows given as Python values.

    ``flows``: name → tree (or a list of such); the number is the name unless it is ``number=…`` in
    ``numbers``. ``settings``: section → key → value over the defaults for tests. ``more``: rows of other sections, such
    as ``users``.
    """

    def __init__(
        self,
        folder: Path,
        flows: Mapping[str, object],
        *,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        record: Iterable[str] = (),
        trunks: Sequence[Mapping[str, object]] = (),
        devices: Sequence[Mapping[str, object]] = (),
        more: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
        mailboxes: Sequence[Mapping[str, object]] = (),
        sounds: Mapping[str, Samples] | None = None,
        host: str = "127.0.0.1",
        place: Namespace | None = None,
    ) -> None:
        """``place``: a network of its own, where ``host`` is."""
        self._place = place or Namespace()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        with self._place:
            self.sip_port = free_port(host=host)
        self.tls_port = 0
        self.http_port = free_port(socket.SOCK_STREAM)
        self.rtp_ports = free_range(200)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file = folder / "serve.log"
        self._ups = 0
        address = f"[{host}]:{self.sip_port}" if ":" in host else f"{host}:{self.sip_port}"
        self._sections: dict[str, dict[str, object]] = {
            "sip": {"listen": [f"udp:{address}", f"tcp:{address}"], "open": True},
            "rtp": {
                "ports": f"{self.rtp_ports[0]}-{self.rtp_ports[1]}",
                "workers": 1,
                "max_late_ms": UNLIMITED,
                "max_busy": 1.0,
            },
            "http": {"listen": f"127.0.0.1:{self.http_port}"},
            "store": {"url": "sqlite+aiosqlite:///ivrea.db", "recordings": "recordings/"},
            "callbacks": {"allow_private": True},
            "calls": {"max_lag_ms": UNLIMITED},
            "account": {"relay": "any"},
            "api": {"login_failures": 0},
        }
        for section, keys in (settings or {}).items():
            self._sections.setdefault(section, {}).update(keys)
        self._rows = {"trunks": trunks, "devices": devices, "mailboxes": mailboxes, **(more or {})}
        self._record = set(record)
        self._numbers: list[str] = []
        self._kinds: dict[str, str] = {}
        for number, tree in flows.items():
            self.write_flow(number, tree)
        for name, samples in (sounds or {}).items():
            sound.write_wav(folder / name, samples)

    # --- configuration ------------------------------------------------------------------------

    def secure(self, cert: Path, key: Path, authority: Path, **more: object) -> None:
        """Speak TLS, too, on :attr:`tls_port`; ``more`` are keys of the section."""
        self.tls_port = free_port(socket.SOCK_STREAM, host=self.host)
        listen = self._sections["sip"]["listen"]
        assert isinstance(listen, list)
        listen.append(f"tls:{self.host}:{self.tls_port}")
        files = {"tls_cert": str(cert), "tls_key": str(key), "tls_ca": str(authority)}
        self._sections["sip"].update(files, **more)

    def listen_too(self, host: str) -> tuple[str, int]:
        """Take calls over UDP at another address, too: that, with its port."""
        port = free_port(host=host)
        listen = self._sections["sip"]["listen"]
        assert isinstance(listen, list)
        listen.append(f"udp:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}")
        return host, port

    def write_flow(self, number: str, tree: object) -> Path:
        """Write (or change) the flow of a number; a ``Path`` stands for itself."""
        if number not in self._numbers:
            self._numbers.append(number)
        path = self.folder / self._file(number, tree)
        if isinstance(tree, Path):
            path.write_text(tree.read_text())
        else:
            path.write_text(tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False))
        return path

    def _file(self, number: str, tree: object = None) -> str:
        """Text is XML, everything else JSON."""
        kind = self._kinds.setdefault(number, "xml" if isinstance(tree, str) else "json")
        return f"{self._safe(number)}.{kind}"

    @staticmethod
    def _safe(number: str) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in number)

    def configure(self) -> Path:
        lines: list[str] = []
        for section, keys in self._sections.items():
            lines += [f"[{section}]", *(f"{key} = {toml(value)}" for key, value in keys.items()), ""]
        for number in self._numbers:
            row: Mapping[str, object] = {
                "number": number,
                "flow": self._file(number),
                "record": number in self._record,
            }
            lines += ["[[numbers]]", *(f"{key} = {toml(value)}" for key, value in row.items()), ""]
        for name, rows in self._rows.items():
            for row in rows:
                lines += [f"[[{name}]]", *(f"{key} = {toml(value)}" for key, value in row.items()), ""]
        path = self.folder / "ivrea.toml"
        path.write_text("\n".join(lines))
        return path

    # --- life ---------------------------------------------------------------------------------

    def start(self, patience: float = 120.0) -> Self:
        """Start, and wait for the line that says it is up. Log of an earlier start is kept in the file."""
        self.launch()
        return self.wait_up(patience)

    def launch(self) -> None:
        """Start it; it is not up then."""
        config = self.configure()
        self._ups = self.log().count("ivrea is up")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._place.prefix, sys.executable, "-m", "engine.cli", "serve", "--config", str(config)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            )

    def wait_up(self, patience: float = 120.0) -> Self:
        """Wait for the line that says that what was launched is up."""

        def up() -> bool | None:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon left with {self.process.returncode}:\n{self.log()[-3000:]}")
            return self.log().count("ivrea is up") > self._ups or None

        try:
            poll(up, patience, "the daemon was not up")
        except AssertionError as error:
            self.kill_everything()
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill_everything()
            print(f"--- log of {self.folder.name}:\n{self.log()[-6000:]}")
            return
        assert self.stop() == 0, f"the daemon did not stop cleanly:\n{self.log()[-3000:]}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def children(self) -> list[int]:
        return processes_below(self.pid)

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if "media.worker" in command_line(pid)]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, patience: float = 20.0) -> int:
        """SIGTERM, and its exit status; nothing of it may be left."""
        if self.process is None:
            return 0
        family = [self.pid, *self.children()]
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill_everything()
            raise AssertionError(f"SIGTERM had no effect within {patience} s:\n{self.log()[-3000:]}") from None
        self.process = None
        poll(lambda: not any(map(alive, family)) or None, 3, "processes of the daemon stayed behind")
        return status

    def kill_control(self) -> list[int]:
        """SIGKILL to the control process alone; the processes that it had."""
        children = self.children()
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        return children

    def kill_everything(self) -> None:
        """SIGKILL to every process of the daemon at once."""
        if self.process is None:
            return
        everybody = [self.pid, *self.children()]  # it first: it must not see the others go
        for pid in everybody:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        poll(lambda: not any(map(alive, everybody)) or None, 5.0, "killed processes did not go")

    # --- what it says -------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.sip_port

    def uri(self, number: str) -> str:
        return f"sip:{number}@{self.host}:{self.sip_port}"

    @property
    def store_url(self) -> str:
        """Its database, for those who are not in its folder."""
        return str(self._sections["store"]["url"]).replace(":///ivrea.db", f":///{self.folder / 'ivrea.db'}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def events(self) -> list[dict[str, Any]]:
        """Log lines as JSON objects (the log of a daemon without a terminal)."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                row = json.loads(line)
                if isinstance(row, dict):
                    found.append(row)
        return found

    def ended(self) -> list[dict[str, Any]]:
        """The closing lines of all calls so far."""
        return [row for row in self.events() if "call ended" in str(row.get("event", ""))]

    def wait_ended(self, count: int = 1, patience: float = 10.0) -> list[dict[str, Any]]:
        return poll(
            lambda: rows if len(rows := self.ended()) >= count else None, patience, f"not {count} closing lines"
        )

    def wait_log(self, text: str, patience: float = 10.0, *, count: int = 1) -> None:
        poll(lambda: self.log().count(text) >= count or None, patience, f"{text!r} was not logged {count} times")

    def call_id(self, sip_call_id: str, patience: float = 5.0) -> str:
        """The daemon's own id of the call with this SIP Call-ID."""

        def begun() -> str | None:
            rows = (row for row in self.events() if row.get("event") == "call started")
            return next((str(row["call_id"]) for row in rows if row.get("sip_call_id") == sip_call_id), None)

        return poll(begun, patience, f"no call with Call-ID {sip_call_id}")

    def closing(self, sip_call_id: str, patience: float = 10.0) -> dict[str, Any]:
        """The closing line of the call with this SIP Call-ID; there may be only one."""
        return self.wait_closed(self.call_id(sip_call_id), patience)

    def wait_closed(self, call: str, patience: float = 10.0) -> dict[str, Any]:
        """The closing line of a call; there may be only one."""

        def lines() -> list[dict[str, Any]] | None:
            return [row for row in self.ended() if row.get("call_id") == call] or None

        rows = poll(lines, patience, f"call {call} has no closing line")
        assert len(rows) == 1, f"call {call} ended {len(rows)} times"
        return rows[0]

    def calls_to(self, number: str) -> list[str]:
        """Ids of all calls to a number so far, in order."""
        rows = (row for row in self.events() if row.get("event") == "call started")
        return [str(row["call_id"]) for row in rows if row.get("callee") == number]

    def recording(self, call: str) -> Path:
        """The recording of a call."""
        return poll(
            lambda: next((path for path in self.recordings() if path.stem == call), None), 5, f"no recording of {call}"
        )

    def stored_notes(self, call: str, kind: str) -> list[dict[str, Any]]:
        """What the database says a call did (``Spoke``, ``Heard``, …), once the call is finished there."""
        database = f"file:{self.folder / 'ivrea.db'}?mode=ro"

        def rows() -> list[dict[str, Any]] | None:
            with contextlib.closing(sqlite3.connect(database, uri=True, timeout=5)) as connection:
                finished = connection.execute("SELECT finished_at FROM calls WHERE id = ?", (call,)).fetchone()
                if finished is None or finished[0] is None:
                    return None
                query = "SELECT detail FROM call_events WHERE call_id = ? AND kind = ? ORDER BY id"
                return [json.loads(detail) for (detail,) in connection.execute(query, (call, kind))]

        return poll(rows, 10, f"call {call} is not finished in the database")

    def calls_with(self, kind: str) -> set[str]:
        """The calls of which the database has a note of this kind."""
        database = f"file:{self.folder / 'ivrea.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=5)) as connection:
            rows = connection.execute("SELECT DISTINCT call_id FROM call_events WHERE kind = ?", (kind,))
            return {str(call) for (call,) in rows}

    def recordings(self) -> list[Path]:
        return sorted((self.folder / "recordings").rglob("*.wav"))

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
