from __future__ import annotations

from itertools import pairwise

import pytest
from sip_network import ALICE, BOB, Network, Peer, Phone

from engine.sip.digest import Challenger, Credentials
from engine.sip.events import RegistrationChanged
from engine.sip.message import Request
from engine.sip.registration import Registration, RegistrationConfig, refresh_after
from engine.sip.uri import Address, Uri


@pytest.fixture
def registration(alice: Phone, peer: Peer) -> Registration:
    config = RegistrationConfig(
        name="trunk",
        registrar=Uri.parse("sip:trunk.example.com"),
        aor=Address.parse("<sip:ivrea@trunk.example.com>"),
        flow=alice.flow(BOB),
        credentials=Credentials("ivrea", "secret"),
        contact_user="line1",
    )
    return alice.do(lambda now: alice.endpoint.register(config, now))


def test_a_line_stands_in_the_contact(network: Network, alice: Phone, peer: Peer) -> None:
    """And our own binding is found among those that the registrar lists."""
    trunk = Uri.parse("sip:trunk.example.com")
    aor = Address.parse("<sip:ivrea@trunk.example.com>")
    config = RegistrationConfig("trunk", trunk, aor, alice.flow(BOB), contact_user="line1", line="abc123")
    registration = alice.do(lambda now: alice.endpoint.register(config, now))
    request = latest(network, peer)
    (contact,) = request.contacts
    assert (contact.uri.user, contact.uri.param("line")) == ("line1", "abc123")
    accept(peer, request, expires=1800)
    assert registration.registered
    assert registration.expires_at is not None
    assert registration.expires_at - network.now > 1700


def latest(network: Network, peer: Peer) -> Request:
    network.run(0.1)
    return peer.requests("REGISTER")[-1]


def accept(peer: Peer, request: Request, expires: int | None = 3600, header: int | None = None) -> None:
    contact = str(request.contacts[0].uri)
    response = request.response(200, to_tag="r")
    response.headers.add("Contact", f"<sip:other@192.0.2.66>;expires=7, <{contact}>")
    if expires is not None:
        response.headers.set("Contact", f"<sip:other@192.0.2.66>;expires=7, <{contact}>;expires={expires}")
    if header is not None:
        response.headers.add("Expires", str(header))
    peer.send(ALICE, response)
    peer.network.run(0.1)


def changes(alice: Phone) -> list[tuple[bool, int]]:
    return [(event.registered, event.status) for event in alice.of(RegistrationChanged)]


