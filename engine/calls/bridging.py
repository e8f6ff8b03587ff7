"""A call is bridged with another live one of its account, by that one's id: both came in, or were made, by themselves.

The other may be anything that is alone with a flow. One that waits in a queue or a slot is taken as anybody takes it.
The flow of any other is replaced by one that comes to meet the call, and ends when the bridge does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from engine.callbacks import records
from engine.calls.media import MediaError
from flows.causes import counted
from flows.graph import Graph, HangUp, Perform
from flows.orders import BridgeSession, Conference, Dial, Outcome, failed

if TYPE_CHECKING:
    from engine.calls.supervisor import Supervisor

PATIENCE = 5.0
"""Seconds that the flow of the other call may take to come."""


async def bridge(call: Supervisor, order: BridgeSession) -> Outcome:
    """Carry the order out. Raises CallEnded and MediaError."""
    lots, wanted = call.outside.lots, str(order.session)
    other = call.outside.live_call(call.plan.account, wanted)
    if other is None:
        return failed(f"there is no call {wanted[:64]!r} now")
    expecting = lots.expecting.get(other.id)
    if expecting is not None and expecting.expected == call.id:  # it wants to be bridged with this one, too
        return await lots.take(call.call, expecting)
    if why := unavailable(call, other):
        return failed(f"the call {wanted} cannot be bridged with: {why}")
    call.log.info("bridging", other=other.id)
    if (waiting := lots.waiting(other.call)) is not None:
        return await lots.take(call.call, waiting)
    other.transfer_pending = False
    other.append(records.FlowReplaced(time.time(), call=other.id, flow="bridge", flow_version=0, by=f"call {call.id}"))
    other.call.replace(coming_to(call.id), {})
    return await lots.expect(call.call, other.id, PATIENCE)


async def serve_queue(call: Supervisor, order: Dial) -> Outcome:
    """Talk with whoever has waited longest in the first queue of ``order``. Raises CallEnded."""
    queue = next(str(target.value) for target in order.targets if target.kind == "queue")
    try:
        taken = await call.outside.lots.take_first(call.call, queue)
    except MediaError as error:
        return failed(f"no media: {error}")
    return counted(order, taken, float(taken.facts["duration"]))


def unavailable(call: Supervisor, other: Supervisor) -> str:
    """Why ``other`` cannot be bridged with ``call`` now; empty if it can."""
    live, doing = other.call, other.doing
    if other is call:
        return "it is this one"
    if live.ending is not None:
        return "it is over"
    if live.answered_at is None:
        return "it is not answered"
    if other.conversation is not None or other.outside.lots.talks(other.id) or isinstance(doing, BridgeSession):
        return "it is bridged already"
    if live.being_transferred or other.successor is not None:
        return "it is being transferred"
    if isinstance(doing, Dial):
        return "it is calling others"
    if isinstance(doing, Conference):
        return "it is in a conference"
    return ""


def coming_to(call: str) -> Graph:
    """The flow of a call that is to be bridged with ``call``, and over when that is."""
    meet, end = "bridge", "end"
    steps = (
        Perform(id=meet, origin="", order=BridgeSession(session=call), into="bridge", exits={"next": end}),
        HangUp(id=end, origin="", reason="the bridge with another call is over"),
    )
    return Graph({step.id: step for step in steps}, meet, name="bridge")
