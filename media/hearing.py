"""What the ears of a call make of recorded sound, without a call: faster than real time, by the same code.

A worker's tone receiver and speech detection are fed frame by frame, as its plane feeds them; utterances
go to a recogniser in this process instead of one behind a socket. Sound is 8 kHz, 16 bit; a batch of frames has the
shape (N, 160). Times are seconds from the first sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from media.commands import Activity, Hear
from media.dtmf import ToneReceiver
from media.frames import Samples, Slots, powers
from media.jitter import DEPTH
from media.listening import Listening
from media.rates import FRAME, FRAME_SECONDS
from media.reports import Report, SpeechEnded, UtteranceStarted
from media.speech.engine import Key, Recogniser
from media.speech.messages import Audio, Begin, Cancel, End, FromRecogniser, UtteranceEnded, WordSpotted

AFTER = 25
"""Frames of silence after the sound: speech in which it breaks off ends 300 ms later, as on a call that goes on."""

_LATER = FRAME_SECONDS
"""A frame is fed at the time of its end, and the sound of an utterance is dated as if it began then."""


class KeyPress(msgspec.Struct, frozen=True):
    """A key that went down (in-band DTMF); ``at`` is when the receiver was sure, some 40 ms into the tone."""

    digit: str
    at: float


class Span(msgspec.Struct, frozen=True):
    """Speech, whether anybody listens for words or not: without the 300 ms of silence that end it."""

    start: float
    end: float
    dbfs: float


class Word(msgspec.Struct, frozen=True):
    """A word that counts, with a confidence of 0 to 1."""

    word: str
    confidence: float
    start: float
    end: float


class Spot(msgspec.Struct, frozen=True):
    """A word that was sure at ``at``, before its utterance was over: a prompt would stop for it."""

    word: str
    confidence: float
    at: float


class Utterance(msgspec.Struct, frozen=True):
    """Speech that was listened to for words. ``decided`` is when a call would take its branch."""

    start: float
    end: float
    decided: float
    words: tuple[Word, ...]
    spotted: tuple[Spot, ...] = ()

    @property
    def rejected(self) -> bool:
        """Whether none of the words was found in it."""
        return not self.words


class Hearing(msgspec.Struct, frozen=True):
    """All that was heard, each kind in order of time."""

    seconds: float
    keys: tuple[KeyPress, ...]
    speech: tuple[Span, ...]
    utterances: tuple[Utterance, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all utterances."""
        return tuple(word for utterance in self.utterances for word in utterance.words)


class Bench:
    """A recogniser at work in this process, where a worker has a link to one in another."""

    pending = 0

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._answers: list[FromRecogniser] = []

    def send(self, message: msgspec.Struct) -> None:
        """See :class:`media.recognising.RecogniserLink`: the recogniser does its work at once."""
        match message:
            case Begin():
                self._recogniser.begin(_key(message), message.words, message.language, message.at)
            case Audio():
                self._answers += [
                    WordSpotted(message.stream, message.ticket, spotted.word, spotted.confidence, spotted.at)
                    for spotted in self._recogniser.audio(_key(message), message.pcm)
                ]
            case End():
                words = self._recogniser.end(_key(message))
                self._answers.append(UtteranceEnded(message.stream, message.ticket, words, message.at))
            case Cancel():
                self._recogniser.cancel(_key(message))

    def flush(self) -> None:
        """Nothing waits."""

    def receive(self) -> list[FromRecogniser]:
        """See :class:`media.recognising.RecogniserLink`."""
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """Nothing is to be closed."""


def _key(message: Begin | Audio | End | Cancel) -> Key:
    return Key(0, message.stream, message.ticket)


class _Past:
    """The sound that lies behind, of each slot, as far as the ears look back."""

    def __init__(self, count: int) -> None:
        self._ring: Samples = np.zeros((count, DEPTH, FRAME), np.int16)
        self._clock = 0

    def add(self, frames: Samples) -> None:
        self._ring[:, self._clock % DEPTH] = frames
        self._clock += 1

    def before(self, slots: Slots) -> Samples:
        frames: Samples = self._ring[slots, (self._clock - 2) % DEPTH]
        return frames

    def history(self, slot: int, frames: int) -> Samples:
        last: Samples = self._ring[slot, np.arange(self._clock - frames, self._clock) % DEPTH]
        return last.reshape(-1)


