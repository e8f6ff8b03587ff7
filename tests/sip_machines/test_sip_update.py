"""UPDATE, of both sides, before and after the answer (RFC 3311)."""

from __future__ import annotations

import pytest
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Packet, Peer, Phone

from engine.sip.client import OutgoingSession
from engine.sip.events import Answered, Ended, Invited, ReofferAnswered, Reoffered, ReofferRefused
from engine.sip.message import Request
from engine.sip.reoffer import MAX_RETRIES
from engine.sip.server import IncomingSession
from engine.sip.session import SessionStateError

HOLD = b"v=0\r\nhold\r\n"
HELD = b"v=0\r\nheld\r\n"


def early(network: Network, alice: Phone, bob: Phone) -> tuple[OutgoingSession, IncomingSession]:
    """A call with reliable early media: offer and answer are exchanged, the call is not answered."""
    caller = alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.progress(now, ANSWER))
    network.run(0.1)
    network.trace.clear()
    return caller, callee


def auto_answer(phone: Phone, sdp: bytes) -> None:
    def react(event: object) -> None:
        if isinstance(event, Reoffered):
            event.session.answer_reoffer(sdp, phone.now)

    phone.react = react


def finish(network: Network, alice: Phone, bob: Phone) -> None:
    for event in bob.of(Invited):
        bob.do(event.session.terminate)
    network.settle()
    assert alice.endpoint.idle
    assert bob.endpoint.idle
    assert len(alice.of(Ended)) == len(bob.of(Ended)) == 1


@pytest.mark.parametrize("from_caller", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_offer(network: Network, alice: Phone, bob: Phone, from_caller: bool, answered: bool) -> None:
    caller, callee = early(network, alice, bob)
    if answered:
        bob.do(lambda now: callee.accept(ANSWER, now))
        network.run(0.1)
        network.trace.clear()
    ours, theirs, session = (alice, bob, caller) if from_caller else (bob, alice, callee)
    auto_answer(theirs, HELD)
    assert session.can_update
    ours.do(lambda now: session.update(HOLD, now))
    network.run(0.1)
    assert network.kinds() == ["UPDATE", "200 UPDATE"]
    assert theirs.last(Reoffered).sdp == HOLD
    assert ours.of(ReofferAnswered) == [ReofferAnswered(session, HELD)]
    assert (session.local_sdp, session.remote_sdp) == (HOLD, HELD)
    if not answered:
        bob.do(lambda now: callee.accept(ANSWER, now))
        network.run(0.1)
        assert network.sent("200 INVITE")[0].message.body == b""
        assert alice.of(Answered) == [Answered(caller, None)]
    finish(network, alice, bob)


def test_not_before_offer_and_answer(network: Network, alice: Phone, bob: Phone, peer: Peer) -> None:
    caller = alice.call(BOB)
    assert not caller.can_update
    with pytest.raises(SessionStateError):
        caller.update(HOLD, alice.now)
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 183, body=ANSWER, headers=(("Allow", "UPDATE"),))  # not reliably
    network.run(0.1)
    with pytest.raises(SessionStateError):
        caller.update(HOLD, alice.now)
    peer.reply(peer.requests("INVITE")[0], 200, body=ANSWER, headers=(("Allow", "INVITE"),))
    network.run(0.1)
    with pytest.raises(SessionStateError):
        caller.update(HOLD, alice.now)  # the peer does not allow it
    alice.do(caller.bye)
    caller.update(HOLD, alice.now)  # nothing happens after the end


def test_offer_of_the_peer_before_ours_is_answered(network: Network, alice: Phone, peer: Peer) -> None:
    """An UPDATE in an early dialog whose INVITE has no reliable answer yet: 491 (5.2)."""
    caller = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 183, body=ANSWER)
    network.run(0.1)
    update = from_callee(invite, 1)
    update.headers.add("Content-Type", "application/sdp")
    update.body = HOLD
    peer.send(ALICE, update)
    network.run(0.1)
    assert [response.status for response in peer.responses(method="UPDATE")] == [491]
    alice.do(caller.cancel)
    network.run(0.1)
    peer.reply(invite, 487)
    network.settle()
    assert alice.endpoint.idle


