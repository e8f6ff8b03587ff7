"""Calls that go out: somebody is rung, and the flow runs on whoever answers.

Ringing is that of a dial in a flow (:mod:`engine.calls.dialling`): the telephones of a user together, trunks one
after the other. The peer that answers becomes the call's own leg; from there on the call is like one that came in. When
nobody answers, the flow is run on the call that has ended, so that those whom it wants to be told of the end are told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from engine.addresses import bracketed
from engine.callbacks import records
from engine.calls.dialling import NOBODY, Dialling
from engine.calls.household import Outside, close_peer, put_down_end
from engine.calls.identity import Caller
from engine.calls.leg import PeerLeg
from engine.calls.media import Worker
from engine.calls.peer import Destination, Peer, PeerEnd
from engine.calls.services import Fetch
from engine.calls.supervisor import CallPlan, Limits, Parties, Supervisor
from engine.sip.uri import Uri
from flows.call import EndedBy
from flows.orders import Dial, Target
from flows.requests import LastGood
from flows.templates import time_facts

RING_SECONDS = 60.0

State = Literal["dialing", "ringing", "answered"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A call to be made. ``to``: a number, a user, a device or a SIP URI; ``trunk``: the only one to be tried.

    ``timeout``: seconds that it may ring. ``variables``: what the flow finds as its own, by name.
    """

    to: str
    caller: Caller = field(default_factory=lambda: Caller(""))
    trunk: str = ""
    timeout: float = RING_SECONDS
    variables: Mapping[str, str] = field(default_factory=dict)
    source: str = "api"
    """Who asked."""
    id: str = ""
    """The id that the call is to have, 32 hex digits; empty: a new one."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Beside the ``variables``, by the names of :mod:`flows.templates`; they win over those of the call."""
    longest: float = 0.0
    """Seconds from the answer after which it is ended; 0: as the configuration says."""


