"""The echo gate by itself: verdicts, and what they cost."""

import resource
from pathlib import Path

import numpy as np
import pytest
from media_studio import voice

from media.echo import BLOCK_FRAMES, MAX_TESTS, EchoGate
from media.frames import Samples, powers
from media.rates import FRAME

DELAY = 3 * FRAME
BLOCK = BLOCK_FRAMES * FRAME


class Room:
    """``count`` lines on which the same prompt is played; each line gives back echo or the sound of a caller."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = EchoGate(count)
        self.slots = np.arange(count)
        self.prompt = voice(8, 140, -20, 11, syllables=False).astype(np.int16)
        self.caller = voice(8, 210, -20, 5, syllables=False).astype(np.int16)
        self.talking: set[int] = set()
        self.frame = 0
        self.tested: list[int] = []
        judge = self.gate.is_echo

        def counted(slot: int, received: Samples) -> bool:
            self.tested.append(slot)
            return judge(slot, received)

        monkeypatch.setattr(self.gate, "is_echo", counted)
        for slot in range(count):
            self.gate.open(slot)

    def received(self, slot: int, frames: int) -> Samples:
        assert frames == BLOCK_FRAMES
        sound, end = (self.caller, 0) if slot in self.talking else (self.prompt, DELAY)
        end = self.frame * FRAME - end
        return (0.1 * sound[end - BLOCK : end]).astype(np.int16)

    def play(self) -> None:
        frame = self.prompt[self.frame * FRAME : (self.frame + 1) * FRAME]
        frames = np.tile(frame, (self.slots.size, 1))
        self.gate.play(self.slots, frames, powers(frames))
        self.frame += 1

    def judge(self) -> tuple[np.ndarray, list[int]]:
        """The verdicts on a frame of all lines, and which of them were tested."""
        self.play()
        self.tested.clear()
        return self.gate.judge(self.slots, self.received), list(self.tested)


def test_steady_verdicts_are_tested_in_every_second_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(4, monkeypatch)
    room.talking = {2}
    for _ in range(50):
        room.play()
    tests = 0
    for _ in range(40):
        verdicts, tested = room.judge()
        assert verdicts.tolist() == [True, True, False, True]
        tests += len(tested)
    assert tests <= 4 * 22


def test_a_caller_who_begins_is_found_within_two_frames_of_a_test_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    every, room = Room(1, monkeypatch), Room(1, monkeypatch)
    for _ in range(60):
        every.play()
        room.play()
    for _ in range(10):
        room.judge()
        every.play()
    room.talking = every.talking = {0}
    found, sooner = 0, 0
    while room.judge()[0][0]:
        found += 1
    while True:
        every.play()
        if not every.gate.is_echo(0, every.received(0, BLOCK_FRAMES)):
            break
        sooner += 1
    assert found <= sooner + 2


def test_many_doubtful_lines_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(5 * MAX_TESTS, monkeypatch)
    room.talking = set(range(0, 5 * MAX_TESTS, 3))
    for _ in range(60):
        room.play()
    seen: set[int] = set()
    for _ in range(5):
        _, tested = room.judge()
        assert len(tested) == MAX_TESTS
        assert not seen & set(tested)
        seen |= set(tested)
    for _ in range(10):
        verdicts, tested = room.judge()
        assert len(tested) <= MAX_TESTS
        assert [slot for slot in room.slots.tolist() if not verdicts[slot]] == sorted(room.talking)


def test_a_slot_forgets_the_verdict_on_its_last_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(MAX_TESTS + 1, monkeypatch)
    for _ in range(60):
        room.play()
    for _ in range(6):
        assert room.judge()
    room.gate.open(0)
    room.talking = {0}
    verdicts, tested = room.judge()
    assert 0 in tested
    assert not verdicts[0]


def test_a_slot_forgets_what_was_sent_to_its_last_stream() -> None:
    gate = EchoGate(2)
    slots = np.array([1])
    loud = np.full((1, FRAME), 9000, np.int16)
    for _ in range(2):
        gate.open(1)
        assert not gate._sent[1].any()
        assert gate.suspects(slots, np.array([True]), powers(loud // 4))[1].tolist() == [False]
        for _ in range(40):
            gate.play(slots, loud, powers(loud))
        assert gate.suspects(slots, np.array([True]), powers(loud // 4))[1].tolist() == [True]


def test_streams_that_nobody_listens_to_take_no_memory() -> None:
    def held() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    gate = EchoGate(2000)
    before = held()
    for slot in range(2000):
        gate.open(slot)
    assert held() - before < 4e6  # of 20 MB
