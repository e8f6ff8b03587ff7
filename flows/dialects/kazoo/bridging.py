"""Modules that ring somebody: ``device``, ``user``, ``ring_group``, ``page_group``, ``resources``.

What follows is the same for all (CONTRACTS §0, §3.3): when the bridge ends, so does the call. A failure goes to the
child named by its cause (``USER_BUSY``), else by its SIP status (``sip:486``), else to ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from flows import graph as g
from flows.causes import cause_named
from flows.dialects.options import Options
from flows.findings import pointer
from flows.orders import Dial, Respond, Target
from flows.targets import transfer_target
from flows.templates import var

from .node import USUAL, Module, Node

_SIP = re.compile(r"sip:[3-6]\d\d\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!%*_+`'~.-]{1,64}\Z")
_OWN_HEADERS = frozenset(
    {
        *("via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "route", "record-route", "content-length"),
        *("v", "f", "t", "i", "m", "l", "c", "k", "content-type", "supported", "require", "proxy-require"),
        *("authorization", "proxy-authorization", "session-expires", "x", "min-se", "replaces", "rack", "rseq"),
    }
)
"""What every call that is made has of its own."""
_STRATEGIES: Mapping[str, Literal["simultaneous", "single", "weighted"]] = {
    "simultaneous": "simultaneous",
    "single": "single",
    "weighted_random": "weighted",
}
_KINDS: Mapping[str, Literal["device", "user", "group"]] = {"device": "device", "user": "user", "group": "group"}


def _device(node: Node, options: Options) -> None:
    _endpoint(node, options, "device", options.text("dial_strategy"))


def _user(node: Node, options: Options) -> None:
    _endpoint(node, options, "user", options.text("strategy"), stop_on_reject=options.flag("fail_on_single_reject"))


def _endpoint(node: Node, options: Options, kind: str, strategy: str, *, stop_on_reject: bool = False) -> None:
    identity = options.text("id")
    if not identity:
        node.missing("id", "nobody is rung")
        node.go_on()
        return
    _warn_of_delay(node, options, _timeout(options))
    target = Target(kind=_KINDS[kind], value=identity, delay=float(options.whole("delay")))
    order = Dial(
        targets=(target,),
        strategy=_STRATEGIES[strategy],
        timeout=_timeout(options),
        hide_caller_id=options.flag("suppress_clid"),
        headers=_headers(node, options),
        stop_on_reject=stop_on_reject,
    )
    _ring(node, order)


def _ring_group(node: Node, options: Options) -> None:
    order = Dial(
        targets=_targets(node, options),
        strategy=_STRATEGIES[options.text("strategy")],
        timeout=_timeout(options),
        repeats=options.whole("repeats"),
        ringback=options.text("ringback"),
        headers=_headers(node, options),
        ignore_forwards=options.flag("ignore_forward"),
        stop_on_reject=options.flag("fail_on_single_reject"),
    )
    _ring_several(node, order)


def _page_group(node: Node, options: Options) -> None:
    order = Dial(
        targets=_targets(node, options),
        strategy="page",
        timeout=_timeout(options),
        headers=_headers(node, options),
    )
    _ring_several(node, order)


def _resources(node: Node, options: Options) -> None:
    target = Target(kind="number", value=var("call.request"))  # the number that was dialled
    if to_did := options.text("to_did"):
        target = _outside(node, options, to_did)
    order = Dial(
        targets=(target,),
        timeout=_timeout(options),
        ringback=options.text("ringback"),
        headers=_headers(node, options),
        ignore_early_media=options.flag("ignore_early_media"),
        resources="local" if options.flag("use_local_resources") else "global",
        normalize=not (options.flag("do_not_normalize") or options.flag("bypass_e164")),
    )
    dial = _ring(node, order)
    if USUAL not in node.children:  # the caller is told what the far end said (CONTRACTS §3.3)
        refusal = node.apart()
        refusal.add(g.Perform, "refuse", order=Respond(code=480, status=var("dial.sip")))
        refusal.add(g.HangUp, "refused")
        node.branch(dial, {g.FAILED: refusal.first})


def _outside(node: Node, options: Options, text: str) -> Target:
    """A number or SIP URI outside of the account."""
    try:
        text = transfer_target(text)
    except ValueError as error:
        node.findings.error("bad-target", options.at("to_did"), f"to_did: {text!r} cannot be dialled: {error}")
    return Target(kind="uri" if ":" in text else "number", value=text)


def _ring_several(node: Node, order: Dial) -> None:
    if order.targets:
        _ring(node, order)
    else:
        node.missing("endpoints", "the list is empty, nobody is rung")
        node.go_on()


def _ring(node: Node, order: Dial) -> str:
    """Ring, and lead a failure to the child that is for it; the dialling step."""
    dial = node.add(g.Perform, "dial", order=order, into="dial")
    node.end()
    exits = {key: node.child(key) for key in node.children if _is_failure(key)}
    node.branch(dial, {**exits, g.FAILED: node.child(USUAL)})
    return dial


def _is_failure(key: str) -> bool:
    """Whether a child is named by a hangup cause, or a SIP status, that a leg can fail with."""
    cause = cause_named(key)
    return bool(_SIP.match(key)) or (cause is not None and cause.status != "completed")


def _timeout(options: Options) -> float:
    """Seconds to ring; 0, which exported flows have, is the default."""
    return float(options.whole("timeout") or options.default("timeout"))


def _warn_of_delay(node: Node, options: Options, timeout: float) -> None:
    """Whoever is to ring after all ringing is over never does."""
    if (delay := options.whole("delay")) >= timeout:
        message = f"a delay of {delay} s never ends: after {timeout:g} s nobody is rung any more"
        node.findings.warning("never-rings", options.at("delay"), message, "a longer timeout, or a shorter delay")


def _targets(node: Node, options: Options) -> tuple[Target, ...]:
    """The endpoints of a group; of a plain id it is looked up on the call what it is of (CONTRACTS §3.1, §3.4)."""
    plain = options.texts("endpoints")
    targets = []
    for number, endpoint in enumerate(options.groups("endpoints")):
        if not endpoint.values:
            targets.append(Target(kind="any", value=plain[number]))
            continue
        endpoint.report_ignored()
        _warn_of_delay(node, endpoint, _timeout(options))
        targets.append(
            Target(
                kind=_KINDS[endpoint.text("endpoint_type")],
                value=endpoint.text("id"),
                delay=float(endpoint.whole("delay")),
                timeout=_timeout(endpoint),
                weight=endpoint.whole("weight"),
            )
        )
    return tuple(targets)


def _headers(node: Node, options: Options) -> Mapping[str, str]:
    """The SIP headers that the made call gets: all, or those under ``out`` where there are two directions."""
    name = "custom_sip_headers"
    given: Mapping[str, Any] = options.values.get(name) or {}
    at = options.at(name)
    if isinstance(given.get("out"), Mapping) or isinstance(given.get("in"), Mapping):
        if given.get("in"):
            message = "in has no effect: the caller's headers are not changed"
            node.findings.warning("ignored-option", pointer(at, "in"), message)
        given, at = given.get("out") or {}, pointer(at, "out")
    headers = {}
    for key, value in given.items():
        if not isinstance(value, str) or not _HEADER_NAME.match(key) or not value.isprintable():
            message = f"{name}: {key!r} is not a header with a text on one line"
            node.findings.error("bad-header", pointer(at, key), message)
        elif key.casefold() in _OWN_HEADERS:
            node.findings.error("bad-header", pointer(at, key), f"{name}: {key} is not for a flow to set")
        else:
            headers[key] = value
    return headers


MODULES: Mapping[str, Module] = {
    "device": _device,
    "user": _user,
    "ring_group": _ring_group,
    "page_group": _page_group,
    "resources": _resources,
}
