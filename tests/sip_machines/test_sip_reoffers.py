from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Phone

from engine.sip.client import OutgoingSession
from engine.sip.events import Acknowledged, Answered, Ended, Invited, ReofferAnswered, Reoffered, ReofferRefused
from engine.sip.server import IncomingSession
from engine.sip.session import SessionStateError

HOLD = b"v=0\r\nhold\r\n"
HELD = b"v=0\r\nheld\r\n"


class Call(NamedTuple):
    network: Network
    alice: Phone
    bob: Phone
    caller: OutgoingSession
    callee: IncomingSession

    def finish(self) -> None:
        self.alice.do(self.caller.bye)
        self.network.settle()
        assert len(self.alice.of(Ended)) == len(self.bob.of(Ended)) == 1
        assert self.alice.endpoint.idle
        assert self.bob.endpoint.idle


@pytest.fixture
def call(network: Network, alice: Phone, bob: Phone, answering: Callable[[Phone], Phone]) -> Call:
    answering(bob)
    caller = alice.call(BOB)
    network.run(1)
    bob.react = None
    network.trace.clear()
    return Call(network, alice, bob, caller, bob.last(Invited).session)


def auto_answer(phone: Phone, sdp: bytes) -> None:
    def react(event: object) -> None:
        if isinstance(event, Reoffered):
            phone.do(lambda now: event.session.answer_reoffer(sdp, now))

    phone.react = react


@pytest.mark.parametrize("from_caller", [True, False])
def test_hold(call: Call, from_caller: bool) -> None:
    ours, theirs = (call.alice, call.bob) if from_caller else (call.bob, call.alice)
    session = call.caller if from_caller else call.callee
    auto_answer(theirs, HELD)
    ours.do(lambda now: session.reinvite(HOLD, now))
    call.network.run(1)
    assert theirs.last(Reoffered).sdp == HOLD
    assert ours.of(ReofferAnswered) == [ReofferAnswered(session, HELD)]
    assert call.network.kinds() == ["INVITE", "100 INVITE", "200 INVITE", "ACK"]
    assert theirs.last(Acknowledged).sdp is None
    call.finish()


def test_offerless_reinvite(call: Call) -> None:
    auto_answer(call.bob, OFFER)
    call.alice.do(lambda now: call.caller.reinvite(None, now))
    call.network.run(0.3)
    assert call.bob.last(Reoffered).sdp is None
    assert call.alice.of(ReofferAnswered) == [ReofferAnswered(call.caller, OFFER)]
    assert "ACK" not in call.network.kinds()
    call.alice.do(lambda now: call.caller.acknowledge(ANSWER, now))
    call.network.run(1)
    assert call.bob.last(Acknowledged).sdp == ANSWER
    call.finish()


def test_offerless_reinvite_left_unanswered_at_the_end(call: Call) -> None:
    auto_answer(call.bob, OFFER)
    call.alice.do(lambda now: call.caller.reinvite(None, now))
    call.network.run(0.3)
    call.alice.do(call.caller.bye)
    call.network.run(0.3)
    assert call.network.kinds(ALICE)[-2:] == ["ACK", "BYE"]
    call.finish()


