"""What spoken keywords are worth: human digits by a speaker whom nothing was tuned on, what listening costs.

For every speaker the voices are adapted to the other three (:mod:`benchmarks.telephone_voices`), and so is the
threshold: each of the three is judged by voices adapted to the remaining two, and the evidence is taken which
:data:`TAKEN` of the digits that their nodes lack would exceed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from benchmarks.machine_voices import spoken_by_machine
from benchmarks.telephone_voices import DIGITS, RATE, SPEAKERS, Recording, adapt_to, as_called, read_wave, recordings
from media.speech import decision
from media.speech.adaptation import Adaptation
from media.speech.engine import Key
from media.speech.features import Samples
from media.speech.language import english
from media.speech.matching import KeywordMatcher
from media.speech.messages import Audio, Begin, End
from media.speech.recogniser import Desk
from media.speech.search import Search

TAKEN = 0.03
"""Share of the training speakers' digits outside a five-word node that the threshold lets pass."""
FIVES = (DIGITS[:5], DIGITS[5:], DIGITS[::2], DIGITS[1::2])
YES_NO = ("yes", "no")
_AT_ONCE = 50
_CHUNK = 960
"""Bytes of a worker's message: 60 ms."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was made of a recording: the likeliest word ("" if none can be alone), the evidence for it beyond what the
    noise costs, and the words accepted.
    """

    word: str
    evidence: float
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a speaker, all shares. ``forced``: the likeliest of the words is right; ``right``, ``wrong``: it was accepted.
    ``taken``: digits that the node lacks which were accepted.
    """

    speaker: str
    threshold: float
    ten_forced: float
    ten_right: float
    ten_wrong: float
    five_forced: float
    five_right: float
    five_taken: float
    yes_no_taken: float


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of the recogniser, ms per second of sound of a caller; ``callers`` at once at ``nodes`` different nodes."""

    callers: int
    nodes: int
    milliseconds: float


class Ears:
    """The matcher with some voices and threshold, asked about recordings, each as the first utterance of a call."""

    def __init__(self, voices: Adaptation | None = None, thresholds: decision.Thresholds = decision.SHIPPED) -> None:
        self._matcher = KeywordMatcher(english(voices), self._decide)
        self._thresholds = thresholds
        self._answers: list[Answer] = []
        self._calls = 0

    def answers(self, sounds: Sequence[Samples], words: Sequence[str]) -> list[Answer]:
        """One answer for each sound, at a node of ``words``."""
        found: list[Answer] = []
        for start in range(0, len(sounds), _AT_ONCE):
            some = sounds[start : start + _AT_ONCE]
            keys = [Key(1, self._calls + number, 1) for number in range(len(some))]
            self._calls += len(some)
            for key in keys:
                self._matcher.begin(key, words, "en", 0.0)
            self._matcher.advance({key: sound.tobytes() for key, sound in zip(keys, some, strict=True)})
            self._answers = []
            self._matcher.finish(keys)
            found += self._answers
        return found

    def _decide(self, search: Search, sound: decision.Sound) -> list[decision.Accepted]:
        best, accepted = search.alone(), decision.said(search, sound, self._thresholds)
        word, evidence = (best.word, best.evidence - sound.doubt) if best else ("", -np.inf)
        self._answers.append(Answer(word, evidence, tuple(each.word for each in accepted)))
        return accepted


def threshold(strangers: Sequence[float]) -> float:
    """The evidence that :data:`TAKEN` of words which the nodes lack would exceed."""
    return float(np.quantile(strangers, 1.0 - TAKEN))


def evidence_of_strangers(ears: Ears, said: Sequence[Recording]) -> list[float]:
    """The evidence for any word of a five-word node in the digits that it lacks."""
    found: list[float] = []
    for node in FIVES:
        others = [each.samples for each in said if each.word not in node]
        found += [answer.evidence for answer in ears.answers(others, node)]
    return found


