"""Which of the words that a :class:`~media.speech.matcher.Matcher` found were said: the one place with thresholds.

A word that is the whole utterance is believed easily: a caller who answers a menu says one
word. A word among others must show far more, and more still in long speech, which is talk to
somebody else, or no speech at all.

Confidence is the logistic function of the evidence beyond the threshold of the case, so that
for every word a half decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from media.speech.features import Floats
from media.speech.matcher import Matcher, Segment

ACCEPTED = 0.5
"""Confidence from which a word counts at the end of its utterance."""

_ALONE = -1.5
"""Evidence per frame (natural logarithm, against the background) that a word needs which is its whole utterance."""
_SHORTEST_ALONE, _LONGEST = 15, 100
"""Frames between which a word alone lasts: clicks are shorter, hums longer."""
_TONE = -24.0
"""Spread (dB) below which the sound is a tone of some machine."""
_AMONG, _AMONG_LONG = 24.0, 60.0
"""Evidence in all that a word needs among others, in short speech and in long."""
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
class Accepted:
    """A word, from frame ``start`` up to ``end``, with a confidence between :data:`ACCEPTED` and 1."""

    word: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Sound:
    """What the sound of an utterance is like, see :mod:`features`: ``spread`` of each frame, ``contrast`` of all."""

    spread: Floats
    contrast: float

    @property
    def doubt(self) -> float:
        """Evidence per frame that words need beyond what they need in clear sound."""
        return max(_CLEAR - self.contrast, 0.0) * _PER_DECIBEL


def said(matcher: Matcher, sound: Sound) -> list[Accepted]:
    """The words of a finished utterance, in order of time."""
    if whole := _alone(matcher, _ALONE, sound):
        return whole
    share = min(max((matcher.speech_frames() - _SHORT) / (_LONG - _SHORT), 0.0), 1.0)
    segments = _of_a_voice(matcher.among_background(), sound.spread)
    doubt = sound.doubt * _STEEPNESS
    if not _among(segments, doubt + _AMONG + share * (_AMONG_LONG - _AMONG), _SHORTEST):
        return []
    return _among(segments, doubt + _COMPANION, _SHORTEST_COMPANION)


def spotted(matcher: Matcher, sound: Sound) -> list[Accepted]:
    """Words that are certain before their utterance has ended."""
    whole = _alone(matcher, _SPOTTED_ALONE, sound)
    if whole and whole[0].end <= matcher.frames - _PAUSE:
        return whole
    among = _of_a_voice(matcher.among_background(), sound.spread)
    return _among(among, sound.doubt * _STEEPNESS + _SPOTTED_AMONG, _SHORTEST)


def _alone(matcher: Matcher, threshold: float, sound: Sound) -> list[Accepted]:
    segment = matcher.alone()
    if segment is None or not _SHORTEST_ALONE <= segment.end - segment.start <= _LONGEST:
        return []
    threshold += sound.doubt
    kept = _of_a_voice([segment], sound.spread)
    return [word for each in kept for word in _accepted(each, each.evidence - threshold)]


def _of_a_voice(segments: list[Segment], spread: Floats) -> list[Segment]:
    return [segment for segment in segments if float(np.median(spread[segment.start : segment.end])) > _TONE]


def _among(segments: list[Segment], threshold: float, shortest: int) -> list[Accepted]:
    found: list[Accepted] = []
    for segment in segments:
        frames = segment.end - segment.start
        if frames >= shortest:
            found += _accepted(segment, (segment.evidence * frames - threshold) / _STEEPNESS)
    return found


def _accepted(segment: Segment, excess: float) -> list[Accepted]:
    confidence = 1.0 / (1.0 + math.exp(min(-excess, 60.0)))
    return [Accepted(segment.word, segment.start, segment.end, confidence)] if confidence >= ACCEPTED else []
