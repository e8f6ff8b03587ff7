"""The kinds of work that a call makes, one class each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks import callers
from benchmarks.callers import Bank, Schedule, Sound
from benchmarks.generator import Expected
from benchmarks.measure import spread_out
from media import commands, ipc

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class PlayAndKeys:
    """A prompt, keys of both kinds listened for, jitter buffer and RTCP; the caller talks half of the time."""

    words = False

    def schedule(self, bank: Bank, calls: int) -> Schedule:
        return callers.half_talking(bank, calls, keys=True)

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        return [commands.Play(stream + 1, 1, [str(folder / "prompt.wav")], loop=True)]

    def expected(self, bank: Bank, schedule: Schedule, prompt: Sound) -> list[Expected]:
        return [Expected(stream, [prompt]) for stream in spread_out(len(schedule))]


class Recorded(PlayAndKeys):
    """The same, and both sides are recorded in 16-bit stereo."""

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        record = commands.Record(stream + 1, stream + 1, str(folder / f"{stream}.wav"))
        return [*super().commands(stream, folder), record]


class TenWords(PlayAndKeys):
    """The prompt, and ten words listened for."""

    words = True

    def __init__(self, *, talking: bool) -> None:
        self._talking = talking

    def schedule(self, bank: Bank, calls: int) -> Schedule:
        return (callers.talking if self._talking else callers.silent)(bank, calls)

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        return [*super().commands(stream, folder), commands.Hear(stream + 1, 1, WORDS)]


class Bridged:
    """Streams in pairs, each hears what the other receives, in the codec in which it came."""

    words = False

    def schedule(self, bank: Bank, calls: int) -> Schedule:
        return callers.half_talking(bank, calls, keys=False)

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        return [commands.Relay(stream + 1, (stream ^ 1) + 1)]

    def expected(self, bank: Bank, schedule: Schedule, prompt: Sound) -> list[Expected]:
        return [
            Expected(stream, [bank.sound(schedule[stream ^ 1])], 0.8, pauses=True)
            for stream in spread_out(len(schedule))
        ]


class Conference:
    """Rooms of ten, two talk at a time."""

    words = False
    size = 10

    def schedule(self, bank: Bank, calls: int) -> Schedule:
        return callers.in_rooms(bank, calls, size=self.size)

    def commands(self, stream: int, folder: Path) -> Iterable[ipc.Message]:
        return [commands.Join(stream + 1, stream // self.size + 1)]

    def expected(self, bank: Bank, schedule: Schedule, prompt: Sound) -> list[Expected]:
        found = []
        for stream in spread_out(len(schedule), 4):
            room = np.arange(self.size) + stream // self.size * self.size
            others = [bank.sound(schedule[other]) for other in room.tolist() if other != stream]
            found.append(Expected(stream, others, 0.4))
        return found
