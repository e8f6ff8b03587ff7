"""SIPp as the caller: keys in its sound, by RFC 4733 and by INFO, over UDP and TCP; transfers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kit import checks, sipp, sound, trees
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.trees import CALLER_HZ, path

pytestmark = pytest.mark.peer("sipp")
DOWN_TWO = path("key:1", "key:2")


def caller_with_keys() -> sound.Samples:
    """Talks, presses 1 after the root's prompt, and 2 after the next."""
    return np.concatenate(
        [
            sound.tone(CALLER_HZ, 0.8),
            sound.silence(0.8),
            sound.dtmf("1", 0.12),
            sound.silence(1.4),
            sound.dtmf("2", 0.12),
        ]
    )


@pytest.mark.parametrize(("number", "transport"), [("2000", "u1"), ("2001", "t1")])
def test_two_levels_by_keys_in_the_sound(
    house: Daemon, hooks: HookServer, tmp_path: Path, number: str, transport: str
) -> None:
    caller = sipp.start(
        "uac_audio", tmp_path, server=house.address, number=number, audio=caller_with_keys(), transport=transport
    )
    caller.finish()
    assert checks.last_path(house, number) == DOWN_TWO
    checks.two_levels_were_told(hooks, number, caller="+39011555")
    recording = house.recording(house.calls_to(number)[-1])
    checks.prompts_right_and_caller_left(recording, caller_hz=CALLER_HZ, dtmf=sound.DTMF["1"])


@pytest.mark.peer("raw-sockets")
@pytest.mark.parametrize(("number", "marker"), [("2002", True), ("2006", False)])
def test_two_levels_by_rfc4733(house: Daemon, hooks: HookServer, tmp_path: Path, number: str, *, marker: bool) -> None:
    sipp.write_dtmf_pcap(tmp_path / "first.pcap", "1", marker=marker)
    sipp.write_dtmf_pcap(tmp_path / "second.pcap", "2", at=2.0, marker=marker)
    fill = {"FIRST_MS": "1500", "SECOND_MS": "1500"}
    sipp.start("uac_events", tmp_path, server=house.address, number=number, fill=fill).finish()
    assert checks.last_path(house, number) == DOWN_TWO
    checks.two_levels_were_told(hooks, number, caller="+39011555")


def test_two_levels_by_info(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "1", "SECOND_MS": "1200", "SECOND_KEY": "2"}
    sipp.start("uac_info", tmp_path, server=house.address, number="2003", fill=fill).finish()
    assert checks.last_path(house, "2003") == DOWN_TWO
    checks.two_levels_were_told(hooks, "2003", caller="+39011555")


def test_sipp_loses_a_tenth_of_its_messages(house: Daemon, tmp_path: Path) -> None:
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "1", "SECOND_MS": "1200", "SECOND_KEY": "2"}
    caller = sipp.start(
        "uac_info", tmp_path, server=house.address, number="2004", fill=fill, calls=4, rate=4, arguments=["-lost", "10"]
    )
    caller.finish(60)
    calls = house.calls_to("2004")
    assert [house.wait_closed(call)["path"] for call in calls] == [DOWN_TWO] * 4


def test_transfer_that_succeeds(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    fill = {"TARGET": "390222", "OUTCOME": "200 OK"}
    sipp.start("uac_refer", tmp_path, server=house.address, number="4000", fill=fill).finish()
    hooks.wait_for("close", "/4000")
    assert hooks.kinds("/4000") == ["open", "close"]


def test_transfer_that_fails(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    fill = {"TARGET": "390222", "OUTCOME": "486 Busy Here"}
    sipp.start("uac_refer", tmp_path, server=house.address, number="4001", fill=fill).finish()
    hooks.wait_for("close", "/4001")
    assert hooks.kinds("/4001") == ["open", "tree", "close"]
    assert hooks.events("/4001")[1]["path"] == "/$redirect"


def test_transfer_that_is_declined(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    fill = {"TARGET": "390222"}
    sipp.start("uac_refer_declined", tmp_path, server=house.address, number="4002", fill=fill).finish()
    hooks.wait_for("close", "/4002")
    assert hooks.kinds("/4002") == ["open", "tree", "close"]
    assert hooks.events("/4002")[1]["path"] == "/$redirect"


def test_twenty_callers_at_once_hang_up_whenever_they_like(house: Daemon, tmp_path: Path) -> None:
    caller = sipp.start(
        "uac_hangup",
        tmp_path,
        server=house.address,
        number="2005",
        audio=sound.tone(trees.CALLER_HZ, 2.0),
        fill={"TALK_MS": "700"},
        calls=20,
        rate=20,
    )
    caller.finish()
    rows = [house.wait_closed(call) for call in house.calls_to("2005")]
    assert [row["by"] for row in rows] == ["caller"] * 20
