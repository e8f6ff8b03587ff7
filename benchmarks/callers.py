"""What the callers say: rows of payloads, and for each stream which row leaves in which frame.

Speech is that of tests/data/speech/read, as it is or a tenth faster, at 8 kHz and -20 dBFS while it lasts; between
it, faint noise. Keys are RFC 4733 events of 100 ms, their end packet three times, one packet in a frame.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from media import g711
from media.g711 import Law
from media.rates import FRAME, RATE

SPEECH = Path(__file__).parents[1] / "tests" / "data" / "speech" / "read"
EVENT_TYPE = 101
PERIOD = 1000
"""Frames after which every stream begins anew: 20 s."""

KEY_FRAMES = 8
"""Five packets of a growing event, three of its end."""

_NOISE_FRAMES = 100
_SPEECH_DBFS, _NOISE_DBFS = -20.0, -60.0

Sound = NDArray[np.int16]
Schedule = NDArray[np.int32]
"""(streams, PERIOD): the row of the bank that a stream sends in a frame."""


def _to_level(sound: NDArray[np.float64], dbfs: float) -> Sound:
    """``sound`` at ``dbfs`` (0: a sine at full scale), clipped."""
    wanted = 32768 / np.sqrt(2) * 10 ** (dbfs / 20)
    return np.clip(sound * (wanted / np.sqrt(np.mean(sound**2))), -32768, 32767).astype(np.int16)


def read_speech() -> Sound:
    """All read sentences, one after another, in whole frames."""
    parts = []
    for path in sorted(SPEECH.glob("*.wav")):
        with wave.open(str(path)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
            parts.append(soxr.resample(sound, file.getframerate(), RATE))
    sound = np.concatenate(parts)
    return _whole(sound)


def quick_speech() -> Sound:
    """The same by somebody who talks a tenth faster, and so is not mistaken for the first."""
    return _whole(soxr.resample(read_speech().astype(np.float64), 11 * RATE // 10, RATE))


def _whole(sound: NDArray[np.float64]) -> Sound:
    return _to_level(sound[: len(sound) // FRAME * FRAME], _SPEECH_DBFS)


def write_prompt(path: Path, seconds: float = 10.0) -> Sound:
    """A prompt to be played: read speech, looped or cut to ``seconds``; its samples."""
    speech = read_speech()[::-1]  # backwards: nobody mistakes it for what the callers say
    prompt = np.resize(speech, round(seconds * RATE) // FRAME * FRAME)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(prompt.astype("<i2").tobytes())
    return prompt


@dataclass(frozen=True, slots=True)
class Bank:
    """Payloads that packets are made of, by row: 160 octets of ``payload``, of which ``length`` are sent, under the
    second octet ``second`` (marker and payload type) and the timestamp of ``back`` frames ago.
    """

    payload: NDArray[np.uint8]
    length: NDArray[np.int64]
    second: NDArray[np.uint8]
    back: NDArray[np.uint32]
    speech: int
    """The first row of speech, after those of noise."""
    quick: int
    """The first row of quicker speech, after those of speech."""
    keys: int
    """The first row of keys, :data:`KEY_FRAMES` for each of ``0123456789``."""

    def sound(self, rows: NDArray[np.int32]) -> Sound:
        """What a stream sounds like that sends ``rows``; keys are silent."""
        sound = g711.decode(self.payload[rows], Law.PCMU)
        sound[rows >= self.keys] = 0
        return sound.reshape(-1)


def make_bank() -> Bank:
    noise = _to_level(np.random.default_rng(1).normal(0, 1, _NOISE_FRAMES * FRAME), _NOISE_DBFS)
    speech = read_speech()
    sound = g711.encode(np.concatenate([noise, speech, quick_speech()]), Law.PCMU).reshape(-1, FRAME)
    keys = np.zeros((10 * KEY_FRAMES, FRAME), np.uint8)
    for digit in range(10):
        for step in range(KEY_FRAMES):
            row = keys[digit * KEY_FRAMES + step]
            row[:2] = digit, (0x80 if step >= 5 else 0) | 10
            row[2:4].view(">u2")[0] = min(step + 1, 5) * FRAME
    rows = len(sound) + len(keys)
    first_key = len(sound)
    quick = _NOISE_FRAMES + len(speech) // FRAME
    length = np.full(rows, FRAME, np.int64)
    length[first_key:] = 4
    second = np.zeros(rows, np.uint8)
    second[first_key:] = EVENT_TYPE
    second[first_key::KEY_FRAMES] |= 0x80
    back = np.zeros(rows, np.uint32)
    back[first_key:] = np.tile(np.arange(KEY_FRAMES), 10)
    return Bank(np.concatenate([sound, keys]), length, second, back, _NOISE_FRAMES, quick, first_key)


def silent(bank: Bank, streams: int) -> Schedule:
    """Noise from a line that nobody talks on, each stream at a place of its own."""
    starts = np.random.default_rng(2).integers(0, bank.speech, streams)
    return ((starts[:, None] + np.arange(PERIOD)) % bank.speech).astype(np.int32)


def talking(bank: Bank, streams: int) -> Schedule:
    """Speech without pauses but its own; that of odd streams is the quicker one."""
    odd = np.arange(streams) % 2 == 1
    first = np.where(odd, bank.quick, bank.speech)[:, None]
    count = np.where(odd, bank.keys - bank.quick, bank.quick - bank.speech)[:, None]
    starts = np.random.default_rng(3).integers(0, PERIOD, streams)[:, None]
    return (first + (starts + np.arange(PERIOD)) % count).astype(np.int32)


def half_talking(bank: Bank, streams: int, *, keys: bool) -> Schedule:
    """Spurts and pauses of 1.5 to 3.5 s, half and half; with ``keys`` one every 4 to 6 s."""
    dice = np.random.default_rng(4)
    schedule, speech = silent(bank, streams), talking(bank, streams)
    for stream in range(streams):
        at, on = -int(dice.integers(0, 200)), bool(stream % 2)
        while at < PERIOD:
            span = int(dice.integers(75, 175))
            if on:
                spurt = slice(max(0, at), max(0, at + span))
                schedule[stream, spurt] = speech[stream, spurt]
            at, on = at + span, not on
        if keys:
            at = int(dice.integers(10, 200))
            while at + KEY_FRAMES < PERIOD - 10:
                first = bank.keys + int(dice.integers(0, 10)) * KEY_FRAMES
                schedule[stream, at : at + KEY_FRAMES] = np.arange(first, first + KEY_FRAMES)
                at += int(dice.integers(200, 300))
    return schedule


def in_rooms(bank: Bank, streams: int, *, size: int = 10, talkers: int = 2, turn: int = 125) -> Schedule:
    """Rooms of ``size``, in the order of the streams: ``talkers`` of each talk, others after ``turn`` frames."""
    schedule, speech = silent(bank, streams), talking(bank, streams)
    turns = np.arange(PERIOD) // turn
    for stream in range(streams):
        member = stream % size
        on = (member - turns * talkers) % size < talkers
        schedule[stream, on] = speech[stream, on]
    return schedule
