"""The four machines, timer by timer, against a scripted peer on a network without latency."""

from __future__ import annotations

import pytest
from sip_network import ALICE, ANSWER, BOB, OFFER, Network, Peer, Phone

from engine.sip.endpoint import Endpoint
from engine.sip.events import Ended, Invited, OptionsAnswered, Refused
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.uri import Address


@pytest.fixture
def network() -> Network:
    return Network(latency=0.0)


def times(network: Network, kind: str, host: tuple[str, int]) -> list[float]:
    return [round(packet.at - 1000.0, 3) for packet in network.sent(kind, host)]


def request(method: str, *, branch: str = "z9hG4bK1", cseq: int = 1, to_tag: str = "", call_id: str = "c1") -> Request:
    headers = Headers()
    headers.add("Via", f"SIP/2.0/UDP {BOB[0]}:{BOB[1]};branch={branch}")
    headers.add("From", "<sip:bob@example.com>;tag=b")
    headers.add("To", "<sip:alice@example.com>" + (f";tag={to_tag}" if to_tag else ""))
    headers.add("Call-ID", call_id)
    headers.add("CSeq", f"{cseq} {method}")
    headers.add("Max-Forwards", "70")
    headers.add("Contact", f"<sip:bob@{BOB[0]}:{BOB[1]}>")
    return Request(method, "sip:alice@192.0.2.1", headers)


# --- INVITE client (figure 5, RFC 6026) -------------------------------------------------------


def test_timers_a_and_b(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    network.run(100)
    # Timer A doubles without bound: 0.5, 1, 2, 4, 8, 16; timer B ends it at 64*T1.
    assert times(network, "INVITE", ALICE) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]
    assert [e.status for e in alice.of(Refused)] == [408]
    assert alice.endpoint.counters.timeouts == 1
    assert alice.endpoint.idle


