"""Recordings in the background: when they begin, and which of them are stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.calls.background import BackgroundRecordings
from flows.call import RecordingOrder


class Recorder:
    def __init__(self) -> None:
        self.log: list[str] = []

    def begin_recording(self, order: RecordingOrder) -> str:
        self.log.append(f"begin {order.format}")
        return f"r{len(self.log)}"

    def end_recording(self, recording: str) -> None:
        self.log.append(f"end {recording}")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def background(recorder: Recorder) -> BackgroundRecordings:
    signalling: Any = SimpleNamespace(begin_recording=recorder.begin_recording, end_recording=recorder.end_recording)
    return BackgroundRecordings(signalling)


def test_a_recording_begins_when_its_moment_has_come(background: BackgroundRecordings, recorder: Recorder) -> None:
    assert background.begin(RecordingOrder("wav")) == "r1"
    assert background.begin(RecordingOrder("mp3"), on="answer") == ""
    assert background.begin(RecordingOrder("ogg"), on="bridge") == ""
    background.reached("answer")
    assert recorder.log == ["begin wav", "begin mp3"]
    background.reached("bridge")
    assert recorder.log[2:] == ["begin ogg"]
    assert background.running == {"r1", "r2", "r3"}


def test_a_moment_that_has_come_is_not_waited_for(background: BackgroundRecordings) -> None:
    background.reached("answer")
    background.reached("bridge")
    assert background.begin(RecordingOrder(), on="answer") == "r1"
    background.passed("bridge")
    assert background.begin(RecordingOrder(), on="bridge") == ""


def test_what_waits_is_forgotten_with_those_that_run(background: BackgroundRecordings, recorder: Recorder) -> None:
    assert not background.stop_all()
    background.begin(RecordingOrder("wav"))
    background.begin(RecordingOrder("mp3"), on="bridge")
    assert background.stop_all()
    background.reached("bridge")
    assert recorder.log == ["begin wav", "end r1"]
    assert not background.running


def test_one_is_stopped_and_the_others_go_on(background: BackgroundRecordings, recorder: Recorder) -> None:
    first, second = background.begin(RecordingOrder()), background.begin(RecordingOrder())
    background.stop(first)
    assert recorder.log[2:] == [f"end {first}"]
    assert background.running == {second}
