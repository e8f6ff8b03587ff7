"""NAPTR and SRV (RFC 3263, 2782), asked of a name server on loopback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest
from name_server import NameServer
from transport_kit import Rig, UdpPeer, until

from engine.sip.flow import Flow
from engine.transport.locating import Locator, Place, Server, in_order

ZONE = {
    ("naptr.example.", "NAPTR"): [
        '20 50 "s" "SIP+D2U" "" _sip._udp.naptr.example.',
        '10 50 "s" "SIPS+D2T" "" _sips._tcp.elsewhere.example.',
        '5 50 "s" "SIP+D2S" "" _sip._sctp.naptr.example.',
        '5 50 "u" "E2U+sip" "!.*!sip:x@y!" .',
    ],
    ("_sips._tcp.elsewhere.example.", "SRV"): ["0 0 5071 a.example."],
    ("_sip._udp.naptr.example.", "SRV"): ["0 0 5070 a.example."],
    ("_sip._udp.srv.example.", "SRV"): ["20 0 5062 b.example.", "10 0 5061 a.example."],
    ("_sip._udp.none.example.", "SRV"): ["0 0 0 ."],
    ("a.example.", "A"): ["192.0.2.1"],
    ("a.example.", "AAAA"): ["2001:db8::1"],
    ("b.example.", "A"): ["192.0.2.2"],
}


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as made:
        yield made


@pytest.fixture
def locator(server: NameServer) -> Locator:
    return Locator([server.address], Random(1))


A = ["192.0.2.1", "2001:db8::1"]


@pytest.mark.both_loops
@pytest.mark.parametrize(
    ("domain", "transport", "places"),
    [
        ("srv.example", "udp", [*(Place("udp", each, 5061) for each in A), Place("udp", "192.0.2.2", 5062)]),
        ("srv.example", "tcp", []),
        ("srv.example", "", [*(Place("udp", each, 5061) for each in A), Place("udp", "192.0.2.2", 5062)]),
        ("naptr.example", "", [*(Place("tls", each, 5071) for each in A), *(Place("udp", each, 5070) for each in A)]),
        ("naptr.example", "udp", [Place("udp", each, 5070) for each in A]),
        ("none.example", "udp", []),
        ("unknown.example", "", []),
        ("not..a..name", "udp", []),
    ],
)
async def test_where_domains_are(locator: Locator, domain: str, transport: str, places: list[Place]) -> None:
    assert await locator.places(domain, transport) == places


async def test_answers_are_remembered_and_a_dead_place_goes_last(locator: Locator, server: NameServer) -> None:
    first = list(await locator.places("srv.example", "udp"))
    again = await locator.places("SRV.example", "udp")
    assert again == first
    assert server.asked["_sip._udp.srv.example.", "SRV"] == 1
    locator.demote("srv.example", "udp")
    assert await locator.places("srv.example", "udp") == [*first[1:], first[0]]
    locator.demote("unknown.example", "udp")


async def test_a_name_server_that_is_silent_costs_patience_and_nothing_else(
    locator: Locator, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.silent.add("_sip._udp.srv.example.")
    assert locator._resolver is not None
    locator._resolver.lifetime = 0.2
    assert await locator.places("srv.example", "udp") == []


def test_weights() -> None:
    servers = [Server(1, 0, 1, "none"), Server(1, 10, 1, "some"), Server(1, 90, 1, "most"), Server(2, 5, 1, "last")]
    random = Random(5)
    firsts: Counter[str] = Counter()
    for _ in range(2000):
        order = in_order(servers, random)
        assert sorted(order) == sorted(servers)
        assert order[-1].target == "last"
        firsts[order[0].target] += 1
    assert 0 < firsts["none"] < 80
    assert 130 < firsts["some"] < 280
    assert firsts["most"] > 1650


async def test_messages_to_a_name_without_a_port_go_where_srv_says(rig: Callable[..., Rig], peer: UdpPeer) -> None:
    """And to its address at the default port if SRV says nothing; what DNS does not know at all has failed."""
    zone = {
        ("_sip._udp.carrier.example.", "SRV"): [f"0 0 {peer.address[1]} gw.example."],
        ("gw.example.", "A"): ["127.0.0.1"],
    }
    with NameServer(zone) as server:
        one = rig(name_servers=[server.address])
        await one.listen("udp:127.0.0.1:0")
        flow = Flow("udp", ("", 0), ("carrier.example", 0))
        for text in (b"first", b"second"):
            one.send(flow, text)
            assert (await peer.next())[0] == text
        assert await one.transport.flows(flow) == [Flow("udp", ("", 0), ("127.0.0.1", peer.address[1]))]
        assert await one.transport.flows(flow, any_transport=True) == await one.transport.flows(flow)
        local = Flow("udp", ("", 0), ("localhost", 0))
        assert await one.transport.flows(local) == [local]
        lost = Flow("tcp", ("", 0), ("nowhere.invalid", 0))
        one.send(lost, b"x")
        await until(lambda: lost in one.fake.lost)


@pytest.mark.parametrize("port", [0, 5080])
async def test_each_address_of_a_name_is_a_way(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """RFC 3263 section 4.3: over UDP the next one is tried by who calls; a connection tries all by itself."""
    hosts = {"two.invalid": ["127.0.0.2", "::1", "127.0.0.3"], "one.invalid": ["127.0.0.2", "::1"]}
    monkeypatch.setattr("engine.transport.names._ask", hosts.__getitem__)
    one = rig()
    await one.listen("udp:127.0.0.1:0")
    two = Flow("udp", ("", 0), ("two.invalid", port))
    places = [flow.remote for flow in await one.transport.flows(two)]
    assert places == [("127.0.0.2", port or 5060), ("127.0.0.3", port or 5060)], "nothing leaves by IPv6 here"
    for flow in (two._replace(transport="tcp"), two._replace(remote=("one.invalid", port))):
        assert await one.transport.flows(flow) == [flow]
