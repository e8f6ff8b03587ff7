"""The ``Call`` protocol: all that an executor may await.

It has two implementations: the live call over SIP and a media worker
(``engine.calls.live``) and a scripted caller under a virtual clock
(``flows.simulate``). Times are seconds on the call's own clock.

Two kinds of thing happen to a call. *Inputs* (keys, words, the end of a prompt)
are taken one at a time with :meth:`Call.next`; keys wait there until a step asks
for them, which is what makes type-ahead work. *The end* is an exception: every
awaitable method raises :class:`CallEnded` once the call is over, whoever ended it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

EndedBy = Literal["caller", "flow", "limit", "error"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to hear: ``text`` to speak, or ``media`` (a URL or a file) to play."""

    text: str = ""
    media: str = ""
    voice: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words a recogniser should listen for, casefolded, and their language."""

    words: tuple[str, ...] = ()
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Key:
    """One press of one key: ``0``-``9``, ``*``, ``#``, ``A``-``D``."""

    digit: str
    at: float


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak. An utterance is under way until its :class:`Words`."""

    at: float


@dataclass(frozen=True, slots=True)
class BargeIn:
    """A vocabulary word was heard with confidence, in the middle of an utterance."""

    word: str
    at: float


@dataclass(frozen=True, slots=True)
class Words:
    """The end of an utterance: all its vocabulary words in order, empty if there was none."""

    words: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class PromptEnded:
    """All prompts of the last :meth:`Call.start` were heard to their end."""

    at: float


Input = Key | SpeechStarted | BargeIn | Words | PromptEnded


class CallEnded(Exception):
    """The call is over; raised out of every awaitable method of a :class:`Call`."""

    def __init__(self, by: EndedBy, reason: str) -> None:
        super().__init__(f"{by}: {reason}")
        self.by: EndedBy = by
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """How a transfer went: ``status`` is the final SIP status, 0 when none came."""

    accepted: bool
    status: int
    reason: str


# --- what an executor tells the call; never awaited, never lost -------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """A node of the flow was entered; ``path`` is the call's path from then on."""

    path: str
    step: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """``url`` was reached: from now on it gets this call's events."""

    url: str


@dataclass(frozen=True, slots=True)
class Callback:
    """An HTTP request to make: ``params`` in order, all text, on top of the URL's own query."""

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"


@dataclass(frozen=True, slots=True)
class Forwarding:
    """``url`` asked for the list of live calls, every second while this call lives."""

    url: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """A prompt was started."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Heard:
    """What the caller pressed or said, once it had been decided on."""

    kind: Literal["key", "words"]
    value: str


Note = Entered | Subscribed | Callback | Forwarding | Spoke | Heard


class Call(Protocol):
    """One call, as a flow sees it."""

    @property
    def id(self) -> str: ...

    @property
    def caller(self) -> str:
        """The calling number: the user part of From, ``+`` kept."""

    @property
    def callee(self) -> str:
        """The dialled number: the user part, ``+`` kept."""

    @property
    def answered_at(self) -> float | None: ...

    def now(self) -> float:
        """Seconds on this call's clock: monotonic, virtual in the simulator."""

    def tell(self, note: Note) -> None:
        """Put down what happened. Works after the end too: that is how ``close`` is said."""

    async def answer(self) -> None:
        """Answer the call and wait until media may flow (at once if it was answered before)."""

    def start(self, prompts: Sequence[Prompt]) -> None:
        """Start ``prompts``, one after the other, in place of what is playing."""

    def stop(self) -> None:
        """Stop what is playing. No :class:`PromptEnded` follows."""

    async def played(self) -> None:
        """Wait until the prompts have ended. Keys pressed meanwhile stay for :meth:`next`."""

    def hear(self, vocabulary: Vocabulary | None) -> None:
        """Listen for words from now on (``None``: no longer). Keys are always heard."""

    async def next(self, deadline: float | None) -> Input | None:
        """The next input, or ``None`` once the clock has reached ``deadline``."""

    async def pause(self, seconds: float) -> None:
        """Silence for ``seconds``. Keys pressed meanwhile stay for :meth:`next`."""

    async def transfer(self, target: str) -> TransferOutcome:
        """Send the caller to ``target``, a number or a SIP URI."""

    async def hangup(self, reason: str) -> None:
        """End the call from our side. Raises :class:`CallEnded` (by ``flow``)."""
