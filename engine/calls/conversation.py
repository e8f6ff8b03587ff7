"""Two who talk with each other, and what becomes of them when one of them hands the other on.

One is on the *line* of the call, the other is a *peer*. A :class:`Change` puts somebody else in the place of one of
them: at once when that one answers (blind), or after the one who leaves has talked with the new one (attended), where
``*`` completes and ``#`` cancels. As long as it is not complete the one who leaves can come back, so that every failure
leaves two who talk, or nobody.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from engine.calls.changing import SERVER_ERROR, Change, Rung, Side, UnderWay
from engine.calls.house import House
from engine.calls.media import MediaError
from engine.calls.peer import Peer, PeerEnd
from engine.calls.targets import Aim

_Verdict = Literal["answered", "complete", "cancelled", "alone"]

COMPLETE, CANCEL = "*", "#"
"""Keys of whoever consults."""


class Conversation:
    """Lasts until one of both hangs up, a key or a limit ends it, or the call is over."""

    def __init__(self, house: House, peer: Peer, *, hangup_on_key: str = "", time_limit: float = 0.0) -> None:
        self.peer = peer
        self._house = house
        self._hangup_on_key = hangup_on_key
        self._time_limit = time_limit
        self._names = [house.name(), peer.destination.label]
        self._line = 0
        """Which of both is on the line."""
        self._change: Change | None = None
        self._exchanged = False
        """Whether the one who leaves for the change that is asked for is no longer on the line."""
        self._giving: tuple[Side, asyncio.Future[Peer]] | None = None
        self._given = False
        self._final = False
        """Whether the rest of the flow is no business of who is on the line now."""
        self._consulting = False
        self._line_gone = False

    # --- wishes -------------------------------------------------------------------------

    @property
    def changing(self) -> bool:
        """Whether somebody is about to be replaced, or given away."""
        return self._change is not None or self._giving is not None

    def ask(self, change: Change) -> None:
        """Begin a change. Raises :class:`UnderWay`."""
        if self.changing:
            raise UnderWay
        self._change = change
        self._house.poke()

    def give(self, side: Side) -> asyncio.Future[Peer]:
        """Give one of both away, to another call; this one ends then. Raises :class:`UnderWay`."""
        if self.changing:
            raise UnderWay
        wanted: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self._giving = side, wanted
        self._house.poke()
        return wanted

    def line_left(self, end: PeerEnd) -> bool:
        """Who is on the line has hung up; whether the call goes on, with somebody else on its line.

        It does if that one was about to leave, and the other one to be given somebody else or to be given away.
        """
        if self.peer.state == "ended":
            return False
        if self._giving is not None and self._giving[0] == "peer":
            return True
        leaves = self._change is not None and self._change.leaves == "line" and not self._exchanged
        if not (leaves or self._consulting):
            return False
        self._exchange()
        self.peer.finish(end)
        self._exchanged, self._line_gone = leaves, not leaves
        self._house.poke()
        return True

    # --- the conversation ---------------------------------------------------------------

    async def run(self) -> tuple[float, str]:
        """Its seconds, and what to tell of it. Raises CallEnded when the call is over."""
        house = self._house
        began = house.now()
        until = began + self._time_limit if self._time_limit else None
        label = self.peer.destination.label
        try:
            await house.connect(self.peer)
            house.conversing(self)
            while not self._given and (self.peer.state != "ended" or self._owed):
                if self._giving is not None:
                    await self._give(*self._giving)
                elif self._change is not None:
                    await self._carry_out(self._change)
                elif until is not None and house.now() >= until:
                    break
                else:
                    key = await house.wait(until)
                    if key and key in self._hangup_on_key:
                        break
        finally:
            house.conversing(None)
            if self._giving is not None and not self._giving[1].done():
                self._giving[1].cancel()
            if self._change is not None:
                self._change.tell(487, "the call is over")
            await house.disconnect()
            if not self._given:
                await house.forget(self.peer)
        if self._final:
            await house.hang_up("transferred" if self._given else "the transferred call is over")
        seconds = house.now() - began
        return seconds, f"talked with {label} for {seconds:.1f} s"

    @property
    def _owed(self) -> bool:
        """Whether the one who leaves has hung up before that was carried out which they wanted."""
        if self._giving is not None:
            return self._giving[0] == "line"
        return self._change is not None and (self._exchanged or self._change.leaves == "peer")

    async def _give(self, side: Side, wanted: asyncio.Future[Peer]) -> None:
        self._giving = None
        if wanted.cancelled():
            return
        await self._house.disconnect()
        if side == "line":
            self._exchange()
        self._given = self._final = True
        self._house.give_away(self.peer)
        wanted.set_result(self.peer)

    async def _carry_out(self, change: Change) -> None:
        swapped = change.leaves == "line"
        if swapped and not self._exchanged:
            self._exchange()
        self._exchanged = swapped
        if change.flow is not None:
            await self._leave_to(change, change.flow)
            return
        rung = Rung(change, self._house)
        try:
            if change.attended:
                await self._consult(change, rung, swapped=swapped)
            else:
                await self._blind(change, rung, swapped=swapped)
        except BaseException:
            await rung.give_up()
            change.tell(487, "the call is over")
            raise
        finally:
            self._change = None
            self._exchanged = self._consulting = self.peer.listening = False

    async def _leave_to(self, change: Change, aim: Aim) -> None:
        """A flow takes the place of who leaves. Raises Replaced."""
        leaver = self.peer
        await self._house.disconnect()
        before = (self._names[0], self._names[1])
        self._names[1 - self._line] = aim.name
        self._house.off_hold()
        change.tell(200, "OK")
        self._change = None
        await self._house.moved(leaver)
        self._house.go_on(aim, before, (self._names[0], self._names[1]))
        await self._house.wait(None)

    def _exchange(self) -> None:
        self.peer = self._house.exchange(self.peer)
        self._line = 1 - self._line

    # --- blind --------------------------------------------------------------------------

    async def _blind(self, change: Change, rung: Rung, *, swapped: bool) -> None:
        """The line waits for who comes; as long as it does not ring both go on talking."""
        house, leaver = self._house, self.peer
        hears: Peer | None = None
        apart = rings = False
        while not rung.done:
            if rung.early is not None and rung.early is not hears:
                hears, apart, rings = rung.early, True, False
                await house.disconnect()
                house.caller_hears(hears)
                change.tell(183, "Session Progress")
            elif rung.early is None and not rings and (rung.rings or (leaver.state == "ended" and not apart)):
                apart = rings = True
                await house.disconnect()
                await house.ring_back("")
                if rung.rings:
                    change.tell(180, "Ringing")
            else:
                await house.wait(None)
        await self._decide(change, rung.result(), swapped=swapped)

    async def _decide(self, change: Change, found: Peer | PeerEnd, *, swapped: bool) -> None:
        """Who comes has answered or not."""
        if isinstance(found, Peer) and found.state != "ended":
            if await self._put_through(change, found):
                return
            found = PeerEnd(SERVER_ERROR, "no media", by="local")
        end = found.end if isinstance(found, Peer) else found
        if isinstance(found, Peer):
            await self._house.forget(found)
        await self._as_before(swapped=swapped)
        change.tell(*(end.status, end.reason) if end is not None else (SERVER_ERROR, ""))

    async def _put_through(self, change: Change, found: Peer) -> bool:
        """``found`` talks with the line from now on; whether that could be done."""
        house, leaver = self._house, self.peer
        try:
            await house.connect(found)
        except MediaError as error:
            found.log.error("not_put_through", error=str(error))
            await house.forget(found)
            return False
        except BaseException:
            await house.forget(found)
            raise
        before = (self._names[0], self._names[1])
        self._names[1 - self._line] = found.destination.label
        self.peer, self._final = found, True
        house.off_hold()
        attended = change.attended or change.joined
        house.transferred(found, before, (self._names[0], self._names[1]), attended=attended)
        change.tell(200, "OK")
        await house.moved(leaver)
        await house.forget(leaver)
        return True

    async def _as_before(self, *, swapped: bool) -> None:
        """Both talk again, unless one who wanted to leave has left."""
        if self.peer.state == "ended":
            self._final = self._final or swapped
            return
        if swapped:
            self._exchange()
        await self._house.connect(self.peer)

    # --- attended -----------------------------------------------------------------------

    async def _consult(self, change: Change, rung: Rung, *, swapped: bool) -> None:
        """The line hears music while who leaves talks with who comes."""
        house, leaver = self._house, self.peer
        leaver.keys.clear()
        self._consulting = leaver.listening = True
        await house.disconnect()
        house.music()
        verdict = await self._until_answered(change, rung, leaver)
        consulted: Peer | None = None
        try:
            if verdict == "answered":
                found = rung.result()
                if not isinstance(found, Peer) or found.state == "ended":
                    await self._decide(change, found, swapped=swapped)
                    return
                consulted = found
                await house.connect(consulted, leaver)
                house.music()
                verdict = await self._until_decided(leaver, consulted)
            self._consulting = leaver.listening = False
            await self._conclude(verdict, change, rung, consulted, swapped=swapped)
        except BaseException:
            if consulted is not None:
                await house.forget(consulted)
            raise

    async def _until_answered(self, change: Change, rung: Rung, leaver: Peer) -> _Verdict:
        """Who is to be consulted rings; who consults hears that."""
        house = self._house
        hears: Peer | None = None
        rings = False
        while True:
            key = leaver.keys.popleft() if leaver.keys else ""
            if self._line_gone:
                return "alone"
            if rung.done:
                return "answered"
            if key == CANCEL:
                return "cancelled"
            if key == COMPLETE or leaver.state == "ended":
                return "complete"
            early = rung.early
            if early is not None and early is not hears and early.stream.worker is leaver.stream.worker:
                hears, rings = early, False
                await house.disconnect()
                house.music()
                early.stream.relay(leaver.stream)
            elif rung.rings and not rings and (early is None or early is not hears):
                rings = True
                house.rings_for(leaver)
                change.tell(180, "Ringing")
            elif not leaver.keys:
                await house.wait(None)

    async def _until_decided(self, leaver: Peer, consulted: Peer) -> _Verdict:
        """Both talk."""
        while True:
            key = leaver.keys.popleft() if leaver.keys else ""
            if self._line_gone:
                return "alone"
            if key == CANCEL or consulted.state == "ended":
                return "cancelled"
            if key == COMPLETE or leaver.state == "ended":
                return "complete"
            if not leaver.keys:
                await self._house.wait(None)

    async def _conclude(
        self, verdict: _Verdict, change: Change, rung: Rung, consulted: Peer | None, *, swapped: bool
    ) -> None:
        match verdict:
            case "alone":
                await self._stay(change, rung, consulted, swapped=swapped)
            case "complete" if consulted is not None:
                await self._decide(change, consulted, swapped=swapped)
            case "complete":
                await self._blind(change, rung, swapped=swapped)
            case _:
                await rung.give_up()
                if consulted is not None:
                    await self._house.forget(consulted)
                await self._as_before(swapped=swapped)
                change.tell(487, "cancelled")

    async def _stay(self, change: Change, rung: Rung, consulted: Peer | None, *, swapped: bool) -> None:
        """Who waited has hung up. Who wanted to leave is on the line now, and talks on with who was consulted."""
        house, gone = self._house, self.peer
        self._line_gone = False
        self._final = not swapped
        if consulted is None:
            await rung.give_up()
        else:
            self._names[1 - self._line] = consulted.destination.label
            self.peer = consulted
            await house.connect(consulted)
            await house.moved(gone)
            await house.forget(gone)
        change.tell(487, "who was to be transferred has hung up")
