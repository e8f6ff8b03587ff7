"""Live control: what somebody outside of a call may do with it, whatever its flow is doing.

A call is *bridged* while whoever is on its line talks with a peer; otherwise its flow has it. Nothing here knows who
asks, or in which API's words. What is refused changes nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from engine.callbacks import records
from engine.calls.allowance import NotAllowed
from engine.calls.changing import Side, UnderWay
from engine.calls.handing_on import hand_on
from engine.calls.services import Ready
from engine.calls.supervisor import Supervisor
from engine.calls.targets import Aim, find_aim
from flows.call import Unsupported
from flows.graph import Graph, HangUp, Perform
from flows.orders import Dial

Code = Literal["ended", "not_answered", "no_target", "not_allowed", "unsupported", "under_way", "refused"]

Party = Literal["", "line", "peer"]
"""Who is on the line, or the peer who talks with the line; empty: whom it makes sense for (:meth:`Control.other`)."""

PATIENCE = 10.0
"""Seconds that a telephone may take to say whether it is on hold."""


class ControlRefused(Exception):
    """It cannot be done: ``code`` for programs, the text for people.

    ``ended``: the call is over. ``not_answered``: nobody has answered yet. ``no_target``: there is nobody of that name.
    ``not_allowed``: the account may not have calls go there. ``unsupported``: a call cannot do it as it is now.
    ``under_way``: another transfer is. ``refused``: the telephone does not take it.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code