def remove(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    alice.do(registration.remove)
    last = latest(network, peer)
    assert (last.expires, last.contacts[0].param("expires")) == (0, "0")
    peer.reply(last, 200)
    network.settle(4000)
    assert alice.last(RegistrationChanged).registered is False
    assert alice.last(RegistrationChanged).retry_at is None
    assert alice.endpoint.idle


def test_register_refresh_remove(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    first = latest(network, peer)
    assert (first.uri, str(first.to), first.expires) == (
        "sip:trunk.example.com", "<sip:ivrea@trunk.example.com>", 3600,
    )  # fmt: skip
    assert str(first.contacts[0].uri) == "sip:line1@192.0.2.1:5060"
    accept(peer, first)
    assert registration.registered
    event = alice.last(RegistrationChanged)
    assert (event.registered, event.status) == (True, 200)
    assert event.retry_at == pytest.approx(network.now + 3240, abs=1)
    network.run(3240)
    second = latest(network, peer)
    assert (second.call_id, second.from_.tag) == (first.call_id, first.from_.tag)
    assert second.cseq.number == first.cseq.number + 1
    accept(peer, second)
    assert changes(alice) == [(True, 200)]  # a refresh changes nothing
    remove(network, alice, peer, registration)


def test_challenge(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    challenger = Challenger("trunk.example.com", b"key")
    first = latest(network, peer)
    peer.reply(first, 401, headers=(("WWW-Authenticate", challenger.challenges(network.now)[0]),))
    second = latest(network, peer)
    assert challenger.verify(second, {"ivrea": "secret"}.get, network.now).result == "ok"
    accept(peer, second, 100)
    assert changes(alice) == [(True, 200)]
    network.run(60)
    refresh = latest(network, peer)
    # The nonce is used again with a higher count: no challenge for each refresh.
    assert refresh.cseq.number == 3
    assert "nc=00000002" in (refresh.headers.get("Authorization") or "")
    assert challenger.verify(refresh, {"ivrea": "secret"}.get, network.now).result == "ok"


def test_stale_nonce_at_a_refresh(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    challenger = Challenger("trunk.example.com", b"key", lifetime=10.0)
    peer.reply(latest(network, peer), 401, headers=(("WWW-Authenticate", challenger.challenges(network.now)[0]),))
    accept(peer, latest(network, peer), 100)
    network.run(60)
    refresh = latest(network, peer)
    assert challenger.verify(refresh, {"ivrea": "secret"}.get, network.now).result == "stale"
    stale = challenger.challenges(network.now, stale=True)[0]
    peer.reply(refresh, 401, headers=(("WWW-Authenticate", stale),))
    again = latest(network, peer)
    assert challenger.verify(again, {"ivrea": "secret"}.get, network.now).result == "ok"
    accept(peer, again)
    assert changes(alice) == [(True, 200)]


def test_wrong_password_is_tried_again_with_patience(network, alice, peer, registration: Registration) -> None:
    challenge = (("WWW-Authenticate", 'Digest realm="r", nonce="n"'),)
    for _ in range(2):
        peer.reply(latest(network, peer), 401, headers=challenge)
    network.run(1)
    event = alice.last(RegistrationChanged)
    assert (event.registered, event.status) == (False, 401)
    assert event.retry_at is not None
    assert 15 <= event.retry_at - network.now + 1.1 <= 31.1
    assert len(peer.requests("REGISTER")) == 2


def test_interval_too_brief(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    peer.reply(latest(network, peer), 423, headers=(("Min-Expires", "7200"),))
    second = latest(network, peer)
    assert (second.expires, second.contacts[0].param("expires")) == (7200, "7200")
    accept(peer, second, 7200)
    assert changes(alice) == [(True, 200)]


@pytest.mark.parametrize("shortest", ["60", "3600", "x", "", "99999999"])
def test_interval_too_brief_that_makes_no_sense(network, alice, peer, registration, shortest: str) -> None:
    peer.reply(latest(network, peer), 423, headers=(("Min-Expires", shortest),))
    network.run(1)
    assert changes(alice) == [(False, 423)]
    assert len(peer.requests("REGISTER")) == 1


def test_interval_too_brief_again_and_again(network: Network, alice: Phone, peer: Peer, registration) -> None:
    for shortest in (4000, 5000, 6000):
        peer.reply(latest(network, peer), 423, headers=(("Min-Expires", str(shortest)),))
    network.run(1)
    assert len(peer.requests("REGISTER")) == 2
    assert changes(alice) == [(False, 423)]


@pytest.mark.parametrize(
    ("value", "delay"), [("120", 120), ("0", 1), ("120 (later)", 120), ("120;duration=3", 120), ("999999", 3600)]
)
def test_retry_after(network: Network, alice: Phone, peer: Peer, registration, value: str, delay: int) -> None:
    peer.reply(latest(network, peer), 503, headers=(("Retry-After", value),))
    network.run(0.1)
    event = alice.last(RegistrationChanged)
    assert (event.registered, event.status) == (False, 503)
    assert event.retry_at == pytest.approx(network.now - 0.08 + delay)
    network.run(delay)
    accept(peer, latest(network, peer))
    assert registration.registered


def test_patience_grows_and_is_bounded(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    for _ in range(10):
        peer.reply(latest(network, peer), 403)
        network.run(0.1)
        event = alice.last(RegistrationChanged)
        assert event.retry_at is not None
        network.run(event.retry_at - network.now)
    sent = [packet.at for packet in network.sent("REGISTER", ALICE)]
    waits = [later - earlier for earlier, later in pairwise(sent)]
    for number, wait in enumerate(waits):
        longest = min(30 * 2**number, 1800)
        assert longest / 2 <= wait - 0.12 <= longest + 0.1
    accept(peer, latest(network, peer))
    peer.reply(latest(network, peer), 403)  # long answered: nothing comes of it
    assert registration.registered
    network.run(3240)
    peer.reply(latest(network, peer), 500)
    network.run(0.1)
    event = alice.last(RegistrationChanged)
    assert event.retry_at is not None
    assert event.retry_at - network.now <= 30  # after a success, patience begins anew


def test_registrar_that_does_not_answer(network: Network, alice: Phone, peer: Peer, registration) -> None:
    network.run(33)
    event = alice.last(RegistrationChanged)
    assert (event.registered, event.status) == (False, 408)
    assert event.retry_at is not None


def test_registrar_that_vanishes_while_registered(network: Network, alice: Phone, peer: Peer, registration) -> None:
    accept(peer, latest(network, peer), 600)
    network.run(700)
    assert changes(alice)[0] == (True, 200)
    # The refresh fails while the binding stands; then the binding expires.
    assert changes(alice)[1] == (True, 408)
    assert (False, 408) in changes(alice)
    assert registration.expires_at is None
    accept(peer, latest(network, peer), 600)
    assert not registration.registered  # that one was answered too late, and is over
    retry_at = alice.last(RegistrationChanged).retry_at
    assert retry_at is not None
    network.run(retry_at - network.now)
    accept(peer, latest(network, peer), 600)
    assert registration.registered


@pytest.mark.parametrize(("param", "header", "granted"), [(120, None, 120), (None, 300, 300), (None, None, 3600)])
def test_where_the_lifetime_stands(network, alice, peer, registration, param, header, granted: int) -> None:
    accept(peer, latest(network, peer), param, header)
    assert registration.expires_at == pytest.approx(network.now + granted, abs=1)


def test_granted_nothing(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    accept(peer, latest(network, peer), 0)
    assert changes(alice) == [(False, 200)]


def test_removal_while_a_register_is_under_way(network: Network, alice: Phone, peer: Peer, registration) -> None:
    first = latest(network, peer)
    alice.do(registration.remove)
    alice.do(registration.remove)
    accept(peer, first)
    last = latest(network, peer)
    assert last.expires == 0
    peer.reply(last, 200)
    network.settle()
    assert changes(alice) == [(False, 200)]
    assert alice.endpoint.idle


def test_refresh_on_demand(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    accept(peer, latest(network, peer))
    alice.do(registration.refresh)
    alice.do(registration.refresh)
    network.run(0.1)
    assert len(peer.requests("REGISTER")) == 2
    accept(peer, latest(network, peer))
    remove(network, alice, peer, registration)


@pytest.mark.parametrize("granted", [1, 2, 5, 30, 60, 100, 300, 3600, 86400])
def test_refresh_comes_in_time(granted: int) -> None:
    after = refresh_after(granted)
    assert granted * 0.5 <= after <= max(1.0, granted * 0.9)


@pytest.mark.parametrize(
    ("listed", "granted"),
    [
        ("<sip:line1@203.0.113.9:41234>;expires=60", 60),  # the address it saw
        ("<sip:other@203.0.113.9>;expires=50, <sip:line1@a>;expires=300, <sip:line1@b>;expires=120", 120),
        ("<sip:s1@203.0.113.9:41234>;expires=90", 90),  # the only one
        ("<sip:s1@203.0.113.9>;expires=90, <sip:s2@203.0.113.9>;expires=80", 1800),
        ("<sip:line1@203.0.113.9:41234>", 1800),
        ("<sip:line1@192.0.2.1:5060>;expires=200, <sip:line1@192.0.2.9>;expires=60", 200),
    ],
)
def test_lifetime_where_the_registrar_rewrites_contacts(network, alice, peer, registration, listed, granted) -> None:
    response = latest(network, peer).response(200, to_tag="r")
    response.headers.add("Contact", listed)
    response.headers.add("Expires", "1800")
    peer.send(ALICE, response)
    network.run(0.1)
    assert registration.expires_at == pytest.approx(network.now + granted, abs=1)


# --- keeping the way open ---------------------------------------------------------------


def keep_alives(network: Network) -> list[float]:
    return [packet.at for packet in network.trace if packet.data == b"\r\n\r\n"]


def test_keep_alives_while_registered(network: Network, alice: Phone, peer: Peer, registration: Registration) -> None:
    network.run(40)
    assert keep_alives(network) == []  # nothing to keep yet
    network.run(100)
    accept(peer, latest(network, peer), 600)
    start = network.now
    network.run(500)
    sent = keep_alives(network)
    assert all(24 <= later - earlier <= 29 for earlier, later in pairwise([start - 0.1, *sent]))
    assert network.now - sent[-1] < 29
    assert {packet.target for packet in network.trace if packet.data == b"\r\n\r\n"} == {BOB}
    remove(network, alice, peer, registration)
    assert keep_alives(network) == sent


def test_keep_alives_come_as_often_as_wanted(network: Network, alice: Phone, peer: Peer) -> None:
    config = RegistrationConfig(
        name="trunk",
        registrar=Uri.parse("sip:trunk.example.com"),
        aor=Address.parse("<sip:ivrea@trunk.example.com>"),
        flow=alice.flow(BOB),
        keep_alive=5.8,
    )
    alice.do(lambda now: alice.endpoint.register(config, now))
    accept(peer, latest(network, peer), 600)
    network.run(100)
    sent = keep_alives(network)
    assert len(sent) >= 17
    assert all(4.8 - 1e-6 <= later - earlier <= 5.8 for earlier, later in pairwise(sent))


def test_keep_alives_on_a_connection_come_seldom(network: Network, alice: Phone, peer: Peer) -> None:
    """RFC 5626 4.4.1: at a random time between 95 and 120 s, on the connection of the registration."""
    config = RegistrationConfig(
        name="trunk",
        registrar=Uri.parse("sip:trunk.example.com"),
        aor=Address.parse("<sip:ivrea@trunk.example.com>"),
        flow=alice.flow(BOB, "tcp", 7),
    )
    registration = alice.do(lambda now: alice.endpoint.register(config, now))
    answer = latest(network, peer).response(200, to_tag="r")
    answer.headers.add("Contact", f"<{peer.requests('REGISTER')[-1].contacts[0].uri}>;expires=3600")
    alice.endpoint.receive_message(answer, config.flow, network.now)
    alice.flush()
    assert registration.registered
    start = network.now
    network.run(1000)
    sent = keep_alives(network)
    assert len(sent) >= 8
    assert all(95 <= later - earlier <= 120 for earlier, later in pairwise([start, *sent]))
    assert {(each.transport, each.connection) for each in network.trace if each.data == b"\r\n\r\n"} == {("tcp", 7)}


def test_keep_alives_end_with_the_registration(network: Network, alice: Phone, peer: Peer, registration) -> None:
    accept(peer, latest(network, peer), 60)
    network.run(200)
    assert (False, 408) in changes(alice)
    assert keep_alives(network)[-1] < 1000 + 62


@pytest.fixture
def stream(alice: Phone) -> Registration:
    config = RegistrationConfig(
        "trunk", Uri.parse("sip:b"), Address.parse("<sip:ivrea@b>"), alice.flow(BOB, "tcp"), contact_user="line1"
    )
    return alice.do(lambda now: alice.endpoint.register(config, now))


def test_keep_alives_on_a_connection(network: Network, alice: Phone, peer: Peer, stream: Registration) -> None:
    accept(peer, latest(network, peer), 3600)
    network.run(1000)
    assert all(95 <= later - earlier <= 120 for earlier, later in pairwise(keep_alives(network)))
    assert len(keep_alives(network)) >= 8


def test_a_broken_connection_is_made_anew(network: Network, alice: Phone, peer: Peer, stream: Registration) -> None:
    accept(peer, latest(network, peer), 3600)
    alice.do(lambda now: alice.endpoint.connection_lost(alice.flow(BOB, "tcp"), now))
    assert len(peer.requests("REGISTER")) == 1
    network.run(5.1)
    assert len(peer.requests("REGISTER")) == 2
    # If that fails too, patience counts, and not every loss that is reported.
    alice.do(lambda now: alice.endpoint.connection_lost(alice.flow(BOB, "tcp"), now))
    alice.do(lambda now: alice.endpoint.connection_lost(alice.flow(BOB, "tcp"), now))
    network.run(10)
    assert len(peer.requests("REGISTER")) == 2
    network.run(25)
    accept(peer, latest(network, peer), 3600)
    assert len(peer.requests("REGISTER")) == 3
    assert stream.registered
    remove(network, alice, peer, stream)


def test_through_a_proxy_and_what_the_registrar_says_of_the_way(
    network: Network, alice: Phone, peer: Peer, registration: Registration
) -> None:
    """RFC 3608 section 6: the Service-Route of the last 2xx counts."""
    first = latest(network, peer)
    for routes, expected in (
        (["<sip:p1.example;lr>, <sip:p2.example;lr>", "<sip:p3.example;lr>"], 3),
        (["<sip:p1.example;lr>"], 1),
        (["<sip:"], 0),
        (["<mailto:a@b>"], 0),
        ([], 0),
    ):
        response = first.response(200, to_tag="r")
        response.headers.add("Contact", f"{first.contacts[0]};expires=3600")
        for route in routes:
            response.headers.add("Service-Route", route)
        peer.send(ALICE, response)
        network.run(0.1)
        assert len(registration.service_route) == expected
        alice.do(registration.refresh)
        first = latest(network, peer)
    accept(peer, first)
    config = RegistrationConfig(
        name="proxied",
        registrar=Uri.parse("sip:trunk.example.com"),
        aor=Address.parse("<sip:ivrea@trunk.example.com>"),
        flow=alice.flow(BOB),
        route=(Address.parse("<sip:proxy.example;lr>"),),
    )
    alice.do(lambda now: alice.endpoint.register(config, now))
    assert latest(network, peer).headers.all("Route") == ["<sip:proxy.example;lr>"]
