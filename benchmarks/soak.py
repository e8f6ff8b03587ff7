"""Calls at a steady rate for a long time, and a look at everything that could grow.

``make soak``, or ``python benchmarks/soak.py --minutes 60 --rate 5``. SIPp makes the calls: half of them walk two
levels by in-band keys, recorded, with callbacks; others hang up in the middle, are bridged to a telephone and leave at
any time with one SIP message in a hundred lost, or are sent to another number. Exit status 1 when a call failed, a
process grew, a descriptor or port stayed open, a call or leg has no end, or a call's end or callback is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

import numpy as np
from kit import sipp, sound, trees
from kit.daemon import Daemon, alive, command_line
from kit.hooks import HookServer

WARM_UP = 60.0
"""Seconds after which memory has to have stopped growing."""

GROWTH_ALLOWED = 1.05
SLACK_KIB = 4096


@dataclass(frozen=True, slots=True)
class Look:
    """One process at one time."""

    at: float
    rss_kib: int
    descriptors: int


def look(pid: int) -> Look | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return Look(time.monotonic(), rss, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, StopIteration):
        return None


def caller() -> sound.Samples:
    return np.concatenate(
        [
            sound.tone(trees.CALLER_HZ, 0.8),
            sound.silence(0.8),
            sound.dtmf("1", 0.12),
            sound.silence(1.4),
            sound.dtmf("2", 0.12),
        ]
    )


def watch(daemon: Daemon, callers: list[sipp.Sipp], looks: dict[int, list[Look]]) -> None:
    """Look at every process every five seconds until the callers are done."""
    while any(each.process.poll() is None for each in callers):
        for pid in (daemon.pid, *daemon.children()):
            seen = look(pid)
            if seen is not None:
                looks.setdefault(pid, []).append(seen)
        time.sleep(5)


def growth(name: str, looks: list[Look], until: float) -> str:
    """What is wrong with the memory of a process; empty when nothing is."""
    steady = [each for each in looks if each.at - looks[0].at >= WARM_UP and each.at <= until]
    if len(steady) < 8:
        return ""
    quarter = len(steady) // 4
    early = float(np.median([each.rss_kib for each in steady[:quarter]]))
    late = float(np.median([each.rss_kib for each in steady[-quarter:]]))
    print(f"  {name:<44} {early / 1024:8.1f} → {late / 1024:8.1f} MiB, {steady[-1].descriptors} descriptors")
    if late > early * GROWTH_ALLOWED + SLACK_KIB:
        return f"{name} grew from {early / 1024:.1f} to {late / 1024:.1f} MiB"
    return ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of calls: its share of all, what the callers do, and where they call."""

    name: str
    share: float
    scenario: str
    number: str
    fill: dict[str, str]
    lossy: bool = False
    """One SIP message in a hundred is lost, each way."""


KINDS = (
    Kind("whole", 0.5, "uac_audio", "1000", {}),
    Kind("cut", 0.1, "uac_hangup", "1001", {"TALK_MS": "900"}),
    Kind("bridged", 0.25, "uac_leaves", "1002", {}, lossy=True),
    Kind("sent on", 0.15, "uac_refer", "1003", {"TARGET": "390222", "OUTCOME": "200 OK"}),
)
"""Two levels of a tree by keys; a caller who leaves in the middle; a bridge to a telephone that is left at any time; a
caller who is sent to another number."""

LOSS = ("-lost", "1")


def flows(hooks: HookServer, echo: int) -> dict[str, object]:
    bridge = {"id": "b", "action": "transfer", "options": {"destination": f"sip:echo@127.0.0.1:{echo}"}}
    return {
        "1000": trees.two_levels(hooks.url("/whole")),
        "1001": trees.two_levels(hooks.url("/cut")),
        "1002": {"title": "bridged", "steps": [bridge]},
        "1003": trees.straight_transfer("+390222", hooks.url("/sent-on")),
    }


def soak(folder: Path, minutes: float, rate: float) -> list[str]:
    hooks = HookServer().start()
    counts = {kind.name: max(1, round(minutes * 60 * rate * kind.share)) for kind in KINDS}
    patience = ["-timeout", f"{round(minutes * 60 + 120)}"]
    echo = sipp.start("uas_echo", folder / "echo", calls=counts["bridged"], arguments=[*patience, *LOSS])
    daemon = Daemon(
        folder / "daemon",
        flows(hooks, echo.port),
        settings={"rtp": {"ports": "16384-20383"}},
        record=["1000"],
        sounds=trees.SOUNDS,
    ).start()
    at_rest = {pid: seen.descriptors for pid in (daemon.pid, *daemon.children()) if (seen := look(pid))}
    names = {pid: command_line(pid).partition(" -m ")[2][:44] or "control process" for pid in at_rest}
    callers = [
        sipp.start(
            kind.scenario,
            folder / kind.name.replace(" ", "-"),
            server=daemon.address,
            audio=caller(),
            number=kind.number,
            calls=counts[kind.name],
            rate=rate * kind.share,
            together=500,
            fill=kind.fill,
            arguments=[*patience, *(LOSS if kind.lossy else ())],
        )
        for kind in KINDS
    ]
    looks: dict[int, list[Look]] = {}
    watch(daemon, callers, looks)
    until = time.monotonic()

    problems = [f"SIPp: {each.story()[-800:]}" for each in callers if each.process.returncode]
    echo.stop()
    try:
        daemon.wait_ended(sum(counts.values()), 60)
        for name in ("whole", "cut", "sent on"):
            hooks.wait_for("close", f"/{name.replace(' ', '-')}", 60, count=counts[name])
    except AssertionError as error:
        problems.append(str(error))
    walked = sum(row["path"] == trees.path("key:1", "key:2") for row in daemon.ended())
    print(f"  {counts}: {len(daemon.ended())} calls ended, {walked} took the whole path, {len(hooks.hits)} callbacks")
    if walked < counts["whole"]:
        problems.append(f"{counts['whole'] - walked} calls did not take their path")
    problems += left_open(daemon)
    time.sleep(20)  # closed ports rest for a while, and so do connections to web servers
    for pid, before in at_rest.items():
        after = look(pid)
        if after is None:
            problems.append(f"{names[pid]} is gone")
            continue
        problems += [problem] if (problem := growth(names[pid], looks.get(pid, []), until)) else []
        if after.descriptors > before + 16:  # the database and the web server keep a few
            problems.append(f"{names[pid]}: {before} descriptors before, {after.descriptors} after")
    family = [daemon.pid, *daemon.children()]
    if daemon.stop() != 0 or any(map(alive, family)):
        problems.append("the daemon did not stop cleanly")
    hooks.stop()
    return problems


def left_open(daemon: Daemon) -> list[str]:
    """Rows of calls and legs that have no end, by the database."""
    found = []
    with contextlib.closing(sqlite3.connect(daemon.folder / "ivrea.db", timeout=5)) as database:
        for table in ("calls", "legs"):
            (count,) = database.execute(f"SELECT count(*) FROM {table} WHERE finished_at IS NULL").fetchone()
            if count:
                found.append(f"{count} {table} have no end")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=5.0, help="calls a second")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    print(f"{options.rate:g} calls/s for {options.minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="ivrea-soak-") as folder:
        problems = soak(Path(folder), options.minutes, options.rate)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print("fine" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
