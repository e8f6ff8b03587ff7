"""``kill -9`` of a daemon under calls, again and again: what was answered is told, recorded and closed all the same.

``make soak-kills``, or ``python -m benchmarks.kills --kills 1000 --report benchmarks/KILLS.md``. Two daemons side by
side, one on SQLite and one on a PostgreSQL of its own, each with half of the kills. SIPp calls trees with callbacks and
flows that bridge to another SIPp, all recorded; a webhook of the Voice API and a subscription of the Realtime API hear
of all calls. At random moments of its calls, or of its start, the daemon's control process, all its processes, a media
worker or a writer of recordings is killed (with PostgreSQL also a process of the database), and the daemon started
again on what is there. At the end PostgreSQL is stopped for a minute under calls, none of which may notice.

Exit status 1 when a call that was answered has not exactly one end at each destination, something is left in the outbox
or without an end, a recording does not open or has another length than its call, a call was lost while the database was
away, or a process of a killed daemon went on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

import numpy as np
from database_server import DatabaseServer
from kit import sipp, trees
from kit.daemon import Daemon, alive, command_line, poll
from kit.hooks import HookServer
from kit.ports import free_range
from kit.voice import Voice

from benchmarks.kills_judge import REALTIME, RING, TREE, VOICE, Rows, Told, Verdict, answered_in, judge, read
from benchmarks.long_run import caller, machine, report, table
from engine.accounts import clients, tokens
from engine.store import Store

KINDS = {"control process": 0.35, "everything": 0.3, "during the start": 0.1, "media worker": 0.125, "writer": 0.125}
"""What is killed, and how often of all kills."""

OF_DAEMONS = ("control process", "everything", "during the start")
DATABASE = "process of the database"
DATABASE_SHARE = 0.05
"""Of the kills of a daemon on PostgreSQL."""

LIFE = 1.8
"""Seconds between one kill and the next, in the mean, once the daemon is up."""

LONGEST = 8.0
FOREVER = 10_000_000
CALLEE, TREE_NUMBER, BRIDGE_NUMBER = "echo", "1000", "1002"
TOGETHER = 10
"""Callers of a kind at a time: all of them call again when the daemon is there again."""


@dataclass(frozen=True, slots=True)
class Kill:
    kind: str
    at: float
    """Seconds since 1970, when it was done: to find all processes takes its time."""


def flows(url: str, echo: int) -> dict[str, object]:
    bridge = {"id": "b", "action": "transfer", "options": {"destination": f"sip:{CALLEE}@127.0.0.1:{echo}"}}
    return {TREE_NUMBER: trees.two_levels(url), BRIDGE_NUMBER: {"title": "bridged", "steps": [bridge]}}


def processes_in(folder: Path) -> list[int]:
    """Processes that work in a folder: a daemon's, whoever their parent is now."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder and alive(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def realtime_token(url: str) -> str:
    """An access token of a new application."""
    store = Store(url)
    try:
        async with store.writing() as connection:
            owner = await tokens.owner_of(connection, "default")
            client, _ = await clients.add(connection, "default", "app", user_id=owner.id)
            scopes = ["calls.events"]
            return await tokens.issue(connection, "default", owner.id, kind="oauth", scopes=scopes, client_id=client.id)
    finally:
        await store.close()


