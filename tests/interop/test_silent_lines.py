"""Lines on which packets come and nobody speaks (``calls.max_silence``): whose call is ended, and whose is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kit import sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.phone import Phone

LIMIT = 1.5
REASON = "nobody spoke or pressed a key for 1.5 s"


@pytest.mark.peer("baresip")
def test_dead_lines_are_hung_up_and_no_others(
    daemon_for: Callable[..., Daemon], hooks: HookServer, tmp_path: Path
) -> None:
    """One is silent, one speaks, one presses a key, one listens to a prompt that lasts longer than the limit. Two talk
    with each other: Bob says nothing all the time, Alice for a second does, and then nobody.
    """
    voice = np.concatenate([sound.silence(1.0), sound.tone(600, 1.0), sound.silence(30.0)])
    with (
        Baresip(tmp_path / "bob", user="bob", answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=voice) as alice,
    ):
        dial = {"id": "dial", "action": "transfer", "options": {"destination": bob.uri}}
        house = daemon_for(
            {
                "1000": trees.two_levels(hooks.url("/dead"), root="brief.wav"),
                "2000": trees.two_levels(root="long.wav"),
                "5000": {"title": "bridge", "steps": [dial]},
            },
            settings={"calls": {"max_silence": LIMIT, "listen": 30.0}},
        )
        alice.dial(house.uri("5000"))
        with (
            Phone(house.address) as listens,
            Phone(house.address) as dead,
            Phone(house.address) as talks,
            Phone(house.address) as keys,
        ):
            for phone, number in ((listens, "2000"), (dead, "1000"), (talks, "1000"), (keys, "1000")):
                assert phone.call(number).status == 200
            for phone in (talks, keys):
                phone.rtp.wait_for_sound(trees.ROOT_HZ, 3)
            talks.rtp.say(np.concatenate([sound.silence(0.7), sound.tone(500, 0.5)]))
            keys.rtp.say(sound.silence(0.7))
            keys.rtp.press("1")
            dead.wait_for_end(6)
            for phone in (talks, keys, listens):
                phone.serve(0.1)
                assert not phone.ended_by_far_end
                phone.hangup()
            for phone in (talks, keys, listens):
                assert house.closing(phone.call_id)["by"] == "caller"
            ended = house.closing(dead.call_id)
        (call,) = house.calls_to("5000")
        parted = house.wait_closed(call)
        bob.wait_event("CALL_CLOSED")
        alice.wait_event("CALL_CLOSED")
    assert [(row["by"], row["reason"]) for row in (ended, parted)] == [("limit", REASON)] * 2
    assert LIMIT <= ended["duration"] < LIMIT + 2
    assert parted["duration"] > 1.0 + LIMIT, "what Alice said was a sign of life"
    assert hooks.wait_for("close", "/dead")[-1]["answered"] == "true"
