"""Keep-alives: what holds the way through a NAT open, to a trunk that we are registered with and to a telephone."""

from __future__ import annotations

from functools import partial

from engine.sip.bindings import Binding
from engine.sip.core import ACCEPT, Core
from engine.sip.exchange import Exchange
from engine.sip.flow import Flow
from engine.sip.message import Response
from engine.sip.timers import Timer
from engine.sip.uri import Address, Uri

STREAM_PAUSE = (95.0, 120.0)
"""Seconds between keep-alives, at random in between (RFC 5626 4.4.1)."""
DATAGRAM_PAUSE = 29.0
"""The same in datagrams, at most; it is at least 24/29 of that (4.4.2)."""


def next_keep_alive(core: Core, flow: Flow, longest: float, now: float) -> float:
    """When the next one is due; ``longest``: the longest pause between datagrams."""
    shortest, longest = STREAM_PAUSE if flow.reliable else (longest * 24 / 29, longest)
    return now + core.random.uniform(shortest, longest)


class WayKeeper:
    """Asks telephones behind a NAT whether they are there, again and again, so that they can be called.

    Many a NAT counts only what goes out when it forgets (RFC 4787 REQ-6): it is the answer to an OPTIONS, whatever it
    says, that keeps the way open. Who comes by a proxy is left to that, and who has a connection to the telephone.
    """

    def __init__(self, core: Core, longest: float) -> None:
        """``longest``: seconds between two questions, at most."""
        self._core = core
        self._longest = longest
        self._timers: dict[int, Timer] = {}  # by identity of the binding

    def begin(self, binding: Binding, now: float) -> None:
        if binding.pinned and not binding.path and not binding.flow.reliable:
            self._schedule(binding, now)

    def end(self, binding: Binding) -> None:
        self._core.queue.cancel(self._timers.pop(id(binding), None))

    def _schedule(self, binding: Binding, now: float) -> None:
        due = next_keep_alive(self._core, binding.flow, self._longest, now)
        self._timers[id(binding)] = self._core.queue.at(due, partial(self._ask, binding))

    def _ask(self, binding: Binding, now: float) -> None:
        core = self._core
        host, port = core.host_port(binding.flow)
        us = Address(Uri("sip", host=host, port=port)).with_tag(core.token())
        request = core.request("OPTIONS", binding.contact, us, Address(binding.contact))
        request.headers.add("Accept", ACCEPT)
        Exchange(core, request, binding.flow, digest=None, next_cseq=lambda: 2, on_final=_whatever, now=now)
        self._schedule(binding, now)


def _whatever(status: int, response: Response | None, now: float) -> None:
    """The answer has done its work on its way."""
