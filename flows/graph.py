"""The step graph: the one model that every dialect compiles to.

A step is one verb with named exits. An exit that a step does not have leads to the
``next`` one; a step without that ends the flow. What differs between dialects is settled
by their compilers: the executor knows verbs only. Graphs never change: a call holds the one
it started with, so a flow can be replaced while calls run.

Each class states what it needs of the call (:attr:`Step.needs`) and its exits (:attr:`Step.leads`). A hang-up in any
step ends the flow there; what a step had under way (a prompt, a recording, a dialled leg) ends with the call. Who is to
be told of a recording although the call ended is named behind an exit of its own, :data:`HUNG_UP`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

from .keywords import Choices
from .orders import Needs, Order, Respond, Sides, Upload
from .prompts import Draft, Prompt
from .templates import Condition, Text

NEXT = "next"
NOMATCH = "$nomatch"
"""Exit of :class:`Listen`: something was said or pressed, up to the last attempt, that no choice matched."""
SILENCE = "$silence"
"""Exit of :class:`Listen`: nothing was said or pressed in the last attempt."""
FAILED = "failed"
"""Exit of what depends on others: a transfer, a fetch, an order."""
NONE = "$none"
"""Exit of :class:`Collect`: no key was pressed."""
SHORT = "$short"
"""Exit of :class:`Collect`: keys were pressed, but not enough in time."""
FINISHED = "$finished"
"""Exit of :class:`Collect`: a finishing key came before there were enough."""
HUNG_UP = "$hungup"
"""Exit of :class:`Record`: the call ended meanwhile. Only :class:`Tell` and :class:`SetVariables` follow behind it."""
UNSUPPORTED = "unsupported"
"""Exit of any step that the call cannot do; ``failed`` and ``next`` are tried after it."""

DEFAULT_COLLECTION = "default"

MAX_AHEAD = 50
"""Steps after one that are looked at for the step that takes its keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb. ``origin`` is the JSON pointer, or the line, of the part of the document that it came from."""

    needs: ClassVar[Needs] = "nothing"
    leads: ClassVar[tuple[str, ...]] = (NEXT,)
    quiet: ClassVar[bool] = False
    """It has one way on and is over at once: nobody needs to be told that a call came by."""

    id: str
    origin: str
    exits: Mapping[str, str] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """What it does, in one word."""
        return type(self).__name__

    @property
    def hears(self) -> bool:
        """Whether it takes what the caller does while it lasts."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Step):
    """Answer the call, once. URLs subscribed before are told ``open``."""

    quiet: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter(Step):
    """A node of the flow begins: ``path`` is the call's path from here on."""

    quiet: ClassVar[bool] = True
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify(Step):
    """Tell every subscribed URL (``tree``) where the call is."""

    quiet: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe(Step):
    """From here on ``url`` is told about the call; once answered, it is told at once where the call is."""

    quiet: ClassVar[bool] = True
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Step):
    """``url`` gets the list of live calls while this call lives."""

    quiet: ClassVar[bool] = True
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(Step):
    """Let ``prompts`` be heard, ``times`` times (0: endlessly). A key of ``stop_keys`` ends them.

    Keys pressed meanwhile wait for the next step that takes some, the one that stopped it too; with ``into``
    that one is also put at the end of this variable.
    """

    needs: ClassVar[Needs] = "early media"
    prompts: tuple[Prompt | Draft, ...]
    times: int = 1
    stop_keys: str = ""
    into: str = ""

    @property
    def hears(self) -> bool:
        return bool(self.stop_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Step):
    """Silence for ``seconds``. Keys wait for the next step that takes some; one of ``stop_keys`` ends it."""

    seconds: float
    stop_keys: str = ""

    @property
    def hears(self) -> bool:
        return bool(self.stop_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen(Step):
    """Prompt and listen; exits are those of ``choices``, :data:`NOMATCH` and :data:`SILENCE`.

    ``prompts`` are for the first time, ``again`` for repeats. ``seconds`` (of waiting after the
    prompt) and ``repeats`` are the settings' when ``None``.
    """

    needs: ClassVar[Needs] = "answer"
    leads: ClassVar[tuple[str, ...]] = (NOMATCH, SILENCE)
    choices: Choices
    prompts: tuple[Prompt, ...] = ()
    again: tuple[Prompt, ...] = ()
    seconds: float | None = None
    repeats: int | None = None
    secret: bool = False
    """What is said or pressed is not put down (:mod:`flows.secrets`)."""

    @property
    def hears(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect(Step):
    """Prompt and take keys into the variable ``into``: from ``least`` to ``most`` of them (0: no limit).

    Any key stops the prompt; keys pressed ahead count. ``first`` seconds after the prompt without a key, or ``between``
    seconds after a key, it is over, and so it is with the last possible key or one of ``finish``, which is not
    kept. When that was too little, the prompt is repeated ``repeats`` times before an exit is taken.
    """

    needs: ClassVar[Needs] = "early media"
    leads: ClassVar[tuple[str, ...]] = (NEXT, NONE, SHORT, FINISHED)
    into: str
    prompts: tuple[Prompt | Draft, ...] = ()
    again: tuple[Prompt | Draft, ...] | None = None
    """For repeats; ``None``: the same."""
    least: int = 1
    most: int = 0
    finish: str = "#"
    keys: str = "0123456789*#ABCD"
    """Those that count; others are as if they had not been pressed."""
    first: float = 5.0
    between: float = 5.0
    repeats: int = 0
    secret: bool = False
    """The keys, and what is made of their variable, are not put down (:mod:`flows.secrets`)."""

    @property
    def hears(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Step):
    """Record the caller until a key of ``stop_keys``, ``silence`` seconds without a voice or ``limit`` seconds.

    ``beep`` first, after ``prompts``. Sets ``into`` + ``.id``, ``.url``, ``.duration`` (whole seconds), ``.key`` (that
    stopped it), ``.reason``. Exit :data:`NONE` when nothing was recorded. A hang-up keeps and uploads what there is;
    those behind :data:`HUNG_UP` are told of it.
    """

    needs: ClassVar[Needs] = "answer"
    leads: ClassVar[tuple[str, ...]] = (NEXT, NONE, HUNG_UP)
    into: str = "recording"
    prompts: tuple[Prompt | Draft, ...] = ()
    format: Literal["wav", "mp3"] = "wav"
    sides: Sides = "caller"
    limit: float = 0.0
    """0: none."""
    silence: float = 0.0
    """0: silence does not end it."""
    stop_keys: str = ""
    beep: bool = True
    trim: bool = False
    """Silence at both ends is cut off."""
    upload: Upload | None = None
    transcribe: str = ""
    """The language to transcribe in; empty: not at all."""

    @property
    def hears(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of a request; left out when it is empty, unless ``always``.

    With ``each`` there is one for every variable whose name begins with it, ``{}`` in ``name`` standing for the rest;
    or, as an ``object``, one whose value is the text of a JSON object of them all. A ``number`` is one in a JSON body;
    a ``uuid`` is the id of a call, a leg or a recording in that form.
    """

    name: str
    value: Text = ""
    each: str = ""
    always: bool = False
    kind: Literal["text", "number", "object", "uuid"] = "text"
    strip: str = ""
    """Characters that are taken off the beginning of the value, as the ``+`` of a telephone number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch(Step):
    """Ask a web server for a flow, and go on with that one in place of this; exit :data:`FAILED` when there is none.

    ``query`` is put behind the query that ``url`` has, ``params`` are the body of a POST. ``readers`` say, by content
    type (``""``: any other), which compilers read the answer: the first that makes a graph of it. With ``returns`` the
    flow comes back to the ``next`` exit when the fetched one has ended without hanging up. ``clear`` are
    variables to empty once sent; one that ends with a dot stands for all that begin with it.
    """

    leads: ClassVar[tuple[str, ...]] = (NEXT, FAILED)
    url: Text
    method: Literal["GET", "POST"] = "GET"
    query: tuple[Param, ...] = ()
    params: tuple[Param, ...] = ()
    encoding: Literal["form", "json"] = "form"
    content_type: str = ""
    """Empty: that of the encoding; ``-``: none at all."""
    readers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    patience: float = 5.0
    returns: bool = False
    last_good: bool = False
    """When it fails, the last flow that came from this URL to the account is used."""
    kept: bool = False
    """From here on requests and answers are put down with all that was in them."""
    record_to: Text = ""
    """URL that the record of the call is told to when it is over."""
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(Step):
    """Go on with a stored flow, by its id; :data:`FAILED` when there is none. With ``returns`` it comes back."""

    leads: ClassVar[tuple[str, ...]] = (NEXT, FAILED)
    flow: Text
    returns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell(Step):
    """Make an HTTP request whose answer nobody waits for: it is written down and delivered in time."""

    quiet: ClassVar[bool] = True
    url: Text
    method: Literal["GET", "POST"] = "POST"
    query: tuple[Param, ...] = ()
    params: tuple[Param, ...] = ()
    encoding: Literal["form", "json"] = "form"
    content_type: str = ""
    """As in :class:`Fetch`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``exit`` is taken when all ``conditions`` hold."""

    exit: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(Step):
    """Take the exit of the first of ``cases`` that holds; ``next`` when none does."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariables(Step):
    """Set variables, in order."""

    quiet: ClassVar[bool] = True
    values: tuple[tuple[str, Text], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush(Step):
    """Forget keys that were pressed ahead, and empty the variables that begin with ``prefix``, if there is one."""

    quiet: ClassVar[bool] = True
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perform(Step):
    """Carry an order out and wait for its outcome; its facts become ``into.NAME``, its exit is the outcome's."""

    leads: ClassVar[tuple[str, ...]] = (NEXT, FAILED)
    order: Order
    into: str = ""

    @property
    def verb(self) -> str:
        return type(self.order).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Step):
    """Send the caller to ``target``, a number or a SIP URI; exits ``next`` and :data:`FAILED`."""

    needs: ClassVar[Needs] = "answer"
    leads: ClassVar[tuple[str, ...]] = (NEXT, FAILED)
    target: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp(Step):
    """End the call. Without a ``reason``, what the step before it came to is the reason."""

    leads: ClassVar[tuple[str, ...]] = ()
    reason: str = ""


class Graph:
    """Steps by id, and where to start. Immutable; ``name`` is for people."""

    __slots__ = ("name", "start", "steps")

    def __init__(self, steps: Mapping[str, Step], start: str, *, name: str = "") -> None:
        """``KeyError`` when ``start`` or an exit leads nowhere."""
        self.steps: Mapping[str, Step] = MappingProxyType(dict(steps))
        self.start = start
        self.name = name
        for target in (start, *(target for step in steps.values() for target in step.exits.values())):
            if target not in self.steps:
                raise KeyError(target)

    def follow(self, step: Step, exit_name: str = NEXT) -> Step | None:
        """The step behind an exit of ``step``; ``None`` where the flow ends."""
        target = step.exits.get(exit_name) or step.exits.get(NEXT)
        return None if target is None else self.steps[target]

    def is_secret(self, step: Step) -> bool:
        """Whether nobody is to know of the keys pressed in ``step``: it says so, or it only speaks or waits before one
        that does, and takes what was pressed ahead.
        """
        following: Step | None = step
        for _ in range(MAX_AHEAD):
            match following:
                case Listen() | Collect():
                    return following.secret
                case Say() | Pause():
                    following = self.follow(following)
                case Step() if following.quiet:
                    following = self.follow(following)
                case _:
                    break
        return False

    def prompts(self) -> tuple[Prompt, ...]:
        """All that may be heard and is known now, each once, in document order: what to render before a call comes."""
        every = (prompt for step in self.steps.values() for prompt in prompts_of(step))
        return tuple(dict.fromkeys(prompt for prompt in every if isinstance(prompt, Prompt)))

    def sounds(self) -> tuple[Prompt, ...]:
        """The same of what orders play besides; a call goes on without it."""
        orders = (step.order for step in self.steps.values() if isinstance(step, Perform))
        return tuple(dict.fromkeys(sound for order in orders for sound in order.sounds))

    def listens(self) -> Iterator[Listen]:
        return (step for step in self.steps.values() if isinstance(step, Listen))


def prompts_of(step: Step) -> tuple[Prompt | Draft, ...]:
    """What ``step`` lets be heard."""
    match step:
        case Say() | Record():
            return step.prompts
        case Listen():
            return step.prompts + step.again
        case Collect():
            return step.prompts + (step.again or ())
        case Perform(order=Respond(prompts=prompts)):
            return prompts
        case _:
            return ()
