"""What a worker asks of the scheduler, and what it does when that is refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from media import process

ASK = """
import os, subprocess, sys
from media.process import raise_priority
print(raise_priority(realtime=True))
ask = "import os; print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))"
print(os.sched_getscheduler(0) & 0xFF, subprocess.check_output([sys.executable, "-c", ask], text=True))
"""


def test_realtime_is_taken_where_it_is_allowed_and_not_inherited():
    """In a process of its own: what is raised here would stay with the tests."""
    words, policies = subprocess.check_output([sys.executable, "-c", ASK], text=True).splitlines()[:2]
    mine, child, niceness = map(int, policies.split())
    if words == "SCHED_FIFO priority 10":
        assert mine == os.SCHED_FIFO
        assert (child, niceness) == (os.SCHED_OTHER, 0), "a writer of recordings must not stop the clock"
    else:
        assert words.startswith("niceness ")
        assert words.endswith("(SCHED_FIFO: Operation not permitted)")
        assert mine == child == os.SCHED_OTHER


def test_niceness_is_the_fallback(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[int, int, int]] = []

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(process.os, "sched_setscheduler", refuse)
    monkeypatch.setattr(process.os, "setpriority", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(process.os, "getpriority", lambda *_arguments: -10)
    assert process.raise_priority(realtime=True) == "niceness -10 (SCHED_FIFO: Operation not permitted)"
    assert process.raise_priority() == "niceness -10"
    assert asked == [(os.PRIO_PROCESS, os.getpid(), process.NICENESS)] * 2
    monkeypatch.setattr(process.os, "setpriority", refuse)
    monkeypatch.setattr(process.os, "getpriority", lambda *_arguments: 0)
    assert process.raise_priority() == "niceness 0"


GROUP = """
import os, sys
from pathlib import Path
from media.process import lower_priority, set_niceness
group = Path("/proc/self/autogroup")
before = group.read_text() if group.exists() else ""
set_niceness(os.getpid(), -5)
print(os.getpriority(os.PRIO_PROCESS, 0), before == (group.read_text() if group.exists() else ""), bool(before))
lower_priority()
print(os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.parametrize("leads", [True, False])
def test_a_session_of_somebody_else_is_not_raised_and_children_go_back(leads: bool):
    ask = [sys.executable, "-c", GROUP]
    raised, lowered = subprocess.check_output(ask, text=True, start_new_session=leads).splitlines()
    niceness, group_is_the_same, has_group = raised.split()
    if niceness == "-5":
        assert group_is_the_same == str(not leads or has_group == "False")
        assert lowered == "0"
    else:
        assert (niceness, group_is_the_same) == (str(os.getpriority(os.PRIO_PROCESS, 0)), "True")
        assert int(lowered) == max(0, int(niceness))
