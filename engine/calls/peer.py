"""A leg beside the call's own: an INVITE of ours as a rule, its stream, and what becomes of both.

A peer rings, perhaps with early media, then answers or does not; once it has answered it lasts until one side hangs
up. Whoever waits for it is woken by :attr:`Peer.changed`. It ends exactly once, and then everything of it is closed.
Who called us is a peer, too, once somebody else is on the call's line in its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.calls.channels import Channel
from engine.calls.keys import KeyArbiter, read_info_digit
from engine.calls.leg import Leg, NoCommonMedia, PeerLeg, nobody_is_told
from engine.calls.media import Stream, StreamReport
from engine.log import Logger
from engine.security import OPEN, MediaSecurity
from engine.sip import events
from engine.sip.client import OutgoingSession
from engine.sip.digest import Credentials
from engine.sip.flow import Flow
from engine.sip.redirect import Trail
from engine.sip.referred import IncomingReferral
from engine.sip.session import Session
from engine.sip.uri import Address, Uri
from flows.causes import Cause, Remedy, cause_of, remedy_of
from media import reports

LOCAL_FAULT, NO_CHANNEL, REJECTED = "NETWORK_OUT_OF_ORDER", "NORMAL_CIRCUIT_CONGESTION", "CALL_REJECTED"
"""Causes of ours: something here broke, all channels of a trunk are in use, the account may not call there."""
MOST_INFOS = 32
"""Keys that are kept for an owner."""

State = Literal["new", "calling", "ringing", "early", "answered", "ended"]


Redirects = Literal["no", "same", "inside", "numbers", "any"]
"""Where a 3xx may lead: nowhere; to the same trunk; to our own telephones; also to numbers by trunks; anywhere."""


class NoChannel(Exception):
    """All channels of a trunk are in use; the text says of which."""


@dataclass(frozen=True, slots=True)
class Line:
    """The trunk, by its label, that a call takes a channel of; it has ``most``, 0: no limit."""

    trunk: str
    most: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an INVITE goes: ``uri`` through ``flow``, as ``caller``. ``label`` is for people."""

    label: str
    uri: Uri
    flow: Flow
    caller: Address
    to: Address
    credentials: Credentials | None = None
    headers: tuple[tuple[str, str], ...] = ()
    route: tuple[Address, ...] = ()
    trunk: str = ""
    security: MediaSecurity = OPEN
    srtp: bool = False
    """Encrypted sound is offered."""
    any_transport: bool = False
    """DNS may choose the transport (RFC 3263 section 4.1)."""
    fallback: bool = False
    """Only for when the destination before it could not do what it was offered (488)."""
    device: str = ""
    """The device that is there: when it refuses for all its places (6xx), the others ring no more."""
    line: Line | None = None
    redirects: Redirects = "no"
    trail: Trail | None = None
    """Where the call has been before it was redirected here."""
    respond_within: float = 0.0
    """Seconds without any response after which it counts as not there; 0: SIP's own 32."""


