"""What an endpoint reports. Every event of a session carries it; :class:`Ended` is the last of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from engine.sip.flow import Flow
from engine.sip.uri import Address

if TYPE_CHECKING:
    from engine.sip.client import OutgoingSession
    from engine.sip.referred import IncomingReferral
    from engine.sip.registration import Registration
    from engine.sip.server import IncomingSession
    from engine.sip.session import Session

EndedBy = Literal["remote", "local", "timeout", "transport"]


@dataclass(frozen=True, slots=True)
class Invited:
    """A new INVITE; its offer is ``session.offer``. Nothing has been sent: turn its caller away or say ``trying``.

    ``session.replaces`` is a session that it is to replace (RFC 3891), if any: after ``accept``, terminate that one.
    """

    session: IncomingSession


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The ACK to a 2xx of ours came. ``sdp`` is the peer's answer if the 2xx carried our offer."""

    session: Session
    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class Reoffered:
    """A re-INVITE or UPDATE: answer with ``answer_reoffer`` or ``reject_reoffer``.

    Without ``sdp`` it asks for a full offer of ours, whose answer comes with :class:`Acknowledged`.
    """

    session: Session
    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class Progressed:
    """A provisional response to our INVITE, 101 to 199. ``sdp`` is early media.

    ``tag`` says which phone of several that the INVITE was forked to: each has an early dialog, and media, of its own.
    """

    session: OutgoingSession
    status: int
    reason: str
    sdp: bytes | None
    tag: str = field(default="", compare=False)
    reliable: bool = field(default=False, compare=False)
    """Whether it was acknowledged with a PRACK (RFC 3262): its SDP is the answer then, not a preview of it."""
    offered: bool = field(default=False, compare=False)
    """Whether ``sdp`` is an offer, as our INVITE had none: answer it with ``answer_progress``."""


@dataclass(frozen=True, slots=True)
class ProgressAcknowledged:
    """The PRACK for a reliable provisional response of ours came. ``sdp`` is the answer, if that carried our offer."""

    session: IncomingSession
    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class Answered:
    """Our INVITE was answered. If it carried no offer, ``sdp`` is one: answer it with ``acknowledge``.

    An answer that came reliably before is repeated here if the 200 has none; ``None`` leaves everything as it is.
    ``tag`` is that of the phone that won, as in :class:`Progressed`.
    """

    session: OutgoingSession
    sdp: bytes | None
    tag: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Our INVITE was refused (408: no answer at all, 503: it could not be sent). :class:`Ended` follows."""

    session: OutgoingSession
    status: int
    reason: str
    q850: int | None


@dataclass(frozen=True, slots=True)
class Redirected:
    """Our INVITE was answered with 3xx: try ``contacts``, the most wanted first. :class:`Refused` follows.

    ``Endpoint.follow`` calls them one after another, within limits.
    """

    session: OutgoingSession
    status: int
    reason: str
    contacts: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """Our re-INVITE was answered. If it carried no offer, ``sdp`` is one: answer it with ``acknowledge``."""

    session: Session
    sdp: bytes | None


@dataclass(frozen=True, slots=True)
class ReofferRefused:
    """Our re-INVITE was refused; the session goes on as it was."""

    session: Session
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class InfoReceived:
    """An INFO with a key press in it (``application/dtmf-relay`` or ``application/dtmf``), answered with 200."""

    session: Session
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """What the peer tells of the transfer that we asked for. ``status`` 0: it ended without a word.

    Exactly one is ``final``, unless :class:`ReferRefused` came instead.
    """

    session: Session
    status: int
    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class ReferRefused:
    """The peer does not take our REFER (408: no answer, 503: it could not be sent)."""

    session: Session
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferRequested:
    """The peer asks us to call ``referral.target`` (REFER): it was answered with 202 and told that it is being tried.

    Whether it is done is yours to decide: say with ``referral.notify`` how it goes. If ``referral.replaces`` is given,
    the call is to replace another one: put it into a Replaces header.
    """

    session: Session
    referral: IncomingReferral


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over: exactly once per session, whatever raced.

    ``status`` is the SIP status that says how: 200 after a BYE, 487 when cancelled, 408 when nobody
    answered, otherwise that of the refusal. ``reason`` and ``q850`` are from the peer's Reason header.
    """

    session: Session
    by: EndedBy
    status: int
    reason: str
    q850: int | None = None


@dataclass(frozen=True, slots=True)
class ByeFinished:
    """The BYE of ``resume_bye`` is done: ``status`` is its final response, 408 or 503 if there was none."""

    call_id: str
    status: int


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """A registration succeeded, failed or was removed. ``retry_at`` is when the next REGISTER is sent, if any."""

    registration: Registration
    registered: bool
    status: int
    reason: str
    retry_at: float | None


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device registered at a place (``contact`` is its URI), left one of several (``contact`` is where it is best
    reached now), or went away altogether (``contact`` is ``None``).
    """

    name: str
    contact: str | None
    flow: Flow | None
    contacts: int = field(default=1, compare=False)
    """How many places it has now."""


@dataclass(frozen=True, slots=True)
class OptionsAnswered:
    """The final response to an OPTIONS of ours; 408 if none came, 503 if it could not be sent."""

    target: str
    status: int


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """A device watches the calls of ``entity`` from now on, or does not any more."""

    entity: str
    subscriber: str
    active: bool


SessionEvent = (
    Invited
    | Acknowledged
    | Reoffered
    | Progressed
    | ProgressAcknowledged
    | Answered
    | Redirected
    | Refused
    | ReofferAnswered
    | ReofferRefused
    | InfoReceived
    | ReferProgress
    | ReferRefused
    | ReferRequested
    | Ended
)
Event = SessionEvent | ByeFinished | RegistrationChanged | DeviceChanged | OptionsAnswered | SubscriptionChanged
