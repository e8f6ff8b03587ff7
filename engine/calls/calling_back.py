"""A caller whom nobody takes out of a slot: the telephone that has parked the call is called back.

That is the one which has handed the call on to the flow that parks it, or that has talked with the caller before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flows.orders import Dial, Outcome, Park, Target

if TYPE_CHECKING:
    from engine.calls.supervisor import Supervisor

RING_SECONDS = 30.0


async def park(call: Supervisor, order: Park) -> Outcome:
    """Carry the order out. Raises CallEnded and MediaError."""
    outcome = await call.outside.lots.park(call.call, order, say=not call.parker)
    while outcome.facts.get("status") == "no-answer":
        if call.parker:
            outcome = await _call_back(call, outcome)
        if not order.keep or not outcome.exits:
            break
        outcome = await _park_again(call, order, outcome.facts["slot"])
    return outcome


async def _park_again(call: Supervisor, order: Park, slot: str) -> Outcome:
    """In the same slot, or another one if somebody is parked there now."""
    lots, order = call.outside.lots, replace(order, action="park")
    outcome = await lots.park(call.call, replace(order, slot=slot))
    if outcome.facts["status"] == "failed":
        return await lots.park(call.call, replace(order, slot=""))
    return outcome


async def _call_back(call: Supervisor, outcome: Outcome) -> Outcome:
    """Ring who has parked; ``outcome`` is that of a time in the slot in which nobody came."""
    slot, parker = outcome.facts["slot"], call.parker
    call.log.info("parker_called_back", slot=slot, device=parker)
    ring = Dial(
        targets=(Target(kind="device", value=parker),), timeout=RING_SECONDS, caller_name=f"Parking slot {slot}"
    )
    came = await call.dial(ring)
    facts = {"slot": slot, "duration": came.facts.get("duration", "0")}
    story = f"{outcome.story}; {parker} was called back: {came.story}"
    if came.facts.get("status") != "completed":
        return Outcome(("failed",), {**facts, "status": "no-answer"}, story)
    return Outcome((), {**facts, "status": "completed"}, story)
