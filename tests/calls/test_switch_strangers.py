"""Callers whom the switch does not know, in front of a real endpoint."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, cast

import pytest
import structlog
from switch_kit import invite

from engine.calls.admission import TrunkAddress, TrunkBook
from engine.calls.numbers import Dialplan, NumberPlan
from engine.calls.services import no_web
from engine.calls.switch import Switch
from engine.sip.digest import Credentials, DigestClient
from engine.sip.endpoint import Endpoint
from engine.sip.flow import Flow
from engine.sip.message import Response
from engine.sip.parser import parse

HERE = ("192.0.2.1", 5060)
STRANGER = ("198.51.100.7", 5060)
TRUNK = ("203.0.113.5", 5060)
PROVING = ("203.0.113.6", 5060)


class Exchange:
    """An endpoint with a switch behind it; time stands still but for the endpoint's timers."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(
            random=Random(1), contact_host=lambda flow: flow.local, devices={"desk": "one"}, realm="ivrea"
        )
        self.switch = Switch(
            plan=Dialplan(NumberPlan()),
            trunks=TrunkBook(
                [
                    TrunkAddress("trunk", TRUNK[0]),
                    TrunkAddress("proving", PROVING[0], user="acme", password="two", by_digest=True),
                ]
            ),
            devices=self.endpoint.registrar,
            is_open=False,
            max_calls=10,
            max_lag_ms=50.0,
            pool=cast("Any", None),
            limits_for=lambda _session, _source: cast("Any", None),
            fetch=no_web,
            outside=cast("Any", None),
            append=lambda _record: None,
            backlog=lambda: 0,
            pump=lambda: None,
        )
        self.number = 0

    def call(self, source: tuple[str, int], user: str = "desk", digest: DigestClient | None = None) -> list[Response]:
        """What a caller hears within half a minute in which it says nothing more."""
        self.number += 1
        self.request = invite(source, self.number, user)
        if digest is not None:
            digest.authorize(self.request)
        self.endpoint.receive_message(self.request, Flow("udp", HERE, source), 0.0)
        for event in self.endpoint.events():
            self.switch.take(cast("Any", event))
        self.endpoint.handle_timers(30.0)
        self.endpoint.events()
        return [cast("Response", parse(data)) for _, data in self.endpoint.outgoing()]


@pytest.fixture
async def exchange() -> Exchange:
    exchange = Exchange()
    await exchange.switch.trunks.resolve()
    return exchange


async def test_a_challenge_is_one_message(exchange: Exchange) -> None:
    """RFC 3261 26.3.2.4: no 100 before it, no retransmission after it."""
    (response,) = exchange.call(STRANGER)
    assert response.status == 401
    assert exchange.endpoint.idle


async def test_strangers_hear_nothing_of_how_we_are(exchange: Exchange) -> None:
    exchange.switch.draining = True
    assert [r.status for r in exchange.call(STRANGER)] == [401]
    assert {r.status for r in exchange.call(TRUNK)} == {503}


async def test_callers_cannot_find_out_which_devices_exist(exchange: Exchange) -> None:
    heard = Counter(len(exchange.call(STRANGER, user)) for user in ("desk", "nobody") * 20)
    assert heard == {1: 20, 0: 20}
    assert [len(exchange.call(STRANGER, user)) for user in ("desk", "nobody")] == [0, 0]


async def test_devices_that_answer_the_challenge_are_not_limited(exchange: Exchange) -> None:
    for _ in range(50):
        digest = DigestClient(Credentials("desk", "one"), Random(2))
        (challenge,) = exchange.call(STRANGER)
        assert challenge.status == 401
        assert digest.challenged(challenge, exchange.request)
        assert {r.status for r in exchange.call(STRANGER, digest=digest)} == {404}  # let in: there is no such number
    assert exchange.endpoint.counters.rate_limited == 0


@pytest.mark.parametrize("source", [PROVING, STRANGER])
async def test_a_trunk_proves_itself_by_digest_wherever_it_is(exchange: Exchange, source: tuple[str, int]) -> None:
    for password, expected in (("two", 404), ("one", 401)):
        digest = DigestClient(Credentials("acme", password), Random(2))
        (challenge,) = exchange.call(source, user="+39011")
        assert challenge.status == 401
        assert digest.challenged(challenge, exchange.request)
        with structlog.testing.capture_logs() as logs:
            assert {response.status for response in exchange.call(source, "+39011", digest)} == {expected}
        assert [line.get("source") for line in logs] == ["proving" if expected == 404 else None]


async def test_a_trunk_that_proves_itself_is_not_believed_by_its_address(exchange: Exchange) -> None:
    assert [response.status for response in exchange.call(PROVING, user="acme")] == [401]
    exchange.switch._is_open = True
    assert [response.status for response in exchange.call(PROVING, user="acme")] == [401]
    assert {response.status for response in exchange.call(PROVING, user="anybody")} == {404}
