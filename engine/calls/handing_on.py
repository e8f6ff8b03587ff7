"""One of two who talk is replaced: by somebody who is rung, by a flow, by who talks on another call, by who calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.calls.changing import Change, Side, UnderWay
from engine.calls.dialling import Ringing
from engine.calls.house import RingHouse
from engine.calls.leg import CallerGone, CallerLeg, NoCommonMedia
from engine.calls.media import MediaError, Stream, Worker
from engine.calls.peer import Claim, Peer, PeerEnd
from engine.calls.targets import Aim
from engine.security import MediaSecurity
from engine.sip.server import IncomingSession
from flows.orders import Dial

if TYPE_CHECKING:
    from engine.calls.line import CallLine
    from engine.calls.peers import Peers

Tell = Callable[[int, str], None]

OVER = PeerEnd(481, "the other call is over", by="local")

ACK_PATIENCE = 32.0
"""Seconds to wait for the answer to an offer of ours, which comes with the ACK."""


def _nobody(status: int, reason: str) -> None:
    """Nobody wants to know."""


def hand_on(
    call: CallLine, leaves: Side, aim: Aim, *, attended: bool = False, by: str = "", tell: Tell = _nobody
) -> None:
    """Have ``aim`` take the place of who ``leaves``; a flow cannot be consulted. Raises UnderWay."""
    order = aim.order or Dial(targets=())

    async def ring(house: RingHouse) -> Peer | PeerEnd:
        return await Ringing(order, house).ring()

    _ask(call, Change(leaves, ring, attended=attended, tell=tell, flow=aim if aim.plan is not None else None), by)


def join(call: CallLine, leaves: Side, other: CallLine, given: Side, *, by: str, tell: Tell) -> None:
    """Have who is ``given`` away by another call take the place of who ``leaves``; the other call ends.

    Raises UnderWay.
    """
    if other.conversation is None or other.conversation.changing:
        raise UnderWay

    async def take(house: RingHouse) -> Peer | PeerEnd:
        if other.conversation is None:  # hung up meanwhile
            return OVER
        other.transfer_by = by
        return await arrival(call, other.conversation.give(given))

    _ask(call, Change(leaves, take, joined=True, tell=tell), by)


async def arrival(call: CallLine, wanted: asyncio.Future[Peer]) -> Peer | PeerEnd:
    """Who is ``wanted`` of another call (:meth:`Conversation.give`), as a leg of this one."""
    try:
        await asyncio.wait([wanted])
    except asyncio.CancelledError:
        if not wanted.done():
            wanted.cancel()
        elif not wanted.cancelled():
            call.peers.move_in(wanted.result())
            await call.peers.forget(wanted.result())
        raise
    if wanted.cancelled():
        return OVER
    peer = wanted.result()
    call.peers.move_in(peer)
    return peer


def let_in(
    call: CallLine,
    leaves: Side,
    session: IncomingSession,
    name: str,
    device: str,
    security: MediaSecurity,
    *,
    now: Callable[[], float],
) -> None:
    """Have who calls with ``session`` take the place of who ``leaves`` (RFC 3891). Raises UnderWay."""

    async def answer(house: RingHouse) -> Peer | PeerEnd:
        return await enter(call, session, name, device, security, now)

    _ask(call, Change(leaves, answer, joined=True, tell=refusal(call, session, now)), name)


async def enter(
    call: CallLine,
    session: IncomingSession,
    name: str,
    device: str,
    security: MediaSecurity,
    now: Callable[[], float],
) -> Peer | PeerEnd:
    """Answer who calls with ``session``, as a leg of ``call``."""
    assert call.call.stream is not None
    return await _enter(call, call.call.stream.worker, session, name, device, security, now)


def pick_up(
    call: CallLine,
    rings: Peer,
    session: IncomingSession,
    name: str,
    device: str,
    security: MediaSecurity,
    *,
    now: Callable[[], float],
) -> bool:
    """Have who calls with ``session`` take the call that rings at ``rings`` (RFC 3891); whether that can be."""

    async def take() -> Peer | PeerEnd:
        return await _enter(call, rings.stream.worker, session, name, device, security, now)

    return rings.claimed(Claim(take, refusal(call, session, now)))


def refusal(call: CallLine, session: IncomingSession, now: Callable[[], float]) -> Tell:
    """Tells who wanted to come in that they may not, as long as they were not answered."""

    def tell(status: int, reason: str) -> None:
        if status >= 300 and not session.ended and session.state in ("inviting", "early"):
            session.reject(status if status < 700 else 500, now())
            call.pump()

    return tell


async def _enter(
    call: CallLine,
    worker: Worker,
    session: IncomingSession,
    name: str,
    device: str,
    security: MediaSecurity,
    now: Callable[[], float],
) -> Peer | PeerEnd:
    """Answer who calls with ``session``, on a stream of ``worker``, as a leg of ``call``."""
    bind, told = call.outside.media_hosts(session.flow)
    try:
        stream = await worker.open(bind, lambda report: None, lambda reason: None)
    except MediaError as error:
        session.reject(503, now())
        return PeerEnd(503, str(error), by="local")
    leg = call.peers.caller_leg(session, told, security)
    if call.leg is not None:
        leg.prefer(call.leg.codecs)
    found = await _accepted(call.peers, session, leg, stream, name, device, now)
    call.pump()
    return found


async def _accepted(
    peers: Peers,
    session: IncomingSession,
    leg: CallerLeg,
    stream: Stream,
    name: str,
    device: str,
    now: Callable[[], float],
) -> Peer | PeerEnd:
    """Answer; a session that ended meanwhile, or has no common media, is closed again."""
    leg.attach(stream)
    peer = peers.of_line(name, session, leg, stream, now(), device=device)
    peers.outside.own(session.id, peer)
    peers.outside.tap.watch(session.call_id)
    try:
        leg.answer(now())
        peers.pump()
        if not leg.settled.done():
            await asyncio.wait([leg.settled], timeout=ACK_PATIENCE)
        if leg.agreed is not None and peer.state != "ended":
            peers.light(peer)
            return peer
        peer.hang_up("no answer to our offer")
    except NoCommonMedia as error:
        session.reject(488, now())
        peer.finish(PeerEnd(488, str(error), by="local"))
    except CallerGone:
        peer.finish(PeerEnd(487, "gave up"))
    except BaseException:
        await peers.forget(peer)
        raise
    await peers.forget(peer)
    return peer


def _ask(call: CallLine, change: Change, by: str) -> None:
    if call.conversation is None:
        raise UnderWay
    call.conversation.ask(change)
    call.transfer_by = by
