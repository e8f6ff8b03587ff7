"""What differs between those who speak TwiML, as data: defaults, limits, policies, parameters of requests.

``twiml``     the superset, with Twilio's defaults (CONTRACTS §6)
``verboice``  Verboice's broker (CONTRACTS §2.2, §2.3)
``pivot``     Kazoo's Pivot (CONTRACTS §3.5)

Times are seconds. Variables: the keys of a ``<Gather>`` are in ``digits.default``, a ``<Variable>`` is kept as
``var.NAME``; it is also put into ``param.NAME``, and every request sends all ``param.…`` under their own names.
Whoever starts a call with parameters for its callbacks (Verboice's ``callback_params``) sets those too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from flows.graph import DEFAULT_COLLECTION, Param
from flows.templates import var

DIGITS = f"digits.{DEFAULT_COLLECTION}"
PARAMS = "param."
ALL_KEYS = "0123456789*#ABCD"
KEYPAD = "0123456789*#"

Policy = Literal["skip", "stop", "refuse"]
"""What an unknown verb does: nothing; it ends the call there; the whole document is no flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One way of reading TwiML. The defaults here are Twilio's."""

    name: str
    unknown_verb: Policy = "skip"
    unanswered: frozenset[str] = frozenset({"Reject", "Redirect", "Set", "Pause", "Leave"})
    """Verbs that do not answer the call first."""

    say_limit: int = 4096
    """Characters that are spoken; 0: no limit of its own."""
    stop_keys: str = ""
    """Keys that end a ``<Say>`` or ``<Play>``."""

    gather_timeout: float = 5.0
    exact_digits: bool = False
    """``numDigits`` is how many there must be, not only how many there may be."""
    one_prompt: bool = False
    """Of the prompts in a ``<Gather>`` only the last counts."""

    record_limit: float = 3600.0
    record_silence: float = 5.0
    timeout_is_length: bool = False
    """``timeout`` of a ``<Record>`` is how long it may be, as the AGI command RECORD FILE has it, not a silence."""
    record_keys: str = KEYPAD
    record_trim: bool = True
    record_format: Literal["wav", "mp3"] = "wav"
    asks_without_recording: bool = False
    """The request after a ``<Record>`` is made even if nothing was recorded."""
    asks_after_hangup: bool = True
    """It is made when the caller hangs up while recording, with ``Digits=hangup``; nobody looks at the answer."""

    returns: bool = False
    """What a verb fetched comes back to the verb that follows it, where there is one (CONTRACTS §2.2)."""

    dial_timeout: float = 30.0
    endpoint_timeout: float = 30.0
    """The same for anything but a single number."""
    dial_limit: float = 14_400.0
    dial_answers_endpoints: bool = True
    """Ringing devices and users answers the call first, as ringing numbers does."""
    dial_words: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Words for the outcome of a dial that differ from ours."""
    queues: bool = True
    """``<Queue>`` can be dialled."""
    conference_members: int = 250

    reject_codes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({"rejected": 603, "busy": 486}))
    method: Literal["GET", "POST"] = "POST"
    patience: float = 15.0
    """For the answer to a request."""

    readers: tuple[tuple[str, tuple[str, ...]], ...]
    """Who reads the answer to a request, by content type (:class:`flows.graph.Fetch`)."""
    always: tuple[Param, ...]
    """Parameters of every request."""
    after_gather: tuple[Param, ...] = ()
    after_record: tuple[Param, ...] = ()
    after_dial: tuple[Param, ...] = ()
    after_queue: tuple[Param, ...] = ()
    clear: tuple[str, ...] = ()
    """Variables that are empty once they were sent."""

    @property
    def owned(self) -> frozenset[str]:
        """Names of parameters that a flow cannot give a value, in small letters."""
        own = (*self.always, *self.after_gather, *self.after_record, *self.after_dial, *self.after_queue)
        return frozenset(param.name.casefold() for param in own)

    def params(self, after: tuple[Param, ...] = ()) -> tuple[Param, ...]:
        """Those of every request and those of one verb, which win."""
        named = {param.name: param for param in (*self.always, *after)}
        return (*named.values(), Param(name="{}", each=PARAMS))


_RECORDING = (
    Param(name="RecordingUrl", value=var("recording.url")),
    Param(name="RecordingDuration", value=var("recording.duration")),
    Param(name="RecordingSid", value=var("recording.id")),
)
_DIAL = (
    Param(name="DialCallStatus", value=var("dial.status")),
    Param(name="DialCallSid", value=var("dial.id")),
    Param(name="DialCallDuration", value=var("dial.duration")),
)
_CALL = (
    Param(name="CallSid", value=var("call.id")),
    Param(name="AccountSid", value=var("call.account")),
    Param(name="From", value=var("call.caller")),
    Param(name="To", value=var("call.callee")),
    Param(name="CallStatus", value=var("call.status")),
    Param(name="ApiVersion", value="2010-04-01"),
)
_STOPPED_BY = Param(name="Digits", value=var("recording.key"))

TWIML = Flavour(
    name="twiml",
    readers=(("", ("twiml",)),),
    always=(
        *_CALL,
        Param(name="Direction", value=var("call.direction")),
        Param(name="CallerName", value=var("call.caller_name")),
    ),
    after_gather=(Param(name="Digits", value=var(DIGITS), always=True),),
    after_record=(*_RECORDING, _STOPPED_BY),
    after_dial=_DIAL,
    after_queue=(
        Param(name="QueueResult", value=var("queue.status")),
        Param(name="QueueTime", value=var("queue.waited")),
        Param(name="QueuePosition", value=var("queue.position")),
        Param(name="CurrentQueueSize", value=var("queue.size")),
        Param(name="AvgQueueTime", value=var("queue.average")),
    ),
    clear=(DIGITS,),
)

VERBOICE = Flavour(
    name="verboice",
    unknown_verb="refuse",
    unanswered=frozenset({"Reject"}),
    say_limit=0,
    exact_digits=True,
    one_prompt=True,
    record_limit=10.0,
    record_silence=0.0,
    timeout_is_length=True,
    record_trim=False,
    asks_without_recording=True,
    asks_after_hangup=False,
    returns=True,
    dial_timeout=60.0,
    endpoint_timeout=60.0,
    dial_limit=0.0,
    dial_words=MappingProxyType({"no-answer": "no_answer", "canceled": "failed"}),
    readers=(("", ("verboice",)),),
    always=(Param(name="CallSid", value=var("call.id")), Param(name="From", value=var("call.caller"))),
    after_gather=(Param(name="Digits", value=var(DIGITS)),),
    after_record=(Param(name="RecordingUrl", value=var("recording.url")),),
    after_dial=(Param(name="DialCallStatus", value=var("var.dial_status")),),
    clear=(DIGITS,),
)

PIVOT = Flavour(
    name="pivot",
    unknown_verb="stop",
    unanswered=frozenset({"Reject"}),
    say_limit=4000,
    stop_keys=ALL_KEYS,
    record_trim=False,
    record_format="mp3",
    dial_timeout=30.0,
    endpoint_timeout=20.0,
    dial_answers_endpoints=False,
    queues=False,
    conference_members=40,
    reject_codes=MappingProxyType({"rejected": 503, "busy": 486}),
    patience=5.0,
    readers=(
        ("application/json", ("kazoo",)),
        ("text/xml", ("pivot",)),
        ("application/xml", ("pivot",)),
        ("", ("pivot", "kazoo")),
    ),
    always=(
        *_CALL,
        Param(name="FromRealm", value=var("call.caller_realm")),
        Param(name="ToRealm", value=var("call.callee_realm")),
        Param(name="Direction", value="inbound"),
        Param(name="CallerName", value=var("call.caller_name")),
        Param(name="CallerNumber", value=var("call.caller")),
        *_RECORDING,
        Param(name="TranscriptionSid", value=var("transcription.id")),
        Param(name="TranscriptionText", value=var("transcription.text")),
        Param(name="TranscriptionStatus", value=var("transcription.status")),
        Param(name="TranscriptionUrl", value=var("transcription.url")),
        Param(name="Digits", value=var(DIGITS)),
        *_DIAL,
    ),
    after_record=(_STOPPED_BY,),
    clear=("digits.",),
)

FLAVOURS: Mapping[str, Flavour] = MappingProxyType({each.name: each for each in (TWIML, VERBOICE, PIVOT)})
