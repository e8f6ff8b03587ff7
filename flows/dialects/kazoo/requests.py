"""Modules that talk to a web server: ``pivot``, which asks it for the flow, and ``webhook``, which only tells it.

The parameters and their names are of CONTRACTS §3.1, §3.2 and §3.5; those without a value are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows import graph as g
from flows.dialects.options import Options
from flows.dialects.twiml_flavours import PIVOT
from flows.templates import HEADER, var

from .node import USUAL, Module, Node, written
from .speaking import DEFAULT

_CALLFLOW = (
    g.Param(name="Call-ID", value=var("call.id")),
    g.Param(name="Account-ID", value=var("call.account")),
    g.Param(name="From", value=var("call.caller")),
    g.Param(name="From-Realm", value=var("call.caller_realm")),
    g.Param(name="To", value=var("call.callee")),
    g.Param(name="To-Realm", value=var("call.callee_realm")),
    g.Param(name="Request", value=var("call.request")),
    g.Param(name="Request-Realm", value=var("call.request_realm")),
    g.Param(name="Call-Status", value=var("call.status")),
    g.Param(name="Api-Version", value="4.x"),
    g.Param(name="Direction", value="inbound"),
    g.Param(name="Caller-ID-Name", value=var("call.caller_name")),
    g.Param(name="Caller-ID-Number", value=var("call.caller")),
    g.Param(name="User-ID", value=var("call.user")),
    g.Param(name="Language", value=var("call.language")),
    g.Param(name="Recording-Url", value=var("recording.url")),
    g.Param(name="Recording-Duration", value=var("recording.duration")),
    g.Param(name="Recording-ID", value=var("recording.id")),
    g.Param(name="Transcription-ID", value=var("transcription.id")),
    g.Param(name="Transcription-Status", value=var("transcription.status")),
    g.Param(name="Transcription-Text", value=var("transcription.text")),
    g.Param(name="Transcription-Url", value=var("transcription.url")),
    g.Param(name="Custom-Application-Vars[{}]", each="var."),
    g.Param(name="Custom-SIP-Headers[{}]", each=HEADER),
)
DIGITS = g.Param(name="Digits[{}]", each="digits.")
LEGACY_DIGITS = g.Param(name="Digits", value=var(DEFAULT))
CALLFLOW_PARAMS = (*_CALLFLOW, DIGITS)
"""What a request for a callflow tells."""
TWIML_PARAMS = PIVOT.params()
"""What a request for TwiML tells."""


def _pivot(node: Node, options: Options) -> None:
    """The flow that comes replaces this one; `_` is for when none comes, whatever the reason (CONTRACTS §3.2)."""
    twiml = options.text("req_format") == "twiml"
    params: tuple[g.Param, ...] = TWIML_PARAMS if twiml else CALLFLOW_PARAMS
    if options.flag("legacy_digits"):
        params = (*(param for param in params if param not in (DIGITS, LEGACY_DIGITS)), LEGACY_DIGITS)
    post = options.text("method").upper() == "POST"
    if "req_body_format" in options and not post:
        message = "req_body_format has no effect: a GET has no body"
        node.findings.warning("ignored-option", options.at("req_body_format"), message)
    if "cdr_url" in options and not twiml:
        message = "cdr_url has no effect: the record is sent with req_format twiml only"
        node.findings.warning("ignored-option", options.at("cdr_url"), message)
    fetch = node.add(
        g.Fetch,
        "fetch",
        url=node.url(options, "voice_url"),
        method="POST" if post else "GET",
        query=() if post else params,
        params=params if post else (),
        encoding="json" if post and options.text("req_body_format") == "json" else "form",
        readers=PIVOT.readers,
        patience=options.seconds("req_timeout_ms"),
        last_good=options.flag("last_good"),
        clear=PIVOT.clear if twiml else (),
        kept=options.flag("debug"),
        record_to=node.url(options, "cdr_url") if twiml and "cdr_url" in options else "",
    )
    node.end()
    node.branch(fetch, {g.FAILED: node.child(USUAL)})


def _webhook(node: Node, options: Options) -> None:
    custom = options.values.get("custom_data", {})
    params = (
        g.Param(name="hook_event", value="callflow"),
        *CALLFLOW_PARAMS,
        *(g.Param(name=f"custom_data[{name}]", value=written(value)) for name, value in custom.items()),
    )
    get = options.text("http_verb") == "get"
    node.add(
        g.Tell,
        "tell",
        url=node.url(options, "uri"),
        method="GET" if get else "POST",
        query=params if get else (),
        params=() if get else params,
    )
    node.go_on()


MODULES: Mapping[str, Module] = {"pivot": _pivot, "webhook": _webhook}
