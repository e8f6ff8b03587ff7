"""Reliable provisional responses, both roles (RFC 3262)."""

from __future__ import annotations

from itertools import count

import pytest
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Packet, Peer, Phone

from engine.sip.events import (
    Acknowledged,
    Answered,
    Ended,
    Invited,
    ProgressAcknowledged,
    Progressed,
    Reoffered,
)
from engine.sip.message import Request
from engine.sip.reliable import MOST_WAITING, RAck, read_rack, read_rseq
from engine.sip.server import IncomingSession

HOLD = b"v=0\r\nhold\r\n"
branches = count(1)


def settled(network: Network, *phones: Phone) -> None:
    network.settle()
    for phone in phones:
        assert phone.endpoint.idle
        assert len(phone.of(Ended)) == 1


class Caller:
    """A caller by hand."""

    def __init__(self, network: Network, phone: Phone, host: tuple[str, int] = BOB) -> None:
        self.peer = Peer(network, host)
        self.network = network
        self.phone = phone
        self.tag = ""

    def send(self, method: str, cseq: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        host, port = self.peer.host
        lines = [
            f"{method} sip:ivr@192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{next(branches)}",
            "From: <sip:bob@b>;tag=b",
            "To: <sip:ivr@a>" + (f";tag={self.tag}" if self.tag else ""),
            "Call-ID: reliable",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:bob@{host}:{port}>",
            *(f"{name}: {value}" for name, value in headers),
        ]
        if body:
            lines.append("Content-Type: application/sdp")
        self.peer.send(ALICE, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.network.run(0.1)

    def invite(self, *headers: tuple[str, str], body: bytes = OFFER) -> IncomingSession:
        self.send("INVITE", 1, *headers, body=body)
        session = self.phone.last(Invited).session
        self.tag = session.local_tag
        return session

    def prack(self, rack: str, cseq: int = 2, body: bytes = b"") -> int:
        self.send("PRACK", cseq, ("RAck", rack), body=body)
        answers = self.peer.responses(method="PRACK")
        return answers[-1].status if answers else 0

    def rseqs(self) -> list[int]:
        return [number for each in self.peer.responses() if (number := read_rseq(each)) is not None]


@pytest.fixture
def caller(network: Network, alice: Phone) -> Caller:
    return Caller(network, alice)


REQUIRED = ("Require", "100rel")
SUPPORTED = ("Supported", "timer, 100rel")


# --- two of our own -------------------------------------------------------------------------------


def test_early_media_is_reliable_between_two_of_us(network: Network, alice: Phone, bob: Phone) -> None:
    alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(callee.ringing)
    bob.do(lambda now: callee.progress(now, ANSWER))
    network.run(0.1)
    ringing, media = alice.of(Progressed)
    assert (ringing.reliable, media.reliable, media.sdp, media.offered) == (False, True, ANSWER, False)
    assert ringing.tag == media.tag == callee.local_tag
    assert bob.of(ProgressAcknowledged) == [ProgressAcknowledged(callee, None)]
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(0.1)
    assert network.sent("200 INVITE")[0].message.body == b""  # offer and answer are exchanged already
    assert alice.of(Answered) == [Answered(alice.last(Progressed).session, ANSWER)]  # told once more
    assert alice.last(Answered).tag == callee.local_tag
    assert network.kinds() == [
        "INVITE", "100 INVITE", "180 INVITE", "183 INVITE", "PRACK", "200 PRACK", "200 INVITE", "ACK",
    ]  # fmt: skip
    alice.do(alice.last(Answered).session.bye)
    assert network.sent("BYE")[0].message.cseq.number == 3
    settled(network, alice, bob)


def test_answer_waits_for_the_prack(network: Network, alice: Phone, bob: Phone) -> None:
    alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.progress(now, ANSWER))
    assert bob.do(lambda now: callee.accept(ANSWER, now, headers=[("X-Kept", "yes")]))
    assert not bob.do(lambda now: callee.accept(ANSWER, now))
    bob.do(callee.ringing)  # nothing any more
    assert network.sent("200 INVITE") == []
    network.run(0.2)
    (ok,) = network.sent("200 INVITE")
    assert ok.message.headers.get("X-Kept") == "yes"
    assert callee.state == "confirmed"
    assert network.sent("180 INVITE") == []
    alice.do(alice.last(Answered).session.bye)
    settled(network, alice, bob)


@pytest.mark.parametrize("kind", ["183 INVITE", "PRACK", "200 PRACK"])
@pytest.mark.parametrize("losses", [1, 2, 3])
def test_lost_messages_are_repeated(network: Network, alice: Phone, bob: Phone, kind: str, losses: int) -> None:
    left = [losses]

    def lose(packet: Packet) -> list[float]:
        if packet.kind == kind and left[0]:
            left[0] -= 1
            return []
        return [0.02]

    network.delays = lose
    alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.progress(now, ANSWER))
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(16)
    assert len(alice.of(Progressed)) == len(bob.of(ProgressAcknowledged)) == 1
    assert callee.state == "confirmed"
    assert len({packet.message.via.branch for packet in network.sent("PRACK")}) == 1
    alice.do(alice.last(Answered).session.bye)
    settled(network, alice, bob)