class Lane:
    """One daemon on one database, its callers and its listeners."""

    def __init__(self, name: str, folder: Path, kills: int, rate: float, until: float, server: DatabaseServer | None):
        """``until``: monotonic seconds at which no further kill begins."""
        self.name, self.folder, self.wanted, self.rate, self.until = name, folder, kills, rate, until
        self.server = server
        self.chance = random.Random(f"{name} {kills}")
        self.kills: list[Kill] = []
        self.problems: list[str] = []
        self.lines: list[str] = []
        self.verdict = Verdict()
        self.rows = Rows((), (), (), (), ())
        self.answered: dict[str, float] = {}
        self.starts: list[float] = []
        self.told = Told()
        self.hooks = HookServer(hits=self.told).start()
        self.started: list[sipp.Sipp] = []
        self.echo = self._sipp("uas_echo", folder / "echo", calls=FOREVER)
        low, high = free_range(400)
        settings: dict[str, dict[str, object]] = {"rtp": {"ports": f"{low}-{high}"}}
        if server is not None:
            settings["store"] = {"url": server.url}
        self.daemon = Daemon(
            folder / "daemon",
            flows(self.hooks.url(TREE), self.echo.port),
            settings=settings,
            record=[TREE_NUMBER, BRIDGE_NUMBER],
            sounds=trees.SOUNDS,
        )
        self.url = server.url if server is not None else f"sqlite+aiosqlite:///{self.daemon.folder / 'ivrea.db'}"

    def _sipp(self, scenario: str, folder: Path, **more: Any) -> sipp.Sipp:
        arguments = ("-timeout", "100000", *(("-rtp_echo",) if scenario == "uas_echo" else ()))
        running = sipp.start(scenario, folder, traced=False, arguments=arguments, **more)
        self.started.append(running)
        return running

    # --- the run ------------------------------------------------------------------------------

    def run(self, gone: float) -> None:
        """All kills, then the database ``gone`` for so many seconds; then the judgement."""
        self.daemon.start()
        self._listen()
        callers = [self._call(number) for number in (TREE_NUMBER, BRIDGE_NUMBER)]
        time.sleep(3.0)
        while len(self.kills) < self.wanted and time.monotonic() < self.until:
            self._live_and_die()
        for each in callers:
            each.process.send_signal(signal.SIGUSR1)  # no new calls; it leaves when those that there are have ended
        time.sleep(35)  # longer than any call lives whose other end is gone
        for each in callers:
            each.stop()
        if self.server is not None and gone:
            self._away(self.server, gone)
        self._settle()
        for each in callers:
            self.answered |= answered_in(each.log())
        killed = [kill.at for kill in self.kills if kill.kind in OF_DAEMONS]
        self.verdict = judge(self.rows, self.told, self.answered, killed, self._rings())
        self.problems += [f"{self.name}: {each}" for each in self.verdict.problems()]
        if self.daemon.stop(60) != 0:
            self.problems.append(f"{self.name}: the daemon did not stop cleanly")
        if left := processes_in(self.daemon.folder):
            self.problems.append(f"{self.name}: left running: {[command_line(pid) for pid in left]}")
        self._read_log()

    def _rings(self) -> list[float]:
        """When a worker was killed before a writer that had been killed could have its successor."""
        writers = [kill.at for kill in self.kills if kill.kind == "writer"]
        workers = [kill.at for kill in self.kills if kill.kind in ("media worker", "everything", "during the start")]
        return [at for at in workers if any(0 <= at - each < RING for each in writers)]

    def close(self) -> None:
        for each in self.started:
            each.stop()
        self.daemon.kill_everything()
        self.hooks.stop()

    def _listen(self) -> None:
        Voice.of(self.daemon).data("POST", "/webhooks", {"url": self.hooks.url(VOICE), "token": "k" * 40}, status=201)
        wish = {"event_types": ["*"], "mode": "detailed", "callback_url": self.hooks.url(REALTIME)}
        address = f"http://127.0.0.1:{self.daemon.http_port}/v100/subscriptions"
        request = urllib.request.Request(address, data=json.dumps(wish).encode(), method="POST")
        request.add_header("Authorization", f"Bearer {asyncio.run(realtime_token(self.url))}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 201

    def _call(self, number: str) -> sipp.Sipp:
        return self._sipp(
            "uac_steady",
            self.folder / number,
            server=self.daemon.address,
            audio=caller(),
            number=number,
            calls=FOREVER,
            rate=self.rate / 2,
            together=TOGETHER,
        )

    # --- kills --------------------------------------------------------------------------------

    def _live_and_die(self) -> None:
        time.sleep(min(self.chance.expovariate(1 / LIFE), LONGEST))
        shares = dict(KINDS)
        if self.server is not None:
            shares[DATABASE] = DATABASE_SHARE
        (kind,) = self.chance.choices(list(shares), list(shares.values()))
        if kind == "media worker":
            self._kill_one(kind, "media.worker")
        elif kind == "writer":
            self._kill_one(kind, "media.writer")
        elif kind == DATABASE:
            assert self.server is not None
            (pid,) = self.chance.choice(self.server.ask("SELECT pid FROM pg_stat_activity WHERE client_port = -1"))
            self._kill_pid(kind, int(pid))
        else:
            self._kill_daemon(kind)

    def _kill_one(self, kind: str, module: str) -> None:
        pids = [pid for pid in self.daemon.children() if module in command_line(pid)]
        if pids:  # none: the last one was killed a moment ago
            self._kill_pid(kind, self.chance.choice(pids))

    def _kill_pid(self, kind: str, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.kills.append(Kill(kind, time.time()))

    def _kill_daemon(self, kind: str) -> None:
        before = processes_in(self.daemon.folder)
        if kind == "control process":
            self.daemon.kill_control()
        else:
            self.daemon.kill_everything()
        self.kills.append(Kill("everything" if kind == "during the start" else kind, time.time()))
        self._read_log()
        began = time.monotonic()
        self.daemon.launch()
        if kind == "during the start" and len(self.kills) < self.wanted:
            time.sleep(self.chance.uniform(0.0, float(np.median(self.starts)) if self.starts else 2.0))
            self.daemon.kill_everything()
            self.kills.append(Kill(kind, time.time()))
            self._read_log()
            began = time.monotonic()
            self.daemon.launch()
        self.daemon.wait_up()
        self.starts.append(time.monotonic() - began)
        left = [pid for pid in before if alive(pid)]
        if left:
            try:
                poll(lambda: not any(map(alive, left)) or None, 10, "processes of a killed daemon went on")
            except AssertionError as error:
                self.problems.append(f"{self.name}: {error}: {[command_line(pid) for pid in left if alive(pid)]}")

    def _read_log(self) -> None:
        """What a life has said, before the next one says it in a file of its own."""
        log = self.daemon.log()
        for place in [place for place in range(len(log)) if log.startswith("Traceback", place)][:1]:
            self.problems.append(f"{self.name}, kill {len(self.kills)}: {log[max(place - 300, 0) : place + 2500]}")
        self.daemon.log_file = self.daemon.folder / f"serve-{len(self.kills)}.log"

    # --- the database away ----------------------------------------------------------------------

    def _away(self, server: DatabaseServer, seconds: float) -> None:
        """Calls that began before stay, others come; all of them are whole for those who make them."""
        fast = round(seconds * self.rate)
        kept = self._hang_up(BRIDGE_NUMBER, "kept", 8, 8.0, seconds + 12)
        time.sleep(3.0)
        server.stop()
        began, clock = time.monotonic(), time.time()
        calls = [self._hang_up(n, f"away-{n}", fast // 2, self.rate / 2, 2.0) for n in (TREE_NUMBER, BRIDGE_NUMBER)]
        time.sleep(seconds)
        server.start()
        away = time.monotonic() - began
        pids = []
        for each in [kept, *calls]:
            try:
                each.finish(60)
            except AssertionError as error:
                self.problems.append(f"{self.name}: calls while the database was away: {error}")
            pids.append(f"-{each.process.pid}@")
        self._settle()
        wanted = 8 + fast // 2 * 2
        those = [row for row in self.rows.calls if any(pid in row["sip_call_id"] for pid in pids)]
        good = [row for row in those if row["ended_by"] == "caller" and row["answered_at"] is not None]
        within = [row for row in good if clock <= row["answered_at"] <= clock + away]
        if len(good) != wanted or len(those) != wanted:
            ends = Counter(f"{row['ended_by']}, {row['reason']}" for row in those)
            self.problems.append(f"{self.name}: of {wanted} calls while the database was away: {dict(ends)}")
        self.lines.append(
            f"PostgreSQL was stopped for {away:.0f} s under {wanted} calls, {len(within)} of them answered meanwhile: "
            f"{len(good)} ended as their callers meant, and all that they owed was told afterwards."
        )

    def _hang_up(self, number: str, name: str, calls: int, rate: float, seconds: float) -> sipp.Sipp:
        return self._sipp(
            "uac_hangup",
            self.folder / name,
            server=self.daemon.address,
            audio=caller(),
            number=number,
            calls=calls,
            rate=rate,
            fill={"TALK_MS": f"{seconds * 1000:.0f}"},
        )

    # --- the end ------------------------------------------------------------------------------

    def _settle(self, patience: float = 400.0) -> None:
        """Wait until everything has its end and is told."""

        def settled() -> bool | None:
            self.rows = rows = asyncio.run(read(self.url))
            ended = all(row["finished_at"] is not None for row in [*rows.calls, *rows.legs])
            return (ended and not rows.deliveries) or None

        try:
            poll(settled, patience, "not everything has its end and is told", every=1.0)
        except AssertionError as error:
            self.problems.append(f"{self.name}: {error}")

    def served_again(self) -> dict[str, list[float]]:
        """By kind of kill: seconds until the next call was answered, where no other kill came before."""
        moments = sorted(self.answered.values())
        found: dict[str, list[float]] = {}
        for kill, following in zip(self.kills, [*self.kills[1:], None], strict=True):
            place = bisect(moments, kill.at + 0.01)
            if place < len(moments) and (following is None or moments[place] < following.at):
                found.setdefault(kill.kind, []).append(moments[place] - kill.at)
        return found


def in_report(lanes: list[Lane], seconds: float) -> list[str]:
    kinds = [*KINDS, DATABASE]
    counts = {lane.name: Counter(kill.kind for kill in lane.kills) for lane in lanes}
    again = {kind: [each for lane in lanes for each in lane.served_again().get(kind, [])] for kind in kinds}

    def times(values: list[float]) -> list[str]:
        return [f"{np.percentile(values, part):.2f}" for part in (50, 99)] if values else ["", ""]

    killed = [
        [kind, *(f"{counts[lane.name][kind]:,}" for lane in lanes), *times(again[kind]), f"{len(again[kind]):,}"]
        for kind in kinds
    ]
    killed.append(["together", *(f"{len(lane.kills):,}" for lane in lanes), "", "", ""])
    figures = dict.fromkeys(name for lane in lanes for name in lane.verdict.figures)
    starts = times([each for lane in lanes for each in lane.starts])
    measured = (
        "Measured where a call was answered before the next kill came. From the start of the process to the line that "
        f"says it is up: {' s (p50), '.join(starts)} s (p99)."
    )
    legend = (
        f"Ends: of calls at `{TREE}` (callbacks of trees) and `{VOICE}` (webhook of the Voice API), of calls and of "
        f"answered legs at `{REALTIME}` (subscription of the Realtime API): each has to be told once, by an id of its "
        "own. Repeats: requests with the id of one that had come before, as a kill between an answer and its being put "
        "down makes them."
    )
    lines = [
        f"{sum(len(lane.kills) for lane in lanes):,} kills in {seconds / 60:.0f} minutes.",
        "",
        table(
            ["killed", *(lane.name for lane in lanes), "next call answered after, p50, s", "p99, s", "measured"], killed
        ),
        "",
        measured,
        "",
        table(
            ["figure", *(lane.name for lane in lanes)],
            [[name, *(f"{lane.verdict.figures[name]:,.0f}" for lane in lanes)] for name in figures],
        ),
        "",
        legend,
        "",
    ]
    return lines + [line for lane in lanes for line in lane.lines]


def live(lane: Lane, gone: float) -> None:
    try:
        lane.run(gone)
    except Exception:  # noqa: BLE001 - whatever happens is told in the report
        lane.problems.append(f"{lane.name}: {traceback.format_exc()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="of all daemons together")
    parser.add_argument("--rate", type=float, default=3.0, help="calls a second to each daemon")
    parser.add_argument("--minutes", type=float, default=600.0, help="no kill begins later than that")
    parser.add_argument("--gone", type=float, default=60.0, help="seconds for which PostgreSQL is stopped")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"), help="one database alone")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    parser.add_argument("--report", type=Path, help="write what was seen to this file, too")
    options = parser.parse_args()
    names = [options.only] if options.only else ["SQLite", "PostgreSQL"]
    folder = options.keep or Path(tempfile.mkdtemp(prefix="ivrea-kills-"))
    began = time.monotonic()
    until = began + options.minutes * 60
    lanes: list[Lane] = []
    with DatabaseServer() as server:
        try:
            for place, name in enumerate(names):
                kills = options.kills // len(names) + (place < options.kills % len(names))
                database = server if name == "PostgreSQL" else None
                lanes.append(Lane(name, folder / name, kills, options.rate, until, database))
            threads = [threading.Thread(target=live, args=(lane, options.gone)) for lane in lanes]
            for each in threads:
                each.start()
            for each in threads:
                while each.is_alive():
                    each.join(60)
                    print(*(f"{lane.name}: {len(lane.kills)} kills" for lane in lanes), flush=True)
        finally:
            for lane in lanes:
                lane.close()
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - began
    problems = [each for lane in lanes for each in lane.problems]
    done = sum(len(lane.kills) for lane in lanes)
    if done < options.kills:
        problems.append(f"{done} of {options.kills} kills within {options.minutes:g} minutes")
    intro = (
        f"`make soak-kills` on {machine()}: a daemon on SQLite and one on PostgreSQL side by side, each with "
        f"{options.rate:g} calls a second, are killed with SIGKILL at random moments and started again."
    )
    return report("Kills", intro, in_report(lanes, seconds), problems, options.report)


if __name__ == "__main__":
    sys.exit(main())
