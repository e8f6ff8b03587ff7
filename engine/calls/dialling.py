"""Dialling: rings the targets of an order, bridges the caller with the first who answers, and says how it went.

Peers ring at once, one after the other or in an order by weight; those that lose are cancelled. The caller hears
what a single peer sends before its answer, or ringback. While bridged, the media worker passes packets between both
streams. Whoever hangs up, both legs end or the caller goes on, as the flow says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.calls.media import MediaError
from engine.calls.peer import Destination, Peer, PeerEnd
from flows.call import Unsupported
from flows.causes import Cause, cause_named, cause_of, dial_outcome
from flows.orders import Dial, Outcome, Target

TRY_NEXT = frozenset({408, 500, 502, 503, 504})
"""Statuses after which the next trunk is tried: it is the trunk that failed, not who was called."""

MEDIA_REFUSED = frozenset({415, 488, 606})
"""Statuses that a wish for encrypted sound may bring: the same is tried without, where that is allowed."""

NOBODY = PeerEnd(404, "nobody is there")


class House(Protocol):
    """What dialling needs of the call that it is for; the supervisor has it."""

    def now(self) -> float: ...

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        """Where a target is: all lists at once, each of them one after the other."""

    async def located(self, destination: Destination) -> list[Destination]:
        """The destination at each of its places, in the order in which to try them."""

    async def make_peer(self, destination: Destination) -> Peer:
        """A peer with an open stream on the caller's worker. Raises MediaError."""

    def call_peer(self, peer: Peer) -> None:
        """Send its INVITE."""

    async def forget(self, peer: Peer) -> None:
        """It is over: close its stream and put down how it ended."""

    def caller_rings(self) -> None:
        """Tell the caller that it rings, if the call is not answered."""

    def caller_hears(self, peer: Peer) -> None:
        """Let the caller hear the early media of ``peer``."""

    async def connect(self, peer: Peer) -> None:
        """Answer the caller, if that is to be done, and pass sound both ways."""

    def disconnect(self, peer: Peer) -> None:
        """Pass nothing more."""

    async def ring_back(self, media: str) -> None:
        """Let a caller whose call was answered before hear that it rings."""

    async def wait(self, deadline: float | None) -> str:
        """Wait until something happens to the call: the key that the caller pressed, or empty. Raises CallEnded."""

    async def unless_over(self, work: asyncio.Task[Peer | PeerEnd]) -> Peer | PeerEnd:
        """The result of ``work``; it is cancelled, and CallEnded raised, when the caller hangs up."""


