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

from engine.addresses import bracketed
from engine.callbacks import records
from engine.calls.dialling import NOBODY, Ringing
from engine.calls.household import Outside
from engine.calls.identity import Caller
from engine.calls.keys import read_info_digit
from engine.calls.line import CallLine
from engine.calls.media import Worker
from engine.calls.peer import Destination, Peer, PeerEnd
from engine.calls.plans import CallPlan, Limits, Parties
from engine.calls.services import Fetch
from engine.calls.supervisor import Supervisor
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
        adopt: Callable[[int, CallLine | Peer], None],
    ) -> None:
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
            adopt=adopt,
            call_id=wish.id,
        )
        self.wish = wish
        self.state: State = "dialing"
        self.tell: Callable[[int, str], None] = lambda _status, _reason: None
        """Gets SIP statuses of the call that is made, the final one last."""
        self._limit: asyncio.TimerHandle | None = None
        self._failure = ""
        """The cause of a call that was not answered."""

    # --- ringing ------------------------------------------------------------------------

    async def _connect(self) -> None:
        _, order = wanted(self.wish)
        ringing = asyncio.ensure_future(Ringing(order, self).ring())
        await self._over_or(ringing)
        if self.call.ending is not None:
            ringing.cancel()
            self.tell(487, "the call was given up")
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
        self.tell(end.status, end.reason)
        self._failure = end.why.name
        if end.cause:  # nobody else has said anything
            self.call.end("error", end.reason)
            return
        self._sip_status, self._q850, self._sip_reason = end.status, end.q850, end.reason
        what = f"{end.status} {end.reason}".rstrip()
        if end is NOBODY:
            self._sip_status, self._sip_reason, self._failure = 0, None, "NO_ROUTE_DESTINATION"
            self.call.end("error", f"there is no way to {self.parties.callee}")
        elif end.by == "local" and end.status == 487:
            self.call.end("limit", f"nobody answered within {self.wish.timeout:g} s")
        elif end.status >= 400 and end.remedy != "way":
            self.call.end("caller", f"refused: {what}")
        else:
            self.call.end("error", f"not connected: {what}")

    def _answered_by(self, peer: Peer) -> None:
        """``peer`` is the call from now on."""
        assert peer.session is not None
        self.state = "answered"
        remote = peer.destination.flow.remote
        host = bracketed(remote[0]) + (f":{remote[1]}" if remote[1] != 5060 else "")
        self.parties = dataclasses.replace(self.parties, refer_host=host)
        self.call.answered_at = peer.answered_at
        self.call.background.reached("answer")
        self.take_line(peer)
        self.log.info("call answered", leg=peer.id, sip_call_id=peer.session.call_id)
        self.tell(200, "OK")
        if self.wish.longest:
            self._limit = self._loop.call_later(self.wish.longest, self._longer_than_wished)
        if peer.end is not None:
            self.call.end("caller", "hung up")
        elif peer.leg.agreed is not None:
            self._on_agreed(peer.leg.agreed, None)
        for early in peer.infos:
            if digit := read_info_digit(early.content_type, early.body):
                self.call.key("info", digit, self._now())

    # --- what ringing needs (engine.calls.house.RingHouse) ---------------------------

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return self.outside.routes(self.plan.account).find(target, order, self.wish.caller)

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        return self.outside.routes(self.plan.account).follow(destination, uri, order, self.wish.caller)

    async def located(self, destination: Destination) -> list[Destination]:
        return await self.outside.located(destination)

    async def make_peer(self, destination: Destination) -> Peer:
        return await self.peers.make(destination, self._media)

    def call_peer(self, peer: Peer) -> None:
        self.peers.invite(peer)

    async def forget(self, peer: Peer) -> None:
        await self.peers.forget(peer)

    def caller_rings(self) -> None:
        if self.state == "dialing":
            self.state = "ringing"
            self.append(records.Rang(time.time(), call=self.id))
            self.tell(180, "Ringing")

    def caller_hears(self, peer: Peer) -> None:
        self.caller_rings()

    # --- what a live call needs -----------------------------------------------------------

    async def answer(self) -> float:
        """It was answered before the flow began."""
        return self.call.answered_at or self._loop.time()

    def early_media(self) -> str:
        return ""

    def _longer_than_wished(self) -> None:
        self.call.end("limit", f"the call reached its longest duration of {self.wish.longest:g} s")

    def _before_end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        super()._before_end()

    def _cause(self, by: EndedBy) -> str:
        if self._failure:
            return self._failure
        return super()._cause(by) if self._answered or self._sip_status else "ORIGINATOR_CANCEL"


def wanted(wish: Wish) -> tuple[Target, Dial]:
    """Whom a wish has us dial, and how."""
    target = Target(kind="uri" if wish.to.lower().startswith(("sip:", "sips:")) else "number", value=wish.to)
    return target, Dial(targets=(target,), timeout=wish.timeout, trunk=wish.trunk, caller_id=wish.caller.number)


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
