"""What could grow in a daemon under calls that come and go: looks at it, and judgements about them."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kit.daemon import command_line
from kit.hooks import Hit, HookServer

from benchmarks.long_run import length

if TYPE_CHECKING:
    from kit.daemon import Daemon

WARM_UP = 60.0
"""Seconds after which memory has to have stopped growing."""

GROWTH_ALLOWED = 1.05
SLACK_KIB = 4096
SLACK_NUMBER = 12
"""Calls come at random moments: so much may the median of a figure differ by chance alone."""

EVERY = 10.0
OLD_ENOUGH = 120.0
"""Seconds after its last change that nobody writes into a recording any more."""

GAUGES = ("ivrea_tasks", "ivrea_sip_held", "ivrea_calls", "ivrea_media_streams", "ivrea_journal_backlog")
TOLD_WHEN_LARGE = ("ivrea_loop_lag_ms", "ivrea_media_lateness_ms")


@dataclass(frozen=True, slots=True)
class Look:
    """One figure at one time."""

    at: float
    value: float


@dataclass(slots=True)
class Watch:
    """Looks at every process and every gauge of a daemon, every ten seconds, and takes recordings away once they were
    opened, as the customers of a long-running switch do.
    """

    daemon: Daemon
    looks: dict[str, list[Look]] = field(default_factory=dict)
    recordings: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def until(self, done: Callable[[], bool]) -> None:
        began = told = time.monotonic()
        while not done():
            self.look()
            self.take_recordings(OLD_ENOUGH)
            if time.monotonic() - told >= 600:
                told = time.monotonic()
                self._tell(told - began)
            time.sleep(EVERY)

    def look(self) -> None:
        now = time.monotonic()
        for name, pid in family(self.daemon):
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{pid}/status").read_text()
                rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
                self._add(f"memory of {name}, KiB", now, rss)
                self._add(f"descriptors of {name}", now, descriptors(pid))
        for name, value in metrics(self.daemon):
            if name.partition("{")[0] in (*GAUGES, *TOLD_WHEN_LARGE):
                self._add(name, now, value)

    def take_recordings(self, age: float) -> None:
        """Open all recordings that have not changed for ``age`` seconds, and delete them."""
        for path in sorted((self.daemon.folder / "recordings").rglob("*.wav")):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < age:
                    continue
                try:
                    self.seconds += length(path)
                    self.recordings += 1
                except ValueError as error:
                    self.broken.append(str(error))
                path.unlink()

    def rows(self) -> Iterator[tuple[str, float, float, float, str]]:
        """Name, early median, late median, greatest, and what is wrong with it: empty when nothing is."""
        for name, looks in sorted(self.looks.items()):
            steady = [each.value for each in looks if each.at - looks[0].at >= WARM_UP]
            if len(steady) < 8:
                continue
            quarter = len(steady) // 4
            early, late = statistics.median(steady[:quarter]), statistics.median(steady[-quarter:])
            slack = SLACK_KIB if name.startswith("memory") else SLACK_NUMBER
            grew = late > early * GROWTH_ALLOWED + slack and not name.startswith(TOLD_WHEN_LARGE)
            yield name, early, late, max(steady), f"{name} grew from {early:g} to {late:g}" if grew else ""

    def _add(self, name: str, at: float, value: float) -> None:
        self.looks.setdefault(name, []).append(Look(at, value))

    def _tell(self, seconds: float) -> None:
        memory = {name: looks[-1].value for name, looks in self.looks.items() if name.startswith("memory")}
        print(
            f"  {seconds / 60:.0f} min: {sum(memory.values()) / 1024:.0f} MiB in {len(memory)} processes, "
            f"{self.recordings} recordings opened",
            flush=True,
        )


def family(daemon: Daemon) -> list[tuple[str, int]]:
    """Name and process id of the daemon's processes."""
    found: list[tuple[str, int]] = [("the control process", daemon.pid)]
    numbers: Counter[str] = Counter()
    for pid in sorted(daemon.children()):
        words = command_line(pid).partition(" -m ")[2].split()
        name = words[0] if words else "a helper process"
        numbers[name] += 1
        found.append((f"{name} ({numbers[name]})", pid))
    return found


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def metrics(daemon: Daemon) -> Iterator[tuple[str, float]]:
    """Name with labels, and value, of all that ``/metrics`` has."""
    address = f"http://127.0.0.1:{daemon.http_port}/metrics"
    with (
        contextlib.suppress(urllib.error.URLError, TimeoutError, ConnectionError),
        urllib.request.urlopen(address, timeout=10) as answer,
    ):
        for line in answer.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                yield name, float(value)


def at_rest(daemon: Daemon) -> dict[str, float]:
    """Figures that have to be what they were, once no call is left."""
    figures = {f"descriptors of {name}": float(descriptors(pid)) for name, pid in family(daemon)}
    figures.update((name, value) for name, value in metrics(daemon) if name.partition("{")[0] in GAUGES)
    return figures


def not_as_before(before: dict[str, float], after: dict[str, float], *, kept: int = 16) -> list[str]:
    """What was left behind: the database and web servers may keep ``kept`` connections."""
    return [
        f"{name}: {value:g} before, {after[name]:g} after all calls" if name in after else f"{name}: gone"
        for name, value in before.items()
        if name not in after or after[name] > value + kept
    ]


def left_open(database: Path) -> tuple[list[str], dict[str, int]]:
    """Rows of calls and legs that have no end and callbacks that wait; and the number of rows by table."""
    problems, rows = [], {}
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        for table in ("calls", "legs"):
            (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE finished_at IS NULL").fetchone()
            if count:
                problems.append(f"{count} {table} have no end")
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for (name,) in names:
            (rows[name],) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
    return problems, {name: count for name, count in rows.items() if count}


class Tally(list[Hit]):
    """Hits of a web server that are counted and forgotten: each event once, however often it came."""

    def __init__(self) -> None:
        super().__init__()
        self.events: Counter[tuple[str, str]] = Counter()
        self.repeats = 0
        self._seen: set[tuple[str, str, str, str]] = set()
        self._lock = threading.Lock()

    def append(self, hit: Hit) -> None:
        event = hit.params.get("e", "")
        key = (hit.path, event, hit.params.get("id", ""), hit.params.get("seq", ""))
        with self._lock:
            if key in self._seen:
                self.repeats += 1
            else:
                self._seen.add(key)
                self.events[hit.path, event] += 1


def tallying() -> tuple[HookServer, Tally]:
    tally = Tally()
    return HookServer(hits=tally), tally
