"""What a recogniser is, to the process that runs it: utterances in, words with confidence and times out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from media.speech.messages import HeardWord


class Key(NamedTuple):
    """An utterance: the connection that it came by, and the stream and ticket of its worker."""

    connection: int
    stream: int
    ticket: int


class Spotted(NamedTuple):
    """A word heard so surely in a running utterance that a prompt may stop for it."""

    word: str
    confidence: float
    at: float


class Recogniser(Protocol):
    """Takes one utterance at a time, as :class:`media.speech.vosk_engine.VoskEngine` does.

    Times are monotonic seconds; ``at`` of :meth:`begin` is the time of the first sample. A key is
    begun once, then heard in order, then ended or cancelled.
    """

    about: str

    def begin(self, key: Key, words: Sequence[str], language: str, at: float) -> None:
        """An utterance begins in which ``words`` count; those without a pronunciation are never heard."""

    def audio(self, key: Key, pcm: bytes) -> list[Spotted]:
        """More of the utterance: 8 kHz 16-bit little-endian mono. Each word is spotted at most once."""

    def end(self, key: Key) -> list[HeardWord]:
        """The utterance is over: its accepted words in order of time."""

    def cancel(self, key: Key) -> None:
        """Forget the utterance; an unknown key is no error."""


class BatchRecogniser(Recogniser, Protocol):
    """Takes all utterances that have sound waiting together, as :class:`media.speech.matching.KeywordMatcher` does."""

    def advance(self, sounds: Mapping[Key, bytes]) -> list[tuple[Key, Spotted]]:
        """:meth:`~Recogniser.audio` of many utterances; unknown keys are no error."""

    def finish(self, keys: Sequence[Key]) -> list[list[HeardWord]]:
        """:meth:`~Recogniser.end` of many utterances, in their order."""


class OneByOne:
    """A recogniser of single utterances as one of many."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.about = recogniser.about
        self.begin = recogniser.begin
        self.audio = recogniser.audio
        self.end = recogniser.end
        self.cancel = recogniser.cancel

    def advance(self, sounds: Mapping[Key, bytes]) -> list[tuple[Key, Spotted]]:
        """See :class:`BatchRecogniser`."""
        return [(key, spotted) for key, pcm in sounds.items() for spotted in self.audio(key, pcm)]

    def finish(self, keys: Sequence[Key]) -> list[list[HeardWord]]:
        """See :class:`BatchRecogniser`."""
        return [self.end(key) for key in keys]
