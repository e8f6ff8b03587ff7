"""Calls at a steady rate for a long time, and a look at everything that could grow.

``make soak``, or ``python benchmarks/soak.py --minutes 60 --rate 5``. SIPp makes the calls (the
scenario of the interop tests: two levels by in-band keys, recorded, with callbacks); every tenth
caller hangs up in the middle. Exit status 1 when a call failed, a process grew, a descriptor or port
stayed open, or a call's end or callback is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def soak(folder: Path, minutes: float, rate: float) -> list[str]:
    hooks = HookServer().start()
    daemon = Daemon(
        folder / "daemon",
        {"1000": trees.two_levels(hooks.url("/whole")), "1001": trees.two_levels(hooks.url("/cut"))},
        settings={"rtp": {"ports": "16384-20383"}},
        record=["1000"],
        sounds=trees.SOUNDS,
    ).start()
    at_rest = {pid: seen.descriptors for pid in (daemon.pid, *daemon.children()) if (seen := look(pid))}
    names = {pid: command_line(pid).partition(" -m ")[2][:44] or "control process" for pid in at_rest}
    whole, cut = max(1, round(minutes * 60 * rate * 0.9)), max(1, round(minutes * 60 * rate * 0.1))
    common: dict[str, Any] = {
        "server": daemon.address,
        "audio": caller(),
        "together": 500,
        "arguments": ["-timeout", f"{round(minutes * 60 + 120)}"],
    }
    fill = {"TALK_MS": "900"}
    callers = [
        sipp.start("uac_audio", folder / "whole", number="1000", calls=whole, rate=rate * 0.9, **common),
        sipp.start("uac_hangup", folder / "cut", number="1001", calls=cut, rate=rate * 0.1, fill=fill, **common),
    ]
    looks: dict[int, list[Look]] = {}
    watch(daemon, callers, looks)
    until = time.monotonic()

    problems = [f"SIPp: {each.story()[-800:]}" for each in callers if each.process.returncode]
    try:
        daemon.wait_ended(whole + cut, 30)
        hooks.wait_for("close", "/whole", 60, count=whole)
        hooks.wait_for("close", "/cut", 60, count=cut)
    except AssertionError as error:
        problems.append(str(error))
    walked = sum(row["path"] == trees.path("key:1", "key:2") for row in daemon.ended())
    print(f"  {len(daemon.ended())} calls ended, {walked} of {whole} took the whole path, {len(hooks.hits)} callbacks")
    if walked < whole:
        problems.append(f"{whole - walked} calls did not take their path")
    time.sleep(6)  # closed ports rest for a while before they are closed for good
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
