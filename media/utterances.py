"""Utterances on their way to the recogniser, and what comes back. No sockets, no clock.

Every utterance that was told of with :class:`~media.reports.UtteranceStarted` ends with exactly one
:class:`~media.speech.messages.UtteranceEnded` unless nobody listens any more; every ``Begin`` is followed
by ``End`` or ``Cancel`` unless the recogniser is gone. One utterance of a stream is recognised at a time: the next
one waits for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from media.rates import RATE
from media.reports import Report, UtteranceStarted
from media.speech.messages import Audio, Begin, Cancel, End, FromRecogniser, ToRecogniser, UtteranceEnded, WordSpotted

LONGEST = 8.0
"""Seconds after which an utterance is ended though its speech goes on."""

ANSWER_WITHIN = 3.0
"""Seconds after its end in which the recogniser must answer; as long an utterance that follows may have to wait."""

CHUNK_FRAMES = 3
"""Frames per message."""


@dataclass(slots=True)
class Listener:
    """The ear of one stream: what it listens for, and the utterance under way.

    ``answer_for`` is the end of the utterance whose answer is awaited; the answer bears it.
    """

    stream: int
    ticket: int
    words: Sequence[str]
    language: str
    open_since: float | None = None
    heard: bool = False
    chunk: list[bytes] = field(default_factory=list)
    answer_due: float | None = None
    answer_for: float | None = None
    waiting: list[ToRecogniser] = field(default_factory=list)


class Utterances:
    """All utterances of a worker. ``outgoing`` is for the recogniser, ``reports`` for the control process.

    ``ready`` says whether there is a recogniser that can keep up; ``unheard`` counts utterances that none heard.
    """

    def __init__(self, reports: list[Report]) -> None:
        self.ready = False
        self.unheard = 0
        self.outgoing: list[ToRecogniser] = []
        self.reports = reports
        self._listeners: dict[int, Listener] = {}

    def listen(self, stream: int, ticket: int, words: Sequence[str], language: str) -> None:
        """Listen for ``words`` from now on; what was under way for an earlier ticket is dropped."""
        self.stop(stream)
        self._listeners[stream] = Listener(stream, ticket, words, language)

    def stop(self, stream: int) -> None:
        """Nobody listens to ``stream`` any more."""
        listener = self._listeners.pop(stream, None)
        if listener is not None and (listener.heard or listener.answer_due is not None):
            self.outgoing.append(Cancel(stream, listener.ticket))

    def begin(self, stream: int, since: float, earlier: bytes, now: float) -> None:
        """Speech began at ``since``; ``earlier`` is the sound until ``now``, a little of what was before included."""
        listener = self._listeners.get(stream)
        if listener is None or listener.open_since is not None:
            return
        listener.open_since = now
        self.reports.append(UtteranceStarted(stream, listener.ticket, since))
        if not self.ready:
            self.unheard += 1
            return
        listener.heard = True
        started = now - len(earlier) / 2 / RATE
        self._tell(listener, Begin(stream, listener.ticket, list(listener.words), listener.language, started))
        self._tell(listener, Audio(stream, listener.ticket, earlier))

    def sound(self, stream: int, frame: bytes, now: float) -> bool:
        """A frame of an utterance under way. Returns whether it is too long: :meth:`end` it and begin another."""
        listener = self._listeners.get(stream)
        if listener is None or listener.open_since is None:
            return False
        if listener.heard:
            listener.chunk.append(frame)
            if len(listener.chunk) >= CHUNK_FRAMES:
                self._flush(listener)
        return now - listener.open_since >= LONGEST

    def end(self, stream: int, now: float) -> None:
        """The utterance is over: the recogniser's answer is awaited, without one it was empty."""
        listener = self._listeners.get(stream)
        if listener is None or listener.open_since is None:
            return
        listener.open_since = None
        if not listener.heard:
            self.reports.append(UtteranceEnded(stream, listener.ticket, [], now))
            return
        self._flush(listener)
        listener.heard = False
        self._tell(listener, End(stream, listener.ticket, now))
        if listener.answer_due is None:
            listener.answer_due, listener.answer_for = now + ANSWER_WITHIN, now

    def under_way(self, stream: int) -> bool:
        listener = self._listeners.get(stream)
        return listener is not None and listener.open_since is not None

    def answer(self, message: FromRecogniser, now: float) -> None:
        """Hear what the recogniser says; what nobody waits for is dropped."""
        listener = self._listeners.get(message.stream)
        if listener is None or listener.ticket != message.ticket:
            return
        if isinstance(message, WordSpotted):
            if listener.open_since is not None or listener.answer_due is not None:
                self.reports.append(message)
        elif listener.answer_due is not None and message.at == listener.answer_for:
            self.reports.append(message)
            self._next(listener, now)

    def check(self, now: float) -> None:
        """Give up on answers that do not come."""
        for listener in self._listeners.values():
            if listener.answer_due is not None and now >= listener.answer_due:
                self.unheard += 1
                self.outgoing.append(Cancel(listener.stream, listener.ticket))
                self.reports.append(UtteranceEnded(listener.stream, listener.ticket, [], now))
                self._next(listener, now)

    def lose(self, now: float) -> None:
        """The recogniser is gone: what it was to answer was not heard."""
        self.ready = False
        self.outgoing.clear()
        for listener in self._listeners.values():
            ended = (listener.answer_due is not None) + sum(isinstance(message, End) for message in listener.waiting)
            self.unheard += ended + listener.heard
            self.reports += [UtteranceEnded(listener.stream, listener.ticket, [], now)] * ended
            listener.answer_due, listener.heard = None, False
            listener.waiting.clear()
            listener.chunk.clear()

    def _flush(self, listener: Listener) -> None:
        if listener.chunk:
            self._tell(listener, Audio(listener.stream, listener.ticket, b"".join(listener.chunk)))
            listener.chunk.clear()

    def _tell(self, listener: Listener, message: ToRecogniser) -> None:
        if listener.answer_due is None:
            self.outgoing.append(message)
        else:
            listener.waiting.append(message)

    def _next(self, listener: Listener, now: float) -> None:
        """The answer is there (or given up): on with what has waited for it."""
        listener.answer_due = None
        waiting, listener.waiting = listener.waiting, []
        while waiting:
            message = waiting.pop(0)
            self.outgoing.append(message)
            if isinstance(message, End):
                listener.answer_due, listener.answer_for = now + ANSWER_WITHIN, message.at
                listener.waiting = waiting
                return
