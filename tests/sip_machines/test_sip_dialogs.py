from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import msgspec
import pytest
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Peer, Phone

from engine.sip.dialog import Dialog, SavedDialog
from engine.sip.events import Answered, ByeFinished, Ended, Invited, Reoffered
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request
from engine.sip.routing import behind_nat, towards
from engine.sip.uri import Uri

Answering = Callable[[Phone], Phone]
FLOW = Flow("udp", ALICE, BOB)


def invite(contact: str = "<sip:bob@192.0.2.2:5060>", *, vias: tuple[str, ...] = (), routes: tuple[str, ...] = ()):
    headers = Headers()
    for via in vias or ("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1",):
        headers.add("Via", via)
    for route in routes:
        headers.add("Record-Route", route)
    headers.add("From", "Bob <sip:bob@example.com>;tag=b")
    headers.add("To", "<sip:alice@example.com>")
    headers.add("Call-ID", "c1")
    headers.add("CSeq", "7 INVITE")
    headers.add("Contact", contact)
    return Request("INVITE", "sip:alice@192.0.2.1", headers)


def test_server_side_of_a_dialog() -> None:
    dialog = Dialog.of_server(invite(routes=("<sip:p1;lr>, <sip:p2;lr>", "<sip:p3;lr>")), "a", FLOW)
    bye = dialog.request("BYE", dialog.next_cseq())
    assert bye.uri == "sip:bob@192.0.2.2:5060"
    assert [str(route.uri) for route in bye.routes] == ["sip:p1;lr", "sip:p2;lr", "sip:p3;lr"]  # as they came (12.1.1)
    assert (bye.from_.tag, str(bye.from_.uri)) == ("a", "sip:alice@example.com")
    assert (bye.to.tag, bye.to.display, str(bye.to.uri)) == ("b", "Bob", "sip:bob@example.com")
    assert (bye.call_id, str(bye.cseq), bye.max_forwards) == ("c1", "1 BYE", 70)
    assert dialog.next_hop() == Flow("udp", ALICE, ("p1", 5060))


def test_who_was_reached_through_a_mapping_stays_there() -> None:
    """A device whose Contact is of a network that we do not see, though not a public one is between: RFC 3581 section 4
    said where it registered from, and its 200 has no Via of its own to tell it again.
    """
    mapping = Flow("udp", ALICE, ("10.207.2.2", 40001))

    def dialog(contact: str, *, to: str = "sip:701@10.207.3.2:5062", route: str = "", recorded: str = "") -> Dialog:
        sent = Request("INVITE", to, invite().headers)
        response = sent.response(200, to_tag="x")
        response.headers.add("Contact", f"<{contact}>")
        if route:
            sent.headers.add("Route", route)
        if recorded:
            response.headers.add("Record-Route", recorded)
        return Dialog.of_client(sent, response, mapping)

    phone = dialog("sip:701-0x55@10.207.3.2:21411")
    assert phone.next_hop() == mapping
    again = invite("<sip:701@10.207.3.2:21411>").response(200, to_tag="x")
    again.headers.add("Contact", "<sip:701-0x66@10.207.3.2:21411>")
    phone.retarget(again)
    assert (phone.remote_target.user, phone.next_hop()) == ("701-0x66", mapping)
    # Not so: an answer of somebody else, a proxy that we chose, one that stays in the path, a name.
    assert dialog("sip:702@10.207.3.3").next_hop().remote == ("10.207.3.3", 5060)
    proxied = dialog("sip:701@10.207.3.2", route="<sip:10.207.2.2:40001;lr>")
    assert proxied.next_hop().remote == ("10.207.3.2", 5060)
    recorded = dialog("sip:701@10.207.3.2", recorded="<sip:10.207.2.2:40001;lr>")
    assert recorded.next_hop() == mapping
    assert not recorded.pinned
    assert dialog("sip:701@phone.example", to="sip:701@phone.example").next_hop().remote == ("phone.example", 5060)


