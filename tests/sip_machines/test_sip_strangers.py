"""What requests of nobody we know may cost: each is answered once, a limited number at all, and none is remembered."""

from __future__ import annotations

from collections import Counter

import pytest
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Peer, Phone

from engine.sip.events import Ended, Event, Invited
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.server import IncomingSession


def request(
    method: str, number: int = 1, *, to_tag: str = "", cseq: int = 1, host: str = BOB[0],
    headers: tuple[tuple[str, str], ...] = (), uri: str = "sip:alice@192.0.2.1", contact: bool = True,
) -> Request:  # fmt: skip
    fields = Headers()
    fields.add("Via", f"SIP/2.0/UDP {host}:5060;branch=z9hG4bK{method}{number}")
    fields.add("From", "<sip:bob@example.com>;tag=b")
    fields.add("To", "<sip:alice@example.com>" + (f";tag={to_tag}" if to_tag else ""))
    fields.add("Call-ID", f"c{number}")
    fields.add("CSeq", f"{cseq} {method}")
    if contact:
        fields.add("Contact", f"<sip:bob@{host}>")
    for name, value in headers:
        fields.add(name, value)
    return Request(method, uri, fields)


REFUSED = {
    "481 with a tag": (481, request("INVITE", to_tag="unknown")),
    "420": (420, request("INVITE", headers=(("Require", "magic"),))),
    "416": (416, request("INVITE", uri="http://example.com")),
    "400": (400, request("INVITE", contact=False)),
    "415": (415, request("INVITE", headers=(("Content-Type", "text/plain"), ("Content-Length", "1")))),
    "401": (401, request("INVITE")),
    "405": (405, request("SUBSCRIBE")),
    "405 REGISTER": (405, request("REGISTER")),
    "481 BYE": (481, request("BYE", to_tag="unknown")),
    "481 BYE without tag": (481, request("BYE")),
    "481 CANCEL": (481, request("CANCEL")),
    "501": (501, request("DANCE")),
}
REFUSED["415"][1].body = b"x"


@pytest.fixture
def doorman(alice: Phone) -> Phone:
    """A phone that lets nobody in."""

    def react(event: Event) -> None:
        if isinstance(event, Invited):
            event.session.refuse_unauthorised(401, alice.now)

    alice.admits, alice.react = False, react
    return alice


@pytest.mark.parametrize("name", REFUSED)
def test_refused_once_and_forgotten(network: Network, doorman: Phone, peer: Peer, name: str) -> None:
    """RFC 3261 26.3.2.4: the source may be forged, so there are no retransmissions, nor a 100 before."""
    status, asked = REFUSED[name]
    peer.send(ALICE, asked)
    network.run(40)
    assert [r.status for r in peer.responses()] == [status]
    assert doorman.endpoint.idle
    peer.send(ALICE, asked)
    network.run(40)
    first, again = peer.responses()
    assert again.encode() == first.encode()  # 8.2.7: a repeat has the same To tag, too
    assert first.to.tag


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_limited_by_source(network: Network, doorman: Phone, peer: Peer, name: str) -> None:
    status, asked = REFUSED[name]
    other = Peer(network, CAROL)
    for _ in range(100):
        peer.send(ALICE, asked)
    other.send(ALICE, asked.encode().replace(b"Via: SIP/2.0/UDP 192.0.2.2", b"Via: SIP/2.0/UDP 192.0.2.3"))
    network.run(0.1)
    assert Counter(r.status for r in peer.responses()) == {status: 20}
    assert [r.status for r in other.responses()] == [status]
    assert doorman.endpoint.counters.rate_limited == 80


def test_a_merged_invite_is_refused_once(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0.1)
    copy = request("INVITE")
    copy.headers.set("Via", "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKother")
    peer.send(ALICE, copy)
    network.run(40)
    assert [r.status for r in peer.responses()] == [100, 482]


def test_tags_of_refusals_cannot_be_foreseen(network: Network, doorman: Phone, peer: Peer) -> None:
    """They differ by Call-ID, From tag and branch, and from one run to the next."""
    for number in range(10):
        peer.send(ALICE, request("BYE", number))
    network.run(0.1)
    tags = {r.to.tag for r in peer.responses()}
    other = Phone(network, CAROL, seed=7)
    peer.send(other.host, request("BYE", 1))
    network.run(0.1)
    tags.add(peer.responses()[-1].to.tag)
    assert len(tags) == 11


def test_challenges_are_sent_once_and_are_no_abuse(network: Network, alice: Phone, peer: Peer) -> None:
    alice.admits = False
    alice.react = lambda event: (
        event.session.challenge(alice.now, [("WWW-Authenticate", "Digest x")]) if isinstance(event, Invited) else None
    )
    for number in range(30):
        peer.send(ALICE, request("INVITE", number))
    network.run(40)
    assert Counter(r.status for r in peer.responses()) == {401: 20}
    assert peer.responses()[0].headers.get("WWW-Authenticate") == "Digest x"
    assert len(alice.of(Ended)) == 30
    assert (alice.endpoint.counters.unauthorised, alice.endpoint.counters.rate_limited) == (0, 10)
    assert alice.endpoint.idle


# --- the table of transactions ----------------------------------------------------------------


@pytest.fixture
def talking(network: Network, alice: Phone, peer: Peer) -> IncomingSession:
    invite = request("INVITE")
    invite.headers.add("Content-Type", "application/sdp")
    invite.body = OFFER
    peer.send(ALICE, invite)
    network.run(0.1)
    session = alice.last(Invited).session
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(0.1)
    ack = request("ACK", to_tag=session.local_tag)
    ack.headers.set("Via", "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKack")
    peer.send(ALICE, ack)
    network.run(0.1)
    assert session.state == "confirmed"
    return session


def test_a_full_table_refuses_new_calls_and_serves_those_that_are_up(
    network: Network, alice: Phone, peer: Peer, talking: IncomingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.sip.incoming.MAX_TRANSACTIONS", 1)  # the INVITE's own
    other = Peer(network, CAROL)
    other.send(ALICE, request("INVITE", 2, host=CAROL[0]))
    network.run(0.1)
    assert [r.status for r in other.responses()] == [503]
    for method, cseq in (("INFO", 2), ("BYE", 3)):
        peer.send(ALICE, request(method, to_tag=talking.local_tag, cseq=cseq))
        network.run(0.1)
    assert [(r.status, r.cseq.method) for r in peer.responses()[-2:]] == [(200, "INFO"), (200, "BYE")]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 200)]


@pytest.mark.parametrize("method", ["CANCEL", "OPTIONS", "BYE", "DANCE", "SUBSCRIBE", "REGISTER"])
def test_the_table_does_not_grow_with_what_needs_no_memory(
    network: Network, doorman: Phone, peer: Peer, method: str
) -> None:
    for number in range(200):
        peer.send(ALICE, request(method, number))
    network.run(0.1)
    assert len(doorman.endpoint._core.servers) == 0
    assert len(doorman.endpoint._core.queue) == 0


def test_options_are_answered_however_many(network: Network, alice: Phone, peer: Peer) -> None:
    """Trunks and monitors ask often; the answer is no larger than the question."""
    for number in range(200):
        peer.send(ALICE, request("OPTIONS", number))
    network.run(0.1)
    assert Counter(r.status for r in peer.responses()) == {200: 200}
