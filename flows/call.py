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

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from .orders import Order, Outcome, Sides, Upload
from .prompts import Prompt

if TYPE_CHECKING:
    from .graph import Graph

_T = TypeVar("_T")

EndedBy = Literal["caller", "flow", "limit", "error"]

ALL_SHOWN: Mapping[Prompt, Prompt] = MappingProxyType({})
"""Of prompts none of which is secret."""

MAX_KEPT = 65_536
"""Octets of a fetched document that are put down with the call."""


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


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A recording is over: ``duration`` in seconds; ``reason`` is ``stopped``, ``silence``, ``limit`` or a fault."""

    recording: str
    duration: float
    reason: str
    at: float
    url: str = ""


Input = Key | SpeechStarted | BargeIn | Words | PromptEnded | RecordingEnded


class CallEnded(Exception):
    """The call is over; raised out of every awaitable method of a :class:`Call`."""

    def __init__(self, by: EndedBy, reason: str) -> None:
        super().__init__(f"{by}: {reason}")
        self.by: EndedBy = by
        self.reason = reason


class Replaced(Exception):
    """The rest of the program was replaced from outside; raised once out of the awaitable method that is under way."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name)
        self.graph = graph


class Unsupported(Exception):
    """What was asked for is not possible on this call; the text says what and why."""


class FetchFailed(Exception):
    """No answer came from a web server: not allowed, not reached, too slow, too much."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request whose answer the flow waits for. ``query`` goes behind the URL's own; ``body`` is a POST's."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = ""
    patience: float = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a web server answered. ``url`` is where the answer came from, after redirects."""

    status: int
    content_type: str
    body: bytes
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordingOrder:
    """Record from now on. ``limit`` and ``silence`` in seconds, 0 for none."""

    format: Literal["wav", "mp3"] = "wav"
    sides: Sides = "caller"
    limit: float = 0.0
    silence: float = 0.0
    beep: bool = False
    trim: bool = False
    least: float = 0.0
    """Shorter ones are not kept."""
    upload: Upload | None = None
    transcribe: str = ""


@dataclass(frozen=True, slots=True)
class TransferOutcome:
    """How a transfer went: ``status`` is the final SIP status, 0 when none came."""

    accepted: bool
    status: int
    reason: str


# --- what an executor tells the call; never awaited, never lost -------------------------
#
# Together the notes hold all that came from outside, so that a call can be walked again (:mod:`flows.tools.replay`).


@dataclass(frozen=True, slots=True)
class Began:
    """The flow began: its name, what was known of the call, and the settings where the flow has none of its own."""

    flow: str
    facts: Mapping[str, str] = field(default_factory=dict)
    listen: float = 5.0
    repeats: int = 2


@dataclass(frozen=True, slots=True)
class Reached:
    """A step began, those that are :attr:`~flows.graph.Step.quiet` aside; ``exit``: the way to it from the one before.

    ``flow`` is 0 in the flow that the call began with, 1 in the first that took over from there, and so on.
    """

    step: str
    verb: str
    origin: str = ""
    exit: str = ""
    flow: int = 0
    hears: bool = False
    """It takes what the caller does while it lasts."""


@dataclass(frozen=True, slots=True)
class Took:
    """A step took what the caller did ``ago`` seconds before: a ``key``; that somebody began to speak (``speech``); a
    ``word`` that stopped a prompt; all ``words`` of an utterance.
    """

    kind: Literal["key", "speech", "word", "words"]
    values: tuple[str, ...] = ()
    ago: float = 0.0


@dataclass(frozen=True, slots=True)
class FellSilent:
    """The prompts have ended, or there were none. ``turn``: it is for the caller to do something now."""

    turn: bool


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
    """An HTTP request to make: ``params`` in order, all text, on top of the URL's own query.

    With the encoding ``body`` they are two: ``body``, sent as it is, and its ``content_type``, empty for none at all.
    """

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    method: Literal["GET", "POST"] = "GET"
    encoding: Literal["query", "form", "json", "body"] = "query"
    secret: bool = False
    """There is something in it that only its server is to read (:mod:`flows.secrets`)."""


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