def test_client_side_reverses_the_route_set() -> None:
    sent = invite()
    response = sent.response(200, to_tag="x")
    response.headers.add("Record-Route", "<sip:p1;lr>")
    response.headers.add("Record-Route", "<sip:p2;lr>, <sip:p3:5070;lr>")
    response.headers.add("Contact", "<sip:there@192.0.2.9>")
    dialog = Dialog.of_client(sent, response, FLOW)
    bye = dialog.request("BYE", dialog.next_cseq())
    assert [str(route.uri) for route in bye.routes] == ["sip:p3:5070;lr", "sip:p2;lr", "sip:p1;lr"]
    assert (bye.uri, str(bye.cseq)) == ("sip:there@192.0.2.9", "8 BYE")
    assert dialog.next_hop().remote == ("p3", 5070)


def test_strict_router_takes_its_own_uri() -> None:
    routes = ("<sip:strict.example.com;method=INVITE>", "<sip:p2;lr>")
    dialog = Dialog.of_server(invite(routes=routes), "a", FLOW)
    bye = dialog.request("BYE", 1)
    assert bye.uri == "sip:strict.example.com"  # a method has no place in a Request-URI
    assert [str(route) for route in bye.routes] == ["<sip:p2;lr>", "<sip:bob@192.0.2.2:5060>"]
    assert dialog.next_hop().remote == ("strict.example.com", 5060)


def test_cseq_must_not_go_back() -> None:
    dialog = Dialog.of_server(invite(), "a", FLOW)
    later = invite()
    later.headers.set("CSeq", "8 INFO")
    assert dialog.in_order(later)
    assert dialog.in_order(later)
    earlier = invite()
    earlier.headers.set("CSeq", "7 INFO")
    assert not dialog.in_order(earlier)
    assert dialog.remote_seq == 8


def test_saved_dialog_is_plain_and_whole() -> None:
    dialog = Dialog.of_server(invite(routes=("<sip:p1;lr>",)), "a", FLOW)
    dialog.next_cseq()
    saved = dialog.save()
    plain = json.loads(json.dumps(msgspec.to_builtins(saved)))
    again = msgspec.convert(plain, SavedDialog)
    assert again == saved
    restored = Dialog.restore(again)
    bye = restored.request("BYE", restored.next_cseq())
    assert (bye.from_.tag, bye.to.tag, bye.uri) == ("a", "b", "sip:bob@192.0.2.2:5060")
    assert bye.cseq.number > 1  # beyond whatever was sent after the dialog was saved
    assert restored.next_hop() == dialog.next_hop()


@pytest.mark.parametrize(
    ("uri", "flow", "expected"),
    [
        ("sip:bob@192.0.2.2", FLOW, FLOW),
        ("sip:bob@192.0.2.2:5070", FLOW, Flow("udp", ALICE, ("192.0.2.2", 5070))),
        ("sip:bob@other.example", FLOW, Flow("udp", ALICE, ("other.example", 5060))),
        ("sip:bob@192.0.2.2;transport=tcp", FLOW, Flow("tcp", (ALICE[0], 0), BOB)),
        ("sip:bob@192.0.2.2;transport=TLS", FLOW, FLOW),  # no transport of ours: as it came
        ("sips:bob@198.51.100.1:5061", FLOW, FLOW),  # a proxy took the TLS off
        ("sips:bob@192.0.2.7", Flow("tls", ALICE, BOB), Flow("tls", ALICE, ("192.0.2.7", 5061))),
        ("sips:bob@192.0.2.7;transport=tcp", Flow("tls", ALICE, BOB), Flow("tls", ALICE, ("192.0.2.7", 5061))),
        ("sip:bob@192.0.2.2:5062", Flow("tls", ALICE, BOB, 3), Flow("tls", ALICE, BOB, 3)),  # its connection lasts
        (
            "sips:bob@192.0.2.2",
            Flow("tcp", ALICE, ("192.0.2.2", 40000), 4),
            Flow("tcp", ALICE, ("192.0.2.2", 40000), 4),
        ),
        ("sip:bob@192.0.2.2;maddr=192.0.2.8", FLOW, Flow("udp", ALICE, ("192.0.2.8", 5060))),
        ("sip:bob@192.0.2.2", Flow("tcp", ALICE, ("192.0.2.2", 40000), 4), Flow("tcp", ALICE, ("192.0.2.2", 40000), 4)),
        ("sip:bob@192.0.2.2", Flow("tcp", ALICE, ("192.0.2.2", 40000), 0), Flow("tcp", ALICE, BOB)),
        (
            "sip:bob@[2001:db8::2]:5062",
            Flow("udp", ("2001:db8::1", 5060), ("2001:db8:0::2", 5062)),
            Flow("udp", ("2001:db8::1", 5060), ("2001:db8:0::2", 5062)),
        ),
    ],
)
def test_next_hop(uri: str, flow: Flow, expected: Flow) -> None:
    assert towards(Uri.parse(uri), flow) == expected


