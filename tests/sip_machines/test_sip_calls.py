"""Whole calls between two endpoints, and what is left of them."""

from __future__ import annotations

from collections.abc import Callable

from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Phone

from engine.sip.events import Acknowledged, Answered, Ended, Invited, Progressed, Refused

Answering = Callable[[Phone], Phone]


def test_call_answer_hang_up(network: Network, alice: Phone, bob: Phone) -> None:
    session = alice.call(BOB)
    network.run(1)
    (invited,) = bob.of(Invited)
    assert invited.session.offer == OFFER
    assert network.kinds() == ["INVITE", "100 INVITE"]
    bob.do(invited.session.ringing)
    network.run(1)
    assert alice.last(Progressed).status == 180
    bob.do(lambda now: invited.session.accept(ANSWER, now))
    network.run(1)
    assert alice.last(Answered).sdp == ANSWER
    assert bob.last(Acknowledged).sdp is None
    assert session.state == invited.session.state == "confirmed"
    alice.do(session.bye)
    network.run(1)
    assert network.kinds() == ["INVITE", "100 INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("local", 200)]
    assert [(e.by, e.status) for e in bob.of(Ended)] == [("remote", 200)]
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle


def test_callee_hangs_up(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(1)
    bob.do(lambda now: bob.last(Invited).session.bye(now, "the end of the flow"))
    network.run(1)
    ended = alice.last(Ended)
    assert (ended.by, ended.reason) == ("remote", "the end of the flow")
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle


def test_refused(network: Network, alice: Phone, bob: Phone) -> None:
    alice.call(BOB)
    network.run(1)
    bob.do(lambda now: bob.last(Invited).session.reject(486, now, headers=[("Reason", "Q.850;cause=17")]))
    network.run(1)
    assert [(e.status, e.reason, e.q850) for e in alice.of(Refused)] == [(486, "Busy Here", 17)]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 486)]
    assert [(e.by, e.status) for e in bob.of(Ended)] == [("local", 486)]
    assert network.kinds(ALICE) == ["INVITE", "ACK"]
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle
