"""Registrations and OPTIONS of trunks that come, change and go while the daemon runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.calls.directory import AccountTrunk
from engine.config import TrunkConfig
from engine.serving.trunks import Probes, Registrations, inbound_trunk, outbound_trunk
from engine.sip.endpoint import Endpoint
from engine.sip.events import OptionsAnswered, RegistrationChanged
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.parser import parse
from engine.sip.uri import Address


class Transport:
    """An endpoint that sends into a list."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(random=Random(1), contact_host=self.contact_host)
        self.locator = SimpleNamespace(demote=lambda *_: None)
        self.sent: list[tuple[Flow, Request]] = []

    def contact_host(self, flow: Flow) -> tuple[str, int]:
        return "192.0.2.9", 5060

    def pump(self) -> None:
        self.sent += [(flow, cast("Request", parse(data))) for flow, data in self.endpoint.outgoing()]

    def taken(self) -> list[tuple[Flow, Request]]:
        sent, self.sent = self.sent, []
        return sent

    def answer(self, registrations: Registrations, flow: Flow, request: Request) -> None:
        """200 to a REGISTER."""
        response = request.response(200, to_tag="r")
        response.headers.add("Contact", str(request.contacts[0]))
        response.headers.add("Service-Route", "<sip:edge.example;lr>")
        self.endpoint.receive_message(response, flow, asyncio.get_running_loop().time())
        for event in self.endpoint.events():
            registrations.changed(cast("RegistrationChanged", event))


def trunk(**keys: Any) -> TrunkConfig:
    return TrunkConfig.model_validate({"name": "t", "host": "t.example", **keys})


async def test_registrations_follow_the_trunks() -> None:
    transport = Transport()
    me = {"register": True, "username": "me"}
    registrations = Registrations(cast("Any", transport))
    registrations.replace({"a": trunk(**me), "b": trunk(**me), "c": trunk()})
    first = transport.taken()
    assert [(request.method, request.expires) for _, request in first] == [("REGISTER", 3600)] * 2
    for sent in first:
        transport.answer(registrations, *sent)
    assert registrations.states() == {"a": True, "b": True}
    assert [str(each) for each in registrations.service_route("a")] == ["<sip:edge.example;lr>"]
    assert registrations.service_route("c") == ()

    registrations.replace({"a": trunk(**me, order=5), "b": trunk(**me, outbound_proxy="p.example:5080")})
    ((flow, gone),) = transport.taken()
    assert (gone.expires, flow.remote) == (0, ("t.example", 0)), "b is taken back before it is made anew"
    transport.answer(registrations, flow, gone)
    ((flow, anew),) = transport.taken()
    assert (anew.expires, flow.remote) == (3600, ("p.example", 5080))
    assert [str(each) for each in anew.routes] == ["<sip:p.example:5080;lr>"]
    transport.answer(registrations, flow, anew)
    assert registrations.states() == {"a": True, "b": True}

    leaving = asyncio.create_task(registrations.unregister())
    await asyncio.sleep(0)
    last = transport.taken()
    assert [request.expires for _, request in last] == [0, 0]
    for sent in last:
        transport.answer(registrations, *sent)
    await leaving
    assert registrations.states() == {}


@pytest.fixture
async def probes() -> AsyncIterator[tuple[Probes, Transport]]:
    transport = Transport()
    probes = Probes(cast("Any", transport))
    yield probes, transport
    await probes.close()


async def test_a_trunk_is_down_until_it_answers(probes: tuple[Probes, Transport]) -> None:
    asked, transport = probes
    far = trunk(host="tls:t.example", probe=60.0, outbound_proxy="tcp:p.example")
    asked.replace({"a": trunk(probe=60.0), "b": far, "c": trunk()})
    await asyncio.sleep(0)
    sent = dict(transport.taken())
    assert [(flow.transport, flow.remote, request.uri) for flow, request in sent.items()] == [
        ("udp", ("t.example", 0), "sip:t.example"),
        ("tcp", ("p.example", 0), "sip:t.example;transport=tls"),
    ]
    for status, down in ((200, set()), (408, {"a"}), (408, {"a"}), (404, set()), (503, {"a"})):
        asked.answered(OptionsAnswered("sip:t.example", status))
        assert asked.down == down
    asked.answered(OptionsAnswered("sip:nobody.example", 408))
    asked.replace({"a": trunk(probe=30.0)})
    assert asked.down == frozenset(), "a trunk that has changed is not judged by what it was"
    await asyncio.sleep(0)
    assert [request.method for _, request in transport.taken()] == ["OPTIONS"]


def test_trunks_as_they_are_configured() -> None:
    keys = {
        "outbound_proxy": "p.example",
        "channels": 4,
        "inbound": "digest",
        "username": "me",
        "password": "secret",
        "rewrite_dialled_in": ["00=+"],
        "rewrite_caller_out": ["+39=0", "=9"],
    }
    each = AccountTrunk("acme", trunk(**keys), shared=False)
    there = outbound_trunk(each, (Address.parse("<sip:edge.example;lr>"),), down=True)
    assert [str(proxy) for proxy in there.route] == ["<sip:p.example;lr>", "<sip:edge.example;lr>"]
    assert (there.flow.remote, str(there.uri("1")), there.label) == (("p.example", 0), "sip:1@t.example", "acme/t")
    edge = outbound_trunk(AccountTrunk("acme", trunk(), shared=False), (Address.parse("<sip:192.0.2.7:5090;lr>"),))
    assert (edge.flow.remote, str(edge.uri("1"))) == (("192.0.2.7", 5090), "sip:1@t.example"), "its registrar said so"
    proxied = trunk(host="tls:t.example", outbound_proxy="tcp:p.example")
    assert str(outbound_trunk(AccountTrunk("a", proxied, shared=False)).uri("1")) == "sip:1@t.example;transport=tls"
    same = outbound_trunk(AccountTrunk("acme", trunk(), shared=False), (Address.parse("<sip:t.example;lr>"),))
    assert same.flow.remote == ("t.example", 0)
    failed = outbound_trunk(AccountTrunk("acme", trunk(order=1), shared=False), registered=False)
    other = outbound_trunk(AccountTrunk("acme", trunk(order=1, weight=0), shared=False))
    behind = outbound_trunk(AccountTrunk("acme", trunk(order=2), shared=False))
    lost = outbound_trunk(AccountTrunk("acme", trunk(order=0), shared=False), down=True)
    assert sorted([lost, behind, failed, other], key=lambda one: one.turn(0.5)) == [other, failed, behind, lost]
    assert (there.channels, there.down, there.caller_rules) == (4, True, (("+39", "0"), ("", "9")))
    here = inbound_trunk(each)
    assert (here.by_digest, here.user, here.channels, here.account) == (True, "me", 4, "acme")
    assert here.proxies == (("p.example", "udp"),)
    assert here.dialled_rules == (("00", "+"),)
    assert "secret" not in repr(here)
