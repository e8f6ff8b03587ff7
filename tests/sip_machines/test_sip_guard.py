from __future__ import annotations

import pytest
from sip_network import ALICE, BOB, CAROL, Network, Peer, Phone

from engine.sip.guard import Guard, GuardLimits, subscriber

MALFORMED = (
    b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:b@c>;tag=1\r\n"
    b"To: <sip:a@b>\r\nCall-ID: x\r\nCSeq: nonsense\r\n\r\n"
)


def test_burst_then_rate() -> None:
    guard = Guard(GuardLimits(rate=2.0, burst=5.0))
    assert [guard.allow("h", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [guard.allow("h", 1.0) for _ in range(3)] == [True, True, False]
    assert [guard.allow("h", 100.0) for _ in range(6)] == [True] * 5 + [False]


def test_sources_do_not_share() -> None:
    guard = Guard(GuardLimits(rate=1.0, burst=1.0))
    assert guard.allow("a", 0.0)
    assert not guard.allow("a", 0.0)
    assert guard.allow("b", 0.0)


@pytest.mark.parametrize(
    ("host", "whose"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
        ("name.example", "name.example"),
    ],
)
def test_subscriber(host: str, whose: str) -> None:
    assert subscriber(host) == whose


def test_addresses_of_one_ipv6_subscriber_share() -> None:
    guard = Guard(GuardLimits(rate=1.0, burst=5.0))
    assert sum(guard.allow(f"2001:db8::{index:x}", 0.0) for index in range(1, 1000)) == 5
    assert guard.allow("2001:db8:0:1::1", 0.0)


def test_refunds() -> None:
    guard = Guard(GuardLimits(rate=1.0, burst=2.0))
    guard.refund("h")  # nothing was charged
    assert [guard.allow("h", 0.0) for _ in range(3)] == [True, True, False]
    guard.refund("h")
    assert [guard.allow("h", 0.0) for _ in range(2)] == [True, False]
    for _ in range(5):
        guard.refund("h")
    assert [guard.allow("h", 0.0) for _ in range(3)] == [True, True, False]  # never more than the burst


def test_memory_is_bounded() -> None:
    guard = Guard(GuardLimits(sources=100))
    for number in range(1000):
        guard.allow(str(number), 0.0)
    assert len(guard) == 100


def test_clock_that_goes_back_gives_nothing() -> None:
    guard = Guard(GuardLimits(rate=1.0, burst=1.0))
    assert guard.allow("a", 10.0)
    assert not guard.allow("a", 5.0)


def test_malformed_traffic_is_answered_then_dropped(network: Network) -> None:
    alice = Phone(network, ALICE, guard=GuardLimits(rate=1.0, burst=3.0))
    noisy, good = Peer(network, BOB), Peer(network, CAROL)
    for _ in range(10):
        noisy.send(ALICE, MALFORMED)
    noisy.send(ALICE, b"\x00\x01\x02 no SIP at all")
    good.send(ALICE, MALFORMED)
    network.run(0.1)
    assert [data[:11] for data in noisy.unreadable] == [b"SIP/2.0 400"] * 3
    assert [data[:11] for data in good.unreadable] == [b"SIP/2.0 400"]
    counters = alice.endpoint.counters
    assert (counters.malformed, counters.rate_limited, counters.dropped) == (12, 7, 1)
    noisy.send(ALICE, MALFORMED.replace(b"nonsense", b"1 OPTIONS"))
    network.run(0.1)
    assert [r.status for r in noisy.responses()][-1] == 200  # good traffic is never limited
    network.settle()
    assert alice.endpoint.idle  # refusals are stateless


def test_keep_alives_are_not_messages(alice: Phone) -> None:
    for data in (b"", b"\r\n\r\n", b"\0", b"\r\n"):
        alice.endpoint.receive(data, alice.flow(BOB), 0.0)
    assert alice.endpoint.counters.received == 0
    assert alice.endpoint.outgoing() == []