@dataclass(frozen=True, slots=True)
class Fetched:
    """A flow was asked for: ``status`` 0 when no answer came; ``problem`` is empty when it was taken.

    ``body`` is the answer, if it is text of :data:`MAX_KEPT` octets at most; ``size`` and ``digest`` (SHA-256) are
    those of the answer in any case. ``source`` is the URL that it came from, after redirects. ``unreadable``: an answer
    came, and is no flow.

    Where the flow wants all of it ``kept``, ``sent`` is the body of the request, ``sent_type`` its content type, and
    ``headers`` are those of the answer, named in small letters.
    """

    url: str
    method: str
    status: int = 0
    problem: str = ""
    content_type: str = ""
    source: str = ""
    body: str = ""
    size: int = 0
    digest: str = ""
    unreadable: bool = False
    kept: bool = False
    sent: str = ""
    sent_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordOwed:
    """The record of the call is to be told to ``url`` when the call is over."""

    url: str


@dataclass(frozen=True, slots=True)
class Performed:
    """An order was carried out, or could not be (``exits`` begin with ``unsupported``); ``story`` in words.

    The rest is as in :class:`flows.orders.Outcome`.
    """

    order: str
    story: str
    exits: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that a step asked for is over."""

    recording: str
    format: str
    duration: float
    reason: str


@dataclass(frozen=True, slots=True)
class Learned:
    """The flow has ended: the variables of its own (``var.…``, ``flow.…``) that it has set, with their last values."""

    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something did not go as the flow's author wrote it; the call goes on."""

    step: str
    what: str


Note = (
    Began
    | Reached
    | Took
    | FellSilent
    | Entered
    | Subscribed
    | Callback
    | Forwarding
    | Spoke
    | Heard
    | Fetched
    | RecordOwed
    | Performed
    | Recorded
    | Learned
    | Trouble
)


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

    @property
    def facts(self) -> Mapping[str, str]:
        """What is known of the call, by the names of :data:`flows.templates.CALL_VARIABLES`."""

    def now(self) -> float:
        """Seconds on this call's clock: monotonic, virtual in the simulator."""

    def tell(self, note: Note) -> None:
        """Put down what happened. Works after the end too: that is how ``close`` is said."""

    def when_answered(self, told: Callable[[], None]) -> None:
        """Have ``told`` called when the call is answered from now on, whoever answers it."""

    async def answer(self) -> None:
        """Answer the call and wait until media may flow (at once if it was answered before)."""

    async def prepare(self, prompts: Sequence[Prompt], shown: Mapping[Prompt, Prompt] = ALL_SHOWN) -> Sequence[Prompt]:
        """Have ``prompts`` ready to be heard; those that can be. What cannot has been told as :class:`Trouble`.

        ``shown`` are those with something secret in them, each with what is to be told of it.
        """

    async def early_media(self) -> None:
        """Have sound reach the caller before the answer; at once if it was answered, or if there is such a path."""

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

    async def fetch(self, request: Request) -> Reply:
        """Make an HTTP request and wait for its answer, whatever its status. Raises :class:`FetchFailed`."""

    async def compute(self, work: Callable[[], _T], size: int) -> _T:
        """The value of ``work``; if ``size`` (octets of a document) is large it is done away from the loop."""

    async def stored_flow(self, flow: str) -> Graph | None:
        """A flow of the call's account, by its id."""

    async def perform(self, order: Order) -> Outcome:
        """Carry out ``order`` (without templates). Raises :class:`Unsupported`."""

    def secret(self, ahead: Iterable[Key] = ()) -> AbstractContextManager[None]:
        """Nothing that is captured of the call tells the keys pressed within, nor those that were pressed ``ahead``."""

    def record(self, order: RecordingOrder) -> str:
        """Begin a recording, after its beep; its id. :class:`RecordingEnded` will come. Raises :class:`Unsupported`."""

    def stop_recording(self, recording: str) -> None:
        """End a recording; no error when it has ended."""

    async def recording_end(self, recording: str) -> RecordingEnded:
        """End a recording and wait for the end, also after that of the call: never raises :class:`CallEnded`."""

    async def hangup(self, reason: str) -> None:
        """End the call from our side. Raises :class:`CallEnded` (by ``flow``)."""
