"""Paging: one speaks, all who were rung hear it. Telephones that can are asked to answer by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from engine.calls.dialling import NOBODY, Ringing, Trial, clearer, failed, find_all
from engine.calls.house import House
from engine.calls.peer import Peer, PeerEnd
from engine.log import get_logger
from flows.causes import bridge_outcome
from flows.orders import Dial, Outcome

log = get_logger(__name__)

AUTO_ANSWER = {
    "Call-Info": "<sip:page.invalid>;answer-after=0",
    "Alert-Info": "<http://page.invalid>;info=alert-autoanswer;delay=0",
}
"""What telephones take for the wish to answer by themselves, if they are set up to; there is no standard that they have
in common (RFC 5373 asks for more than most do).
"""


class PageHouse(House, Protocol):
    """What a page needs of its call."""

    async def begin_page(self) -> None:
        """Answer the caller, if that is to be done, and let those hear them who are paged. Raises CallEnded."""

    def page(self, peer: Peer) -> None:
        """``peer`` hears the page."""

    def end_page(self) -> None:
        """Nobody hears it any more; nothing happens if none has begun."""


@dataclass(slots=True)
class Paging:
    """One page: whoever answers within the order's timeout hears it from then on, the others ring no more."""

    order: Dial
    house: PageHouse
    _there: list[Peer] = field(default_factory=list)
    """Those who have answered."""
    _speaking: bool = False
    _end: PeerEnd = NOBODY
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first has answered, and when nobody will."""

    async def run(self) -> Outcome:
        """Page until all have hung up or the time is up. Raises CallEnded when the caller hangs up."""
        order = replace(self.order, headers={**AUTO_ANSWER, **self.order.headers})
        ringing = Ringing(order, self.house)
        lines, refused = find_all(self.house, order.targets, order)
        if refused is not None:
            self._end = refused
        trials: list[Trial] = [
            asyncio.ensure_future(ringing.attempt(target, line, alone=False)) for target, line in lines
        ]
        gathering = asyncio.ensure_future(self._gather(trials))
        began = self.house.now()
        try:
            if isinstance(found := await self.house.unless_over(asyncio.ensure_future(self._first())), PeerEnd):
                return failed(order, found)
            began = self.house.now()
            await self.house.begin_page()
            self._speaking = True
            for peer in self._there:
                self.house.page(peer)
            await self._speak(gathering, began)
        finally:
            self._speaking = False
            self.house.end_page()
            await self._let_go(gathering, trials)
        seconds = self.house.now() - began
        story = f"paged {len(self._there)} for {seconds:.1f} s"
        return bridge_outcome(order, duration=seconds, leg=self._there[0].id, story=story)

    async def _first(self) -> Peer | PeerEnd:
        await self._answered.wait()
        return self._there[0] if self._there else self._end

    async def _gather(self, trials: Sequence[Trial]) -> None:
        """Take in those who answer in time; the others are let go."""
        waiting = set(trials)
        until = self.house.now() + self.order.timeout if self.order.timeout else None
        try:
            while waiting and (until is None or self.house.now() < until):
                patience = None if until is None else until - self.house.now()
                done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for trial in done:
                    found = trial.result()
                    if isinstance(found, PeerEnd):
                        self._end = found if self._end is NOBODY else clearer(self._end, found)
                        continue
                    self._there.append(found)
                    self._answered.set()
                    if self._speaking:
                        self.house.page(found)
            if waiting and self._end is NOBODY:
                self._end = PeerEnd(487, "nobody answered in time", by="local")
            for trial in waiting:
                trial.cancel()
        except Exception:
            log.exception("page_failed")  # whoever is there goes on hearing the page
        finally:
            self._answered.set()

    async def _speak(self, gathering: asyncio.Future[None], began: float) -> None:
        until = began + self.order.time_limit if self.order.time_limit else None
        gathering.add_done_callback(lambda _: self.house.poke())
        while not gathering.done() or any(peer.state != "ended" for peer in self._there):
            key = await self.house.wait(until)
            if (key and key in self.order.hangup_on_key) or (until is not None and self.house.now() >= until):
                return

    async def _let_go(self, gathering: asyncio.Future[None], trials: Sequence[Trial]) -> None:
        """Everybody, to the end, also when the caller hangs up meanwhile."""

        async def close() -> None:
            gathering.cancel()
            for trial in trials:
                trial.cancel()
            await asyncio.gather(gathering, return_exceptions=True)
            for outcome in await asyncio.gather(*trials, return_exceptions=True):
                if isinstance(outcome, Peer):
                    await self.house.forget(outcome)

        await asyncio.shield(asyncio.ensure_future(close()))
