"""Lines on which packets come and nobody speaks (``calls.max_silence``): whose call is ended, and whose is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import sound, trees
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.phone import Phone

LIMIT = 1.5
REASON = "nobody spoke or pressed a key for 1.5 s"
DaemonFor = Callable[..., Daemon]
SETTINGS = {"calls": {"max_silence": LIMIT, "listen": 30.0}}


def test_a_dead_line_is_hung_up_and_no_other(daemon_for: DaemonFor, hooks: HookServer) -> None:
    """One is silent, one speaks, one presses a key, one listens to a prompt that lasts longer than the limit."""
    house = daemon_for(
        {"1000": trees.two_levels(hooks.url("/dead"), root="brief.wav"), "2000": trees.two_levels(root="long.wav")},
        settings=SETTINGS,
    )
    with (
        Phone(house.address) as dead,
        Phone(house.address) as talks,
        Phone(house.address) as keys,
        Phone(house.address) as listens,
    ):
        for phone, number in ((listens, "2000"), (dead, "1000"), (talks, "1000"), (keys, "1000")):
            assert phone.call(number).status == 200
        for phone in (talks, keys):
            phone.rtp.wait_for_sound(trees.ROOT_HZ, 3)
        talks.rtp.say(sound.silence(0.8))
        talks.rtp.say(sound.tone(500, 0.5))
        keys.rtp.say(sound.silence(0.8))
        keys.rtp.press("1")
        dead.wait_for_end(6)
        row = house.closing(dead.call_id)
        assert (row["by"], row["reason"]) == ("limit", REASON)
        assert LIMIT <= row["duration"] < LIMIT + 2
        assert hooks.wait_for("close", "/dead")[-1]["answered"] == "true"
        for phone in (talks, keys, listens):
            phone.serve(0.3)
            assert not phone.ended_by_far_end
            phone.hangup()
            assert house.closing(phone.call_id)["by"] == "caller"


@pytest.mark.peer("baresip")
def test_two_who_both_say_nothing_are_hung_up(daemon_for: DaemonFor, tmp_path: Path) -> None:
    """A bridge lasts while one of both speaks: Bob says nothing, and for a second Alice does."""
    audio = [*sound.silence(1.0), *sound.tone(600, 1.0), *sound.silence(30.0)]
    flow = {"title": "b", "steps": [{"id": "d", "action": "transfer", "options": {"destination": ""}}]}
    with (
        Baresip(tmp_path / "bob", user="bob", answers=True) as bob,
        Baresip(tmp_path / "alice", user="alice", audio=sound.np.array(audio)) as alice,
    ):
        flow["steps"][0]["options"] = {"destination": bob.uri}  # type: ignore[index]
        house = daemon_for({"5000": flow}, settings=SETTINGS)
        alice.dial(house.uri("5000"))
        alice.wait_event("CALL_ESTABLISHED")
        (end,) = house.wait_ended(patience=15)
        bob.wait_event("CALL_CLOSED")
        alice.wait_event("CALL_CLOSED")
    assert (end["by"], end["reason"]) == ("limit", REASON)
    assert end["duration"] > 1.0 + LIMIT, "what Alice said was a sign of life"
