"""What a person is told when the daemon is up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.addresses import bracketed, is_wildcard
from engine.loop import about_loop

if TYPE_CHECKING:
    from engine.serving.daemon import Daemon


def welcome(daemon: Daemon) -> list[str]:
    """Where it is heard, and how to try it."""
    lines = [
        f"SIP   {', '.join(str(address) for address in daemon.transport.addresses)}",
        f"Web   {daemon.web.url}/healthz",
    ]
    if daemon.first_token:
        lines += [f"Token {daemon.first_token} for the API; it is shown this once (ivrea token makes another)"]
    number = next((each.number for each in daemon.config.numbers if not each.number.endswith("*")), None)
    if number is not None:
        host, port = daemon.transport.addresses[0].host, daemon.sip_port
        host = "127.0.0.1" if is_wildcard(host) else bracketed(host)
        where = f"sip:{number}@{host}" + (f":{port}" if port != 5060 else "")
        lines += [
            f"Call  {where} with any softphone, or from another shell:",
            f'      {_command()} dial {where} --script "say yes"',
        ]
    return lines


def choices(daemon: Daemon) -> Iterator[tuple[str, str]]:
    """What was chosen at the start, and what the choice is: a line each."""
    rtp = daemon.config.rtp
    yield "loop", f"{about_loop()}, niceness {os.getpriority(os.PRIO_PROCESS, 0)}"
    yield "speech", daemon.synth.unavailable_reason or daemon.synth.about
    yield "words", daemon.recognisers.about
    for worker in daemon.pool.workers:
        yield f"media worker {worker.name}", worker.about
    of_worker = f"{rtp.max_busy:.0%} of a core and {rtp.max_late_ms:g} ms late"
    of_this = f"{daemon.config.calls.max_lag_ms:g} ms late"
    yield "limits", f"{daemon.max_calls} calls; each media worker {of_worker}; control process {of_this}"


def about(daemon: Daemon) -> str:
    """What was chosen at the start, in a line."""
    return "; ".join(f"{what}: {choice}" for what, choice in choices(daemon))


def _command() -> str:
    """How the person who started us would start us again."""
    command = os.path.relpath(sys.argv[0])
    return sys.argv[0] if command.startswith("..") else command
