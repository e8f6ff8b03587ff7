"""What ringing, and a conversation, need of the call that they are for (:mod:`engine.calls.household` has it)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from engine.calls.peer import Destination, Peer, PeerEnd
from engine.calls.targets import Aim
from engine.sip.uri import Uri
from flows.orders import Dial, Target

if TYPE_CHECKING:
    from engine.calls.conversation import Conversation


class RingHouse(Protocol):
    """What ringing needs of the call that it is for."""

    def find(self, target: Target, order: Dial) -> list[list[Destination]]:
        """Where a target is: all lists at once, each of them one after the other."""

    async def located(self, destination: Destination) -> list[Destination]:
        """The destination at each of its places, in the order in which to try them."""

    def follow(self, destination: Destination, uri: Uri, order: Dial) -> list[list[Destination]]:
        """Where a redirection of ``destination`` to ``uri`` leads, as :meth:`find` says; empty: it may not."""

    async def make_peer(self, destination: Destination) -> Peer:
        """A peer with an open stream on the caller's worker. Raises MediaError and NoChannel."""

    def call_peer(self, peer: Peer) -> None:
        """Send its INVITE."""

    async def forget(self, peer: Peer) -> None:
        """It is over: close its stream and put down how it ended."""

    def caller_rings(self) -> None:
        """Tell the caller that it rings: a tone, where that can be heard and nobody's early media is; otherwise 180."""

    def caller_hears(self, peer: Peer) -> None:
        """Let the caller hear the early media of ``peer``, as long as that one is not forgotten; where that cannot be,
        it rings.
        """


class House(RingHouse, Protocol):
    """What a conversation needs of its call."""

    def now(self) -> float: ...

    def name(self) -> str:
        """Who is on the line: a number or a name."""

    def conversing(self, conversation: Conversation | None) -> None:
        """It has begun, or is over."""

    async def connect(self, peer: Peer, other: Peer | None = None) -> None:
        """Pass sound both ways between ``peer`` and ``other``, or the line, which is answered if that is to be done.

        Whoever was connected before is not any more. Raises MediaError, and CallEnded.
        """

    async def disconnect(self) -> None:
        """Pass nothing more, and ring back no more."""

    async def ring_back(self, media: str) -> None:
        """It is about to ring: have the caller hear ``media``, if there is any, or the usual tone; the tone not before
        the answer, as nobody rings yet.
        """

    def rings_for(self, peer: Peer) -> None:
        """Let ``peer`` hear that it rings, until it is connected."""

    def music(self) -> None:
        """Music for the line, until it is connected."""

    def go_on(self, aim: Aim, before: tuple[str, str], after: tuple[str, str]) -> None:
        """The line is given the flow of ``aim``. Put that down; Replaced is raised by what is awaited next."""

    def off_hold(self) -> None:
        """Take the line off hold, if it was us who put it there."""

    def exchange(self, peer: Peer) -> Peer:
        """``peer`` is on the line from now on; who was there is a peer, which is returned. Both have answered."""

    def give_away(self, peer: Peer) -> None:
        """``peer`` leaves for another call."""

    async def moved(self, peer: Peer) -> None:
        """``peer``, which was on the line, is about to go: what was recorded of it is complete now."""

    def transferred(self, peer: Peer, before: tuple[str, str], after: tuple[str, str], *, attended: bool) -> None:
        """Put down that ``peer`` has taken somebody's place."""

    async def wait(self, deadline: float | None) -> str:
        """Wait until something happens to the call: the key pressed on the line, or empty. Raises CallEnded."""

    def poke(self) -> None:
        """Something has happened."""

    async def hang_up(self, reason: str) -> None:
        """End the call. Raises CallEnded."""

    async def unless_over(self, work: asyncio.Task[Peer | PeerEnd]) -> Peer | PeerEnd:
        """The result of ``work``; it is cancelled, and CallEnded raised, when the caller hangs up."""
