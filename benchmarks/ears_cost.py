"""CPU of the kernels that listen, by themselves: ms per call-second, in batches as a media worker makes them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.callers import read_speech
from benchmarks.key_sweep import coded
from benchmarks.speech_bank import noise
from media import commands
from media.answering import Answering
from media.dtmf import ToneReceiver
from media.frames import Powers, Samples, Slots, powers
from media.g711 import Law
from media.rates import FRAME, FRAME_SECONDS, PHASES
from media.steady import SteadyTones
from media.vad import SpeechDetector

KERNELS = ("keys", "voice", "answering machines")
SOUNDS = ("speech", "silence")

_Step = Callable[[Slots, Samples, Powers, float], object]


class _Played:
    """The frames that streams have heard, as the jitter buffer keeps them."""

    def __init__(self, frames: Samples, offsets: Slots) -> None:
        self._frames = frames
        self._offsets = offsets
        self.clock = 0

    def now(self) -> Samples:
        return self._frames[(self._offsets + self.clock) % len(self._frames)]

    def before(self, slots: Slots) -> Samples:
        return self._frames[(self._offsets[slots] + self.clock - 1) % len(self._frames)]

    def history(self, slot: int, count: int) -> Samples:
        last = int(self._offsets[slot]) + self.clock + 1
        return self._frames[np.arange(last - count, last) % len(self._frames)].reshape(-1)


def _sound(kind: str) -> Samples:
    rng = np.random.default_rng(1)
    if kind == "speech":
        speech = read_speech().astype(np.float64)
        return coded(speech + noise("white", len(speech) / 8000, -60.0, rng)[: len(speech)], Law.PCMU)
    return coded(noise("white", 10.0, -65.0, rng), Law.PCMU)


def _kernel(name: str, batch: int, played: _Played) -> _Step:
    if name == "keys":
        receiver = ToneReceiver(batch, played.before)
        return lambda slots, frames, levels, _: receiver.feed(slots, frames, levels)
    detector = SpeechDetector(batch)
    for slot in range(batch):
        detector.open(slot)
    if name == "voice":
        return lambda slots, _, levels, now: detector.feed(slots, detector.voiced(slots, levels), levels, now)
    answering = Answering(batch, SteadyTones(batch, played.before, played.history), [])
    never = commands.MachineLimits(initial_silence=1e9, greeting=1e9, pause=1e9, words=10**6, total=1e9)
    for slot in range(batch):
        answering.watch(slot, commands.DetectMachine(slot, limits=never), 0.0)
    voiced = np.ones(batch, np.bool_)
    return lambda slots, frames, levels, now: answering.feed(slots, voiced[: slots.size], frames, levels, now)


def cost(name: str, kind: str, streams: int, *, steps: int, repeats: int) -> float:
    """ms of CPU per call-second of kernel ``name`` at ``streams`` calls, the least of ``repeats`` runs. A worker takes
    a quarter of its streams at a time; what all kernels share, the power of the frames, is not counted.
    """
    sound = _sound(kind)
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    batch = max(1, streams // PHASES)
    slots = np.arange(batch)
    best = np.inf
    for repeat in range(repeats):
        played = _Played(frames, np.random.default_rng(repeat).integers(0, len(frames), batch))
        step = _kernel(name, batch, played)
        took = 0.0
        for index in range(steps):
            played.clock = index
            now = played.now()
            levels = powers(now)
            begun = time.thread_time()
            step(slots, now, levels, index * FRAME_SECONDS)
            took += time.thread_time() - begun
        best = min(best, took)
    return 1000 * best / (batch * steps * FRAME_SECONDS)