def test_refused_reinvite_changes_nothing(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(0.1)
    call.bob.do(lambda now: call.callee.reject_reoffer(488, now))
    call.network.run(1)
    assert call.alice.of(ReofferRefused) == [ReofferRefused(call.caller, 488, "Not Acceptable Here")]
    assert call.caller.state == "confirmed"
    call.finish()


def test_update(call: Call) -> None:
    auto_answer(call.bob, HELD)
    headers = (("Content-Type", "application/sdp"),)
    statuses: list[int] = []
    call.alice.do(
        lambda now: call.caller.ask("UPDATE", lambda s, r, n: statuses.append(s), now, body=HOLD, headers=headers)
    )
    call.network.run(1)
    assert statuses == [200]
    assert call.bob.last(Reoffered).sdp == HOLD
    assert call.network.sent("200 UPDATE")[0].message.body == HELD
    call.alice.do(lambda now: call.caller.ask("UPDATE", lambda s, r, n: statuses.append(s), now))
    call.network.run(1)
    assert statuses == [200, 200]  # without an offer it only refreshes the target
    assert len(call.bob.of(Reoffered)) == 1
    call.finish()


def test_second_offer_before_the_first_is_answered(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(0.1)
    statuses: list[tuple[int, str | None]] = []
    call.alice.do(
        lambda now: call.caller.ask(
            "UPDATE",
            lambda s, r, n: statuses.append((s, r.headers.get("Retry-After") if r else None)),
            now,
            body=HOLD,
            headers=(("Content-Type", "application/sdp"),),
        )
    )
    call.network.run(0.1)
    ((status, retry_after),) = statuses
    assert status == 500
    assert 0 <= int(retry_after or "-1") <= 10
    call.bob.do(lambda now: call.callee.answer_reoffer(HELD, now))
    call.network.run(1)
    assert len(call.alice.of(ReofferAnswered)) == 1
    call.finish()


def test_glare(call: Call) -> None:
    """Both offer at once: both get 491, and who made the Call-ID comes back later (14.1)."""
    start = call.network.now
    call.alice.do(lambda now: call.caller.reinvite(OFFER, now))
    call.bob.do(lambda now: call.callee.reinvite(HOLD, now))
    auto_answer(call.alice, HELD)
    auto_answer(call.bob, HELD)
    call.network.run(10)
    assert len(call.network.sent("491 INVITE")) == 2
    assert call.bob.of(ReofferAnswered) == [ReofferAnswered(call.callee, HELD)]
    assert call.alice.of(ReofferAnswered) == [ReofferAnswered(call.caller, HELD)]
    again = {p.source: p.at - start for p in call.network.sent("INVITE") if p.at - start > 0}
    assert 0 <= again[BOB] <= 2.1
    assert 2.1 <= again[ALICE] <= 4.1
    assert call.alice.of(ReofferRefused) == call.bob.of(ReofferRefused) == []
    call.finish()


def test_end_during_the_wait_after_glare(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(OFFER, now))
    call.bob.do(lambda now: call.callee.reinvite(HOLD, now))
    call.network.run(0.1)
    call.finish()
    assert len(call.network.sent("INVITE")) == 2


def test_offers_wait_for_each_other(call: Call) -> None:
    auto_answer(call.bob, HELD)
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.alice.do(lambda now: call.caller.reinvite(b"second", now))
    call.alice.do(lambda now: call.caller.reinvite(OFFER, now))
    call.network.run(2)
    assert [event.sdp for event in call.bob.of(Reoffered)] == [HOLD, OFFER]
    assert len(call.alice.of(ReofferAnswered)) == 2
    call.finish()


def test_offer_waits_for_the_ack(network: Network, alice: Phone, bob: Phone) -> None:
    caller = alice.call(BOB, None)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.accept(OFFER, now))
    bob.do(lambda now: callee.reinvite(HOLD, now))
    network.run(0.3)
    assert network.sent("INVITE", BOB) == []
    alice.do(lambda now: caller.acknowledge(ANSWER, now))
    network.run(0.1)
    assert len(network.sent("INVITE", BOB)) == 1
    assert len(alice.of(Answered)) == 1


def test_offer_of_the_peer_before_our_ack_is_491(network: Network, alice: Phone, bob: Phone) -> None:
    alice.call(BOB, None)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.accept(OFFER, now))
    network.run(0.1)
    callee._ack_wait.stop()
    callee._ack_wait = None
    bob.do(lambda now: callee.reinvite(HOLD, now))
    network.run(0.1)
    assert len(network.sent("491 INVITE", ALICE)) == 1


def test_reinvite_needs_an_answered_call(alice: Phone) -> None:
    session = alice.call(BOB)
    with pytest.raises(SessionStateError):
        session.reinvite(OFFER, alice.now)


