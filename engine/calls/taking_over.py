"""Somebody takes the place of who is alone with a flow, and is its caller from then on.

The flow goes on where it is: what it plays begins anew for the one who comes, and what it listens for it goes on
listening for. Who was there is hung up on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from engine.calls.changing import Side, UnderWay
from engine.calls.handing_on import Tell, arrival, enter, refusal
from engine.calls.peer import Peer, PeerEnd
from engine.security import MediaSecurity
from engine.sip.server import IncomingSession
from flows.orders import BridgeSession, Dial, Enqueue, Park

if TYPE_CHECKING:
    from engine.calls.supervisor import Supervisor

SERVER_ERROR = PeerEnd(500, "Server Internal Error", by="local")


def occupied(call: Supervisor) -> str:
    """Why nobody can take the place of who is on the line of ``call`` now; empty if somebody can."""
    live, doing = call.call, call.doing
    if live.answered_at is None or live.ending is not None or call.conversation is not None:
        return "Nobody is alone with a flow there"
    if live.being_transferred:
        return "The call is being transferred"
    if isinstance(doing, Dial):
        return "Others are being called"
    if isinstance(doing, BridgeSession) or call.outside.lots.talks(call.id):
        return "The call is bridged with another one"
    if isinstance(doing, Park | Enqueue) and not call.outside.lots.waits(live):
        return "Somebody else took the call"
    if call.recordings.running_besides(live.background.running):
        return "Something is being recorded"
    return ""


def take_over(call: Supervisor, other: Supervisor, given: Side, *, by: str, tell: Tell) -> None:
    """Have who is ``given`` away by another call, which ends then, take the place. Raises UnderWay."""
    conversation = other.conversation
    if conversation is None or conversation.changing or call.successor is not None:
        raise UnderWay
    other.transfer_by = by
    _succeed_by(call, arrival(call, conversation.give(given)), by=by, tell=tell)


def come_in(
    call: Supervisor, session: IncomingSession, device: str, security: MediaSecurity, *, now: Callable[[], float]
) -> None:
    """Have the telephone that calls with ``session`` take the place (RFC 3891). Raises UnderWay if it may not now."""
    if call.successor is not None or occupied(call):
        raise UnderWay
    comes = enter(call, session, device, device, security, now)
    _succeed_by(call, comes, by=device, tell=refusal(call, session, now))


def _succeed_by(call: Supervisor, comes: Awaitable[Peer | PeerEnd], *, by: str, tell: Tell) -> None:
    """Whoever ``comes`` takes the place; ``tell`` gets the SIP status of how it went."""
    arriving = asyncio.ensure_future(comes)
    call.successor = arriving
    call.succession = asyncio.ensure_future(_succeed(call, arriving, by, tell))


async def _succeed(call: Supervisor, arriving: asyncio.Future[Peer | PeerEnd], by: str, tell: Tell) -> None:
    try:
        (found,) = await asyncio.gather(arriving, return_exceptions=True)
        end = PeerEnd(487, "The call is over", by="local")
        if isinstance(found, Peer):
            await found.resume()
            why = occupied(call)
            if found.end is None and not why:
                call.transfer_by = by
                await _exchange(call, found, tell)
                return
            end = found.end or PeerEnd(603, why, by="local")
            await call.peers.forget(found)
        elif isinstance(found, PeerEnd):
            end = found
        elif not isinstance(found, asyncio.CancelledError):
            call.log.error("not_taken_over", error=repr(found))
            end = SERVER_ERROR
        tell(end.status, end.reason)
        if call.line_end is not None:
            call.line_is_over(call.line_end)
    finally:
        call.successor = call.succession = call.line_end = None


async def _exchange(call: Supervisor, comes: Peer, tell: Tell) -> None:
    """From here on ``comes`` is the caller."""
    number = call.ends()[1] if call.direction == "inbound" else call.plan.flow_name
    before, sounding = (call.line_name, number), call.call.sounding
    leaver = call.exchange(comes)
    call.parker = leaver.destination.device
    end, call.line_end, call.successor = call.line_end, None, None
    call.call.sound(sounding)
    call.put_down_transfer(comes.id, before, (call.line_name, number), attended=True)
    tell(200, "OK")
    if end is not None:
        leaver.finish(end)
    await call.follow_recordings(leaver.stream)
    await call.peers.forget(leaver)
