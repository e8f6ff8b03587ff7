"""Writing Kazoo modules that ring somebody: ``device``, ``user``, ``ring_group``, ``page_group``, ``resources``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows import graph as g
from flows import orders as o

if TYPE_CHECKING:
    from .kazoo import KazooWriter

_OWN = ("resources", "normalize", "ignore_forwards")
"""What modules settle by which one they are."""
_STRATEGIES = {"simultaneous": "simultaneous", "single": "single", "weighted": "weighted_random"}


def ring(writer: KazooWriter, step: g.Perform, order: o.Dial) -> dict[str, Any] | None:
    """The node for a dial; ``None``, with the loss told, where nobody can be rung."""
    inside = tuple(target for target in order.targets if target.kind in ("device", "user", "group", "any"))
    outside = tuple(target for target in order.targets if target.kind in ("number", "uri"))
    timeout: dict[str, Any] = {"timeout": round(order.timeout)} if order.timeout else {}
    if inside and (outside or len(inside) < len(order.targets)):
        message = "numbers and devices are not rung together: only the devices, users and groups are"
        writer.losses.lost("targets", step.origin, message)
    one = len(inside) == 1 and inside[0].kind in ("device", "user") and order.strategy != "page"
    again = ("repeats",) if inside and not one and order.strategy != "page" else ()
    writer.unsaid(step, order, ("targets", "timeout", "strategy", *again, *_OWN), {"time_limit": 14_400.0})
    if one:
        target = inside[0]
        identity = writer.plain(step, target.value, "who is rung")
        delay = {"delay": round(target.delay)} if target.delay else {}
        writer.unsaid_targets(step, inside, "delay", "weight")
        return _node(target.kind, {"id": identity, **timeout, **delay}) if identity else None
    if inside:
        writer.unsaid_targets(step, inside, "delay", "timeout", "weight")
        endpoints = [endpoint for target in inside if (endpoint := _endpoint(writer, step, target))]
        if order.strategy == "page":
            return _node("page_group", {"endpoints": endpoints, **timeout})
        data = {"endpoints": endpoints, "strategy": _STRATEGIES[order.strategy], **timeout}
        return _node("ring_group", data | ({"repeats": order.repeats} if order.repeats > 1 else {}))
    first = writer.one_target(step, outside)
    if first is None:
        writer.lost_step(step, "ringing this")
        return None
    number = writer.plain(step, first.value, "the number")
    return _node("resources", {"to_did": number, **timeout}) if number else None


def _endpoint(writer: KazooWriter, step: g.Perform, target: o.Target) -> dict[str, Any] | str | None:
    identity = writer.plain(step, target.value, "who is rung")
    if not identity or target.kind not in ("device", "user", "group"):
        return identity or None
    data: dict[str, Any] = {"id": identity, "endpoint_type": target.kind}
    if target.delay:
        data["delay"] = round(target.delay)
    if target.timeout:
        data["timeout"] = round(target.timeout)
    if target.weight != 1:
        data["weight"] = min(max(target.weight, 1), 100)
    return data


def _node(module: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "data": data}