def from_callee(invite: Request, cseq: int, tag: str = "peer", method: str = "UPDATE") -> Request:
    request = Request(method, "sip:alice@192.0.2.1", invite.headers.copy())
    for name in ("Content-Type", "Session-Expires", "Min-SE"):
        request.headers.remove(name)
    request.headers.set("From", str(invite.to.with_tag(tag)))
    request.headers.set("To", str(invite.from_))
    request.headers.set("CSeq", f"{cseq} {method}")
    request.headers.set("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{tag}{cseq}{method}")
    request.headers.set("Contact", f"<sip:{tag}@192.0.2.2:5060>")
    return request


def test_glare(network: Network, alice: Phone, bob: Phone) -> None:
    caller, callee = early(network, alice, bob)
    start = network.now
    auto_answer(alice, HELD)
    auto_answer(bob, HELD)
    alice.do(lambda now: caller.update(OFFER, now))
    bob.do(lambda now: callee.update(HOLD, now))
    network.run(10)
    assert len(network.sent("491 UPDATE")) == 2
    assert len(alice.of(ReofferAnswered)) == len(bob.of(ReofferAnswered)) == 1
    again = {packet.source: packet.at - start for packet in network.sent("UPDATE") if packet.at > start}
    assert 0 <= again[BOB] <= 2.1
    assert 2.1 <= again[ALICE] <= 4.1
    finish(network, alice, bob)


def test_glare_of_update_and_reinvite(network: Network, alice: Phone, bob: Phone) -> None:
    caller, callee = early(network, alice, bob)
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(0.1)
    auto_answer(alice, HELD)
    auto_answer(bob, HELD)
    alice.do(lambda now: caller.reinvite(OFFER, now))
    bob.do(lambda now: callee.update(HOLD, now))
    network.run(10)
    assert len(network.sent("491 UPDATE", ALICE)) == len(network.sent("491 INVITE", BOB)) == 1
    assert len(alice.of(ReofferAnswered)) == len(bob.of(ReofferAnswered)) == 1
    finish(network, alice, bob)


def test_peer_that_always_says_491(network: Network, alice: Phone, bob: Phone) -> None:
    caller, _ = early(network, alice, bob)
    bob.react = lambda event: isinstance(event, Reoffered) and event.session.reject_reoffer(491, bob.now)
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(60)
    assert len(network.sent("UPDATE")) == MAX_RETRIES + 1
    assert [event.status for event in alice.of(ReofferRefused)] == [491]
    finish(network, alice, bob)


def test_second_update_before_the_first_is_answered(network: Network, alice: Phone, bob: Phone) -> None:
    caller, callee = early(network, alice, bob)
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(0.1)
    statuses: list[int] = []
    alice.do(lambda now: caller.ask("UPDATE", lambda status, response, now: statuses.append(status), now))
    network.run(0.1)
    assert statuses == [500]
    assert 0 <= int(network.sent("500 UPDATE")[0].message.headers.get("Retry-After") or "-1") <= 10
    bob.do(lambda now: callee.answer_reoffer(HELD, now))
    network.run(0.1)
    assert len(alice.of(ReofferAnswered)) == 1
    finish(network, alice, bob)


def test_update_put_off_by_the_peer(network: Network, alice: Phone, peer: Peer) -> None:
    caller = alice.call(BOB)
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 200, body=ANSWER, headers=(("Allow", "UPDATE"),))
    network.run(0.1)
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(0.1)
    peer.reply(peer.requests("UPDATE")[0], 500, headers=(("Retry-After", "3"),))
    network.run(2.9)
    assert len(peer.requests("UPDATE")) == 1
    network.run(0.2)
    peer.reply(peer.requests("UPDATE")[1], 500)
    network.run(0.1)
    assert [event.status for event in alice.of(ReofferRefused)] == [500]
    alice.do(caller.bye)
    network.run(0.1)
    peer.reply(peer.requests("BYE")[0], 200)
    network.settle()
    assert alice.endpoint.idle


