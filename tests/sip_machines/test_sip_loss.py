"""Calls over bad networks: lost, late, reordered and duplicated packets, both ways.

Whatever happens, both sides end exactly once, and nothing is left over.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schedules import deed
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Packet, Phone

from engine.sip.events import Ended, Event, Invited, Reoffered
from engine.sip.session import Session

CYCLE = ["INVITE", "100 INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]


def both(network: Network) -> tuple[Phone, Phone]:
    return Phone(network, ALICE, seed=1), Phone(network, BOB, seed=2)


def callee(phone: Phone) -> None:
    """Rings at once, answers after half a second."""

    def react(event: Event) -> None:
        if isinstance(event, Invited):
            session = event.session
            session.ringing(phone.now)
            phone.endpoint._core.queue.at(phone.now + 0.5, lambda now: session.accept(ANSWER, now) and None)
        elif isinstance(event, Reoffered):
            event.session.answer_reoffer(ANSWER, phone.now)

    phone.react = react


def judge(network: Network, *phones: Phone) -> None:
    network.settle(1000)
    for phone in phones:
        assert phone.endpoint.idle, phone.host
        sessions = {event.session.id for event in phone.seen if hasattr(event, "session")}
        ended = [event.session.id for event in phone.of(Ended)]
        assert sorted(ended) == sorted(sessions)
        for event in phone.of(Ended):
            mine = [seen for seen in phone.seen if getattr(seen, "session", None) is event.session]
            assert mine[-1] is event  # nothing follows the end


@pytest.mark.parametrize("kind", CYCLE)
@pytest.mark.parametrize("losses", [1, 2, 3])
def test_each_message_lost_some_times(kind: str, losses: int) -> None:
    network = Network()
    alice, bob = both(network)
    callee(bob)
    left = [losses]

    def lose(packet: Packet) -> list[float]:
        if packet.kind == kind and left[0]:
            left[0] -= 1
            return []
        return [network.latency]

    network.delays = lose
    session = alice.call(BOB)
    network.run(20)
    assert session.state == "confirmed"
    assert bob.last(Invited).session.state == "confirmed"
    alice.do(session.bye)
    judge(network, alice, bob)
    assert [(e.by, e.status) for e in bob.of(Ended)] == [("remote", 200)]
    assert len(bob.of(Invited)) == 1


@pytest.mark.parametrize("kind", CYCLE)
def test_each_message_duplicated_and_late(kind: str) -> None:
    network = Network()
    alice, bob = both(network)
    callee(bob)
    network.delays = lambda packet: [0.02, 0.05, 4.0, 20.0] if packet.kind == kind else [0.02]
    session = alice.call(BOB)
    network.run(3)
    alice.do(session.bye)
    judge(network, alice, bob)
    assert len(bob.of(Invited)) == 1
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1


@pytest.mark.parametrize("gone", [ALICE, BOB])
@pytest.mark.parametrize("after", [0.0, 0.01, 0.03, 0.3, 0.53, 0.55, 0.57, 2.0])
def test_one_side_falls_silent(gone: tuple[str, int], after: float) -> None:
    network = Network()
    alice, bob = both(network)
    callee(bob)
    session = alice.call(BOB)
    network.run(after)
    network.delays = lambda packet: [] if packet.source == gone or packet.target == gone else [0.02]
    network.run(5)
    for phone in (alice, bob):
        for own in sessions_of(phone):
            phone.do(own.terminate)
    judge(network, alice, bob)
    assert session.ended


def sessions_of(phone: Phone) -> list[Session]:
    return [event.session for event in phone.of(Invited)] + [
        owner for owner in phone.endpoint._core.dialogs.values() if isinstance(owner, Session) and owner.role == "uac"
    ]


Step = tuple[float, str, str]
DEEDS = ["bye", "terminate", "reinvite", "offerless", "info", "refer", "accept", "reject", "ring", "progress", "update"]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    duplicates=st.sampled_from([0.0, 0.2]),
    jitter=st.sampled_from([0.0, 0.3, 3.0]),
    steps=st.lists(
        st.tuples(
            st.floats(0, 4),
            st.sampled_from(["alice", "bob"]),
            st.sampled_from(DEEDS),
        ),
        max_size=8,
    ),
)
def test_anything_on_any_network(seed: int, loss: float, duplicates: float, jitter: float, steps: list[Step]) -> None:
    random = Random(seed)
    network = Network()
    alice, bob = both(network)

    def weather(packet: Packet) -> list[float]:
        copies = 2 if random.random() < duplicates else 1
        return [0.02 + random.random() * jitter for _ in range(copies) if random.random() >= loss]

    network.delays = weather
    for phone in (alice, bob):
        phone.react = answer_offers(phone)
    caller = alice.call(BOB, OFFER if seed % 2 else None)
    for wait, who, what in steps:
        network.run(wait)
        phone = alice if who == "alice" else bob
        for session in [caller] if phone is alice else [event.session for event in bob.of(Invited)]:
            phone.do(deed(session, what))
    network.run(1)
    for phone, sessions in ((alice, [caller]), (bob, [event.session for event in bob.of(Invited)])):
        for session in sessions:
            phone.do(session.terminate)
    network.settle(1000)
    for event in bob.of(Invited):  # an INVITE that was still on its way
        bob.do(event.session.terminate)
    judge(network, alice, bob)


def answer_offers(phone: Phone) -> Callable[[Event], None]:
    def react(event: Event) -> None:
        if isinstance(event, Reoffered):
            event.session.answer_reoffer(ANSWER, phone.now)

    return react
