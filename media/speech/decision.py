"""Which of the words that a :class:`~media.speech.search.Search` found were said: the one place with thresholds.

A word that is the whole utterance is believed easily: a caller who answers a menu says one
word. A word among others must show far more, and more still in long speech, which is talk to
somebody else, or no speech at all.

Confidence is the logistic function of the evidence beyond the threshold of the case, so that
for every word a half decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from media.speech.features import SHIFT, WINDOW, Floats, contrast, spread, voiced_frames
from media.speech.search import Search, Segment

ACCEPTED = 0.5
"""Confidence from which a word counts at the end of its utterance."""

_FEW, _MANY = 2, 5
_SHORTEST_ALONE, _LONGEST = 15, 100
"""Frames between which a word alone lasts: clicks are shorter, hums longer."""
_TONE = -24.0
"""Spread (dB) below which the sound is a tone of some machine."""
_PITCHED = 3
"""Frames with the pitch of a voice that a word has at least: knocks and bursts of noise have none."""
_SHORT, _LONG = 100, 250
"""Frames up to which speech is short, and from which it is long."""
_SHORTEST = 20
"""Frames of a word among others: less is a syllable of something else."""
_COMPANION, _SHORTEST_COMPANION = 10.0, 14
"""The same for a word beside an accepted one: such an utterance is meant for us."""
_STEEPNESS = 10.0
"""Evidence in all that counts like one unit of evidence per frame."""

_CLEAR = 20.0
"""Contrast (dB) from which the sound counts as clear."""
_PER_DECIBEL = 0.25
"""Evidence per frame that each decibel below that costs: noise that swallows the weak sounds of speech leaves
pieces of it that look like words. Better not heard than heard wrongly: there are keys."""

_SPOTTED_ALONE, _SPOTTED_AMONG = 0.5, 60.0
"""What stops a prompt while the utterance goes on."""
_PAUSE = 12
"""Frames of silence after a word that is believed to be alone before its utterance has ended."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What was set with speech in view, and so is set anew without a speaker whose figures are quoted."""

    alone: float = -1.25
    """Evidence per frame (natural logarithm, against the background) that a word needs which is its whole utterance,
    where :data:`_MANY` words or more are listened for.
    """
    alone_few: float = -2.4
    """The same where two are: what was not listened for is less likely to sound like one of them."""
    among: float = 24.0
    """Evidence in all that a word needs among others, in short speech."""
    among_long: float = 60.0
    """The same in long speech."""

    def alone_among(self, words: int) -> float:
        """Evidence per frame that a word alone needs where so many are listened for."""
        share = min(max((words - _FEW) / (_MANY - _FEW), 0.0), 1.0)
        return self.alone_few + share * (self.alone - self.alone_few)


SHIPPED = Thresholds()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A word, from frame ``start`` up to ``end``, with a confidence between :data:`ACCEPTED` and 1."""

    word: str
    start: int
    end: int
    confidence: float


class Sound:
    """What the sound of an utterance is like, worked out where it is asked for; see :mod:`media.speech.features`."""

    def __init__(self, energies: Floats, pcm: bytes | bytearray) -> None:
        self._energies = energies
        self._pcm = pcm

    @cached_property
    def doubt(self) -> float:
        """Evidence per frame that words need beyond what they need in clear sound."""
        return max(_CLEAR - contrast(self._energies), 0.0) * _PER_DECIBEL

    def is_voice(self, segment: Segment) -> bool:
        """Whether the sound of a word is that of a voice: neither a tone nor without any pitch."""
        if float(np.median(spread(self._energies[segment.start : segment.end]))) <= _TONE:
            return False
        pcm = self._pcm[2 * segment.start * SHIFT : 2 * (segment.end * SHIFT + WINDOW)]
        return voiced_frames(np.frombuffer(bytes(pcm), "<i2")) >= _PITCHED


def said(search: Search, sound: Sound, thresholds: Thresholds = SHIPPED) -> list[Accepted]:
    """The words of a finished utterance, in order of time."""
    if whole := _alone(search, thresholds.alone_among(len(search.network.words)), sound):
        return whole
    share = min(max((search.speech_frames() - _SHORT) / (_LONG - _SHORT), 0.0), 1.0)
    segments = search.among_background()
    among = thresholds.among + share * (thresholds.among_long - thresholds.among)
    return _among(segments, _COMPANION, _SHORTEST_COMPANION, sound) if _among(segments, among, _SHORTEST, sound) else []


def spotted(search: Search, sound: Sound) -> list[Accepted]:
    """Words that are certain before their utterance has ended."""
    whole = _alone(search, _SPOTTED_ALONE, sound)
    if whole and whole[0].end <= search.frames - _PAUSE:
        return whole
    return _among(search.among_background(), _SPOTTED_AMONG, _SHORTEST, sound)


def _alone(search: Search, threshold: float, sound: Sound) -> list[Accepted]:
    segment = search.alone()
    if segment is None or not _SHORTEST_ALONE <= segment.end - segment.start <= _LONGEST:
        return []
    return _accepted(segment, segment.evidence, threshold, 1.0, sound)


def _among(segments: list[Segment], threshold: float, shortest: int, sound: Sound) -> list[Accepted]:
    found: list[Accepted] = []
    for segment in segments:
        frames = segment.end - segment.start
        if frames >= shortest:
            found += _accepted(segment, segment.evidence * frames, threshold, _STEEPNESS, sound)
    return found


def _accepted(segment: Segment, evidence: float, threshold: float, unit: float, sound: Sound) -> list[Accepted]:
    if evidence < threshold:  # most are: the sound need not be looked at
        return []
    excess = (evidence - threshold) / unit - sound.doubt
    if excess < 0 or not sound.is_voice(segment):
        return []
    return [Accepted(segment.word, segment.start, segment.end, 1.0 / (1.0 + math.exp(-excess)))]