@pytest.mark.parametrize(
    ("contact", "source", "nat"),
    [
        ("sip:x@10.0.0.5", "198.51.100.9", False),  # documentation addresses count as private in ipaddress
        ("sip:x@10.0.0.5", "8.8.8.8", True),
        ("sip:x@8.8.4.4", "8.8.8.8", False),
        ("sip:x@10.0.0.5", "10.0.0.9", False),
        ("sip:x@phone.example", "8.8.8.8", False),
        ("sip:x@[fd00::1]", "2600::1", True),
        ("sip:x@127.0.0.1", "10.0.0.9", True),
        ("sip:x@127.0.0.1", "127.0.0.1", False),
        ("sip:x@127.0.0.1", "127.0.0.2", False),
        ("sip:x@0.0.0.0", "10.0.0.9", True),
        ("sip:x@[::]", "2600::1", True),
        ("sip:x@Df7jal23ls0d.invalid", "10.0.0.9", True),
        ("sip:x@invalid.example", "10.0.0.9", False),
    ],
)
def test_private_contact_of_a_public_peer(contact: str, source: str, nat: bool) -> None:
    assert behind_nat(Uri.parse(contact), source) is nat


@pytest.mark.parametrize(
    ("contact", "source", "sent_by", "nat"),
    [
        ("sip:x@192.168.1.5", "10.8.0.1", "192.168.1.5", True),  # through a tunnel
        ("sip:x@100.64.1.2", "8.8.8.8", "100.64.1.2", True),  # carrier-grade NAT is not "private"
        ("sip:x@[2600::2]", "2600::1", "[2600:0::2]", True),
        ("sip:x@192.168.1.5", "10.8.0.1", "10.8.0.1", False),  # its own address, and another one for requests
        ("sip:x@192.168.1.5", "192.168.1.5", "192.168.1.5", False),
        ("sip:x@phone.example", "10.8.0.1", "phone.example", False),
    ],
)
def test_contact_that_is_where_the_via_says_but_not_where_it_came_from(contact, source, sent_by, nat: bool) -> None:
    assert behind_nat(Uri.parse(contact), source, sent_by) is nat


def test_peer_in_another_network_is_reached_where_it_came_from() -> None:
    flow = Flow("udp", ALICE, ("10.8.0.1", 40000))

    def dialog(*vias: str, routes: tuple[str, ...] = ()) -> Dialog:
        request = invite("<sip:bob@192.168.1.5>", vias=vias, routes=routes)
        request.note_source(*flow.remote)
        return Dialog.of_server(request, "a", flow)

    via = "SIP/2.0/UDP 192.168.1.5;rport;branch=z9hG4bK1"
    direct = dialog(via)
    assert direct.next_hop() == flow
    again = invite("<sip:bob@192.168.1.5>", vias=(via,))
    direct.retarget(again)
    assert direct.next_hop() == flow
    again = invite("<sip:bob@192.168.1.6>", vias=("SIP/2.0/UDP 10.8.0.1;branch=z9hG4bK2",))
    direct.retarget(again)
    assert direct.next_hop().remote == ("192.168.1.6", 5060)
    assert dialog("SIP/2.0/UDP 10.8.0.1;branch=z9hG4bK1", via).next_hop().remote == ("192.168.1.5", 5060)
    assert dialog(via, routes=("<sip:10.8.0.9;lr>",)).next_hop().remote == ("10.8.0.9", 5060)


def test_a_dialog_with_sloppy_addresses_survives_a_restart() -> None:
    request = invite("<sip:jos\u00e9@192.0.2.2:0;>")
    request.headers.set("From", "O'Neil; PhD <sip:50%@example.com;>;tag=b")
    saved = Dialog.of_server(request, "a", FLOW).save()
    restored = Dialog.restore(saved)
    assert restored.next_hop() == FLOW
    assert (restored.remote_tag, restored.remote.display) == ("b", "O'Neil; PhD")
    assert restored.request("BYE", 1).uri == "sip:jos\u00e9@192.0.2.2:0;"