@dataclass(slots=True)
class _Heard:
    keys: list[KeyPress] = field(default_factory=list)
    speech: list[Span] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    spotted: list[Spot] = field(default_factory=list)
    voice_until: float | None = None


class Ears:
    """The ears of ``count`` calls that go on at the same time."""

    def __init__(
        self,
        count: int = 1,
        words: Sequence[str] = (),
        recogniser: Recogniser | None = None,
        language: str = "en",
    ) -> None:
        """Listen for ``words`` by ``recogniser``; without either, for keys and speech alone."""
        self._slots: Slots = np.arange(count)
        self._nothing: Samples = np.zeros((count, FRAME), np.int16)
        self._past = _Past(count)
        self._reports: list[Report] = []
        self._tones = ToneReceiver(count, self._past.before)
        self._listening = Listening(count, self._past, self._reports)
        self._heard = [_Heard() for _ in range(count)]
        self._frames = 0
        if recogniser is not None:
            self._listening.attach(Bench(recogniser))
        for slot in range(count):
            self._tones.open(slot)
            self._listening.open(slot)
            if words and recogniser is not None:
                self._listening.hear(slot, Hear(slot, 1, list(words), language))
            self._listening.activity(slot, Activity(slot, True))

    def feed(self, frames: Samples) -> None:
        """The next frame of each call, (count, 160)."""
        self._frames += 1
        now = self._frames * FRAME_SECONDS
        self._past.add(frames)
        levels = powers(frames)
        for slot, digit in self._tones.feed(self._slots, frames, levels):
            self._heard[slot].keys.append(KeyPress(digit, _time(now)))
        self._listening.feed(self._slots, frames, levels, self._nothing, now)
        self._listening.poll(now)
        for report in self._reports:
            self._take(report)
        self._reports.clear()

    def close(self) -> list[Hearing]:
        """The sound is over: what was heard on each call."""
        seconds = self._frames * FRAME_SECONDS
        for _ in range(AFTER):
            self.feed(self._nothing)
        return [
            Hearing(_time(seconds), tuple(heard.keys), tuple(heard.speech), tuple(heard.utterances))
            for heard in self._heard
        ]

    def _take(self, report: Report) -> None:
        match report:
            case SpeechEnded():
                heard = self._heard[report.stream]
                heard.voice_until = report.at
                heard.speech.append(Span(_time(report.since), _time(report.at), round(report.dbfs, 1)))
            case UtteranceStarted():
                self._heard[report.stream].starts.append(report.at)
            case WordSpotted():
                spot = Spot(report.word, report.confidence, _time(self._frames * FRAME_SECONDS))
                self._heard[report.stream].spotted.append(spot)
            case UtteranceEnded():
                self._end(self._heard[report.stream], report)
            case _:
                pass

    @staticmethod
    def _end(heard: _Heard, ended: UtteranceEnded) -> None:
        """Utterances end in the order in which they began; one that is cut for its length ends in speech."""
        until = heard.voice_until if heard.voice_until is not None else ended.at
        words = tuple(
            Word(each.word, each.confidence, _time(each.start - _LATER), _time(each.end - _LATER))
            for each in ended.words
        )
        start = heard.starts.pop(0)
        heard.utterances.append(
            Utterance(_time(start), _time(max(start, until)), _time(ended.at), words, tuple(heard.spotted))
        )
        heard.spotted.clear()
        heard.voice_until = None


def _time(seconds: float) -> float:
    return round(max(0.0, seconds), 3)


def hear(
    samples: Samples, words: Sequence[str] = (), recogniser: Recogniser | None = None, language: str = "en"
) -> Hearing:
    """What a call's ears make of ``samples``, one channel at 8 kHz, listening for ``words`` all the time.

    Without ``recogniser`` it is the built-in one, made only if there are words to listen for; raises
    :class:`~media.speech.model.ModelError` when that lacks its model.
    """
    if words and recogniser is None:
        from media.speech.matching import KeywordMatcher

        recogniser = KeywordMatcher()
    ears = Ears(1, words, recogniser, language)
    for frame in framed(samples):
        ears.feed(frame[None])
    return ears.close()[0]


def framed(samples: Samples) -> Samples:
    """``samples`` as frames, (n, 160), the last one filled up with silence."""
    count = -(-len(samples) // FRAME)
    padded = np.zeros(count * FRAME, np.int16)
    padded[: len(samples)] = samples
    return padded.reshape(count, FRAME)
