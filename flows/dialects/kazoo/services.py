"""Modules that a service of the switch does: ``conference``, ``voicemail``, ``manual_presence``, ``park``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flows import graph as g
from flows.dialects.options import Options
from flows.orders import Conference, Order, Park, Presence, Voicemail
from flows.templates import Template, Text, Var

from .node import USUAL, Module, Node

_STATES: Mapping[str, Literal["idle", "ringing", "busy"]] = {"idle": "idle", "ringing": "ringing", "busy": "busy"}
_PARKING: Mapping[str, Literal["park", "retrieve", "auto"]] = {
    "park": "park",
    "direct_park": "park",
    "retrieve": "retrieve",
    "auto": "auto",
}


def _conference(node: Node, options: Options) -> None:
    """A room that is set up, by its id, or one of the account's own naming: who gives the same name meets there."""
    config = options.group("config")
    config.report_ignored()
    for name in ("member", "moderator"):
        config.group(name).report_ignored()
    options.group("welcome_prompt").report_ignored()
    room = options.text("id") or config.text("name")
    if not room:
        node.findings.error("missing-option", options.where, "conference: id or config.name is missing: which room?")
    if "id" in options and "config" in options:
        message = "config has no effect: the conference of the id has its own settings"
        node.findings.warning("ignored-option", options.at("config"), message)
    moderator = options.flag("moderator")
    own = config.group("moderator" if moderator else "member")
    node.answer()
    order = Conference(
        room=room,
        stored="id" in options,
        moderator=moderator,
        muted=own.flag("join_muted"),
        deaf=own.flag("join_deaf"),
        pins=tuple(config.group("member").texts("pins")),
        moderator_pins=tuple(config.group("moderator").texts("pins")),
        wait_for_moderator=config.flag("wait_for_moderator") or config.flag("require_moderator"),
        most=config.whole("max_participants"),
        entry_tone=_tone(options, config, "play_entry_tone"),
        exit_tone=_tone(options, config, "play_exit_tone"),
        announce_name=config.flag("play_name"),
        welcome=_welcome(options, config),
    )
    _over_then(node, order)


def _tone(options: Options, config: Options, name: str) -> str:
    """The tone of a conference: true is the usual one, false none, a text media."""
    value = options.value(name) if name in options else config.value(name)
    if isinstance(value, str) and value not in ("true", "false"):
        return value
    return "default" if value in (True, "true") else ""


def _welcome(options: Options, config: Options) -> str:
    prompt = options.group("welcome_prompt")
    if not prompt.flag("play") or not config.flag("play_welcome"):
        return ""
    return prompt.text("media_id") or "default"


def _voicemail(node: Node, options: Options) -> None:
    """Leave a message or check the box, and go on with `_`; so does a failure."""
    action: Literal["compose", "check"] = "check" if options.text("action") == "check" else "compose"
    if action == "compose" and not options.text("id"):
        node.missing("id", "no message is left")
        node.go_on()
        return
    node.answer()
    order = Voicemail(
        box=options.text("id"),
        action=action,
        limit=float(options.whole("max_message_length")),
        between_keys=options.seconds("interdigit_timeout"),
        single_login=options.flag("single_mailbox_login"),
        login_by_caller_id=options.flag("callerid_match_login"),
    )
    node.add(g.Perform, "voicemail", order=order)
    node.go_on()


def _manual_presence(node: Node, options: Options) -> None:
    """The realm of the call is added to a user without one. The call is not answered for it (CONTRACTS §3.4)."""
    entity: Text = options.text("presence_id")
    if "@" not in options.text("presence_id"):
        entity = Template((f"{entity}@", Var("call.request_realm")))
    node.add(g.Perform, "presence", order=Presence(entity=entity, state=_STATES[options.text("status")]))
    node.go_on()


def _park(node: Node, options: Options) -> None:
    node.answer()
    timeout = float(options.whole("default_callback_timeout"))
    order = Park(
        slot=options.text("slot"),
        action=_PARKING[options.text("action")],
        timeout=timeout,
        keep=bool(timeout) and USUAL not in node.children,
        language=node.scope.language,
    )
    _over_then(node, order)


def _over_then(node: Node, order: Order) -> None:
    """The call is over when the service is; only a failure goes on."""
    step = node.add(g.Perform, node.module, order=order)
    node.end()
    node.branch(step, {g.FAILED: node.child(USUAL)})


MODULES: Mapping[str, Module] = {
    "conference": _conference,
    "voicemail": _voicemail,
    "manual_presence": _manual_presence,
    "park": _park,
}
