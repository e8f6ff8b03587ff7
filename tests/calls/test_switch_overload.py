"""The switch when there is no room: what callers hear, what is counted, what is logged. Time stands still."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from engine.calls.admission import TrunkBook
from engine.calls.channels import Channels
from engine.calls.media import MediaOverload
from engine.calls.numbers import Dialplan, NumberPlan
from engine.calls.services import no_web
from engine.calls.switch import Switch
from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.parser import parse

CALLER, HERE = ("198.51.100.5", 5060), ("192.0.2.1", 5060)


class FullPool:
    """A pool that says no, and counts how often it was asked."""

    asked = 0

    def admit(self) -> None:
        self.asked += 1
        raise MediaOverload("media busy")


class Exchange:
    """An open switch for number 1000 behind an endpoint."""

    def __init__(self, max_calls: int = 10) -> None:
        self.endpoint = Endpoint(random=Random(1), contact_host=lambda flow: flow.local, realm="ivrea")
        self.pool = FullPool()
        self.switch = Switch(
            plan=Dialplan(NumberPlan([("1000", cast("Any", SimpleNamespace(account="default", most_calls=0)))])),
            trunks=TrunkBook([]),
            devices=self.endpoint.registrar,
            is_open=True,
            max_calls=max_calls,
            max_lag_ms=50.0,
            pool=cast("Any", self.pool),
            limits_for=lambda _session, _source: cast("Any", None),
            fetch=no_web,
            outside=cast("Any", SimpleNamespace(legs=Channels())),
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
        headers = Headers()
        headers.add("Via", f"SIP/2.0/UDP {CALLER[0]};branch=z9hG4bK{self.number}")
        headers.add("From", f"<sip:c@ivrea>;tag={self.number}")
        headers.add("To", "<sip:1000@ivrea>")
        headers.add("Call-ID", f"c{self.number}")
        headers.add("CSeq", "1 INVITE")
        headers.add("Contact", f"<sip:c@{CALLER[0]}>")
        self.endpoint.receive_message(Request("INVITE", "sip:1000@ivrea", headers), Flow("udp", HERE, CALLER), self.now)
        for event in self.endpoint.events():
            self.switch.take(cast("Any", event))
        return cast("Response", [parse(data) for _, data in self.endpoint.outgoing()][-1])


@pytest.mark.parametrize("why", ["media busy", "too many calls", "control process late"])
async def test_refused_for_load(why: str) -> None:
    exchange = Exchange(max_calls=0 if why == "too many calls" else 10)
    if why == "control process late":
        for _ in range(5):
            exchange.switch.each_second(90.0)
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            response = exchange.call()
            assert response.status == 503
            assert response.headers.get("Retry-After") == "5"
            exchange.now += 0.1
        exchange.switch.each_second(0.0)
        exchange.now += 5.0
        exchange.switch.each_second(0.0)
        exchange.switch.each_second(0.0)
    assert exchange.switch.counters.refused == {why: 20}
    assert [line["event"] for line in logs] == ["overload: new calls are refused", "overload is over"]
    assert logs[0]["why"] == why
    assert logs[1]["refused"] == 20
    assert bool(exchange.pool.asked) is (why == "media busy")


async def test_a_single_stall_of_the_loop_refuses_nobody() -> None:
    exchange = Exchange()
    for lag in (1.0, 3000.0, 1.0, 1.0, 900.0, 1.0):
        exchange.switch.each_second(lag)
        assert exchange.call().status == 503
    assert exchange.switch.counters.refused == {"media busy": 6}, "the pool was asked: the loop is not in the way"


async def test_an_account_has_a_limit_of_its_own() -> None:
    exchange = Exchange()
    plan = SimpleNamespace(account="small", most_calls=1)
    exchange.switch.plan = Dialplan(NumberPlan([("1000", cast("Any", plan))]))
    exchange.switch.calls["c"] = cast("Any", SimpleNamespace(plan=SimpleNamespace(account="other")))
    exchange.call()
    assert exchange.pool.asked == 1, "calls of others do not count"
    exchange.switch.calls["d"] = cast("Any", SimpleNamespace(plan=plan))
    assert exchange.call().status == 486, "who is called is busy; we are not"
    assert exchange.pool.asked == 1
    assert exchange.switch.counters.refused["too many calls of the account"] == 1


async def test_legs_to_outside_count_as_calls_of_the_account() -> None:
    """An account with one call's worth of legs, and no more than that, is busy."""
    exchange = Exchange()
    legs = Channels()
    exchange.switch._outside = cast("Any", SimpleNamespace(legs=legs))
    exchange.switch.plan = Dialplan(NumberPlan([("1000", cast("Any", SimpleNamespace(account="a", most_calls=1)))]))
    leg = legs.take("a", 0)
    assert leg is not None
    assert (exchange.call().status, exchange.pool.asked) == (486, 0)
    leg.release()
    assert (exchange.call().status, exchange.pool.asked) == (503, 1), "there is room, as far as the account goes"
