from __future__ import annotations

from random import Random

import pytest
from registrar_kit import CONTACT, Desk, branches
from sip_network import ALICE, BOB, CAROL, Network, Phone

from engine.sip.digest import Credentials, DigestClient
from engine.sip.events import DeviceChanged, RegistrationChanged
from engine.sip.flow import Flow
from engine.sip.message import Request, Response
from engine.sip.parser import parse
from engine.sip.registration import RegistrationConfig
from engine.sip.uri import Address, Uri


def test_register_and_expire(registrar: Phone, desk: Desk) -> None:
    response = desk.register(CONTACT, expires="120")
    assert response.status == 200
    assert response.headers.get("Contact") == f"{CONTACT};expires=120"
    assert registrar.of(DeviceChanged) == [DeviceChanged("desk", "sip:desk@192.0.2.2:5060", desk.flow)]
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert bound.flow == desk.flow
    assert registrar.endpoint.registrar.bound_source(desk.flow) == "desk"
    registrar.endpoint.handle_timers(119.0)
    assert len(registrar.endpoint.registrar) == 1
    registrar.endpoint.handle_timers(121.0)
    registrar.seen += registrar.endpoint.events()
    assert registrar.last(DeviceChanged) == DeviceChanged("desk", None, None)
    assert registrar.endpoint.registrar.bound_source(desk.flow) is None
    assert registrar.endpoint.idle


def test_challenge_comes_first(registrar: Phone, desk: Desk) -> None:
    response = desk.once([CONTACT])
    assert response is not None
    assert response.status == 401
    assert (response.headers.get("WWW-Authenticate") or "").startswith('Digest realm="ivrea", nonce=')
    assert registrar.of(DeviceChanged) == []


def test_refresh_is_no_change(registrar: Phone, desk: Desk) -> None:
    for now in (0.0, 100.0, 200.0):
        desk.now = now
        assert desk.register(CONTACT, expires="120").status == 200
    assert len(registrar.of(DeviceChanged)) == 1
    registrar.endpoint.handle_timers(310.0)
    assert len(registrar.endpoint.registrar) == 1


def test_device_moves(registrar: Phone, desk: Desk) -> None:
    """A phone that says who it is (RFC 5626 4.1) has one place, wherever it turns up."""
    who = ';+sip.instance="<urn:uuid:1>";reg-id=1'
    desk.register(CONTACT + who)
    there = Desk(registrar, CAROL)
    there.now = 1.0
    assert there.register("<sip:desk@192.0.2.3>" + who).status == 200
    assert [event.contact for event in registrar.of(DeviceChanged)] == ["sip:desk@192.0.2.2:5060", "sip:desk@192.0.2.3"]
    assert registrar.endpoint.registrar.bound_source(desk.flow) is None
    assert registrar.endpoint.registrar.bound_source(there.flow) == "desk"
    assert len(registrar.endpoint.registrar) == 1


@pytest.mark.parametrize(("contacts", "expires"), [(["*"], "0"), ([CONTACT], "0"), ([CONTACT + ";expires=0"], "600")])
def test_unregister(registrar: Phone, desk: Desk, contacts: list[str], expires: str) -> None:
    desk.register(CONTACT)
    response = desk.register(*contacts, expires=expires)
    assert response.status == 200
    assert response.headers.get("Contact") is None
    assert registrar.last(DeviceChanged).contact is None