@pytest.mark.parametrize("kind", ["183 INVITE", "PRACK", "200 PRACK"])
def test_messages_that_come_twice_and_late(network: Network, alice: Phone, bob: Phone, kind: str) -> None:
    network.delays = lambda packet: [0.02, 0.05, 4.0, 20.0] if packet.kind == kind else [0.02]
    alice.call(BOB)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.progress(now, ANSWER))
    network.run(25)
    assert len(alice.of(Progressed)) == len(bob.of(ProgressAcknowledged)) == 1
    bob.do(lambda now: callee.accept(ANSWER, now))
    network.run(1)
    alice.do(alice.last(Answered).session.bye)
    settled(network, alice, bob)


def test_offer_in_the_response_and_answer_in_the_prack(network: Network, alice: Phone, bob: Phone) -> None:
    session = alice.call(BOB, None)
    network.run(0.1)
    callee = bob.last(Invited).session
    bob.do(lambda now: callee.progress(now, OFFER))
    network.run(0.1)
    offered = alice.last(Progressed)
    assert (offered.sdp, offered.offered) == (OFFER, True)
    assert network.sent("PRACK") == []
    assert alice.do(lambda now: session.answer_progress(ANSWER, now, offered.tag))
    assert not alice.do(lambda now: session.answer_progress(ANSWER, now))
    network.run(0.1)
    assert bob.of(ProgressAcknowledged) == [ProgressAcknowledged(callee, ANSWER)]
    assert session.negotiated
    assert callee.negotiated
    bob.do(lambda now: callee.accept(OFFER, now))
    network.run(0.1)
    assert alice.of(Answered) == [Answered(session, None)]
    assert bob.last(Acknowledged).sdp is None
    assert session.state == "confirmed"
    alice.do(session.bye)
    settled(network, alice, bob)


def test_offer_that_nobody_answers_ends_the_call(network: Network, alice: Phone, bob: Phone) -> None:
    alice.call(BOB, None)
    network.run(0.1)
    bob.do(lambda now: bob.last(Invited).session.progress(now, OFFER))
    network.run(40)
    assert [(e.by, e.status) for e in bob.of(Ended)] == [("timeout", 504)]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 504)]
    settled(network, alice, bob)


# --- the called side ------------------------------------------------------------------------------


def test_everything_is_reliable_if_required(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    alice.do(session.ringing)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.05)
    (first,) = caller.rseqs()  # one at a time
    assert 1 <= first < 1 << 31
    response = caller.peer.responses(180)[0]
    assert response.headers.get("Require") == "100rel"
    assert response.contacts
    assert caller.prack(f"{first} 1 INVITE") == 200
    assert caller.rseqs() == [first, first + 1]
    assert caller.peer.responses(183)[0].body == ANSWER
    assert caller.prack(f"{first + 1} 1 INVITE", 3) == 200
    assert session.negotiated
    alice.do(session.terminate)
    caller.send("ACK", 1)
    network.settle()
    assert alice.endpoint.idle


def test_repeated_until_it_is_acknowledged(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    start = network.now
    alice.do(session.ringing)
    network.run(40)
    sent = [round(packet.at - start, 1) for packet in network.sent("180 INVITE")]
    assert sent == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    (refusal,) = {packet.message.status for packet in network.sent("504 INVITE")}
    assert refusal == 504
    assert round(network.sent("504 INVITE")[0].at - start, 1) == 32.0
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 504)]
    settled(network, alice)


