"""How a live call carries out orders (:mod:`flows.orders`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.call import RecordingOrder, Unsupported
from flows.orders import (
    BridgeSession,
    Conference,
    DetectMachine,
    Dial,
    Enqueue,
    LeaveQueue,
    Order,
    Outcome,
    Park,
    Presence,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
    Voicemail,
)
from flows.prompts import Prompt
from media import commands, reports

if TYPE_CHECKING:
    from engine.calls.live import LiveCall


async def perform(call: LiveCall, order: Order) -> Outcome:
    """Carry out ``order``. Raises :class:`~flows.call.Unsupported` for what calls cannot do yet, and CallEnded."""
    match order:
        case Dial():
            return await _dial(call, order)
        case Conference() | Park() | Enqueue() | BridgeSession():
            return await call.signalling.meet(order)
        case Voicemail():
            return await call.signalling.voicemail(order)
        case DetectMachine():
            return await _detect(call, order)
        case Presence():
            entity = str(order.entity).removeprefix("sip:").partition("@")[0]
            call.signalling.publish(entity, order.state)
            return Outcome((), {}, f"{entity} is {order.state}")
        case LeaveQueue():
            return Outcome()
        case SendDigits():
            return await _send(call, order)
        case Respond():
            return await _respond(call, order)
        case StartRecording():
            return _start(call, order)
        case StopRecording():
            return Outcome((), {}, "recording stopped" if call.background.stop_all() else "")
        case _:
            raise Unsupported(f"{type(order).__name__} is not possible on a live call yet")


async def _dial(call: LiveCall, order: Dial) -> Outcome:
    """Recorded, if at all, for as long as the order takes; keys pressed meanwhile were for the other side."""
    begun = [call.background.begin(RecordingOrder(sides=sides)) for sides in order.recorded]
    try:
        return await call.signalling.dial(order)
    finally:
        for recording in begun:
            call.background.stop(recording)


async def _send(call: LiveCall, order: SendDigits) -> Outcome:
    digits = str(order.digits)
    call.signalling.send_digits(digits, order.tone, order.gap)
    await call.pause(len(digits) * (order.tone + order.gap))
    return Outcome((), {}, f"sent the keys {digits}")


async def _respond(call: LiveCall, order: Respond) -> Outcome:
    prompts = [prompt for prompt in order.prompts if isinstance(prompt, Prompt)]
    if prompts:
        await call.early_media()
        if ready := await call.prepare(prompts):
            call.start(ready)
            await call.played()
    call.signalling.respond(order.final, order.reason)
    await call.hangup(f"{order.final} {order.reason}".rstrip())
    return Outcome()


async def _detect(call: LiveCall, order: DetectMachine) -> Outcome:
    """Listen to who picked up; with ``wait`` until a machine's greeting is over, or its beep."""
    until = call.now() + order.patience
    usual = commands.MachineLimits()
    limits = commands.MachineLimits(
        initial_silence=min(usual.initial_silence, order.patience),
        greeting=min(usual.greeting, order.patience),
        total=min(usual.total, order.patience),
    )
    call.machine = call.machine_listens = None
    call.signalling.detect_machine(limits)
    try:
        while call.machine is None and call.now() < until:
            await call.change(until)
        verdict = call.machine
        if verdict is None or verdict.result != "machine":
            result = verdict.result if verdict is not None else "unsure"
            return Outcome((), {"result": result, **_of_verdict(verdict)}, f"{result} picked up")
        patience = call.now() + limits.patience
        while order.wait and call.machine_listens is None and call.now() < patience:
            await call.change(patience)
        return Outcome(("machine",), {"result": "machine", **_of_verdict(verdict)}, "a machine picked up")
    finally:
        call.signalling.detect_machine(None)


def _of_verdict(verdict: reports.MachineVerdict | None) -> dict[str, str]:
    if verdict is None:
        return {}
    return {"why": verdict.reason, "confidence": f"{verdict.confidence:.2f}", "greeting": f"{verdict.greeting:.1f}"}


def _start(call: LiveCall, order: StartRecording) -> Outcome:
    if order.sample_rate not in (0, 8000):
        call.trouble(f"recordings have 8000 samples a second, not {order.sample_rate}")
    begun = [
        call.background.begin(
            RecordingOrder(order.format, sides, order.limit, least=order.least, upload=upload), on=order.on
        )
        for sides, upload in order.each
    ]
    return Outcome((), {"id": " ".join(filter(None, begun))}, "recording")
