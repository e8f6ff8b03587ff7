"""Dialling: rings the targets of an order, bridges the caller with the first who answers, and says how it went.

Peers ring at once, one after the other or in an order by weight; those that lose are cancelled. The caller hears
what a single peer sends before its answer, or ringback. What follows is a
conversation (:mod:`engine.calls.conversation`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.calls.allowance import NotAllowed
from engine.calls.conversation import Conversation
from engine.calls.house import House, RingHouse
from engine.calls.media import MediaError
from engine.calls.peer import LOCAL_FAULT, NO_CHANNEL, REJECTED, Destination, NoChannel, Peer, PeerEnd
from engine.log import get_logger
from engine.sip.redirect import Trail
from flows.call import Unsupported
from flows.causes import bridge_outcome, dial_outcome
from flows.orders import Dial, Outcome, Target

log = get_logger(__name__)

MEDIA_REFUSED = frozenset({415, 488, 606})
"""Statuses that a wish for encrypted sound may bring: the same is tried without, where that is allowed."""

ELSEWHERE = "Call completed elsewhere"
"""For the telephone that rang in vain, so that it does not tell of a missed call (RFC 3326)."""

NOBODY = PeerEnd(404, "nobody is there")

Trial = asyncio.Future[Peer | PeerEnd]


class Dialling:
    """One order, carried out."""

    def __init__(self, order: Dial, house: House) -> None:
        self.order = order
        self.house = house

    async def run(self) -> Outcome:
        """Ring, bridge, and say how it went. Raises CallEnded when the caller hangs up meanwhile."""
        order, house = self.order, self.house
        if any(target.kind == "queue" for target in order.targets):
            raise Unsupported("queues are not possible on a live call yet")
        await house.ring_back(order.ringback)
        found = await house.unless_over(asyncio.ensure_future(Ringing(order, house).ring()))
        if isinstance(found, PeerEnd):
            return failed(order, found)
        conversation = Conversation(house, found, hangup_on_key=order.hangup_on_key, time_limit=order.time_limit)
        seconds, story = await conversation.run()
        return bridge_outcome(order, duration=seconds, leg=found.id, story=story)


def find_all(
    house: RingHouse, targets: Iterable[Target], order: Dial
) -> tuple[list[tuple[Target, list[Destination]]], PeerEnd | None]:
    """Where all of ``targets`` are, and the end of those that the account may not call, if there are any."""
    lines: list[tuple[Target, list[Destination]]] = []
    end: PeerEnd | None = None
    for target in targets:
        try:
            lines += ((target, found) for found in house.find(target, order))
        except NotAllowed as refused:
            log.warning("target_not_allowed", target=str(target.value), why=str(refused))
            end = PeerEnd(603, str(refused), by="local", cause=REJECTED)
    return lines, end


@dataclass(slots=True)
class Ringing:
    """The targets of an order ring, until one answers."""

    order: Dial
    house: RingHouse

    async def ring(self) -> Peer | PeerEnd:
        """Ring: the peer that answered first, or how it ended. All others are over then."""
        order = self.order
        end = NOBODY
        for _ in range(max(1, order.repeats)):
            for batch in self._batches():
                found = await self._ring_batch(batch)
                if isinstance(found, Peer):
                    return found
                end = found if end is NOBODY else clearer(end, found)
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
        lines, refused = find_all(self.house, targets, self.order)
        if refused is not None and not lines:
            return refused
        if self.order.strategy == "single" and len({line[0].device for _, line in lines if line}) == 1:
            return await self._in_turn(lines)
        return await self._race(lines, patience=self.order.timeout, alone=len(lines) == 1)

    async def _in_turn(self, lines: Sequence[tuple[Target, Sequence[Destination]]]) -> Peer | PeerEnd:
        """Ring the places of one device one after the other."""
        end = NOBODY
        for line in lines:
            found = await self._race([line], patience=self.order.timeout, alone=True)
            if isinstance(found, Peer) or found.status >= 600:
                return found
            end = found if end is NOBODY else clearer(end, found)
        return end

    async def _race(
        self, lines: Sequence[tuple[Target, Sequence[Destination]]], *, patience: float, alone: bool
    ) -> Peer | PeerEnd:
        """Ring all ``lines`` together: who answers first, or how it ended. ``patience`` in seconds; 0: no end of it."""
        trials: dict[Trial, str] = {
            asyncio.ensure_future(self.attempt(target, line, alone=alone)): line[0].device if line else ""
            for target, line in lines
        }
        winner: Peer | None = None
        end = NOBODY
        cancelled = True
        try:
            async with asyncio.timeout(patience or None):
                winner, end = await self._first(trials)
            cancelled = False
        except TimeoutError:
            end = PeerEnd(487, "nobody answered in time", by="local")
            cancelled = False
        finally:
            await self._settle(list(trials), None if cancelled else winner)
        return winner or end

    async def _first(self, trials: Mapping[Trial, str]) -> tuple[Peer | None, PeerEnd]:
        """Wait for the first who answers, or until nobody may any more; ``trials`` have the device that is rung."""
        end = NOBODY
        waiting = set(trials)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for trial in done:
                if trial.cancelled():
                    continue
                found = trial.result()
                if isinstance(found, Peer):
                    return found, end
                end = found if end is NOBODY else clearer(end, found)
                if self.order.stop_on_reject and _rejected(found):
                    return None, end
                if found.status >= 600 and (device := trials[trial]):  # RFC 3261 section 16.7: for all its places
                    for other in waiting:
                        if trials[other] == device:
                            other.cancel()
        return None, end

    async def _settle(self, trials: Sequence[Trial], winner: Peer | None) -> None:
        """Let all but ``winner`` go; when the caller hangs up meanwhile, that one too."""
        settling = asyncio.ensure_future(self._let_go(trials, winner))
        try:
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            await settling
            if winner is not None:
                await self.house.forget(winner)
            raise

    async def _let_go(self, trials: Sequence[Trial], winner: Peer | None) -> None:
        for trial in trials:
            trial.cancel()
        for outcome in await asyncio.gather(*trials, return_exceptions=True):
            if isinstance(outcome, Peer) and outcome is not winner:
                await self.house.forget(outcome)  # answered at the same moment, and lost

    async def attempt(self, target: Target, destinations: Sequence[Destination], *, alone: bool) -> Peer | PeerEnd:
        """Ring one after the other until one answers, or is not at fault that nobody does."""
        await asyncio.sleep(target.delay)
        end = NOBODY
        try:
            async with asyncio.timeout(target.timeout or None):
                for destination in destinations:
                    if destination.fallback != (end.status in MEDIA_REFUSED):
                        continue
                    for place in await self.house.located(destination):
                        found = await self._ring_at(place, target, alone=alone)
                        if isinstance(found, Peer):
                            return found
                        end = found
                        if end.remedy != "way":
                            break
                    if end.remedy != "way" and end.status not in MEDIA_REFUSED:
                        break
        except TimeoutError:
            end = PeerEnd(487, "did not answer in time", by="local")
        except MediaError as error:
            end = PeerEnd(503, f"no media: {error}", by="local", cause=LOCAL_FAULT)
        except ValueError as error:  # of the core: what would be sent cannot be
            end = PeerEnd(400, str(error), by="local")
        return end

    async def _ring_at(self, place: Destination, target: Target, *, alone: bool) -> Peer | PeerEnd:
        """Ring one place, and where it redirects to. Raises MediaError, ValueError."""
        try:
            peer = await self.house.make_peer(place)
        except NoChannel as full:
            return PeerEnd(503, str(full), by="local", cause=NO_CHANNEL)
        answered = False
        try:
            while not answered:
                answered = await self._call(peer, alone=alone)
                if peer.claim is None:
                    break
                claim, peer.claim = peer.claim, None
                if answered or peer.state == "ended":
                    claim.refuse(486 if answered else 481, "it does not ring any more")
                    break
                if isinstance(taker := await claim.take(), Peer):
                    peer.hang_up(ELSEWHERE)
                    return taker
        finally:
            if peer.claim is not None:
                peer.claim.refuse(481, "it does not ring any more")
            if not answered:
                await self.house.forget(peer)
        if answered:
            return peer
        assert peer.end is not None
        if 300 <= peer.end.status < 400 and peer.session is not None and peer.session.trail is not None:
            return await self._follow(peer.destination, peer.session.trail, target, peer.end, alone=alone)
        return peer.end

    async def _follow(
        self, origin: Destination, trail: Trail, target: Target, end: PeerEnd, *, alone: bool
    ) -> Peer | PeerEnd:
        """Ring the contacts of a 3xx (``end``), the most wanted first, as far as the call may go there."""
        while (uri := trail.next()) is not None:
            lines = self.house.follow(origin, uri, self.order)
            if not lines:
                log.info("redirection_not_followed", origin=origin.label, to=str(uri))
                continue
            ahead = [(replace(target, delay=0.0), [replace(each, trail=trail) for each in line]) for line in lines]
            found = await self._race(ahead, patience=0.0, alone=alone and len(lines) == 1)
            if isinstance(found, Peer) or found.status >= 600:
                return found
            end = found if 300 <= end.status < 400 else clearer(end, found)
        return end

    async def _call(self, peer: Peer, *, alone: bool) -> bool:
        """Call a peer, if that is not done; whether it answered. It may still ring if somebody else claims the call."""
        if peer.state == "new":
            self.house.call_peer(peer)
        heard = rung = False
        while True:
            await peer.changed.wait()
            peer.changed.clear()
            if peer.claim is not None or peer.state in ("answered", "ended"):
                return peer.state == "answered"
            if peer.state == "early" and alone and not self.order.ignore_early_media and not heard:
                heard = True
                self.house.caller_hears(peer)
            elif not rung and not heard:
                rung = True
                self.house.caller_rings()


def failed(order: Dial, end: PeerEnd) -> Outcome:
    """The outcome of ``order`` when nobody answered."""
    names = ", ".join(str(target.value) for target in order.targets) or "nobody"
    cause = end.why
    if end.cause:
        return dial_outcome(cause, story=f"{names}: {end.reason}")
    story = f"{names}: {end.reason or cause.name} ({end.status})"
    return dial_outcome(cause, sip=end.status if end.status != 487 else 0, q850=end.q850, story=story)


def _rejected(end: PeerEnd) -> bool:
    return end.status in (403, 480) or end.status >= 600 or end.why.name in ("USER_BUSY", "CALL_REJECTED")


_CLARITY: Sequence[Callable[[PeerEnd], bool]] = (
    lambda end: end.status >= 600,
    lambda end: end.why.status == "busy",
    lambda end: end.why.status == "no-answer",
    lambda end: 400 <= end.status < 500,
)


def clearer(one: PeerEnd, other: PeerEnd) -> PeerEnd:
    """Of two ends, the one that says more: a refusal by a person before that of a machine (RFC 3261, section 16.7), and
    anything that somebody else said before what went wrong here.
    """
    if bool(one.cause) != bool(other.cause):
        return other if one.cause else one
    for says in _CLARITY:
        if says(one) or says(other):
            return one if says(one) else other
    return one