@dataclass(frozen=True, slots=True)
class PeerEnd:
    """How a peer ended: ``status`` is its final SIP status (408: none came), 200 after an answer."""

    status: int
    reason: str
    q850: int | None = None
    by: str = "remote"
    cause: str = ""
    """The cause (a name of :mod:`flows.causes`) when it was not the other side: no SIP status says it then."""

    @property
    def why(self) -> Cause:
        """What kept it from being connected; only of one that did not answer."""
        status = 480 if self.status == 487 else self.status  # it was given up, here or there, as nobody answered
        return cause_of(status, self.q850, self.cause)

    @property
    def remedy(self) -> Remedy:
        """What may help."""
        return remedy_of(self.status, self.q850)


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody calls to take a call that rings elsewhere (RFC 3891 section 3): ``take`` answers whoever that is."""

    take: Callable[[], Awaitable[Peer | PeerEnd]]
    refuse: Callable[[int, str], None]


@dataclass(slots=True)
class Peer:
    """One leg of a call."""

    id: str
    destination: Destination
    leg: Leg
    stream: Stream
    now: Callable[[], float]
    pump: Callable[[], None]
    log: Logger
    state: State = "new"
    end: PeerEnd | None = None
    answered_at: float | None = None
    on_change: Callable[[], None] = nobody_is_told
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    session: Session | None = None
    channel: Channel | None = None
    """What it takes of its trunk, given back at its end."""
    share: Channel | None = None
    """What it takes of the calls of its account, as long as it is a leg beside the line of its call."""
    on_sign: Callable[[], None] = nobody_is_told
    """Told when somebody speaks there, if somebody listens, or presses a key."""
    on_refer: Callable[[IncomingReferral], None] | None = None
    """Gets what the telephone wants of us; without it that is declined."""
    keys: deque[str] = field(default_factory=deque)
    """Pressed on this telephone while somebody wants to know (:attr:`listening`)."""
    listening: bool = False
    claim: Claim | None = None
    """Who wants to take the call while it rings here."""
    rang: bool = False
    """Whether it was put down that it rings."""
    closed: bool = False
    """Whether its end was put down, or is about to be."""
    _arbiter: KeyArbiter = field(default_factory=KeyArbiter)
    infos: list[events.InfoReceived] = field(default_factory=list)
    """Keys by INFO that came as soon as it had answered, for whoever becomes its owner."""

    def invite(self, send: Callable[[Destination, bytes, Peer], OutgoingSession], codecs: Sequence[str]) -> None:
        """Call it. ``codecs`` are those that would not have to be transcoded, best first.

        ``send`` sends an INVITE with a description; what becomes of the session goes to :meth:`take`.
        """
        assert isinstance(self.leg, PeerLeg)
        self.leg.attach(self.stream)
        self.state = "calling"
        self.leg.prefer(codecs)
        self.session = send(self.destination, self.leg.offer(srtp=self.destination.srtp), self)
        self.leg.session = self.session
        self.pump()

    def take(self, event: events.SessionEvent) -> None:
        """What SIP says of the session."""
        match event:
            case events.Progressed(status=status, sdp=body):
                self._progressed(status, body)
            case events.Answered(sdp=body):
                self._answered(body)
            case events.Refused(status=status, reason=reason, q850=q850):
                self.finish(PeerEnd(status, reason, q850))
            case events.Acknowledged(sdp=body):
                self._acknowledged(body)
            case events.Reoffered(sdp=body):
                self.leg.reoffered(body, self.now())
                self.pump()
            case events.ReofferAnswered(sdp=body):
                self.leg.reoffer_answered(body)
                self.pump()
            case events.ReofferRefused(status=status):
                self.leg.reoffer_refused(status)
            case events.Ended(by=by, status=status, reason=reason, q850=q850):
                self.leg.reoffer_refused(status)
                self.finish(PeerEnd(status, reason, q850, by))
            case _:
                self._asked(event)

    def _asked(self, event: events.SessionEvent) -> None:
        """What the telephone wants of us."""
        match event:
            case events.ReferRequested(referral=referral):
                if self.on_refer is not None:
                    self.on_refer(referral)
                else:
                    referral.notify(603, self.now())
                self.pump()
            case events.InfoReceived(content_type=content_type, body=content):
                self.infos = [*self.infos, event][-MOST_INFOS:]
                if digit := read_info_digit(content_type, content):
                    self.stream.pass_key(digit)
                    self._pressed("info", digit, self.now())
            case _:
                pass

    def report(self, report: StreamReport) -> None:
        """What the media worker says of the stream."""
        match report:
            case reports.RtpLost(seconds=seconds):
                self.hang_up(f"no sound came for {seconds:.0f} s")
            case reports.DigitHeard(method=method, digit=digit, at=at):
                self._pressed(method, digit, at)
            case reports.SpeechStarted() | reports.SpeechEnded():
                self.on_sign()
            case _:
                pass

    def _pressed(self, method: reports.KeyMethod, digit: str, at: float) -> None:
        self.on_sign()
        delivered = self._arbiter.press(method, digit, at)
        if self.listening and delivered:
            self.keys.extend(delivered)
            self._tell()

    def worker_lost(self, reason: str) -> None:
        self.leg.detach()
        self.hang_up(reason, cause=LOCAL_FAULT)

    def hang_up(self, reason: str = "", *, cause: str = "") -> None:
        """CANCEL or BYE; nothing happens if it has ended."""
        if self.state == "ended":
            return
        if self.session is not None:
            self.session.terminate(self.now(), reason)
        status = 200 if self.answered_at is not None else 503 if cause else 487
        self.finish(PeerEnd(status, reason or "given up", by="local", cause=cause))
        self.pump()

    def finish(self, end: PeerEnd) -> None:
        """It is over; the first word counts."""
        if self.state != "ended":
            self.state = "ended"
            self.end = end
            self.release()
            self._tell()

    def release(self) -> None:
        """Give the channel back, and the share, if that is not done."""
        for taken in (self.channel, self.share):
            if taken is not None:
                taken.release()

    def part(self) -> None:
        """Let go of whoever is told of it: it is over, and does not come back."""
        self.leg.part()
        self.stream.part()
        self.on_change, self.on_sign, self.on_refer = nobody_is_told, nobody_is_told, None

    def claimed(self, claim: Claim) -> bool:
        """Somebody else wants to take the call that rings here; whether that can be."""
        if self.claim is not None or self.state not in ("calling", "ringing", "early"):
            return False
        self.claim = claim
        self._tell()
        return True

    async def hold(self, music: Path) -> bool:
        """Put the phone on hold, with music; whether it is (:meth:`Leg.hold`)."""
        return await self.leg.hold(music, self.now(), self.pump)

    async def resume(self) -> bool:
        """Take it off hold again; whether it is."""
        return await self.leg.resume(self.now(), self.pump)

    async def close(self) -> reports.StreamStats:
        """Hang up, if that is still to be done, and close the ports."""
        self.hang_up()
        return await self.stream.close()

    def _progressed(self, status: int, body: bytes | None) -> None:
        if self.state == "ended":
            return
        if body is not None and isinstance(self.leg, PeerLeg) and self.leg.progressed(body):
            self.state = "early"
        elif self.state != "early" and status != 183:
            self.state = "ringing"
        self._tell()

    def _answered(self, body: bytes | None) -> None:
        if self.state == "ended":
            return  # given up while the 200 was on its way: the session sees to ACK and BYE
        assert isinstance(self.leg, PeerLeg)
        try:
            self.leg.answered(body)
        except NoCommonMedia as error:
            self.log.info("peer_without_media", peer=self.destination.label, error=str(error))
            if self.session is not None:
                self.session.terminate(self.now(), "no common media")
            self.finish(PeerEnd(488, f"no common media: {error}"))
            return
        self.answered_at = self.now()
        self.state = "answered"
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.on_change()

    def _acknowledged(self, body: bytes | None) -> None:
        """The ACK to an answer of ours in which we offered; it has their answer."""
        try:
            self.leg.acknowledged(body)
        except NoCommonMedia as error:
            self.hang_up(str(error))