class LeaveOneOut:
    """Figures of one speaker after the other; voices adapted to the same speakers are made once."""

    def __init__(self, takes: Sequence[int] = range(10)) -> None:
        self._said = {speaker: recordings([speaker], takes) for speaker in SPEAKERS}
        self._voices: dict[frozenset[str], Adaptation] = {}

    def figures(self, speaker: str) -> Figures:
        """What is made of ``speaker``'s digits by ears that were tuned on the others."""
        others = frozenset(SPEAKERS) - {speaker}
        strangers: list[float] = []
        for other in sorted(others):
            strangers += evidence_of_strangers(Ears(self._adapted(others - {other})), self._said[other])
        limit = threshold(strangers)
        return self._judge(speaker, Ears(self._adapted(others), decision.Thresholds(alone=limit)), limit)

    def _adapted(self, speakers: frozenset[str]) -> Adaptation:
        if speakers not in self._voices:
            self._voices[speakers] = adapt_to([each for name in sorted(speakers) for each in self._said[name]])
        return self._voices[speakers]

    def _judge(self, speaker: str, ears: Ears, limit: float) -> Figures:
        said = self._said[speaker]
        ten = list(zip(said, ears.answers([each.samples for each in said], DIGITS), strict=True))
        inside: list[tuple[Recording, Answer]] = []
        outside: list[Answer] = []
        for node in FIVES:
            answers = zip(said, ears.answers([each.samples for each in said], node), strict=True)
            for each, answer in answers:
                if each.word in node:
                    inside.append((each, answer))
                else:
                    outside.append(answer)
        yes_no = ears.answers([each.samples for each in said], YES_NO)
        return Figures(
            speaker,
            limit,
            _share([answer.word == each.word for each, answer in ten]),
            _share([answer.accepted == (each.word,) for each, answer in ten]),
            _share([bool(answer.accepted) and answer.accepted != (each.word,) for each, answer in ten]),
            _share([answer.word == each.word for each, answer in inside]),
            _share([answer.accepted == (each.word,) for each, answer in inside]),
            _share([bool(answer.accepted) for answer in outside]),
            _share([bool(answer.accepted) for answer in yes_no]),
        )


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def cost(callers: int, nodes: int = 1, seconds: float = 2.0, times: int = 6) -> Cost:
    """What the recogniser takes when ``callers`` say digits without a pause, by messages of 60 ms; the least of some
    measurements, since others use the machine too.

    Turns come as in its process, without the sockets.
    """
    said = recordings(takes=(0, 1))
    lists = [[DIGITS[(first + step) % 10] for step in range(10 if nodes == 1 else 5)] for first in range(nodes)]
    matcher = KeywordMatcher()
    found = []
    for _ in range(times):
        desk = Desk(matcher, callers)
        at = [(7 * caller) % len(said) for caller in range(callers)]
        sounds = [b""] * callers
        begun, heard = time.process_time(), 0.0
        while heard < seconds:
            for caller in range(callers):
                if not sounds[caller]:
                    if heard:
                        desk.take(1, End(caller, 1, heard))
                        desk.turn()
                    at[caller] = (at[caller] + 1) % len(said)
                    sounds[caller] = said[at[caller]].samples.tobytes()
                    desk.take(1, Begin(caller, 1, lists[caller % nodes], "en", heard))
                desk.take(1, Audio(caller, 1, sounds[caller][:_CHUNK]))
                sounds[caller] = sounds[caller][_CHUNK:]
            desk.turn()
            heard += _CHUNK / 2 / RATE
        found.append((time.process_time() - begun) / (heard * callers))
    return Cost(callers, nodes, 1000 * min(found))


@dataclass(frozen=True, slots=True)
class Decoded:
    """What PocketSphinx's own decoder makes of the same digits: share right, CPU in ms per second of sound."""

    right: dict[str, float]
    milliseconds: float


def pocketsphinx(takes: Sequence[int] = range(10)) -> Decoded:
    """The library's decoder with a grammar of the ten words, each recording brought to its 16 kHz."""
    from pocketsphinx import Decoder

    decoder = Decoder(lm=None, samprate=16000, loglevel="FATAL", lw=1.0)
    decoder.add_jsgf_string("digits", "#JSGF V1.0; grammar digits; public <digit> = " + " | ".join(DIGITS) + ";")
    decoder.activate_search("digits")
    right: dict[str, float] = {}
    spent = sound = 0.0
    for speaker in SPEAKERS:
        hits = []
        for each in recordings([speaker], takes):
            wide = soxr.resample(each.samples.astype(np.float64), RATE, 2 * RATE)
            pcm = np.clip(np.rint(wide), -32768, 32767).astype(np.int16).tobytes()
            begun = time.process_time()
            decoder.start_utt()
            decoder.process_raw(pcm, full_utt=True)
            decoder.end_utt()
            spent += time.process_time() - begun
            sound += len(each.samples) / RATE
            hypothesis = decoder.hyp()
            hits.append(hypothesis is not None and hypothesis.hypstr == each.word)
        right[speaker] = _share(hits)
    return Decoded(right, 1000 * spent / sound)


ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
TIMBRES = ("+Annie", "+Diogo", "+Gene", "+Lee", "+Mario", "+Michael", "+Storm", "+aunty", "+linda", "+steph")
"""Variants of espeak-ng that were not used before their figure was taken; thresholds were set with others of it."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Yes and no by synthetic voices, on none of which anything was tuned: how many, shares of which the likelier word
    is right, of right ones and of wrong ones accepted.
    """

    said: int
    forced: float
    right: float
    wrong: float


def synthetic_yes_and_no(accents: Sequence[str] = ACCENTS, timbres: Sequence[str] = TIMBRES) -> Synthetic:
    """By espeak-ng, in a process of its own. Raises :class:`ImportError` where it is not installed."""
    import espeakng_loader  # noqa: F401

    sayings = [(accent + timbre, word) for accent in accents for timbre in timbres for word in YES_NO]
    with tempfile.TemporaryDirectory() as folder:
        files = spoken_by_machine(Path(folder), sayings, timeout=120)
        sounds = [_at_8k(*read_wave(path)) for path in files]
    answers = Ears().answers([as_called(sound, seed) for seed, sound in enumerate(sounds)], YES_NO)
    right = [answer.accepted == (word,) for answer, (_, word) in zip(answers, sayings, strict=True)]
    wrong = [bool(answer.accepted) and not hit for answer, hit in zip(answers, right, strict=True)]
    forced = [answer.word == word for answer, (_, word) in zip(answers, sayings, strict=True)]
    return Synthetic(len(sayings), _share(forced), _share(right), _share(wrong))


def _at_8k(samples: Samples, rate: int) -> Samples:
    return np.clip(np.rint(soxr.resample(samples.astype(np.float64), rate, RATE)), -32768, 32767).astype(np.int16)
