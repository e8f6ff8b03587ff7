"""Which of the words that a :class:`~media.speech.matcher.Matcher` found were said: the one place with thresholds.

A word that is the whole utterance is believed easily: a caller who answers a menu says one
word. A word among others must show far more, and more still in long speech, which is talk to
somebody else, or no speech at all.

Confidence is put on one scale: the logistic function of the evidence per frame (natural
logarithm, against the background) over the threshold of the case, so that a half decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from media.speech.matcher import Matcher, Segment

ACCEPTED = 0.5
"""Confidence from which a word counts at the end of its utterance."""

_ALONE = -1.8
"""Evidence that a word needs which is its whole utterance."""
_AMONG = 0.5
"""Evidence that a word needs among others in a short utterance."""
_AMONG_LONG = 2.0
_SHORT, _LONG = 150, 300
"""Frames of speech up to which an utterance is short, and from which it is long."""
_SHORTEST = 16
"""Frames of a word among others: less is a syllable of something else."""
_SPOTTED_ALONE = 0.0
_SPOTTED_AMONG = 2.0
"""Evidence that stops a prompt while the utterance goes on."""
_PAUSE = 10
"""Frames of silence after a word that is believed to be alone before its utterance has ended."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A word, from frame ``start`` up to ``end``, with a confidence between :data:`ACCEPTED` and 1."""

    word: str
    start: int
    end: int
    confidence: float


def said(matcher: Matcher) -> list[Accepted]:
    """The words of a finished utterance, in order of time."""
    alone = matcher.alone()
    if alone is not None and (whole := _accepted([alone], _ALONE)):
        return whole
    share = min(max((matcher.speech_frames() - _SHORT) / (_LONG - _SHORT), 0.0), 1.0)
    return _accepted(_words(matcher), _AMONG + share * (_AMONG_LONG - _AMONG))


def spotted(matcher: Matcher) -> list[Accepted]:
    """Words that are certain before their utterance has ended."""
    alone = matcher.alone()
    if alone is not None and alone.end <= matcher.frames - _PAUSE and (whole := _accepted([alone], _SPOTTED_ALONE)):
        return whole
    return _accepted(_words(matcher), _SPOTTED_AMONG)


def _words(matcher: Matcher) -> list[Segment]:
    return [segment for segment in matcher.among_background() if segment.end - segment.start >= _SHORTEST]


def _accepted(segments: list[Segment], threshold: float) -> list[Accepted]:
    return [
        Accepted(segment.word, segment.start, segment.end, confidence)
        for segment in segments
        if (confidence := 1.0 / (1.0 + math.exp(min(threshold - segment.evidence, 60.0)))) >= ACCEPTED
    ]
