"""What a flow may ask of a call besides speaking and listening: one order, one outcome.

A dialect's compiler has settled every default and unit before it writes an order: times are seconds here.
:meth:`flows.call.Call.perform` carries an order out and says how it went; a call that cannot
raises :class:`flows.call.Unsupported`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, TypeVar

from .prompts import Draft, Prompt
from .targets import is_media
from .templates import Template, Text, Variables, fill_name, fill_target, fill_url

Needs = Literal["nothing", "early media", "answer"]
"""What a step needs of the call: nothing, a media path (before the answer if need be), or that it is answered."""

_REFUSAL = re.compile(r"[3-6]\d\d\Z", re.ASCII)

Sides = Literal["caller", "peer", "mix", "stereo", "each"]
"""Whose voice a recording has; ``each``: a file for either."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a recording is sent when it is done; ``name`` is put behind ``url`` and a slash, if there is one.

    ``url`` may be of http, https, ftp or ftps. A ``numbered`` name is that of the call's first recording; later ones
    have their ``number`` in it, which is known when the order is given: ``name-2.wav``, ``name-3.wav`` …
    """

    url: Text
    method: Literal["PUT", "POST"] = "PUT"
    name: Text = ""
    numbered: bool = False
    number: int = 1

    @property
    def place(self) -> str:
        """The whole URL. Only of one without templates."""
        url, name = str(self.url), str(self.name)
        if not name:
            return url
        if self.numbered and self.number > 1:
            stem, dot, extension = name.rpartition(".")
            name = f"{stem}-{self.number}{dot}{extension}" if dot else f"{name}-{self.number}"
        return f"{url.rstrip('/')}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The base of all orders. ``facts`` are the variables that the outcome sets, after the order's ``into``."""

    needs: ClassVar[Needs] = "answer"
    exits: ClassVar[tuple[str, ...]] = ()
    """Names of exits besides ``next``; a dial has those of hangup causes as well."""
    media: ClassVar[tuple[str, ...]] = ()
    """Fields that may name media which is heard besides prompts."""

    @property
    def sounds(self) -> tuple[Prompt, ...]:
        """What is played for it and best made before a call comes; without one the call hears what is usual there."""
        named = [str(getattr(self, name)) for name in self.media]
        return tuple([Prompt(media=media) for media in named if is_media(media)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody to ring. ``value`` is a number, a URI or an id; ``delay`` and ``timeout`` in seconds.

    ``any`` is the device, user or group that has the id; a ``queue`` stands for whoever has waited longest in it.
    """

    kind: Literal["number", "uri", "device", "user", "group", "any", "queue"]
    value: Text
    delay: float = 0.0
    timeout: float = 0.0
    """0: that of the dial."""
    weight: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial(Order):
    """Ring ``targets`` and bridge the caller with the first who answers; over when the bridge is.

    Facts: ``status`` (``completed``, ``busy``, ``no-answer``, ``failed``, ``canceled``), ``cause``
    (:mod:`flows.causes`), ``sip``, ``duration`` (s of the bridge), ``id``. A failure takes the exit of its cause, of
    ``sip:NNN``, or ``failed``.
    A hang-up of the caller ends all legs.
    """

    needs: ClassVar[Needs] = "nothing"
    exits: ClassVar[tuple[str, ...]] = ("failed",)
    media: ClassVar[tuple[str, ...]] = ("ringback",)
    targets: tuple[Target, ...]
    strategy: Literal["simultaneous", "single", "weighted", "page"] = "simultaneous"
    timeout: float = 20.0
    time_limit: float = 0.0
    """Of the bridge; 0: none."""
    repeats: int = 1
    ringback: str = ""
    """Media or tone that the caller hears meanwhile; empty: the peer's own."""
    caller_id: Text = ""
    caller_name: Text = ""
    hide_caller_id: bool = False
    record: Literal["", "caller", "peer", "each", "stereo"] = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    ignore_early_media: bool = False
    ignore_forwards: bool = True
    stop_on_reject: bool = False
    """One who rejects ends the ringing of all."""
    resources: Literal["any", "local", "global"] = "any"
    trunk: str = ""
    normalize: bool = True
    success_after: float = 0.0
    """Seconds of bridge that count as success; a shorter one is a failure with the ``status`` ``failed``."""
    hangup_on_key: str = ""

    @property
    def recorded(self) -> tuple[Sides, ...]:
        """Whose voice each of its recordings has; there is a file for each."""
        match self.record:
            case "":
                return ()
            case "each":
                return ("caller", "peer")
            case sides:
                return (sides,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conference(Order):
    """Join a room until the caller or the room is done. Facts: ``status``, ``duration``."""

    exits: ClassVar[tuple[str, ...]] = ("failed",)
    media: ClassVar[tuple[str, ...]] = ("entry_tone", "exit_tone", "welcome", "music")
    room: Text
    stored: bool = False
    """``room`` is the id of a conference that is set up, not a name of the account's own choosing."""
    moderator: bool = False
    muted: bool = False
    deaf: bool = False
    pins: tuple[str, ...] = ()
    moderator_pins: tuple[str, ...] = ()
    wait_for_moderator: bool = False
    ends_with_member: bool = False
    """The room is closed for all when this member leaves it."""
    most: int = 0
    """Members; 0: no limit of its own."""
    entry_tone: str = "default"
    """``default``, empty for none, or media."""
    exit_tone: str = "default"
    announce_name: bool = False
    welcome: str = "default"
    """``default``, empty for none, or media."""
    music: str = ""
    record: bool = False
    time_limit: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Voicemail(Order):
    """Leave a message in a box, or check it."""

    exits: ClassVar[tuple[str, ...]] = ("failed",)
    box: Text
    action: Literal["compose", "check"] = "compose"
    limit: float = 500.0
    between_keys: float = 2.0
    single_login: bool = False
    login_by_caller_id: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Park(Order):
    """Park the caller in a slot (empty: a free one), or take the one who is parked there (``retrieve``).

    After ``timeout`` seconds (0: never) who has parked the caller is called back, if that is known, and talks with the
    caller then; otherwise it has failed, or the caller is parked again (``keep``). A caller who parks himself in a slot
    that was chosen is told its number, in ``language``. Facts: ``status``, ``duration``, ``slot``.
    """

    exits: ClassVar[tuple[str, ...]] = ("failed",)
    slot: Text = ""
    action: Literal["park", "retrieve", "auto"] = "auto"
    timeout: float = 0.0
    keep: bool = False
    language: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueue(Order):
    """Wait in a queue until somebody takes the call.

    Facts: ``status``, ``duration`` (s of talking), ``waited`` (s), and what was so when the call was taken, or nobody
    had come: ``position`` (from 1), ``size`` (who waited, with this caller), ``average`` (s that they had waited).
    """

    exits: ClassVar[tuple[str, ...]] = ("failed",)
    media: ClassVar[tuple[str, ...]] = ("music",)
    queue: Text
    music: str = ""
    timeout: float = 0.0
    announce_every: float = 0.0
    """Seconds until the caller is told the position, again and again, in ``language``; 0: never."""
    language: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveQueue(Order):
    """Out of the queue, back to the step behind the one that queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDigits(Order):
    """Send keys ``0-9A-D*#`` to the caller."""

    digits: Text
    tone: float = 0.1
    gap: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Order):
    """Publish a state for ``entity`` (a user, or ``user@realm``) to its subscribers."""

    needs: ClassVar[Needs] = "nothing"
    entity: Text
    state: Literal["idle", "ringing", "busy"] = "idle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Respond(Order):
    """End the call with a SIP answer: before the answer the status, after it a BYE with a Reason. ``prompts`` first."""

    needs: ClassVar[Needs] = "nothing"
    code: int
    reason: str = ""
    prompts: tuple[Prompt | Draft, ...] = ()
    status: Text = ""
    """Counts in place of ``code`` when it comes to a final SIP status that is no success."""

    @property
    def final(self) -> int:
        """The status to answer with."""
        return int(self.status) if isinstance(self.status, str) and _REFUSAL.match(self.status) else self.code


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectMachine(Order):
    """Find out who picked up, for ``patience`` seconds at most; ``wait``: until a machine's greeting is over."""

    exits: ClassVar[tuple[str, ...]] = ("machine",)
    patience: float = 7.0
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRecording(Order):
    """Record the call from here on. ``on``: at once, or not before the answer or the bridge. ``limit`` in seconds."""

    needs: ClassVar[Needs] = "nothing"
    format: Literal["wav", "mp3"] = "wav"
    sides: Sides = "stereo"
    limit: float = 0.0
    least: float = 0.0
    """Shorter recordings are thrown away."""
    sample_rate: int = 0
    on: Literal["now", "answer", "bridge"] = "now"
    upload: Upload | None = None
    label: str = ""

    @property
    def each(self) -> tuple[tuple[Sides, Upload | None], ...]:
        """Whose voice each of its files has, and where that file is sent."""
        if self.sides != "each":
            return ((self.sides, self.upload),)
        later = None if self.upload is None else replace(self.upload, number=self.upload.number + 1)
        return (("caller", self.upload), ("peer", later))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecording(Order):
    """Stop what :class:`StartRecording` began; nothing happens when nothing records."""

    needs: ClassVar[Needs] = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSession(Order):
    """Bridge the caller with another live call of the account, by its id, until one of both hangs up.

    One that waits in a queue or a slot is taken out of it, and its flow goes on afterwards as if somebody had come. The
    flow of any other is over: it ends with the bridge. It fails where the other has no flow to itself: it is not
    answered, talks with somebody, calls others, is in a conference or is being transferred. Facts: ``status``,
    ``duration`` (s).
    """

    exits: ClassVar[tuple[str, ...]] = ("failed",)
    session: Text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order went: ``exits`` to try, best first (``next`` when the step has none of them), and its facts."""

    exits: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    story: str = ""
    """In words, as in "sip:100 did not answer"; empty when there is nothing to tell."""
    q850: int | None = None
    """Of a dial that failed: the number of the cause (ITU-T Q.850) that the other side gave, if it did."""


_T = TypeVar("_T")


def filled(value: _T, variables: Variables) -> _T:
    """``value`` (an order or part of one) with all its templates filled in.

    Raises :class:`~flows.templates.UnsafeUrl`: values of variables are escaped in URLs.
    """
    result: _T = _filled(value, variables)
    return result


def _filled(value: Any, variables: Variables) -> Any:
    match value:
        case Template() | Draft():
            return value.fill(variables)
        case tuple():
            return tuple(_filled(each, variables) for each in value)
        case Upload():
            return replace(value, url=fill_url(value.url, variables), name=fill_name(value.name, variables))
        case Target():
            return replace(value, value=fill_target(value.value, variables))
        case Order():
            changed = {
                each.name: new
                for each in fields(value)
                if (new := _filled(old := getattr(value, each.name), variables)) is not old
            }
            return replace(value, **changed) if changed else value
        case _:
            return value


def failed(story: str) -> Outcome:
    """The outcome of what could not be begun."""
    return Outcome(("failed",), {"status": "failed", "duration": "0"}, story)