def test_cancelled_reinvite(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(0.1)
    invite = call.network.sent("INVITE", ALICE)[0].message
    cancel = invite.encode().replace(b"INVITE sip", b"CANCEL sip").replace(b" INVITE\r\n", b" CANCEL\r\n")
    call.bob.receive(cancel, call.bob.flow(ALICE), call.network.now)
    call.network.run(0.1)
    assert [e.status for e in call.alice.of(ReofferRefused)] == [487]
    call.bob.do(lambda now: call.callee.answer_reoffer(HELD, now))  # too late, and harmless
    call.network.run(1)
    assert call.alice.of(ReofferAnswered) == []
    call.finish()


def test_bye_during_a_reinvite(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(0.1)
    call.alice.do(call.caller.bye)
    call.network.run(0.1)
    assert call.network.kinds(BOB) == ["100 INVITE", "200 BYE", "487 INVITE"]
    call.network.settle()
    assert call.alice.endpoint.idle
    assert call.bob.endpoint.idle
    assert len(call.alice.of(Ended)) == len(call.bob.of(Ended)) == 1


def test_reinvite_that_is_not_acknowledged_ends_the_call(call: Call) -> None:
    auto_answer(call.bob, HELD)
    call.network.delays = lambda packet: [] if packet.kind == "ACK" else [0.02]
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(40)
    assert [(e.by, e.status) for e in call.bob.of(Ended)] == [("timeout", 408)]
    assert [(e.by, e.status) for e in call.alice.of(Ended)] == [("remote", 200)]
    call.network.settle()
    assert call.alice.endpoint.idle
    assert call.bob.endpoint.idle


def test_reinvite_that_is_not_answered_ends_the_call(call: Call) -> None:
    call.network.delays = lambda packet: []
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(33)
    assert [(e.by, e.status) for e in call.alice.of(Ended)] == [("timeout", 408)]
    call.network.settle(2000)  # until the session timer of the other end expires
    assert call.alice.endpoint.idle


def test_reinvite_with_nothing_but_a_provisional_response_is_cancelled(call: Call) -> None:
    start = call.network.now
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(59)
    assert call.network.sent("CANCEL") == []
    call.network.run(2)
    (cancel,) = call.network.sent("CANCEL", ALICE)
    assert round(cancel.at - start, 1) == 60.0
    assert cancel.message.via.branch == call.network.sent("INVITE", ALICE)[0].message.via.branch
    assert [e.status for e in call.alice.of(ReofferRefused)] == [487]
    assert call.caller.state == "confirmed"
    auto_answer(call.alice, HELD)
    call.bob.do(lambda now: call.callee.reinvite(HOLD, now))  # the way is free again
    call.network.run(1)
    assert len(call.bob.of(ReofferAnswered)) == 1
    call.finish()


def test_reinvite_whose_cancel_is_not_answered_ends_the_call(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(1)
    call.network.delays = lambda packet: []
    call.network.run(58)
    assert call.alice.of(Ended) == []
    call.network.run(35)
    assert [(e.by, e.status) for e in call.alice.of(Ended)] == [("timeout", 408)]
    call.network.settle(2000)  # until the session timer of the other end expires
    assert call.alice.endpoint.idle


def test_hanging_up_during_a_reinvite_leaves_no_timer(call: Call) -> None:
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(1)
    call.bob.network.delays = lambda packet: [] if packet.kind == "487 INVITE" else [0.02]
    call.alice.do(call.caller.bye)
    call.network.run(50)
    assert call.alice.endpoint.idle


def test_repeated_2xx_before_our_answer_is_heard_once(call: Call) -> None:
    auto_answer(call.bob, OFFER)
    call.alice.do(lambda now: call.caller.reinvite(None, now))
    call.network.run(4)  # Bob repeats his 200 all the while
    repeats = len(call.network.sent("200 INVITE", BOB)) - 1
    assert repeats >= 2
    assert call.alice.of(ReofferAnswered) == [ReofferAnswered(call.caller, OFFER)]
    assert call.alice.endpoint.counters.retransmissions_received == repeats
    call.alice.do(lambda now: call.caller.acknowledge(ANSWER, now))
    call.network.run(1)
    assert call.bob.last(Acknowledged).sdp == ANSWER
    call.finish()


def test_lost_ack_of_a_reinvite_is_repeated(call: Call) -> None:
    auto_answer(call.bob, HELD)
    lost = iter([True])
    call.network.delays = lambda packet: [] if packet.kind == "ACK" and next(lost, False) else [0.02]
    call.alice.do(lambda now: call.caller.reinvite(HOLD, now))
    call.network.run(3)
    assert len(call.network.sent("ACK", ALICE)) == 2
    assert len(call.alice.of(ReofferAnswered)) == 1
    call.finish()
