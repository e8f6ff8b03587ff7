"""What several tests look at in the same way."""

from __future__ import annotations

from pathlib import Path

from kit import sound
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.trees import ONE_HZ, ROOT_HZ, path

DOWN_TWO = ["open", "tree", "tree", "close"]


def two_levels_were_told(hooks: HookServer, number: str, *, caller: str) -> None:
    """The callbacks of a call that pressed 1 and 2 in :func:`kit.trees.two_levels`."""
    hooks.wait_for("close", f"/{number}")
    events = hooks.events(f"/{number}")
    assert [event["e"] for event in events] == DOWN_TWO, events
    assert [event["path"] for event in events] == ["", path("key:1"), path("key:1", "key:2"), path("key:1", "key:2")]
    assert [event["seq"] for event in events] == ["1", "2", "3", "4"]
    assert len({event["id"] for event in events}) == 1
    assert all(event["from"] == caller and event["to"] == number and event["answered"] == "true" for event in events)
    durations = [int(event["duration"]) for event in events]
    assert durations == sorted(durations)
    assert durations[0] == 0


def prompts_right_and_caller_left(
    recording: Path, *, caller_hz: float, dtmf: tuple[float, float] | None = None
) -> None:
    """A recording has prompts only on the right, the caller only on the left, found by their sound."""
    rate, channels = sound.read_wav(recording)
    assert rate == 8000
    left, right = channels
    for frequency in (ROOT_HZ, ONE_HZ):
        assert sound.find_tone(right, frequency), f"no {frequency:g} Hz prompt on the right"
        assert not sound.find_tone(left, frequency), f"the {frequency:g} Hz prompt is on the left too"
    assert sound.find_tone(left, caller_hz), f"the caller's {caller_hz:g} Hz is not on the left"
    assert not sound.find_tone(right, caller_hz), "the caller is on the right too"
    for frequency in dtmf or ():
        assert max(sound.power_at(left[at : at + 320], frequency) for at in range(0, len(left) - 320, 160)) > -25


def last_path(daemon: Daemon, number: str, patience: float = 10.0) -> str:
    """The path in the closing line of the latest call to ``number``."""
    calls = daemon.calls_to(number)
    assert calls, f"no call to {number}"
    return str(daemon.wait_closed(calls[-1], patience)["path"])