@dataclass(slots=True)
class Dialling:
    """One order, carried out."""

    order: Dial
    house: House

    async def run(self) -> Outcome:
        """Ring, bridge, and say how it went. Raises CallEnded when the caller hangs up meanwhile."""
        order, house = self.order, self.house
        names = ", ".join(str(target.value) for target in order.targets) or "nobody"
        if order.strategy == "page":
            raise Unsupported("paging is not possible on a live call yet")
        if any(target.kind == "queue" for target in order.targets):
            raise Unsupported("queues are not possible on a live call yet")
        await house.ring_back(order.ringback)
        found = await house.unless_over(asyncio.ensure_future(self.ring()))
        if isinstance(found, PeerEnd):
            cause = _named("NO_ANSWER") if found.status == 487 else cause_of(found.status)
            story = f"{names}: {found.reason or cause.name} ({found.status})"
            return dial_outcome(cause, sip=found.status if found.status != 487 else 0, story=story)
        return await self._bridge(found)

    # --- ringing ------------------------------------------------------------------------

    async def ring(self) -> Peer | PeerEnd:
        """Ring: the peer that answered first, or how it ended. All others are over then."""
        order = self.order
        end = NOBODY
        for _ in range(max(1, order.repeats)):
            for batch in self._batches():
                found = await self._ring_batch(batch)
                if isinstance(found, Peer):
                    return found
                end = found if end is NOBODY else _clearer(end, found)
                if order.stop_on_reject and _rejected(found):
                    return found
        return end

    def _batches(self) -> list[list[Target]]:
        """Who rings together."""
        targets = list(self.order.targets)
        if self.order.strategy == "simultaneous":
            return [targets]
        if self.order.strategy == "weighted":
            targets.sort(key=lambda target: random.random() ** (1 / max(1, target.weight)), reverse=True)
        return [[target] for target in targets]

    async def _ring_batch(self, targets: Sequence[Target]) -> Peer | PeerEnd:
        """Ring all of ``targets`` together: who answers first, or how it ended."""
        order = self.order
        lines = [(target, destinations) for target in targets for destinations in self.house.find(target, order)]
        alone = len(lines) == 1
        trials = [asyncio.ensure_future(self._try(target, destinations, alone=alone)) for target, destinations in lines]
        winner: Peer | None = None
        end = NOBODY
        cancelled = True
        try:
            async with asyncio.timeout(order.timeout or None):
                for trial in asyncio.as_completed(trials):
                    found = await trial
                    if isinstance(found, Peer):
                        winner = found
                        break
                    end = found if end is NOBODY else _clearer(end, found)
                    if order.stop_on_reject and _rejected(found):
                        break
            cancelled = False
        except TimeoutError:
            end = PeerEnd(487, "nobody answered in time", by="local")
            cancelled = False
        finally:
            await self._settle(trials, None if cancelled else winner)
        return winner or end

    async def _settle(self, trials: Sequence[asyncio.Task[Peer | PeerEnd]], winner: Peer | None) -> None:
        """Let all but ``winner`` go; when the caller hangs up meanwhile, that one too."""
        settling = asyncio.ensure_future(self._let_go(trials, winner))
        try:
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            await settling
            if winner is not None:
                await self.house.forget(winner)
            raise

    async def _let_go(self, trials: Sequence[asyncio.Task[Peer | PeerEnd]], winner: Peer | None) -> None:
        for trial in trials:
            trial.cancel()
        for outcome in await asyncio.gather(*trials, return_exceptions=True):
            if isinstance(outcome, Peer) and outcome is not winner:
                await self.house.forget(outcome)  # answered at the same moment, and lost

    async def _try(self, target: Target, destinations: Sequence[Destination], *, alone: bool) -> Peer | PeerEnd:
        """Ring one after the other until one answers, or is not at fault that nobody does."""
        await asyncio.sleep(target.delay)
        end = NOBODY
        try:
            async with asyncio.timeout(target.timeout or None):
                for destination in destinations:
                    if destination.fallback != (end.status in MEDIA_REFUSED):
                        continue
                    for place in await self.house.located(destination):
                        peer = await self.house.make_peer(place)
                        answered = False
                        try:
                            answered = await self._call(peer, alone=alone)
                        finally:
                            if not answered:
                                await self.house.forget(peer)
                        if answered:
                            return peer
                        assert peer.end is not None
                        end = peer.end
                        if end.status not in TRY_NEXT:
                            break
                    if end.status not in TRY_NEXT | MEDIA_REFUSED:
                        break
        except TimeoutError:
            end = PeerEnd(487, "did not answer in time", by="local")
        except MediaError as error:
            end = PeerEnd(503, f"no media: {error}", by="local")
        except ValueError as error:  # of the core: what would be sent cannot be
            end = PeerEnd(400, str(error), by="local")
        return end

    async def _call(self, peer: Peer, *, alone: bool) -> bool:
        """Call a peer; whether it answered."""
        self.house.call_peer(peer)
        heard = rung = False
        while True:
            await peer.changed.wait()
            peer.changed.clear()
            if peer.state in ("answered", "ended"):
                return peer.state == "answered"
            if peer.state == "early" and alone and not self.order.ignore_early_media and not heard:
                heard = True
                self.house.caller_hears(peer)
            elif not rung and not heard:
                rung = True
                self.house.caller_rings()

    # --- talking ------------------------------------------------------------------------

    async def _bridge(self, peer: Peer) -> Outcome:
        order, house = self.order, self.house
        began = house.now()
        until = began + order.time_limit if order.time_limit else None
        try:
            await house.connect(peer)
            while peer.state != "ended":
                key = await house.wait(until)
                if key and key in order.hangup_on_key:
                    break
                if until is not None and house.now() >= until:
                    break
        finally:
            house.disconnect(peer)
            await house.forget(peer)
        seconds = house.now() - began
        story = f"talked with {peer.destination.label} for {seconds:.1f} s"
        return dial_outcome(_named("NORMAL_CLEARING"), sip=200, duration=seconds, leg=peer.id, story=story)


def _named(name: str) -> Cause:
    cause = cause_named(name)
    assert cause is not None
    return cause


def _rejected(end: PeerEnd) -> bool:
    return end.status in (486, 403, 480) or end.status >= 600


_CLARITY: Sequence[Callable[[PeerEnd], bool]] = (
    lambda end: end.status >= 600,
    lambda end: end.status == 486,
    lambda end: end.status in (480, 487, 408),
    lambda end: 400 <= end.status < 500,
)


def _clearer(one: PeerEnd, other: PeerEnd) -> PeerEnd:
    """Of two ends, the one that says more: a refusal by a person before that of a machine (RFC 3261, section 16.7)."""
    for says in _CLARITY:
        if says(one) or says(other):
            return one if says(one) else other
    return one
