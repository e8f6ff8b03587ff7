"""3xx to our INVITEs, and following them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_network import ALICE, ANSWER, BOB, CAROL, OFFER, Network, Peer, Phone

from engine.sip.digest import Challenger, Credentials
from engine.sip.events import Ended, Redirected, Refused
from engine.sip.message import Request
from engine.sip.redirect import MAX_REDIRECTS, MAX_TARGETS, Trail, in_q_order, read_q
from engine.sip.uri import Address, Uri


def redirect(peer: Peer, *contacts: str, status: int = 302, **options: object) -> None:
    peer.network.run(0.1)
    response = peer.requests("INVITE")[-1].response(status, to_tag="r")
    for contact in contacts:
        response.headers.add("Contact", contact)
    peer.send(ALICE, response)
    peer.network.run(0.1)


def test_contacts_are_told_in_order(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    redirect(peer, "<sip:c@192.0.2.9>;q=0.2", "<sip:a@192.0.2.9>, <sip:b@192.0.2.9>;q=0.7", "<mailto:x@y>", status=300)
    (event,) = alice.of(Redirected)
    assert [str(contact.uri) for contact in event.contacts] == [
        "sip:a@192.0.2.9", "sip:b@192.0.2.9", "sip:c@192.0.2.9",
    ]  # fmt: skip
    assert [type(seen) for seen in alice.seen] == [Redirected, Refused, Ended]
    assert alice.last(Refused).status == 300
    network.settle()
    assert alice.endpoint.idle
    assert session.ended


def test_following(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB, headers=[("X-Flow", "a")])
    redirect(peer, "<sip:1@192.0.2.3:5060;method=BYE?Replaces=x&Route=%3Csip:evil%3E>;q=0.9", "<sip:2@192.0.2.3>;q=0.1")
    carol = Peer(network, CAROL)
    second = alice.do(lambda now: alice.endpoint.follow(session, now))
    network.run(0.1)
    (invite,) = carol.requests("INVITE")
    assert invite.uri == "sip:1@192.0.2.3:5060"
    assert (invite.headers.get("Replaces"), invite.routes) == (None, ())
    assert (invite.headers.get("X-Flow"), invite.body) == ("a", OFFER)
    first = peer.requests("INVITE")[0]
    assert (str(invite.to.uri), str(invite.from_.uri)) == (str(first.to.uri), str(first.from_.uri))
    assert invite.call_id != first.call_id
    carol.reply(invite, 486)
    network.run(0.1)
    third = alice.do(lambda now: alice.endpoint.follow(second, now))
    network.run(0.1)
    assert carol.requests("INVITE")[-1].uri == "sip:2@192.0.2.3"
    carol.reply(carol.requests("INVITE")[-1], 200, body=ANSWER)
    network.run(0.1)
    assert third.state == "confirmed"
    alice.do(third.bye)
    network.run(0.1)
    carol.reply(carol.requests("BYE")[0], 200)
    network.settle()
    assert alice.endpoint.idle
    assert alice.endpoint.follow(third, network.now) is None


def test_not_before_the_end(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    assert alice.endpoint.follow(session, network.now) is None
    redirect(peer)
    assert alice.last(Redirected).contacts == ()
    assert alice.endpoint.follow(session, network.now) is None


def test_what_may_be_called_is_the_users_to_say(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB)
    redirect(peer, "<sip:premium@192.0.2.66>", "<sip:ok@192.0.2.2>;q=0.5")
    alice.do(lambda now: alice.endpoint.follow(session, now, allow=lambda uri: uri.host == BOB[0]))
    network.run(0.1)
    assert peer.requests("INVITE")[-1].uri == "sip:ok@192.0.2.2"


@pytest.mark.parametrize(("host", "shown"), [(BOB, True), (CAROL, False)])
def test_credentials_are_for_the_first_host(network: Network, alice: Phone, peer: Peer, host, shown: bool) -> None:
    other = Peer(network, CAROL)
    session = alice.call(BOB, credentials=Credentials("alice", "secret"))
    redirect(peer, f"<sip:x@{host[0]}:5060>")
    alice.do(lambda now: alice.endpoint.follow(session, now))
    network.run(0.1)
    there = peer if host == BOB else other
    challenge = Challenger("r", b"k").challenges(network.now)[0]
    there.reply(there.requests("INVITE")[-1], 401, headers=(("WWW-Authenticate", challenge),))
    network.run(0.1)
    assert ("Authorization" in there.requests("INVITE")[-1].headers) is shown


def test_route_is_kept(network: Network, alice: Phone, peer: Peer) -> None:
    session = alice.call(BOB, route=[Address.parse("<sip:192.0.2.2;lr>")])
    redirect(peer, "<sip:x@192.0.2.3>")
    alice.do(lambda now: alice.endpoint.follow(session, now))
    network.run(0.1)
    again = peer.requests("INVITE")[-1]  # through the same proxy
    assert (again.uri, [str(route) for route in again.routes]) == ("sip:x@192.0.2.3", ["<sip:192.0.2.2;lr>"])


def test_loop_ends(network: Network, alice: Phone, peer: Peer) -> None:
    turns = {"bob": "<sip:a@192.0.2.2:5060>", "a": "<sip:b@192.0.2.2:5060>", "b": "<sip:a@192.0.2.2:5060;x=1>"}

    def react(message: object) -> None:
        if isinstance(message, Request) and message.method == "INVITE":
            response = message.response(302, to_tag="r")
            response.headers.add("Contact", turns[message.ruri.user or ""])
            peer.send(ALICE, response)

    peer.react = react
    alice.react = lambda event: isinstance(event, Ended) and alice.endpoint.follow(event.session, alice.now)
    alice.call(BOB)
    network.settle()
    assert [request.ruri.user for request in peer.requests("INVITE")] == ["bob", "a", "b"]
    assert alice.endpoint.idle


def test_chain_and_fan_are_bounded(network: Network, alice: Phone, peer: Peer) -> None:
    fresh = iter(range(10_000))

    def react(message: object) -> None:
        if isinstance(message, Request) and message.method == "INVITE":
            response = message.response(302, to_tag="r")
            for _ in range(50):
                response.headers.add("Contact", f"<sip:n{next(fresh)}@192.0.2.2:5060>")
            peer.send(ALICE, response)

    peer.react = react
    alice.react = lambda event: isinstance(event, Ended) and alice.endpoint.follow(event.session, alice.now)
    alice.call(BOB)
    network.settle()
    assert len(peer.requests("INVITE")) == MAX_TARGETS
    assert alice.endpoint.idle


def test_redirections_after_each_other_are_bounded() -> None:
    trail = Trail(Uri.parse("sip:start@h"))
    for step in range(MAX_REDIRECTS + 3):
        trail.redirected([Address.parse(f"<sip:{step}@h>")])
        if (uri := trail.next()) is None:
            break
        assert uri.user == str(step)
    assert step == MAX_REDIRECTS


def test_secure_stays_secure() -> None:
    trail = Trail(Uri.parse("sips:start@h"))
    trail.redirected([Address.parse("<sip:a@h>"), Address.parse("<tel:+1>"), Address.parse("<sips:b@h>")])
    assert str(trail.next()) == "sips:b@h"
    assert trail.next() is None


@pytest.mark.parametrize(("q", "value"), [(";q=0.5", 0.5), ("", 1.0), (";q=x", 0.0), (";q=7", 0.0), (";q=nan", 0.0)])
def test_preference(q: str, value: float) -> None:
    assert read_q(Address.parse(f"<sip:a@b>{q}")) == value


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["", ";q=1", ";q=0.5", ";q=inf", ";q=-1", ";q", ';q="0.3"']), max_size=8))
def test_any_preferences_can_be_sorted(qs: list[str]) -> None:
    contacts = [Address.parse(f"<sip:{index}@b>{q}") for index, q in enumerate(qs)]
    ordered = in_q_order(contacts)
    assert sorted(map(str, ordered)) == sorted(map(str, contacts))
    assert [read_q(contact) for contact in ordered] == sorted(map(read_q, contacts), reverse=True)
