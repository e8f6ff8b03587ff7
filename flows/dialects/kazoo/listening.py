"""Modules about keys: ``collect_dtmf``, ``flush_dtmf``, ``send_dtmf``, ``menu``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flows import graph as g
from flows.dialects.options import Options
from flows.orders import SendDigits
from flows.prompts import Prompt
from flows.templates import Condition

from .node import USUAL, Module, Node
from .speaking import DEFAULT, keys_of, sound

_KEYS = re.compile(r"[0-9*#]{1,6}\Z")
_MENU = "menu.keys"


def _collect_dtmf(node: Node, options: Options) -> None:
    """Keys pressed before count; those that were put into ``default`` are the same ones, so it is emptied first."""
    node.answer()
    into = f"digits.{options.text('collection_name')}"
    several = "terminators" in options
    if several and "terminator" in options:
        message = "terminators has no effect: terminator counts"
        node.findings.warning("ignored-option", options.at("terminators"), message)
        several = False
    finish = keys_of(options, "terminators") if several else options.text("terminator")
    node.add(g.SetVariables, "empty", values=tuple((name, "") for name in dict.fromkeys((DEFAULT, into))))
    node.add(
        g.Collect,
        "collect",
        into=into,
        most=options.whole("max_digits"),
        finish=finish,
        first=options.seconds("timeout"),
        between=options.seconds("interdigit_timeout"),
        secret=options.flag("secret"),
    )
    node.go_on()


def _flush_dtmf(node: Node, options: Options) -> None:
    into = f"digits.{options.text('collection_name')}"
    if into == DEFAULT:
        node.add(g.Flush, "flush")
    node.add(g.SetVariables, "empty", values=((into, ""),))
    node.go_on()


def _send_dtmf(node: Node, options: Options) -> None:
    node.answer()
    order = SendDigits(digits=options.text("digits").upper(), tone=options.seconds("duration_ms"))
    node.add(g.Perform, "send", order=order)
    node.go_on()


def _menu(node: Node, options: Options) -> None:
    """One try after the other: collect keys, go to their child, or say that there is none (as Kazoo's menu does)."""
    node.answer()
    media = options.group("media")
    media.report_ignored()
    greeting = _greeting(node, options, media)
    longest = options.whole("max_extension_length")
    choices = {key: node.child(key) for key in node.children if _KEYS.match(key) and len(key) <= longest}
    silence = node.child("timeout")
    most = max(map(len, choices), default=1)
    finish = "" if any("#" in key for key in choices) else "#"
    cases = tuple(g.Case(exit=key, conditions=(Condition(_MENU, "is", key),)) for key in choices)
    invalid = _media(node, media, "invalid_media")
    before: list[str] = []  # the try before, from which silence leads on
    for number in range(options.whole("retries")):
        collect = node.add(
            g.Collect,
            f"try{number}",
            into=_MENU,
            prompts=greeting,
            most=most,
            finish=finish,
            first=options.seconds("timeout"),
            between=options.seconds("interdigit_timeout"),
        )
        for waited in before:
            node.branch(waited, {g.NONE: collect, g.FINISHED: collect})
        before = [] if silence else [collect]
        node.branch(collect, {g.NONE: silence, g.FINISHED: silence})
        node.branch(node.add(g.Branch, f"chosen{number}", cases=cases), choices)
        if invalid:
            node.add(g.Say, f"invalid{number}", prompts=invalid)
    given_up = node.add(g.Flush, "giveup")
    for waited in before:
        node.branch(waited, {g.NONE: given_up, g.FINISHED: given_up})
    if farewell := _media(node, media, "exit_media"):
        node.add(g.Say, "exit", prompts=farewell)
    if (last := node.child("max_retries")) is not None:
        node.chain.to(last)
        return
    if USUAL in node.children and (moving := _media(node, media, "transfer_media")):
        node.add(g.Say, "transfer", prompts=moving)
    node.go_on()


def _greeting(node: Node, options: Options, media: Options) -> tuple[Prompt, ...]:
    if media.text("greeting"):
        return (sound(node, media, "greeting"),)
    if text := options.text("text"):
        return (Prompt(text=text, voice=options.text("voice"), language=node.language(options)),)
    node.findings.warning("missing-prompt", options.where, "a menu without a greeting: the caller waits in silence")
    return ()


def _media(node: Node, media: Options, name: str) -> tuple[Prompt, ...]:
    """What is played: true means a system prompt, which there is none of here."""
    return (sound(node, media, name),) if media.text(name) else ()


MODULES: Mapping[str, Module] = {
    "collect_dtmf": _collect_dtmf,
    "flush_dtmf": _flush_dtmf,
    "send_dtmf": _send_dtmf,
    "menu": _menu,
}