class Control:
    """Of one call that lives. ``by``, everywhere, is who wants it, for the records."""

    def __init__(self, call: Supervisor) -> None:
        self.call = call

    # --- what is possible ---------------------------------------------------------------

    @property
    def bridged(self) -> bool:
        """Whether two talk on this call."""
        return self.call.conversation is not None

    @property
    def recording(self) -> bool:
        """Whether the whole call is recorded."""
        return self.call.recording

    @property
    def held(self) -> frozenset[Side]:
        """Whom we have put on hold."""
        sides: dict[Side, bool] = {"line": self.call.call.on_hold.holding}
        if self.call.conversation is not None:
            sides["peer"] = self.call.conversation.peer.leg.on_hold.holding
        return frozenset(side for side, holding in sides.items() if holding)

    @property
    def possible(self) -> frozenset[str]:
        """The methods of this class that would not be refused now, as far as that is known before they are tried."""
        if self.call.call.ending is not None:
            return frozenset()
        found = {"hang_up"}
        if self._may_flow():
            found |= {"replace_flow", "transfer"}
        if self.call.call.answered_at is not None:
            found |= {"hold", "resume", "start_recording", "stop_recording"}
        if self.call.conversation is not None and self.call.conversation.changing:
            found.discard("transfer")
        return frozenset(found)

    def other(self) -> Side:
        """Of two who talk, the one whom the other, a telephone of the account, has to do with: the customer, say.

        Between two telephones, or two from outside, that is who is on the line.
        """
        conversation = self.call.conversation
        if conversation is None:
            return "line"
        inside = bool(self.call.line_device), bool(conversation.peer.destination.device)
        return "peer" if inside == (True, False) else "line"

    # --- the end ------------------------------------------------------------------------

    async def hang_up(self, *, by: str = "") -> None:
        """End the call, for everybody who is on it. Raises :class:`ControlRefused`, like all that follow."""
        self._alive()
        self.call.call.end("flow", f"hung up by {by}" if by else "hung up by the API")

    # --- who talks with whom ------------------------------------------------------------

    async def transfer(self, target: str, *, attended: bool = False, by: str = "", leaves: Party = "") -> None:
        """Hand the call on to ``target``: a number, a user, a device, an extension or a SIP URI of the account.

        Of two who talk, ``leaves`` is replaced: the one who is not the :meth:`other`, unless said. With ``attended``
        that one talks with the target first: ``*`` completes, ``#`` cancels. In a flow the line is connected to the
        target, and the rest of the flow is left out. Returns when it has begun; a target that does not answer leaves
        both as they were.
        """
        call = self._alive()
        try:
            aim = find_aim(target, call.plan.account, call.outside)
        except NotAllowed as error:
            raise ControlRefused("not_allowed", str(error)) from None
        if aim is None:
            raise ControlRefused("no_target", f"there is nobody to reach as {target!r}")
        if call.conversation is None:
            self._transfer_flow(aim, attended=attended, by=by)
            return
        side: Side = leaves or ("peer" if self.other() == "line" else "line")
        if aim.plan is not None and attended:
            raise ControlRefused("unsupported", "there is nobody to consult: a flow answers there")
        try:
            hand_on(call, side, aim, attended=attended, by=by)
        except UnderWay:
            raise ControlRefused("under_way", "another transfer is under way") from None

    def _transfer_flow(self, aim: Aim, *, attended: bool, by: str) -> None:
        if attended:
            raise ControlRefused("unsupported", "nobody is there who could consult: the call is not bridged")
        self._needs_flow()
        call = self.call
        call.transfer_by = by
        if aim.order is not None:
            call.transfer_pending = True
            call.call.replace(transfer_graph(aim.order), {})
        else:
            assert aim.plan is not None
            before = call.ends()
            after = (before[0], aim.name) if before[0] == call.line_name else (aim.name, before[1])
            call.put_down_transfer("", before, after, attended=False)
            call.call.replace(aim.plan.graph, aim.plan.prompts)

    async def replace_flow(self, flow: Ready, *, by: str = "") -> None:
        """Go on with ``flow``: what is under way is stopped, a peer is hung up, and the flow talks with the line."""
        call = self._alive()
        self._needs_flow()
        call.transfer_pending = False
        call.append(records.FlowReplaced(time.time(), call=call.id, flow=flow.name, flow_version=flow.version, by=by))
        call.call.replace(flow.graph, flow.prompts)

    # --- holding ------------------------------------------------------------------------

    async def hold(self, *, by: str = "", party: Party = "") -> None:
        """Put somebody on hold, with music: the :meth:`other`, unless said. Nothing happens if that is so already."""
        self._answered()
        side: Side = party or self.other()
        if side in self.held:
            return
        leg, put = self._phone(side)
        await self._asked(put.hold(), records.Held(time.time(), call=self.call.id, leg=leg, by=by))

    async def resume(self, *, by: str = "", party: Party = "") -> None:
        """Take off hold whoever is, or ``party``. Nothing happens if nobody is."""
        self._answered()
        for side in sorted(self.held):
            if party in ("", side):
                leg, put = self._phone(side)
                await self._asked(put.resume(), records.Resumed(time.time(), call=self.call.id, leg=leg, by=by))

    def _phone(self, side: Side) -> tuple[str, _Phone]:
        """The id of the leg, empty for the line, and what holds it."""
        if side == "line":
            return "", _Phone(self.call.hold, self.call.resume)
        conversation = self.call.conversation
        if conversation is None:
            raise ControlRefused("unsupported", "there is no peer: the call is not bridged")
        peer, music = conversation.peer, self.call.outside.tones.music
        return peer.id, _Phone(lambda: peer.hold(music), peer.resume)

    async def _asked(self, wish: Awaitable[bool], record: records.Record) -> None:
        """Wait for what the telephone says; a late yes is put down as well."""
        call = self.call

        async def asking() -> bool:
            done = await wish
            if done:
                call.append(record)
            return done

        task = asyncio.ensure_future(asking())
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if not done or not task.result():
            raise ControlRefused("refused", "the telephone refuses" if done else "the telephone does not answer")

    # --- recording ----------------------------------------------------------------------

    async def start_recording(self, *, by: str = "") -> bool:
        """Record the whole call from now on, each side on a channel; false if it is recorded already."""
        self._answered()
        if self.call.recording:
            return False
        try:
            recording = self.call.start_recording()
        except Unsupported as error:
            raise ControlRefused("unsupported", str(error)) from None
        self.call.log.info("recording", recording=recording, by=by)
        return True

    async def stop_recording(self, *, by: str = "") -> bool:
        """Record the whole call no longer; false if it was not recorded. What flows record is theirs."""
        self._answered()
        if not self.call.recording:
            return False
        self.call.stop_recording()
        self.call.log.info("recording_stopped", by=by)
        return True

    # --- what is needed -----------------------------------------------------------------

    def _alive(self) -> Supervisor:
        if self.call.call.ending is not None:
            raise ControlRefused("ended", "the call has ended")
        return self.call

    def _answered(self) -> None:
        self._alive()
        if self.call.call.answered_at is None:
            raise ControlRefused("not_answered", "nobody has answered yet")

    def _may_flow(self) -> bool:
        return self.call.direction == "inbound" or self.call.call.answered_at is not None

    def _needs_flow(self) -> None:
        """A call that goes out has its flow once somebody answers."""
        if not self._may_flow():
            raise ControlRefused("not_answered", "nobody has answered yet")


@dataclasses.dataclass(frozen=True, slots=True)
class _Phone:
    hold: Callable[[], Awaitable[bool]]
    resume: Callable[[], Awaitable[bool]]


def transfer_graph(order: Dial) -> Graph:
    """The flow of a caller who is handed on: ring, talk, and that was it."""
    ring, end = "transfer", "end"
    steps = (
        Perform(id=ring, origin="", order=order, into="dial", exits={"next": end}),
        HangUp(id=end, origin="", reason="the transferred call is over"),
    )
    return Graph({step.id: step for step in steps}, ring, name="transfer")