def test_provisional_response_stops_timers_a_and_b(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    network.run(0.7)
    peer.reply(peer.requests("INVITE")[0], 100, tag="")
    network.run(300)
    assert times(network, "INVITE", ALICE) == [0, 0.5]
    assert alice.of(Ended) == []


def test_timer_d_answers_repeated_refusals(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    for _ in range(3):
        peer.reply(invite, 486)
        network.run(10)
    assert times(network, "ACK", ALICE) == [0.1, 10.1, 20.1]
    assert len(alice.of(Ended)) == 1
    network.run(10)
    peer.reply(invite, 486)
    network.run(1)
    assert len(network.sent("ACK", ALICE)) == 3  # timer D has fired
    assert alice.endpoint.counters.strays == 1
    assert alice.endpoint.idle


def test_ack_for_a_refusal_has_the_branch_of_its_invite(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, route=[Address.parse("<sip:proxy.example.com;lr>")])
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    peer.reply(invite, 404, tag="x")
    network.run(0.1)
    (ack,) = peer.requests("ACK")
    assert ack.headers.all("Via") == invite.headers.all("Via")[:1]
    assert (ack.uri, ack.call_id, str(ack.from_)) == (invite.uri, invite.call_id, str(invite.from_))
    assert (ack.to.tag, str(ack.cseq)) == ("x", "1 ACK")
    assert ack.headers.get("Route") == "<sip:proxy.example.com;lr>"


def test_timer_m_passes_repeated_answers_to_the_session(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    network.run(0.1)
    invite = peer.requests("INVITE")[0]
    for _ in range(3):
        peer.reply(invite, 200, body=ANSWER)
        network.run(10)
    acks = peer.requests("ACK")
    assert len(acks) == 3
    assert len({ack.via.branch for ack in acks}) == 1  # the ACK is repeated as it was
    assert acks[0].via.branch != invite.via.branch
    network.run(5)
    assert not alice.endpoint._core.clients  # timer M: 64*T1 after the first


def test_stream_is_not_retransmitted_on(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, flow=Flow("tcp", ALICE, BOB))
    network.run(100)
    assert times(network, "INVITE", ALICE) == [0]
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]
    assert network.trace[0].message.via.transport == "TCP"


def test_refusal_over_a_stream_needs_no_timer_d(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, flow=Flow("tcp", ALICE, BOB))
    network.run(0.1)
    peer.reply(peer.requests("INVITE")[0], 486)
    network.run(0)
    assert len(network.sent("ACK", ALICE)) == 1
    assert alice.endpoint.idle


# --- non-INVITE client (figure 6) -------------------------------------------------------------


def options(alice: Phone, transport: str = "udp") -> None:
    alice.do(
        lambda now: alice.endpoint.options(
            "sip:bob@192.0.2.2", from_=Address.parse("<sip:alice@a>"), flow=alice.flow(BOB, transport), now=now
        )
    )


def test_timers_e_and_f(network: Network, alice: Phone, peer: Peer) -> None:
    options(alice)
    network.run(100)
    assert times(network, "OPTIONS", ALICE) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert alice.of(OptionsAnswered) == [OptionsAnswered("sip:bob@192.0.2.2", 408)]
    assert alice.endpoint.idle


def test_provisional_response_slows_timer_e_to_t2(network: Network, alice: Phone, peer: Peer) -> None:
    options(alice)
    network.run(0.1)
    peer.reply(peer.requests("OPTIONS")[0], 100, tag="")
    network.run(100)
    # The interval that runs already ends at 0.5; from there on it is T2.
    assert times(network, "OPTIONS", ALICE) == [0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]


def test_timer_k_absorbs_repeated_responses(network: Network, alice: Phone, peer: Peer) -> None:
    options(alice)
    network.run(0.1)
    asked = peer.requests("OPTIONS")[0]
    peer.reply(asked, 200)
    network.run(1)
    peer.reply(asked, 200)
    network.run(1)
    assert alice.of(OptionsAnswered) == [OptionsAnswered("sip:bob@192.0.2.2", 200)]
    assert alice.endpoint.counters.retransmissions_received == 1
    network.run(3)
    assert alice.endpoint.idle


def test_transport_failure_ends_a_request_at_once(network: Network, alice: Phone, peer: Peer) -> None:
    options(alice, "tcp")
    network.run(1)
    alice.do(lambda now: alice.endpoint.connection_lost(alice.flow(BOB, "tcp"), now))
    assert alice.of(OptionsAnswered) == [OptionsAnswered("sip:bob@192.0.2.2", 503)]
    assert alice.endpoint.counters.transport_failures == 1
    assert alice.endpoint.idle


def test_transport_failure_refuses_an_invite(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    alice.do(lambda now: alice.endpoint.connection_lost(alice.flow(BOB), now))
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("transport", 503)]
    assert alice.endpoint.idle


# --- INVITE server (figure 7, RFC 6026) -------------------------------------------------------


def test_trying_at_once_and_again_for_a_repeat(network: Network, alice: Phone, peer: Peer) -> None:
    for _ in range(3):
        peer.send(ALICE, request("INVITE"))
        network.run(0.1)
    assert [str(r.status) for r in peer.responses()] == ["100"] * 3
    assert peer.responses()[0].to.tag == ""
    assert len(alice.of(Invited)) == 1
    alice.do(alice.last(Invited).session.ringing)
    peer.send(ALICE, request("INVITE"))
    network.run(0.1)
    assert [r.status for r in peer.responses()][3:] == [180, 180]


def test_timers_g_and_h(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0)
    alice.do(lambda now: alice.last(Invited).session.reject(486, now))
    network.run(100)
    # Timer G doubles up to T2; timer H gives up at 64*T1.
    assert times(network, "486 INVITE", ALICE) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert alice.endpoint.counters.timeouts == 1
    assert len(alice.of(Ended)) == 1
    assert alice.endpoint.idle


def test_repeated_invite_gets_the_refusal_again(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0)
    alice.do(lambda now: alice.last(Invited).session.reject(486, now))
    peer.send(ALICE, request("INVITE"))
    network.run(0.2)
    assert times(network, "486 INVITE", ALICE) == [0, 0]


def test_ack_stops_timer_g_and_timer_i_absorbs_more(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0)
    alice.do(lambda now: alice.last(Invited).session.reject(486, now))
    network.run(0.6)
    for _ in range(2):
        peer.send(ALICE, request("ACK"))
        network.run(1)
    assert len(network.sent("486 INVITE")) == 2
    network.run(2.9)
    assert not alice.endpoint.idle
    network.run(0.6)  # timer I: T4 after the ACK
    assert alice.endpoint.idle
    peer.send(ALICE, request("ACK"))
    network.run(1)
    assert alice.endpoint.counters.strays == 1


def test_timer_l_absorbs_invites_after_the_answer(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0)
    session = alice.last(Invited).session
    alice.do(lambda now: session.accept(ANSWER, now))
    network.run(0.1)
    peer.send(ALICE, request("ACK", branch="z9hG4bKother", to_tag=session.local_tag))
    network.run(0.1)
    peer.send(ALICE, request("INVITE"))
    network.run(20)
    assert len(alice.of(Invited)) == 1
    assert times(network, "200 INVITE", ALICE) == [0]  # neither by timer nor by the repeated INVITE
    peer.send(ALICE, request("INVITE"))
    network.run(11)
    assert alice.endpoint._core.servers
    network.run(2)
    assert not alice.endpoint._core.servers


def test_refusal_over_a_stream_is_sent_once(alice: Phone) -> None:
    endpoint = alice.endpoint
    flow = Flow("tcp", ALICE, BOB, 7)
    endpoint.receive_message(request("INVITE"), flow, 0.0)
    session = endpoint.events()[0].session
    session.trying(0.0)
    session.reject(486, 0.0)
    assert [f.connection for f, _ in endpoint.outgoing()] == [7, 7]
    endpoint.handle_timers(20.0)
    assert endpoint.outgoing() == []
    endpoint.receive_message(request("ACK"), flow, 21.0)
    assert endpoint.idle


# --- non-INVITE server (figure 8) -------------------------------------------------------------


def test_timer_j_repeats_the_response(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE"))
    network.run(0)
    session = alice.last(Invited).session
    alice.do(lambda now: session.accept(ANSWER, now))
    peer.send(ALICE, request("ACK", branch="z9hG4bKack", to_tag=session.local_tag))
    network.run(1)
    for _ in range(3):
        peer.send(ALICE, request("BYE", branch="z9hG4bKbye", to_tag=session.local_tag, cseq=2))
        network.run(10)
    replies = peer.responses(200, "BYE")
    assert len(replies) == 3
    assert len({r.encode() for r in replies}) == 1
    network.run(1.9)
    assert not alice.endpoint.idle
    network.run(0.2)
    assert alice.endpoint.idle


# --- matching ---------------------------------------------------------------------------------


def test_same_branch_of_another_sender_is_another_transaction(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("OPTIONS"))
    other = request("OPTIONS", call_id="c2")
    other.headers.set("Via", f"SIP/2.0/UDP {BOB[0]}:5099;rport;branch=z9hG4bK1")
    peer.send(ALICE, other)
    network.run(0.1)
    assert [r.call_id for r in peer.responses(200)] == ["c1", "c2"]


def test_rfc_2543_peer_without_magic_cookie(network: Network, alice: Phone, peer: Peer) -> None:
    for branch in ("1", "1", "2"):
        peer.send(ALICE, request("INVITE", branch=branch, call_id=branch))
    network.run(0)
    assert len(alice.of(Invited)) == 2
    session = alice.of(Invited)[0].session
    alice.do(lambda now: session.reject(486, now))
    peer.send(ALICE, request("ACK", branch="1", call_id="1", to_tag=session.local_tag))
    network.run(10)
    assert times(network, "486 INVITE", ALICE) == [0]
    peer.send(ALICE, request("CANCEL", branch="2", call_id="2"))
    network.run(1)
    assert [r.status for r in peer.responses(method="INVITE")][-1] == 487


def test_response_with_two_vias_is_dropped(network: Network, alice: Phone, peer: Peer) -> None:
    options(alice)
    network.run(0.1)
    answer = peer.requests("OPTIONS")[0].response(200, to_tag="x")
    answer.headers.add("Via", "SIP/2.0/UDP 192.0.2.77;branch=z9hG4bKq")
    peer.send(ALICE, answer)
    network.run(0.1)
    assert alice.of(OptionsAnswered) == []
    assert alice.endpoint.counters.dropped == 1


def test_response_to_another_method_does_not_match(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB)
    network.run(0.1)
    answer = peer.requests("INVITE")[0].response(200, to_tag="x")
    answer.headers.set("CSeq", "1 OPTIONS")
    peer.send(ALICE, answer)
    network.run(0.1)
    assert alice.endpoint.counters.strays == 1


def test_merged_request_is_refused(network: Network, alice: Phone, peer: Peer) -> None:
    peer.send(ALICE, request("INVITE", branch="z9hG4bK1"))
    peer.send(ALICE, request("INVITE", branch="z9hG4bK2"))
    network.run(0.1)
    assert [r.status for r in peer.responses()] == [100, 482]
    assert alice.endpoint.counters.merged == 1


# --- where responses go -----------------------------------------------------------------------


def answered_to(via: str, source: tuple[str, int], transport: str = "udp") -> Flow:
    phone = Phone(Network(), ALICE)
    asked = request("OPTIONS")
    asked.headers.set("Via", via)
    phone.endpoint.receive_message(asked, Flow(transport, ALICE, source, 3 if transport == "tcp" else 0), 0.0)
    ((flow, data),) = phone.endpoint.outgoing()
    assert data.startswith(b"SIP/2.0 200")
    return flow


def test_response_goes_to_the_sent_by_port() -> None:
    flow = answered_to("SIP/2.0/UDP phone.example.com:5070;branch=z9hG4bK1", ("198.51.100.7", 40000))
    assert flow.remote == ("198.51.100.7", 5070)
    flow = answered_to("SIP/2.0/UDP phone.example.com;branch=z9hG4bK1", ("198.51.100.7", 40000))
    assert flow.remote == ("198.51.100.7", 5060)


def test_response_with_rport_goes_to_the_source() -> None:
    flow = answered_to("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1", ("198.51.100.7", 40000))
    assert flow.remote == ("198.51.100.7", 40000)


def test_response_is_not_aimed_by_maddr() -> None:
    flow = answered_to("SIP/2.0/UDP 10.0.0.1;maddr=203.0.113.9;branch=z9hG4bK1", ("198.51.100.7", 40000))
    assert flow.remote == ("198.51.100.7", 5060)


def test_response_over_a_stream_goes_back_on_its_connection() -> None:
    flow = answered_to("SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1", ("198.51.100.7", 40000), "tcp")
    assert flow == Flow("tcp", ALICE, ("198.51.100.7", 40000), 3)


def test_received_and_rport_are_filled_in() -> None:
    phone = Phone(Network(), ALICE)
    asked = request("OPTIONS")
    asked.headers.set("Via", "SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1")
    phone.endpoint.receive(asked.encode(), Flow("udp", ALICE, ("198.51.100.7", 40000)), 0.0)
    data = phone.endpoint.outgoing()[0][1]
    via = next(line for line in data.decode().split("\r\n") if line.startswith("Via"))
    assert "received=198.51.100.7" in via
    assert "rport=40000" in via


def test_response_after_its_connection_was_lost_goes_to_the_via_port() -> None:
    endpoint: Endpoint = Phone(Network(), ALICE).endpoint
    invite = request("INVITE")
    invite.headers.set("Via", "SIP/2.0/TCP 198.51.100.7:5070;branch=z9hG4bK1")
    flow = Flow("tcp", ALICE, ("198.51.100.7", 40000), 3)
    endpoint.receive_message(invite, flow, 0.0)
    endpoint.outgoing()
    endpoint.connection_lost(flow, 1.0)
    endpoint.events()[0].session.reject(486, 2.0)
    ((where, _),) = endpoint.outgoing()
    assert where == Flow("tcp", ALICE, ("198.51.100.7", 5070), 0)


def test_our_via_asks_for_symmetric_responses(network: Network, alice: Phone, peer: Peer) -> None:
    alice.call(BOB, OFFER)
    network.run(0.1)
    via = peer.requests("INVITE")[0].via
    assert via.branch.startswith("z9hG4bK")
    assert (via.host, via.port, via.rport is not None) == (*ALICE, True)
