"""One INVITE, several phones: each has an early dialog of its own (RFC 3261 12.1, 13.2.2)."""

from __future__ import annotations

from sip_network import ANSWER, BOB, Network, Peer, Phone

from engine.sip.client import MAX_FORKS
from engine.sip.events import Answered, Ended, Progressed
from engine.sip.message import Request


def test_early_media_says_whose_it_is(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 183, tag="one", body=b"v=0\r\none\r\n")
    peer.reply(invite, 180, tag="two")
    peer.reply(invite, 183, tag="two", body=b"v=0\r\ntwo\r\n")
    network.run(0.1)
    assert [(event.tag, event.sdp) for event in alice.of(Progressed)] == [
        ("one", b"v=0\r\none\r\n"),
        ("two", None),
        ("two", b"v=0\r\ntwo\r\n"),
    ]
    peer.reply(invite, 200, tag="two", body=ANSWER)
    peer.reply(invite, 200, tag="one", body=ANSWER)
    network.run(0.1)
    assert [event.tag for event in alice.of(Answered)] == ["two"]
    acks = {request.to.tag for request in peer.requests("ACK")}
    assert acks == {"one", "two"}
    assert [request.to.tag for request in peer.requests("BYE")] == ["one"]
    peer.reply(peer.requests("BYE")[0], 200)
    alice.do(session.bye)
    network.run(0.1)
    peer.reply(peer.requests("BYE")[-1], 200)
    network.settle()
    assert alice.endpoint.idle
    assert len(alice.of(Ended)) == 1


def test_flood_of_forks_is_bounded(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    for number in range(MAX_FORKS * 3):
        peer.reply(invite, 183, tag=f"t{number}", body=ANSWER)
    network.run(0.1)
    assert len(alice.of(Progressed)) == MAX_FORKS
    assert alice.endpoint.counters.dropped == MAX_FORKS * 2
    alice.do(session.cancel)
    network.run(0.1)
    assert [m.method for m in peer.inbox if isinstance(m, Request)] == ["INVITE", "CANCEL"]
    peer.reply(invite, 487)
    network.settle()
    assert alice.endpoint.idle