def test_bye_to_a_contact_over_a_transport_that_we_lack(alice: Phone) -> None:
    flow = Flow("tcp", ALICE, ("192.0.2.2", 40000), 9)
    vias = ("SIP/2.0/TCP 192.0.2.2;branch=z9hG4bK1", "SIP/2.0/TLS 198.51.100.7;branch=z9hG4bK0")
    dialog = Dialog.of_server(invite("<sips:bob@198.51.100.7>", vias=vias), "a", flow)
    assert dialog.next_hop() == flow
    routed = invite("<sips:bob@198.51.100.7>", vias=vias, routes=("<sip:192.0.2.2;transport=tls;lr>",))
    assert Dialog.of_server(routed, "a", flow).next_hop() == flow


def test_peer_behind_nat_is_reached_where_it_came_from() -> None:
    flow = Flow("udp", ALICE, ("8.8.8.8", 40000))
    request = invite("<sip:bob@10.0.0.5>", vias=("SIP/2.0/UDP 10.0.0.5;rport;branch=z9hG4bK1",))
    request.note_source("8.8.8.8", 40000)
    dialog = Dialog.of_server(request, "a", flow)
    assert dialog.next_hop() == flow
    assert dialog.request("BYE", 1).uri == "sip:bob@10.0.0.5"
    assert Dialog.restore(dialog.save()).next_hop() == flow
    # Through a proxy, the private address is the proxy's business.
    request = invite("<sip:bob@10.0.0.5>", vias=("SIP/2.0/UDP 8.8.8.8;branch=z9hG4bK1", "SIP/2.0/UDP 10.0.0.5"))
    assert Dialog.of_server(request, "a", flow).next_hop().remote == ("10.0.0.5", 5060)


