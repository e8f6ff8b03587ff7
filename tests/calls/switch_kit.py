"""A switch behind an endpoint, for tests of it: no socket, and time stands still."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

from engine.calls.admission import TrunkBook
from engine.calls.channels import Channels
from engine.calls.numbers import Dialplan, NumberPlan
from engine.calls.services import no_web
from engine.calls.switch import Switch
from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.parser import parse

CALLER, HERE = ("198.51.100.5", 5060), ("192.0.2.1", 5060)


def invite(source: tuple[str, int], number: int, user: str = "c") -> Request:
    """The INVITE of call ``number``, without an offer, to 1000."""
    headers = Headers()
    headers.add("Via", f"SIP/2.0/UDP {source[0]};branch=z9hG4bK{number}")
    headers.add("From", f"<sip:{user}@ivrea>;tag={number}")
    headers.add("To", "<sip:1000@ivrea>")
    headers.add("Call-ID", f"c{number}")
    headers.add("CSeq", "1 INVITE")
    headers.add("Contact", f"<sip:{user}@{source[0]}>")
    return Request("INVITE", "sip:1000@ivrea", headers)


_NOBODYS = SimpleNamespace(account="default", most_calls=0)


class Exchange:
    """An open switch for number 1000 behind an endpoint."""

    def __init__(
        self,
        pool: object,
        *,
        max_calls: int = 10,
        plan: object = _NOBODYS,
        limits: object = None,
        outside: object = None,
    ) -> None:
        self.endpoint = Endpoint(random=Random(1), contact_host=lambda flow: flow.local, realm="ivrea")
        self.switch = Switch(
            plan=Dialplan(NumberPlan([("1000", cast("Any", plan))])),
            trunks=TrunkBook([]),
            devices=self.endpoint.registrar,
            is_open=True,
            max_calls=max_calls,
            max_lag_ms=50.0,
            pool=cast("Any", pool),
            limits_for=lambda _session, _source: cast("Any", limits),
            fetch=no_web,
            outside=cast("Any", outside or SimpleNamespace(legs=Channels())),
            append=lambda _record: None,
            backlog=lambda: 0,
            pump=lambda: None,
        )
        self.now = 0.0
        self.switch._loop = cast("Any", self)
        self.number = 0

    def time(self) -> float:
        return self.now

    def call(self) -> Response:
        """The last thing that a new caller hears."""
        self.number += 1
        self.endpoint.receive_message(invite(CALLER, self.number), Flow("udp", HERE, CALLER), self.now)
        for event in self.endpoint.events():
            self.switch.take(cast("Any", event))
        return cast("Response", [parse(data) for _, data in self.endpoint.outgoing()][-1])