def test_not_reliable_if_not_supported(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite()
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(40)
    assert caller.rseqs() == []
    assert len(caller.peer.responses(183)) == 1
    alice.do(session.terminate)
    settled(network, alice)


def test_ringing_is_not_reliable_if_only_supported(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(session.ringing)
    network.run(0.1)
    assert caller.rseqs() == []
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    assert len(caller.rseqs()) == 1
    alice.do(session.terminate)
    settled(network, alice)


@pytest.mark.parametrize(
    "rack", ["", "x", "1 1 INVITE", "{0} 2 INVITE", "{0} 1 UPDATE", "{0} 1", "99999999999 1 INVITE"]
)
def test_prack_for_something_else(network: Network, alice: Phone, caller: Caller, rack: str) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    rseq = caller.rseqs()[0]
    assert caller.prack(rack.format(rseq)) == 481
    assert alice.of(ProgressAcknowledged) == []
    assert caller.prack(f"{rseq} 1 INVITE", 3) == 200
    assert caller.prack(f"{rseq} 1 INVITE", 4) == 481  # once
    alice.do(session.terminate)
    settled(network, alice)


def test_prack_with_a_body_that_is_no_description(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    caller.send("PRACK", 2, ("RAck", f"{caller.rseqs()[0]} 1 INVITE"), ("Content-Encoding", "gzip"), body=HOLD)
    assert caller.peer.responses(method="PRACK")[-1].status == 415
    alice.do(session.terminate)
    settled(network, alice)


def test_offer_in_the_prack(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    assert caller.prack(f"{caller.rseqs()[0]} 1 INVITE", body=HOLD) == 0
    assert alice.of(Reoffered) == [Reoffered(session, HOLD)]
    alice.do(lambda now: session.answer_reoffer(ANSWER, now))
    network.run(0.1)
    (answer,) = caller.peer.responses(method="PRACK")
    assert (answer.status, answer.body) == (200, ANSWER)
    alice.do(session.terminate)
    settled(network, alice)


def test_offer_in_the_prack_that_is_not_acceptable(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    caller.prack(f"{caller.rseqs()[0]} 1 INVITE", body=HOLD)
    alice.do(lambda now: session.reject_reoffer(488, now))
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(0.1)
    assert [r.status for r in caller.peer.responses(method="PRACK")] == [488]
    assert caller.peer.responses(200, "INVITE")  # it counts as acknowledged all the same
    alice.do(session.terminate)
    network.settle()
    assert alice.endpoint.idle


def test_offer_before_the_answer_is_refused(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    alice.do(session.ringing)
    network.run(0.1)
    assert caller.prack(f"{caller.rseqs()[0]} 1 INVITE", body=HOLD) == 500
    assert alice.of(Reoffered) == []
    alice.do(session.terminate)
    settled(network, alice)


def test_answer_overtakes_a_ringing_without_prack(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    alice.do(session.ringing)
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(0.1)
    assert caller.peer.responses(200, "INVITE")[0].body == ANSWER
    caller.send("ACK", 1)
    assert caller.prack(f"{caller.rseqs()[0]} 1 INVITE") == 200  # still welcome
    network.run(40)
    assert len(caller.peer.responses(180)) == 1  # and not repeated
    assert session.state == "confirmed"
    alice.do(session.bye)
    network.settle()
    assert alice.endpoint.idle


def test_prack_after_the_end_is_no_news(network: Network, alice: Phone, caller: Caller) -> None:
    """We have answered and hung up, the BYE waits for the ACK: a late PRACK gets its 200, and nothing is told."""
    session = caller.invite(REQUIRED)
    alice.do(session.ringing)
    network.run(0.1)
    alice.do(lambda now: session.accept(ANSWER, now))
    alice.do(session.bye)
    assert isinstance(alice.seen[-1], Ended)
    assert caller.prack(f"{caller.rseqs()[0]} 1 INVITE") == 200
    assert isinstance(alice.seen[-1], Ended)
    settled(network, alice)


def test_caller_gives_up_while_the_answer_waits(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    alice.do(lambda now: session.accept(ANSWER, now))
    invite = network.sent("INVITE", BOB)[0].data
    caller.peer.send(ALICE, invite.replace(b"INVITE sip", b"CANCEL sip").replace(b"1 INVITE", b"1 CANCEL"))
    network.run(0.1)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 487)]
    assert caller.prack(f"{caller.rseqs()[0]} 1 INVITE") == 481
    assert caller.peer.responses(200, "INVITE") == []
    settled(network, alice)


def test_no_prack_while_the_answer_waits(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(SUPPORTED)
    alice.do(lambda now: session.progress(now, ANSWER))
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(40)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 504)]
    settled(network, alice)


def test_ringing_goes_on_with_new_numbers(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    first = caller.rseqs()[0]
    caller.prack(f"{first} 1 INVITE")
    network.run(60)
    assert caller.rseqs()[-1] == first + 1
    assert caller.peer.responses(183)[-1].body == b""
    alice.do(session.terminate)
    settled(network, alice)


def test_flood_of_ringing_is_bounded(network: Network, alice: Phone, caller: Caller) -> None:
    session = caller.invite(REQUIRED)
    for _ in range(MOST_WAITING * 3):
        alice.do(session.ringing)
    alice.do(lambda now: session.progress(now, ANSWER))
    network.run(0.1)
    cseq = 2
    while caller.rseqs() and caller.prack(f"{caller.rseqs()[-1]} 1 INVITE", cseq) == 200:
        cseq += 1
    assert cseq - 2 == MOST_WAITING + 1
    assert caller.peer.responses(183)
    alice.do(session.terminate)
    settled(network, alice)


@pytest.mark.parametrize(
    ("header", "lacking"), [("100rel, precondition", "precondition"), ("100REL", None), ("x, y", "x, y")]
)
def test_other_required_extensions(network: Network, alice: Phone, caller: Caller, header: str, lacking: str) -> None:
    caller.send("INVITE", 1, ("Require", header), body=OFFER)
    refused = caller.peer.responses(420)
    assert [r.headers.get("Unsupported") for r in refused] == ([lacking] if lacking else [])
    assert len(alice.of(Invited)) == (lacking is None)
    for event in alice.of(Invited):
        alice.do(event.session.terminate)
    network.settle()
    assert alice.endpoint.idle


# --- the calling side -----------------------------------------------------------------------------


def reliable(rseq: object) -> tuple[tuple[str, str], ...]:
    return (("Require", "100rel"), ("RSeq", str(rseq)))


def test_each_is_acknowledged_once_and_in_order(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    assert "100rel" in invite.headers.tokens("Supported")
    assert "PRACK" in invite.headers.tokens("Allow")
    for rseq, status in [(7, 180), (7, 180), (9, 183), (8, 183), (8, 183), (9, 182), (3, 180)]:
        peer.reply(invite, status, headers=reliable(rseq))
        network.run(0.05)
    pracks = peer.requests("PRACK")
    seen: dict[str, Request] = {str(read_rack(prack)): prack for prack in pracks}
    assert list(seen) == ["7 1 INVITE", "8 1 INVITE", "9 1 INVITE"]
    assert [prack.cseq.number for prack in seen.values()] == [2, 3, 4]
    assert all(prack.to.tag == "peer" for prack in pracks)
    assert [event.status for event in alice.of(Progressed)] == [180, 183, 182]
    for prack in seen.values():
        peer.reply(prack, 200)
    alice.do(session.cancel)
    network.run(0.1)
    peer.reply(invite, 487)
    settled(network, alice)


@pytest.mark.parametrize("rseq", ["", "x", "0", "-1", "99999999999", "4294967296"])
def test_number_that_is_none(network: Network, alice: Phone, peer: Peer, rseq: str) -> None:
    alice.call(BOB)
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 180, headers=reliable(rseq))
    network.run(0.1)
    assert peer.requests("PRACK") == []
    assert [event.reliable for event in alice.of(Progressed)] == [False]


def test_each_fork_has_numbers_of_its_own(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 183, tag="one", body=ANSWER, headers=reliable(5))
    peer.reply(invite, 183, tag="two", body=ANSWER, headers=reliable(50), contact=f"<sip:two@{CAROL[0]}:5060>")
    other = Peer(network, CAROL)
    network.run(0.1)
    assert [str(read_rack(prack)) for prack in peer.requests("PRACK")] == ["5 1 INVITE"]
    assert [(str(read_rack(prack)), prack.to.tag, prack.cseq.number) for prack in other.requests("PRACK")] == [
        ("50 1 INVITE", "two", 2)
    ]
    assert [event.tag for event in alice.of(Progressed)] == ["one", "two"]
    peer.reply(invite, 200, tag="two", contact=f"<sip:two@{CAROL[0]}:5060>")
    network.run(0.1)
    assert alice.last(Answered).tag == "two"
    assert session.negotiated
    alice.do(session.bye)
    network.run(0.1)
    assert other.requests("BYE")[0].cseq.number == 3
    network.settle()
    assert alice.endpoint.idle


def test_prack_that_is_refused_or_not_answered(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 180, headers=reliable(1))
    network.run(0.1)
    peer.reply(peer.requests("PRACK")[0], 481)
    peer.reply(invite, 180, headers=reliable(2))
    network.run(40)
    peer.reply(invite, 200, body=ANSWER)
    network.run(0.1)
    assert session.state == "confirmed"
    alice.do(session.bye)
    network.run(0.1)
    peer.reply(peer.requests("BYE")[0], 200)
    settled(network, alice)


def test_nothing_is_acknowledged_after_the_end(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    alice.do(session.cancel)
    peer.reply(invite, 183, body=ANSWER, headers=reliable(1))
    network.run(0.1)
    assert peer.requests("PRACK") == []
    assert len(peer.requests("CANCEL")) == 1
    peer.reply(invite, 487)
    settled(network, alice)


def test_prack_outside_of_a_dialog(network: Network, alice: Phone, caller: Caller) -> None:
    caller.send("PRACK", 1, ("RAck", "1 1 INVITE"))
    assert [r.status for r in caller.peer.responses()] == [481]
    assert alice.endpoint.idle


def test_rack_is_written_as_it_is_read() -> None:
    assert str(RAck(776656, 1, "INVITE")) == "776656 1 INVITE"
