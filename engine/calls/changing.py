"""A change of those who talk with each other: who leaves, and who is rung to come in place of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from engine.calls.house import House, RingHouse
from engine.calls.peer import Destination, Peer, PeerEnd
from engine.calls.targets import Aim
from engine.sip.uri import Uri
from flows.orders import Dial, Target

Side = Literal["line", "peer"]

SERVER_ERROR = 500


class UnderWay(Exception):
    """Another change is under way."""


def _nobody(status: int, reason: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Change:
    """``ring`` gets hold of who comes, or says why that cannot be; ``tell`` gets SIP statuses, the final one last."""

    leaves: Side
    ring: Callable[[RingHouse], Awaitable[Peer | PeerEnd]]
    attended: bool = False
    """Who leaves talks with who comes first."""
    joined: bool = False
    """They have talked before, or know of each other otherwise: it is no blind transfer."""
    tell: Callable[[int, str], None] = _nobody
    flow: Aim | None = None
    """A flow that the one who stays is given in place of somebody who rings."""


class Rung:
    """Somebody who is rung for a change, as ringing sees the house: what is to be heard of it is noted."""

    def __init__(self, change: Change, house: House) -> None:
        self.rings = False
        self.early: Peer | None = None
        self._taken = False
        self._house = house
        self._task = asyncio.ensure_future(change.ring(self))
        self._task.add_done_callback(lambda _: house.poke())

    @property
    def done(self) -> bool:
        return self._task.done()

    def result(self) -> Peer | PeerEnd:
        self._taken = True
        try:
            return self._task.result()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, both go on talking
            return PeerEnd(SERVER_ERROR, str(error) or type(error).__name__, by="local")

    async def give_up(self) -> None:
        """Ring no more; who has answered meanwhile is let go."""
        if self._taken:
            return
        self._task.cancel()
        (found,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(found, Peer) and found.state != "ended":
            await self._house.forget(found)

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        return self._house.find(target, order)

    async def located(self, destination: Destination) -> list[Destination]:
        return await self._house.located(destination)

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        return self._house.follow(destination, uri, order)

    async def make_peer(self, destination: Destination) -> Peer:
        return await self._house.make_peer(destination)

    def call_peer(self, peer: Peer) -> None:
        self._house.call_peer(peer)

    async def forget(self, peer: Peer) -> None:
        if peer is self.early:
            self.early, self.rings = None, False
        await self._house.forget(peer)

    def caller_rings(self) -> None:
        self.rings = True
        self._house.poke()

    def caller_hears(self, peer: Peer) -> None:
        self.early = peer
        self._house.poke()
