"""The messages between a media worker and a recogniser: utterances, and the words found in them.

Encoded like the commands of a worker (:mod:`media.commands`); ``stream`` and ``ticket`` are those of its command
:class:`~media.commands.Hear`, and together the key of an utterance on their connection.
"""

from __future__ import annotations

import msgspec

from media.ipc import Message


class HeardWord(msgspec.Struct, array_like=True, frozen=True):
    """An accepted word: ``confidence`` is 0 to 1, ``start`` and ``end`` are times."""

    word: str
    confidence: float
    start: float
    end: float


class WordSpotted(Message, frozen=True):
    """A vocabulary word is in the running utterance with enough confidence to stop a prompt."""

    stream: int
    ticket: int
    word: str
    confidence: float
    at: float


class UtteranceEnded(Message, frozen=True):
    """The utterance is over: its accepted words, in order of time; empty if there was none."""

    stream: int
    ticket: int
    words: list[HeardWord]
    at: float


class RecogniserLoad(Message, frozen=True):
    """Sent by the recogniser every second in which something changed: utterances open and seconds of sound that wait;
    since its start, utterances decided, refused over the limit, cut short by overload, and connections broken off.
    """

    utterances: int
    waiting: float
    decided: int
    refused: int
    cut: int
    broken: int


class Begin(Message, frozen=True):
    """An utterance begins. (``stream``, ``ticket``) is its key on this connection."""

    stream: int
    ticket: int
    words: list[str]
    language: str
    at: float


class Audio(Message, frozen=True):
    """Voiced sound: 8 kHz 16-bit little-endian mono, contiguous within an utterance."""

    stream: int
    ticket: int
    pcm: bytes


class End(Message, frozen=True):
    """The utterance is over: answer with :class:`UtteranceEnded`."""

    stream: int
    ticket: int
    at: float


class Cancel(Message, frozen=True):
    """Nobody waits for this utterance any more."""

    stream: int
    ticket: int


ToRecogniser = Begin | Audio | End | Cancel
FromRecogniser = WordSpotted | UtteranceEnded
