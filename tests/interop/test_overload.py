"""More calls than a daemon may carry: refused at the door, while those that are in hear nothing of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from kit import sound, trees
from kit.daemon import Daemon, poll
from kit.phone import Phone
from kit.sip import Message
from kit.trees import ROOT_HZ

pytestmark = pytest.mark.alone

OFFERED = 15


def final_answer(phone: Phone) -> Message:
    """The final response to an INVITE that was sent already, acknowledged."""
    deadline = time.monotonic() + 5
    while (left := deadline - time.monotonic()) > 0:
        message = phone.sip.receive(left)
        if message is not None and message.status >= 200:
            phone.acknowledge(message)
            return message
    raise AssertionError("no final answer")


def metric(daemon: Daemon, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", daemon.get("/metrics"), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_new_calls_are_refused_and_running_ones_go_on(daemon_for: Callable[..., Daemon]) -> None:
    """A worker that may use one hundredth of a core takes a few of the calls that come at once, and later more."""
    daemon = daemon_for({"1000": trees.two_levels(root="long.wav")}, settings={"rtp": {"max_busy": 0.01}})
    with ExitStack() as stack:
        running = stack.enter_context(Phone(daemon.address))
        assert running.call("1000").status == 200
        running.rtp.wait_for_sound(ROOT_HZ, 3)
        began = time.time()
        phones = [Phone(daemon.address, user=f"+3901{index}") for index in range(OFFERED)]
        for phone in phones:
            stack.callback(phone.close)
            phone.start_invite("1000")
        answers = [final_answer(phone) for phone in phones]
        refused = [answer for answer in answers if answer.status == 503]
        assert {answer.status for answer in answers} <= {200, 503}
        assert len(refused) >= OFFERED // 3
        assert {answer.get("retry-after") for answer in refused} == {"5"}
        assert metric(daemon, 'ivrea_calls_refused_total{reason="media busy"}') == len(refused)
        for phone, answer in zip(phones, answers, strict=True):
            if answer.status == 200:
                phone.established(answer, start_rtp=False)
                phone.hangup()
        running.serve(max(began + 1.5 - time.time(), 0.1))
        heard = running.rtp.audio(since=began)
        assert len(sound.find_tone(heard, ROOT_HZ)) == 1, "the running call had a hole in its prompt"
        running.hangup()

    def taken() -> bool | None:
        with Phone(daemon.address) as late:
            return late.call("1000").status == 200 or None

    poll(taken, 10, "no call is taken after an overload", every=0.5)
    daemon.wait_log("overload is over", 15)
    lines = [row for row in daemon.events() if "overload" in str(row.get("event"))]
    assert [row["event"] for row in lines] == ["overload: new calls are refused", "overload is over"]
    assert lines[0]["why"] == "media busy"
    assert lines[1]["refused"] == metric(daemon, 'ivrea_calls_refused_total{reason="media busy"}')
