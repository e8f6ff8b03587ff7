"""A leg: one SIP session and the media stream that goes with it, agreed on by offer and answer (RFC 3264).

Holds what both sides said last, answers offers (hold, resume, another codec or address, a question for
ours), and keeps the media worker told of what was agreed. Whoever called: :class:`Leg` has what both roles share,
:class:`CallerLeg` answers an INVITE, :class:`PeerLeg` makes one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.calls.holding import Hold
from engine.calls.media import Stream
from engine.log import Logger
from engine.security import OPEN, MediaSecurity
from engine.sip import offer_answer, sdes, sdp
from engine.sip.offer_answer import Agreed, LocalMedia, NotAcceptable
from engine.sip.sdp import SdpError, SessionDescription
from engine.sip.server import IncomingSession
from engine.sip.session import Session
from media import commands


class NoCommonMedia(Exception):
    """The peer's description cannot be used; the text says why. 488."""


class CallerGone(Exception):
    """There was nobody to answer any more."""


@dataclasses.dataclass(slots=True)
class _Reoffer:
    """An offer of ours in an established session, and who waits for what becomes of it."""

    media: LocalMedia
    offer: SessionDescription
    accepted: asyncio.Future[bool]


class Leg:
    """The media side of a session. ``agreed`` is what both sides settled on last, ``None`` before that."""

    def __init__(
        self,
        *,
        host: str,
        codecs: tuple[str, ...],
        rtp_timeout: float,
        on_agreed: Callable[[Agreed, Agreed | None], None],
        on_changed: Callable[[], None],
        log: Logger,
        security: MediaSecurity = OPEN,
    ) -> None:
        """``host``: where we tell the peer to send. ``codecs``: those that we take, in the order in which we offer
        them. ``security``: how sound may go. ``on_agreed`` gets what is agreed and what was before;
        ``on_changed`` is called before anything that depends on the changed dialog is sent, from the answer to the
        INVITE on: an early dialog is nothing that a restart would have to end.
        """
        self.agreed: Agreed | None = None
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done with the first agreement."""
        self.session: Session | None = None
        self.on_hold = Hold()
        self._reoffer: _Reoffer | None = None
        self._stream: Stream | None = None
        self._media = LocalMedia(
            host=host,
            port=0,
            session_id=time.time_ns() // 1000,
            codecs=codecs,
            protocol="RTP/AVP" if security.plain else "RTP/SAVP",
            crypto=sdes.fresh(secrets.token_bytes) if security.keys else (),
            plain=security.plain,
        )
        self._offer: SessionDescription | None = None
        """Our offer that waits for its answer in an ACK."""
        self._described: SessionDescription | None = None
        """Our last description: sections of later ones keep their places."""
        self._preferred: tuple[str, ...] = ()
        self._rtp_timeout = rtp_timeout
        self._talking = False
        """Whether the call is answered, or is to be as soon as its early media is acknowledged: before that nobody has
        to send (RFC 3960 section 2)."""
        self.on_agreed = on_agreed
        self.on_changed = on_changed
        self._log = log

    def attach(self, stream: Stream) -> None:
        """The stream is open; its port can be told."""
        self._stream = stream
        self._media = dataclasses.replace(self._media, port=stream.port)

    def detach(self) -> None:
        """The stream is gone."""
        self._stream = None

    @property
    def codecs(self) -> tuple[str, ...]:
        """Those that the other leg of a bridge may have without transcoding, best first; none: nothing is known yet."""
        return () if self.agreed is None else (self.agreed.codec,)

    def prefer(self, codecs: Sequence[str]) -> None:
        """Take the first of ``codecs`` (those of the other leg) that this end can have, if nothing is agreed yet."""
        self._preferred = tuple(codecs)

    def part(self) -> None:
        """Let go of whoever was told: the call is over."""
        self.on_agreed, self.on_changed = nobody_agrees, nobody_is_told

    def acknowledged(self, body: bytes | None) -> None:
        """The ACK came; after an offer of ours it carries the answer. Raises :class:`NoCommonMedia`."""
        if self._offer is None:
            return
        offer, self._offer = self._offer, None
        try:
            self._agree(offer_answer.read_answer(offer, sdp.parse(body or b"")))
        except (NotAcceptable, SdpError) as error:
            raise NoCommonMedia(f"the answer in the ACK: {error}") from error

    def reoffered(self, body: bytes | None, now: float) -> None:
        """A re-INVITE or UPDATE; one without a description asks for our offer."""
        session = self.session
        assert session is not None
        media = dataclasses.replace(self._media, version=self._media.version + 1)
        if body is None:
            offer = offer_answer.make_offer(self._offerable(media), self._described)
            if session.answer_reoffer(offer.encode(), now):
                self._media, self._described, self._offer = media, offer, offer
                self._changed()
                self._follow(now)
            return
        try:
            answer, agreed = self._answer_to(body, media)
        except NoCommonMedia as error:
            self._log.info("offer_refused", error=str(error))
            session.reject_reoffer(488, now)
            return
        if session.answer_reoffer(answer.encode(), now):
            self._media, self._described, self._offer = media, answer, None
            self._changed()
            self._agree(agreed)
            self._follow(now)

    def _changed(self) -> None:
        """An UPDATE may change an early dialog (RFC 3311 section 5.1), which is no answer."""
        if self._talking:
            self.on_changed()

    def _follow(self, now: float) -> None:
        """An offer of ours that waits for its second chance follows the one of the peer that came before it."""
        if self._reoffer is not None:
            self._offer_again(self._reoffer.media.direction, now, self._reoffer.accepted)

    # --- held by us ---------------------------------------------------------------------

    async def hold(self, music: Path, now: float, pump: Callable[[], None]) -> bool:
        """Put the phone on hold: a re-INVITE that offers to send only, and ``music`` for it (RFC 6337 section 5.3).

        ``pump`` has sent what SIP has to send. Whether it is on hold then: a phone may refuse, and a session that is
        not answered, or is over, cannot be held.
        """
        if self.on_hold.holding:
            return True
        if not await self._redirect("sendonly", now, pump):
            return False
        self.on_hold.set(holding=True)
        if self._stream is not None:
            self._stream.play([music], loop=True)
        return True

    async def resume(self, now: float, pump: Callable[[], None]) -> bool:
        """Take the phone off hold, as far as it was us; whether that could be done."""
        if not self.on_hold.holding:
            return True
        if not await self._redirect("sendrecv", now, pump):
            return False
        if self._stream is not None:
            self._stream.stop()
        self.on_hold.set(holding=False)
        return True

    def reoffer_answered(self, body: bytes | None) -> None:
        """The answer to a re-INVITE of ours; one that cannot be used leaves the session as it was."""
        if (reoffer := self._reoffer) is None:
            return
        self._reoffer = None
        try:
            agreed = offer_answer.read_answer(reoffer.offer, sdp.parse(body or b""))
        except (NotAcceptable, SdpError) as error:
            self._log.info("answer_refused", error=str(error))
            _settle(reoffer.accepted, accepted=False)
            return
        self._media, self._described = reoffer.media, reoffer.offer
        self._changed()
        self._agree(agreed)
        _settle(reoffer.accepted, accepted=True)

    def reoffer_refused(self, status: int) -> None:
        """A re-INVITE of ours was refused, or will never be answered."""
        if (reoffer := self._reoffer) is not None:
            self._reoffer = None
            self._log.info("reoffer_refused", status=status)
            _settle(reoffer.accepted, accepted=False)

    async def _redirect(self, direction: str, now: float, pump: Callable[[], None]) -> bool:
        session = self.session
        if session is None or session.ended or self._described is None or self._reoffer is not None:
            return False
        if session.state not in ("answered", "confirmed"):
            return False
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._offer_again(direction, now, accepted)
        pump()
        return await accepted

    def _offer_again(self, direction: str, now: float, accepted: asyncio.Future[bool]) -> None:
        assert self.session is not None
        media = dataclasses.replace(self._media, version=self._media.version + 1, direction=direction)
        offer = offer_answer.make_offer(self._offerable(media), self._described)
        self._reoffer = _Reoffer(media, offer, accepted)
        self.session.reinvite(offer.encode(), now)

    def _answer_to(self, body: bytes, media: LocalMedia) -> tuple[SessionDescription, Agreed]:
        """Our answer to an offer, in the codec that is in use, or wished for, if that is offered. Raises
        :class:`NoCommonMedia`.
        """
        try:
            return offer_answer.make_answer(sdp.parse(body), media, self._wished)
        except (NotAcceptable, SdpError) as error:
            raise NoCommonMedia(str(error)) from error

    def _offerable(self, media: LocalMedia) -> LocalMedia:
        """``media`` with the codecs of an offer of ours: the laws of G.711, after the codec that is in use, or that the
        other leg has.

        An answer may list all that are offered, and each of them may then come (RFC 3264 section 6.1). We take in both
        laws beside each other, any other codec alone.
        """
        laws = [name for name in media.codecs if name in offer_answer.G711]
        first = [name for name in self._wished if name in media.codecs][:1]
        return dataclasses.replace(media, codecs=tuple(dict.fromkeys((*first, *laws))) or media.codecs[:1])

    @property
    def _wished(self) -> tuple[str, ...]:
        return self._preferred if self.agreed is None else (self.agreed.codec,)

    def _agree(self, agreed: Agreed) -> None:
        before, self.agreed = self.agreed, agreed
        moved = before is not None and (before.host, before.port) != (agreed.host, agreed.port)
        if before is not None and before.held != agreed.held:
            self._log.info("held" if agreed.held else "resumed")
        if self._stream is not None:
            self._stream.direct(agreed, relatch=moved)
        self._expect_sound()
        self.on_agreed(agreed, before)
        self.on_hold.set(held=agreed.held)
        if not self.settled.done():
            self.settled.set_result(None)

    def _expect_sound(self) -> None:
        """Have the worker say when no sound comes for too long, if any is to come."""
        if self._stream is not None and self.agreed is not None:
            expected = self._talking and self.agreed.receive and not self.agreed.held
            self._stream.send(commands.RtpTimeout(self._stream.number, self._rtp_timeout if expected else 0.0))


def nobody_agrees(agreed: Agreed, before: Agreed | None) -> None:
    """For a leg that has no call or peer yet, or none any more."""


def nobody_is_told() -> None:
    """The same."""


def _settle(answer: asyncio.Future[bool], *, accepted: bool) -> None:
    if not answer.done():
        answer.set_result(accepted)


class CallerLeg(Leg):
    """The leg of somebody who calls us."""

    def __init__(
        self,
        session: IncomingSession,
        *,
        host: str,
        codecs: tuple[str, ...],
        rtp_timeout: float,
        on_agreed: Callable[[Agreed, Agreed | None], None],
        on_changed: Callable[[], None],
        log: Logger,
        security: MediaSecurity = OPEN,
    ) -> None:
        super().__init__(
            host=host,
            codecs=codecs,
            rtp_timeout=rtp_timeout,
            on_agreed=on_agreed,
            on_changed=on_changed,
            log=log,
            security=security,
        )
        self.session = self.invited = session

    @property
    def codecs(self) -> tuple[str, ...]:
        """Before an answer those of the offer, in its order."""
        body = self.invited.offer
        if self.agreed is not None or body is None:
            return super().codecs
        try:
            return offer_answer.codecs_offered(sdp.parse(body), self._media)
        except SdpError:
            return ()

    def answer(self, now: float) -> None:
        """Answer the INVITE with what we can do of its offer, or with an offer of ours when it had none.

        Raises :class:`NoCommonMedia` or :class:`CallerGone`. The 200 is ready to be sent, not sent yet.
        """
        body = self.invited.offer
        agreed: Agreed | None = None
        if self.invited.negotiated and self._described is not None:  # early, and since then by PRACK or UPDATE
            description, agreed = self._described, self.agreed
        elif body is None:
            if not self._media.plain and not self._media.crypto:
                raise NoCommonMedia("SRTP is required, and not allowed without TLS")
            description = offer_answer.make_offer(self._offerable(self._media))
        else:
            description, agreed = self._answer_to(body, self._media)
        if not self.invited.accept(description.encode(), now):
            raise CallerGone
        self._described = description
        self._talking = True
        self._changed()
        if agreed is None:
            self._offer = description
        else:
            self._agree(agreed)

    def early(self, now: float) -> str:
        """Agree on media before the answer and send 183 with it, once. Returns why it cannot be, empty if it can.

        Raises :class:`NoCommonMedia` or :class:`CallerGone`. The 200 will carry the same description (RFC 3261 13.2.1).
        """
        if self.agreed is not None:
            return ""
        body = self.invited.offer
        if body is None:
            return "the INVITE has no offer"
        description, agreed = self._answer_to(body, self._media)
        if self.invited.ended:
            raise CallerGone
        self.invited.progress(now, description.encode())
        self._described = description
        self._agree(agreed)
        return ""


class PeerLeg(Leg):
    """The leg of somebody whom we call: its offer goes into the INVITE, the answer comes early or late."""

    def offer(self, *, srtp: bool = False) -> bytes:
        """Our description for the INVITE: what the other leg has or was offered (:meth:`prefer`), then both laws, from
        which anything can be transcoded.

        ``srtp``: encrypted sound is offered, and nothing else will do.
        """
        if srtp:
            self._media = dataclasses.replace(self._media, protocol="RTP/SAVP")
        laws = [name for name in self._media.codecs if name in offer_answer.G711]
        first = [name for name in self._preferred if name in self._media.codecs]
        codecs = tuple(dict.fromkeys((*first, *laws))) or self._media.codecs[:1]
        self._offer = self._described = offer_answer.make_offer(dataclasses.replace(self._media, codecs=codecs))
        return self._offer.encode()

    def progressed(self, body: bytes) -> bool:
        """A provisional answer: whether there is early media now."""
        if self._offer is None:
            return True  # an offer of the peer's has come since (RFC 3311 section 5.1): this repeats what is over
        try:
            self._agree(self._read(body))
        except NoCommonMedia as error:
            self._log.info("early_media_refused", error=str(error))
            return False
        return True

    def answered(self, body: bytes | None) -> None:
        """The 200; without a description the one that came early counts, or what an UPDATE has changed since then.

        Raises :class:`NoCommonMedia`.
        """
        self._talking = True
        self._changed()
        if body is not None and self._offer is not None:
            self._agree(self._read(body))
        elif self.agreed is None:
            raise NoCommonMedia("the 200 has no description")
        else:
            self._expect_sound()
        self._offer = None

    def _read(self, body: bytes) -> Agreed:
        assert self._offer is not None
        try:
            return offer_answer.read_answer(self._offer, sdp.parse(body))
        except (NotAcceptable, SdpError) as error:
            raise NoCommonMedia(str(error)) from error
