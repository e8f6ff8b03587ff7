"""Modules that record: ``record_call`` (both, while the flow goes on) and ``record_caller`` (until a key)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flows import graph as g
from flows.dialects.options import Options
from flows.dialects.uploads import check_folder, upload_to
from flows.orders import StartRecording, StopRecording, Upload

from .node import Module, Node

LONGEST = 3600
"""Seconds of a recording; a flow may ask for more and gets this (CONTRACTS §3.4: seed 600, code 3600, schema 10800)."""
ANY_KEY = "1234567890*#"
INTO = "recording"
"""Variables of a recording, which Pivot requests tell of."""


def _record_call(node: Node, options: Options) -> None:
    if options.text("action") == "stop":
        for name in options.values:
            if name not in ("action", "skip_module"):
                message = f"{name} has no effect where a recording is stopped"
                node.findings.warning("ignored-option", options.at(name), message)
        node.add(g.Perform, "stop", order=StopRecording())
    else:
        order = StartRecording(
            format=_format(options),
            limit=_limit(node, options),
            least=float(options.whole("record_min_sec")),
            sample_rate=options.whole("record_sample_rate"),
            on=_begin(options),
            upload=_upload(node, options),
            label=options.text("label"),
        )
        node.add(g.Perform, "record", order=order, into=INTO)
    node.go_on()


def _record_caller(node: Node, options: Options) -> None:
    """Blocks the flow; any key ends it. Without a place to store it there is none (CONTRACTS §3.4)."""
    upload = _upload(node, options)
    limit = _limit(node, options)
    if upload is None:
        node.missing("url", "nothing is recorded")
    else:
        node.answer()
        node.add(
            g.Record,
            "record",
            into=INTO,
            format=_format(options),
            limit=limit,
            stop_keys=ANY_KEY,
            upload=upload,
        )
    node.go_on()


def _format(options: Options) -> Literal["wav", "mp3"]:
    return "wav" if options.text("format") == "wav" else "mp3"


def _begin(options: Options) -> Literal["now", "answer", "bridge"]:
    if options.flag("record_on_bridge"):
        return "bridge"
    return "answer" if options.flag("record_on_answer") else "now"


def _limit(node: Node, options: Options) -> float:
    limit = options.whole("time_limit")
    if limit > LONGEST:
        message = f"time_limit is {limit}: the recording ends after {LONGEST} s all the same"
        node.findings.warning("over-limit", options.at("time_limit"), message)
    return float(min(limit, LONGEST))


def _upload(node: Node, options: Options) -> Upload | None:
    """Where the recording is sent; a ``media_name`` is its name as it is, each time."""
    url = options.text("url")
    if not url:
        return None
    check_folder(url, "url", options.at("url"), node.findings)
    method: Literal["PUT", "POST"] = "POST" if options.text("method") == "post" else "PUT"
    return upload_to(url, _format(options), method=method, name=options.text("media_name"))


MODULES: Mapping[str, Module] = {"record_call": _record_call, "record_caller": _record_caller}