def test_cancel_during_an_early_update(network: Network, alice: Phone, bob: Phone) -> None:
    caller, _ = early(network, alice, bob)
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(0.1)
    alice.do(caller.cancel)
    network.run(1)
    assert len(network.sent("487 UPDATE", BOB)) == 1
    finish(network, alice, bob)


@pytest.mark.parametrize("kind", ["UPDATE", "200 UPDATE"])
def test_lost_and_repeated(network: Network, alice: Phone, bob: Phone, kind: str) -> None:
    caller, callee = early(network, alice, bob)
    auto_answer(bob, HELD)
    left = [2]

    def weather(packet: Packet) -> list[float]:
        if packet.kind == kind and left[0]:
            left[0] -= 1
            return []
        return [0.02, 0.3]

    network.delays = weather
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(5)
    assert len(bob.of(Reoffered)) == len(alice.of(ReofferAnswered)) == 1
    assert callee.remote_sdp == HOLD
    network.delays = None
    finish(network, alice, bob)


# --- forks ----------------------------------------------------------------------------------------


def test_update_to_a_fork_that_loses(network: Network, alice: Phone, peer: Peer) -> None:
    other = Peer(network, CAROL)
    caller = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    rel = (("Require", "100rel"), ("RSeq", "1"), ("Allow", "UPDATE"))
    peer.reply(invite, 183, tag="one", body=ANSWER, headers=rel)
    network.run(0.1)
    peer.reply(peer.requests("PRACK")[0], 200)
    alice.do(lambda now: caller.update(HOLD, now))
    network.run(0.1)
    peer.reply(invite, 200, tag="two", body=ANSWER, contact="<sip:two@192.0.2.3:5060>")
    network.run(0.1)
    peer.reply(peer.requests("UPDATE")[0], 481)
    network.run(40)
    assert caller.state == "confirmed"
    assert alice.of(ReofferAnswered) == alice.of(ReofferRefused) == []
    alice.do(caller.bye)
    network.run(0.1)
    other.reply(other.requests("BYE")[0], 200)
    network.settle()
    assert alice.endpoint.idle


def test_requests_in_the_early_dialog_of_another_fork(network: Network, alice: Phone, peer: Peer) -> None:
    caller = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    for tag in ("one", "two"):
        peer.reply(invite, 183, tag=tag, body=ANSWER)
    network.run(0.1)
    peer.send(ALICE, from_callee(invite, 5, "two"))
    offer = from_callee(invite, 6, "two")
    offer.headers.add("Content-Type", "application/sdp")
    offer.body = HOLD
    peer.send(ALICE, offer)
    peer.send(ALICE, from_callee(invite, 4, "two"))
    peer.send(ALICE, from_callee(invite, 1, "three"))
    network.run(0.1)
    assert [response.status for response in peer.responses(method="UPDATE")] == [200, 488, 500, 481]
    peer.send(ALICE, from_callee(invite, 7, "two", "BYE"))
    network.run(0.1)
    assert [response.status for response in peer.responses(method="BYE")] == [200]
    assert not caller.ended
    peer.reply(invite, 486)
    network.settle()
    assert alice.endpoint.idle


def test_early_dialog_that_is_over(network: Network, alice: Phone, peer: Peer) -> None:
    """199 (RFC 6228): requests go to the phone that still rings."""
    caller = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 183, tag="one", body=ANSWER)
    peer.reply(invite, 180, tag="two")
    peer.reply(invite, 199, tag="one")
    network.run(0.1)
    assert caller.dialog.remote_tag == "two"
    peer.reply(invite, 486)
    network.settle()
    assert alice.endpoint.idle