class OutgoingCall(Supervisor):
    """An outbound call from the wish to its one final state."""

    direction: records.Direction = "outbound"

    def __init__(
        self,
        wish: Wish,
        plan: CallPlan,
        limits: Limits,
        *,
        media: Worker,
        fetch: Fetch,
        last_good: LastGood,
        outside: Outside,
        append: Callable[[records.Record], None],
        pump: Callable[[], None],
        adopt: Callable[[int, Supervisor], None],
    ) -> None:
        """``adopt`` gets a session and who is told what SIP says of it from now on."""
        super().__init__(
            Parties(wish.caller.number, wish.to, wish.source, ""),
            plan,
            limits,
            _facts(wish, plan.account),
            media=media,
            fetch=fetch,
            last_good=last_good,
            outside=outside,
            append=append,
            pump=pump,
            call_id=wish.id,
        )
        self.wish = wish
        self.state: State = "dialing"
        self._limit: asyncio.TimerHandle | None = None
        self._adopt = adopt
        self._peer: Peer | None = None
        self._failure = ""
        """The cause of a call that was not answered."""

    # --- ringing ------------------------------------------------------------------------

    async def _connect(self) -> None:
        wish = self.wish
        target = Target(kind="uri" if wish.to.lower().startswith(("sip:", "sips:")) else "number", value=wish.to)
        order = Dial(targets=(target,), timeout=wish.timeout, trunk=wish.trunk, caller_id=wish.caller.number)
        ringing = asyncio.ensure_future(Dialling(order, self).ring())
        await self._over_or(ringing)
        if self.call.ending is not None:
            ringing.cancel()
        (found,) = await asyncio.gather(ringing, return_exceptions=True)
        match found:
            case Peer() if self.call.ending is None:
                self._answered_by(found)
            case Peer():
                await self.forget(found)
            case PeerEnd():
                self._not_answered(found)
            case asyncio.CancelledError():
                pass
            case BaseException():
                raise found

    def _not_answered(self, end: PeerEnd) -> None:
        if end.cause:  # nobody else has said anything
            self._failure = end.cause
            self.call.end("error", end.reason)
            return
        self._sip_status, self._q850, self._sip_reason = end.status, end.q850, end.reason
        what = f"{end.status} {end.reason}".rstrip()
        if end is NOBODY:
            self._sip_status, self._sip_reason, self._failure = 0, None, "NO_ROUTE_DESTINATION"
            self.call.end("error", f"there is no way to {self.parties.callee}")
        elif end.by == "local" and end.status == 487:
            self._failure = "NO_ANSWER"
            self.call.end("limit", f"nobody answered within {self.wish.timeout:g} s")
        elif end.status >= 600 or (400 <= end.status < 500 and end.status != 408):
            self.call.end("caller", f"refused: {what}")
        else:
            self.call.end("error", f"not connected: {what}")

    def _answered_by(self, peer: Peer) -> None:
        """``peer`` is the call from now on."""
        assert peer.session is not None
        self._peer, self.session, self.leg, self._stream = peer, peer.session, peer.leg, peer.stream
        self.call.on_hold = peer.leg.on_hold
        self.state = "answered"
        remote = peer.destination.flow.remote
        host = bracketed(remote[0]) + (f":{remote[1]}" if remote[1] != 5060 else "")
        self.parties = dataclasses.replace(self.parties, refer_host=host)
        self._adopt(peer.session.id, self)
        peer.stream.on_report = self._on_report
        self.call.answered_at = peer.answered_at
        self._dialog_changed()
        self._append(records.LegAnswered(time.time(), call=self.id, leg=peer.id, dialog={}))
        self.call.attach(peer.stream)
        self._log.info("call answered", leg=peer.id, sip_call_id=peer.session.call_id)
        if self.wish.longest:
            self._limit = self._loop.call_later(self.wish.longest, self._longer_than_wished)
        if peer.end is not None:
            self.call.end("caller", "hung up")
        elif peer.leg.agreed is not None:
            self._on_agreed(peer.leg.agreed, None)

    # --- what dialling needs (engine.calls.dialling.House) --------------------------------

    def now(self) -> float:
        return self.call.now()

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return self._outside.routes(self.plan.account).find(target, order, self.wish.caller)

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        return self._outside.routes(self.plan.account).follow(destination, uri, order, self.wish.caller)

    async def located(self, destination: Destination) -> list[Destination]:
        return await self._outside.located(destination)

    async def make_peer(self, destination: Destination) -> Peer:
        bind, told = self._outside.media_hosts(destination.flow)
        log = self._log.bind(peer=destination.label)
        made: list[Peer] = []

        def lost(reason: str) -> None:
            if made and made[0] is self._peer:
                self._on_worker_lost(reason)
            elif made:
                made[0].worker_lost(reason)

        channel = self._outside.channel(destination)
        try:
            stream = await self._media.open(bind, lambda report: made[0].report(report) if made else None, lost)
        except BaseException:
            if channel is not None:
                channel.release()
            raise
        leg = PeerLeg(
            host=told,
            codecs=self._limits.codecs,
            rtp_timeout=self._limits.rtp_timeout,
            on_agreed=lambda agreed, before: self._on_agreed(agreed, before) if self._own(made) else None,
            on_changed=lambda: self._dialog_changed() if self._own(made) else self._leg_answered(made[0]),
            log=log,
            security=destination.security,
        )
        name = f"{self.id}-leg{next(self.leg_numbers)}"
        made.append(Peer(name, destination, leg, stream, self.now, self._pump, log, channel=channel))
        return made[0]

    def _own(self, made: list[Peer]) -> bool:
        return bool(made) and made[0] is self._peer

    def _leg_answered(self, peer: Peer) -> None:
        assert peer.session is not None
        dialog = msgspec.to_builtins(peer.session.save())
        self._append(records.LegAnswered(time.time(), call=self.id, leg=peer.id, dialog=dialog))

    def call_peer(self, peer: Peer) -> None:
        to, trunk = peer.destination.label, peer.destination.trunk
        self._append(records.LegStarted(time.time(), call=self.id, leg=peer.id, to=to, trunk=trunk))
        peer.log.info("leg dialled", leg=peer.id, uri=str(peer.destination.uri))
        peer.invite(self._outside.invite, "")

    async def forget(self, peer: Peer) -> None:
        await close_peer(peer, self.id, self._outside, self._append)

    def caller_rings(self) -> None:
        self.state = "ringing"

    def caller_hears(self, peer: Peer) -> None:
        self.state = "ringing"

    async def connect(self, peer: Peer) -> None:
        """Nobody is bridged."""

    def disconnect(self, peer: Peer) -> None:
        """Nobody was bridged."""

    async def ring_back(self, media: str) -> None:
        """Nobody hears it."""

    async def wait(self, deadline: float | None) -> str:
        return await self.call.key_or_change(deadline)

    async def unless_over(self, work: asyncio.Task[Peer | PeerEnd]) -> Peer | PeerEnd:
        return await self.call.unless_over(work)

    # --- what a live call needs -----------------------------------------------------------

    async def answer(self) -> float:
        """It was answered before the flow began."""
        return self.call.answered_at or self.now()

    def early_media(self) -> str:
        return ""

    def _longer_than_wished(self) -> None:
        self.call.end("limit", f"the call reached its longest duration of {self.wish.longest:g} s")

    def _before_end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        peer = self._peer
        if peer is None:
            return
        by = "remote" if self.call.ending is not None and self.call.ending[0] == "caller" else "local"
        end = PeerEnd(200, self.call.ending[1] if self.call.ending is not None else "", self._q850, by)
        put_down_end(peer, end, self.stats, self.id, self._outside, self._append)

    def _cause(self, by: EndedBy) -> str:
        if self._failure:
            return self._failure
        return super()._cause(by) if self._answered or self._sip_status else "ORIGINATOR_CANCEL"


def _facts(wish: Wish, account: str) -> dict[str, str]:
    """What a wish says of the call, by the names that flows know (:data:`flows.templates.CALL_VARIABLES`)."""
    return {
        "call.account": account,
        "call.caller_name": wish.caller.name,
        "call.request": wish.to,
        "call.direction": "outbound",
        "call.status": "queued",
        **time_facts(datetime.now(UTC).astimezone()),
        **{f"var.{name}": value for name, value in wish.variables.items()},
        **wish.facts,
    }
