"""Modules about the call itself.

``answer``, ``sleep``, ``dead_air``, ``hangup``, ``response``, ``transfer`` and ``language``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flows import graph as g
from flows.dialects.options import Options
from flows.orders import Respond
from flows.targets import transfer_target

from .node import USUAL, Module, Node
from .speaking import sound

DAY = 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _answer(node: Node, options: Options) -> None:
    node.add(g.Answer, "answer")
    node.scope = replace(node.scope, answered=True)
    node.go_on()


def _sleep(node: Node, options: Options) -> None:
    seconds = min(options.whole("duration") * _UNITS[options.text("unit")], DAY)
    if seconds:
        node.add(g.Pause, "sleep", seconds=seconds)
    node.go_on()


def _dead_air(node: Node, options: Options) -> None:
    """Silence until somebody hangs up: no call lasts longer than a day."""
    node.answer()
    node.add(g.Pause, "silence", seconds=DAY)
    node.end()


def _hangup(node: Node, options: Options) -> None:
    node.end()


def _response(node: Node, options: Options) -> None:
    prompts = (sound(node, options, "media"),) if options.text("media") else ()
    order = Respond(code=options.whole("code"), reason=options.text("message"), prompts=prompts)
    node.add(g.Perform, "respond", order=order)
    node.end()


def _transfer(node: Node, options: Options) -> None:
    target = options.text("target")
    try:
        target = transfer_target(target)
    except ValueError as error:
        at = options.at("target")
        node.findings.error("bad-target", at, f"target: no transfer can be made to {target!r}: {error}")
    node.answer()
    transfer = node.add(g.Transfer, "transfer", target=target)
    node.end()
    node.branch(transfer, {g.FAILED: node.child(USUAL)})


def _language(node: Node, options: Options) -> None:
    language = options.text("language")
    node.add(g.SetVariables, "language", values=(("call.language", language),))
    node.scope = replace(node.scope, language=language)
    node.go_on()


MODULES: Mapping[str, Module] = {
    "answer": _answer,
    "sleep": _sleep,
    "dead_air": _dead_air,
    "hangup": _hangup,
    "response": _response,
    "transfer": _transfer,
    "language": _language,
}