def test_removing_another_contact_removes_nothing(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    assert desk.register("<sip:desk@192.0.2.99>;expires=0").status == 200
    assert len(registrar.endpoint.registrar) == 1


def test_wildcard_without_expires_zero(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    assert desk.register("*", expires="60").status == 400
    assert len(registrar.endpoint.registrar) == 1


def test_query(registrar: Phone, desk: Desk) -> None:
    assert desk.register().headers.get("Contact") is None
    desk.register(CONTACT, expires="100")
    desk.now = 40.0
    assert desk.register().headers.get("Contact") == f"{CONTACT};expires=60"


def test_one_contact_of_several(registrar: Phone, desk: Desk) -> None:
    desk.register("<sip:old@192.0.2.8>;expires=0", CONTACT, "<sip:desk@192.0.2.9>")
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert str(bound.contact) == "sip:desk@192.0.2.2:5060"


def test_too_brief(registrar: Phone, desk: Desk) -> None:
    response = desk.register(CONTACT, expires="30")
    assert response.status == 423
    assert response.headers.get("Min-Expires") == "60"
    assert len(registrar.endpoint.registrar) == 0


def test_too_long_is_shortened(registrar: Phone, desk: Desk) -> None:
    assert desk.register(CONTACT, expires="999999").headers.get("Contact") == f"{CONTACT};expires=3600"


def test_old_register_changes_nothing(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    desk.cseq = 0
    assert desk.register("<sip:desk@192.0.2.9>").status == 500
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert str(bound.contact) == "sip:desk@192.0.2.2:5060"


@pytest.mark.parametrize(
    ("name", "password", "to"), [("desk", "wrong", ""), ("nobody", "x", ""), ("desk", "one", "door")]
)
def test_not_allowed(registrar: Phone, name: str, password: str, to: str) -> None:
    assert Desk(registrar, name=name, password=password).register(CONTACT, to=to).status == 403
    assert len(registrar.endpoint.registrar) == 0
    assert registrar.endpoint.counters.unauthorised >= 1


def test_guesses_are_rate_limited_and_registered_devices_are_not(registrar: Phone, desk: Desk) -> None:
    assert desk.register(CONTACT).status == 200
    scanner = (BOB[0], 40000)
    answers = [Desk(registrar, scanner, name="nobody", password="x").once([CONTACT]) for _ in range(60)]
    assert sum(answer is not None for answer in answers) == 20
    assert registrar.endpoint.counters.rate_limited == 40
    desk.digest = DigestClient(Credentials("desk", "one"), Random(4))
    assert desk.register(CONTACT).status == 200  # from the very same address, challenge and all


def test_silence_does_not_tell_which_names_exist(registrar: Phone) -> None:
    def answered(name: str, now: float) -> bool:
        asking = Desk(registrar, name=name)
        asking.now = now
        return asking.once([CONTACT]) is not None

    assert [answered("desk", 0.0) for _ in range(30)] == [True] * 20 + [False] * 10
    assert [answered(name, 0.0) for name in ("nobody", "desk", "door")] == [False] * 3
    assert [answered(name, 0.5) for name in ("nobody", "desk")] == [True, False]
    assert [answered(name, 1.0) for name in ("desk", "nobody")] == [True, False]


def test_devices_that_answer_their_challenges_are_never_limited(registrar: Phone) -> None:
    for _ in range(100):  # an office behind one address, all at once
        desk = Desk(registrar)
        desk.call_id = f"call{next(branches)}"
        assert desk.register(CONTACT).status == 200
    assert registrar.endpoint.counters.rate_limited == 0


def test_the_unauthenticated_are_not_remembered(registrar: Phone, desk: Desk) -> None:
    first = desk.once([CONTACT])
    registrar.endpoint.receive_message(desk.request, desk.flow, 0.1)  # once more: our answer was lost
    ((_, data),) = registrar.endpoint.outgoing()
    again = parse(data)
    assert isinstance(again, Response)
    assert first is not None
    assert (first.status, again.status) == (401, 401)
    assert first.to.tag == again.to.tag != ""  # RFC 3261 8.2.7
    assert registrar.endpoint.idle


def test_what_is_kept_of_an_answered_request_is_the_answer(registrar: Phone, desk: Desk) -> None:
    assert desk.register(CONTACT, expires="60").status == 200
    (transaction,) = registrar.endpoint._core.servers.values()
    assert not hasattr(transaction, "request")
    registrar.endpoint.receive_message(desk.request, desk.flow, 0.1)
    ((_, data),) = registrar.endpoint.outgoing()
    assert data.startswith(b"SIP/2.0 200")


def test_contact_behind_nat_is_reached_by_its_flow(registrar: Phone) -> None:
    desk = Desk(registrar, ("8.8.8.8", 40000))
    desk.register("<sip:desk@10.0.0.5:5060>")
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert bound.flow == desk.flow


def test_contact_in_another_network_is_reached_by_its_flow(registrar: Phone) -> None:
    desk = Desk(registrar, ("10.8.0.1", 40000))
    desk.register("<sip:desk@127.0.0.1:5060>")
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert (bound.flow, bound.pinned) == (desk.flow, True)


def tcp_desk(registrar: Phone, remote: tuple[str, int], contact: str) -> Desk:
    desk = Desk(registrar, remote)
    desk.flow = Flow("tcp", ALICE, remote, 5)
    assert desk.register(contact).status == 200
    return desk


def test_the_connection_of_a_registered_device_is_needed(registrar: Phone) -> None:
    desk = tcp_desk(registrar, ("8.8.8.8", 40000), "<sip:desk@10.0.0.5;transport=tcp>")
    assert registrar.endpoint.needs(desk.flow)
    assert not registrar.endpoint.needs(desk.flow._replace(remote=("8.8.8.8", 40001), connection=6))
    registrar.endpoint.connection_lost(desk.flow, 1.0)
    assert not registrar.endpoint.needs(desk.flow)


def test_connection_lost_behind_nat(registrar: Phone) -> None:
    desk = tcp_desk(registrar, ("8.8.8.8", 40000), "<sip:desk@10.0.0.5;transport=tcp>")
    registrar.endpoint.connection_lost(desk.flow, 1.0)
    assert registrar.endpoint.registrar.binding("desk") is None


def test_connection_lost_of_a_reachable_device(registrar: Phone) -> None:
    desk = tcp_desk(registrar, ("192.0.2.2", 40000), "<sip:desk@192.0.2.2;transport=tcp>")
    registrar.endpoint.connection_lost(desk.flow, 1.0)
    bound = registrar.endpoint.registrar.binding("desk")
    assert bound is not None
    assert bound.flow == Flow("tcp", ALICE, BOB)
    assert registrar.endpoint.registrar.bound_source(desk.flow) is None


def test_devices_are_replaced(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    door = Desk(registrar, CAROL, "door", "two")
    door.now = 1.0
    door.register("<sip:door@192.0.2.3>")
    registrar.endpoint.registrar.replace_devices({"desk": "changed", "door": "two"}, 1.0)
    assert registrar.endpoint.registrar.binding("desk") is None
    assert registrar.endpoint.registrar.binding("door") is not None
    assert registrar.endpoint.registrar.password("desk") == "changed"


def test_our_registration_at_our_registrar(network: Network, registrar: Phone, bob: Phone) -> None:
    config = RegistrationConfig(
        name="self",
        registrar=Uri.parse("sip:ivrea"),
        aor=Address.parse("<sip:desk@ivrea>"),
        flow=bob.flow(ALICE),
        credentials=Credentials("desk", "one"),
        expires=20,
    )
    registration = bob.do(lambda now: bob.endpoint.register(config, now))
    network.run(1)
    assert registration.registered  # through 401 and 423
    assert network.kinds(ALICE) == ["401 REGISTER", "423 REGISTER", "200 REGISTER"]
    network.run(4000)
    assert len(registrar.endpoint.registrar) == 1
    assert len(bob.of(RegistrationChanged)) == 1
    bob.do(registration.remove)
    network.run(40)
    assert len(registrar.endpoint.registrar) == 0
    assert bob.endpoint.idle
    assert registrar.endpoint.idle


def asked(phone: Phone, now: float) -> list[tuple[Flow, Request]]:
    """What it sends at ``now`` of its own accord."""
    phone.endpoint.handle_timers(now)
    sent = [(flow, parse(data)) for flow, data in phone.endpoint.outgoing()]
    return [(flow, request) for flow, request in sent if isinstance(request, Request)]


def test_a_phone_behind_nat_is_asked_for_a_sign_of_life(registrar: Phone) -> None:
    """Its answer, whatever it is, holds the NAT's mapping open (RFC 4787 REQ-6)."""
    desk = Desk(registrar, ("8.8.8.8", 40000))
    desk.register("<sip:desk@10.0.0.5:5060>", expires="3600")
    assert asked(registrar, 24.0 - 0.01) == []
    for number in range(1, 6):
        ((flow, options),) = asked(registrar, number * 29.0)
        assert (flow, options.method, options.uri) == (desk.flow, "OPTIONS", "sip:desk@10.0.0.5:5060")
        registrar.endpoint.receive_message(options.response(404), desk.flow, number * 29.0)
    registrar.seen += registrar.endpoint.events()
    assert registrar.endpoint.registrar.binding("desk") is not None
    desk.now = 150.0
    desk.register("<sip:desk@10.0.0.5:5060>", expires="0")
    assert asked(registrar, 300.0) == []
    assert registrar.endpoint.idle


def test_a_refresh_does_not_double_the_questions(registrar: Phone) -> None:
    desk = Desk(registrar, ("8.8.8.8", 40000))
    for now in (0.0, 10.0, 20.0):
        desk.now = now
        desk.register("<sip:desk@10.0.0.5:5060>", expires="3600")
    assert [options.method for _, options in asked(registrar, 49.0)] == ["OPTIONS"]


def test_a_phone_that_does_not_answer_is_asked_until_it_is_forgotten(registrar: Phone) -> None:
    desk = Desk(registrar, ("8.8.8.8", 40000))
    desk.register("<sip:desk@10.0.0.5:5060>", expires="120")
    calls = {options.call_id for tenth in range(1, 2000) for _, options in asked(registrar, tenth / 10)}
    assert 4 <= len(calls) <= 5
    assert registrar.endpoint.registrar.binding("desk") is None
    assert registrar.endpoint.idle


@pytest.mark.parametrize("remote", [BOB, ("8.8.8.8", 40000)])
def test_who_is_reached_otherwise_is_not_asked(registrar: Phone, remote: tuple[str, int]) -> None:
    """By the address that it says, or by a connection."""
    if remote == BOB:
        Desk(registrar, remote).register(CONTACT, expires="120")
    else:
        tcp_desk(registrar, remote, "<sip:desk@10.0.0.5;transport=tcp>")
    assert asked(registrar, 100.0) == []