def test_request_with_a_foreign_tag_does_not_belong(network: Network, alice: Phone, bob: Phone, answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    mallory = Peer(network, CAROL)
    bye = session.dialog.request("BYE", 50)
    bye.headers.set("From", "<sip:mallory@example.com>;tag=wrong")
    bye.headers.set("To", str(session.dialog.remote))
    bye.headers.insert_first("Via", "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKm")
    mallory.send(BOB, bye)
    network.run(1)
    assert [r.status for r in mallory.responses()] == [481]
    assert bob.of(Ended) == []


def test_request_out_of_order_is_refused(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    session.dialog.local_seq = 10
    alice.do(lambda now: session.info("application/dtmf", b"1", now))
    network.run(1)
    session.dialog.local_seq = 3
    alice.do(lambda now: session.info("application/dtmf", b"2", now))
    network.run(1)
    assert network.kinds(BOB)[-2:] == ["200 INFO", "500 INFO"]


def test_unknown_dialog_is_481(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    bob.endpoint._core.dialogs.clear()
    alice.do(lambda now: session.info("application/dtmf", b"1", now))
    network.run(1)
    assert network.kinds(BOB)[-2:] == ["481 INFO", "481 BYE"]
    # 12.2.1.2: a dialog that the peer does not know is over.
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("remote", 481)]


def test_peer_that_does_not_answer_a_request_has_gone(network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    network.delays = lambda packet: []
    alice.do(lambda now: session.info("application/dtmf", b"1", now))
    network.run(33)
    assert [(e.by, e.status) for e in alice.of(Ended)] == [("timeout", 408)]
    network.settle(2000)  # until the other end notices: its session timer expires
    assert [(e.by, e.status) for e in bob.of(Ended)] == [("timeout", 408)]
    assert alice.endpoint.idle


def test_target_refresh(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    session = alice.call(BOB)
    network.run(1)
    carol = Peer(network, CAROL)
    session._contact = f"<sip:alice@{CAROL[0]}>"
    alice.do(lambda now: session.reinvite(OFFER, now))
    network.run(0.1)
    callee = bob.last(Reoffered).session
    bob.do(lambda now: callee.answer_reoffer(ANSWER, now))
    network.run(0.1)
    bob.do(callee.bye)
    network.run(0.1)
    assert [m.method for m in carol.requests("BYE")] == ["BYE"]
    assert carol.requests("BYE")[0].uri == "sip:alice@192.0.2.3"


def test_bye_after_a_restart(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(1)
    saved = bob.last(Invited).session.save()
    reborn = Phone(network, BOB, seed=99)
    reborn.do(lambda now: reborn.endpoint.resume_bye(saved, "restarted", now))
    network.run(1)
    assert reborn.of(ByeFinished) == [ByeFinished(saved.call_id, 200)]
    ended = alice.last(Ended)
    assert (ended.by, ended.reason) == ("remote", "restarted")
    network.settle()
    assert reborn.endpoint.idle


def test_bye_after_a_restart_to_nobody(network: Network, alice: Phone, bob: Phone, answering: Answering) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(1)
    saved = bob.last(Invited).session.save()
    network.delays = lambda packet: []
    reborn = Phone(network, BOB, seed=99)
    reborn.do(lambda now: reborn.endpoint.resume_bye(saved, "", now))
    network.run(33)
    assert reborn.of(ByeFinished) == [ByeFinished(saved.call_id, 408)]


def test_damaged_saved_dialog_is_a_value_error(alice: Phone, bob: Phone, network: Network, answering) -> None:
    answering(bob)
    alice.call(BOB)
    network.run(1)
    saved = dataclasses.replace(alice.last(Answered).session.save(), remote_target="no uri")
    with pytest.raises(ValueError, match="address"):
        alice.endpoint.resume_bye(saved, "", network.now)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_peer_behind_nat_that_moves_is_followed(alice: Phone, transport: str) -> None:
    endpoint = alice.endpoint
    first = Flow(transport, ALICE, ("8.8.8.8", 40000), 3 if transport == "tcp" else 0)
    then = Flow(transport, ALICE, ("8.8.8.8", 41111), 4 if transport == "tcp" else 0)
    via = f"SIP/2.0/{transport.upper()} 10.0.0.5;rport;branch=z9hG4bK"
    endpoint.receive_message(invite("<sip:bob@10.0.0.5>", vias=(via + "1",)), first, 0.0)
    session = endpoint.events()[0].session
    session.accept(ANSWER, 0.0)
    for number, method in enumerate(("ACK", "OPTIONS")):
        request = session.dialog.request(method, 7 + number)
        request.headers.set("From", str(session.dialog.remote))
        request.headers.set("To", str(session.dialog.local))
        request.headers.insert_first("Via", via + method)
        endpoint.receive_message(request, then, 1.0)
    endpoint.outgoing()
    endpoint.connection_lost(first, 2.0)
    session.bye(3.0)
    assert [flow for flow, _ in endpoint.outgoing()] == [then]


def test_lost_connection_does_not_lose_the_bye(alice: Phone) -> None:
    """A call over TCP whose connection breaks: the BYE goes over a new one, to the Contact's port."""
    endpoint = alice.endpoint
    flow = Flow("tcp", ALICE, ("192.0.2.2", 40000), 9)
    asked = invite("<sip:bob@192.0.2.2:5062;transport=tcp>", vias=("SIP/2.0/TCP 192.0.2.2:5062;branch=z9hG4bK1",))
    endpoint.receive_message(asked, flow, 0.0)
    session = endpoint.events()[0].session
    session.accept(ANSWER, 0.0)
    ack = session.dialog.request("ACK", 7)
    ack.headers.set("From", str(session.dialog.remote))
    ack.headers.set("To", str(session.dialog.local))
    ack.headers.insert_first("Via", "SIP/2.0/TCP 192.0.2.2:5062;branch=z9hG4bK2")
    endpoint.receive_message(ack, flow, 0.1)
    endpoint.outgoing()
    session.bye(1.0)
    ((first, _),) = endpoint.outgoing()
    assert first == flow
    endpoint.connection_lost(flow, 1.5)
    ((second, data),) = endpoint.outgoing()
    assert second == Flow("tcp", ALICE, ("192.0.2.2", 5062), 0)
    assert data.startswith(b"BYE ")
    assert [type(e).__name__ for e in endpoint.events()] == ["Acknowledged", "Ended"]
    assert len(endpoint._core.links) == 1
    endpoint.connection_lost(second, 2.0)
    assert endpoint.outgoing() == []
    endpoint.handle_timers(100.0)
    assert endpoint.idle
