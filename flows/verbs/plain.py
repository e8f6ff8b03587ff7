"""Steps that neither speak nor listen: paths, callbacks, variables, orders, the end."""

from __future__ import annotations

from dataclasses import replace

from flows import graph as g
from flows.call import Entered, Forwarding, Performed, TransferOutcome, Unsupported
from flows.orders import Order, Outcome, Respond, StartRecording, filled
from flows.templates import UnsafeUrl, fill, fill_target
from flows.walk import Walk


async def answer(walk: Walk, step: g.Answer) -> str:
    await walk.answer()
    return g.NEXT


async def enter(walk: Walk, step: g.Enter) -> str:
    walk.narrator.path = step.path
    walk.because = ""
    walk.call.tell(Entered(step.path, step.id))
    return g.NEXT


async def notify(walk: Walk, step: g.Notify) -> str:
    walk.tell(walk.narrator.tree(walk.call.answered_at, walk.call.now()))
    return g.NEXT


async def subscribe(walk: Walk, step: g.Subscribe) -> str:
    note = walk.narrator.subscribe(step.url)
    if note is not None:
        walk.call.tell(note)
        if walk.opened:  # whoever comes before gets `open` instead
            walk.tell(walk.narrator.tree(walk.call.answered_at, walk.call.now(), to=step.url))
    return g.NEXT


async def forward(walk: Walk, step: g.Forward) -> str:
    walk.call.tell(Forwarding(step.url))
    return g.NEXT


async def set_variables(walk: Walk, step: g.SetVariables) -> str:
    for name, value in step.values:
        walk.set(name, fill(value, walk.variables), secret=walk.secrets.inside(value))
    return g.NEXT


async def branch(walk: Walk, step: g.Branch) -> str:
    for case in step.cases:
        if all(condition.holds(walk.variables) for condition in case.conditions):
            return case.exit
    return g.NEXT


async def flush(walk: Walk, step: g.Flush) -> str:
    await walk.gather()
    walk.waiting.clear()
    if step.prefix:
        walk.forget(step.prefix)
    return g.NEXT


async def transfer(walk: Walk, step: g.Transfer) -> str:
    try:
        to, target = fill_target(step.target, walk.variables), fill_target(step.target, walk.shown)
    except UnsafeUrl as error:
        outcome = TransferOutcome(accepted=False, status=0, reason=str(error))
        target = str(step.target)
    else:
        outcome = await walk.call.transfer(to)
    if outcome.accepted:
        walk.because = f"transferred to {target}"
    else:
        status = f" {outcome.status}" if outcome.status else ""
        walk.because = f"the transfer to {target} failed:{status} {outcome.reason or 'no answer'}".rstrip()
    facts = {"status": str(outcome.status), "reason": outcome.reason}
    walk.call.tell(Performed(step.verb, walk.because, () if outcome.accepted else (g.FAILED,), facts))
    return g.NEXT if outcome.accepted else g.FAILED


async def perform(walk: Walk, step: g.Perform) -> str:
    """Carry an order out. One that the call cannot is told, and takes the exit ``unsupported``.

    Whatever comes of it, nothing is left of what an earlier order came to under the same name.
    """
    try:
        order = _with_upload(walk, filled(step.order, walk.variables))
    except UnsafeUrl as error:
        return _not_done(walk, step, str(error))
    await walk.ready(order.needs)
    if isinstance(order, Respond):
        await walk.prepare(order.prompts)
    try:
        outcome = await walk.call.perform(order)
    except Unsupported as error:
        return _not_done(walk, step, str(error))
    _take_over(walk, step, order, outcome)
    walk.because = outcome.story or walk.because
    walk.call.tell(Performed(step.verb, outcome.story, outcome.exits, dict(outcome.facts)))
    return _first(step, outcome.exits)


def _with_upload(walk: Walk, order: Order) -> Order:
    return replace(order, upload=walk.upload(order.upload)) if isinstance(order, StartRecording) else order


def _take_over(walk: Walk, step: g.Perform, order: Order, outcome: Outcome) -> None:
    """Put what the order came to in place of what an earlier one did."""
    if step.into:
        walk.forget(f"{step.into}.")
    walk.learn(step.into, outcome.facts)
    if isinstance(order, StartRecording):
        walk.recorded(len(order.each))
        if order.upload is not None:
            walk.learn(step.into, {"url": order.upload.place})


def _not_done(walk: Walk, step: g.Perform, why: str) -> str:
    walk.trouble(why)
    walk.because = why
    if step.into:
        walk.forget(f"{step.into}.")
    if g.FAILED in step.order.exits:
        walk.learn(step.into, {"status": "failed"})
    walk.call.tell(Performed(step.verb, "", (g.UNSUPPORTED, g.FAILED)))
    return _first(step, (g.UNSUPPORTED, g.FAILED))


def _first(step: g.Step, exits: tuple[str, ...]) -> str:
    return next((name for name in exits if name in step.exits), g.NEXT)


async def hang_up(walk: Walk, step: g.HangUp) -> str:
    await walk.call.hangup(step.reason or walk.because or "end of the flow")
    return g.NEXT
