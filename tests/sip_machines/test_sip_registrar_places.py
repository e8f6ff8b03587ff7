"""Several contacts of one device, and what it is challenged for (RFC 3261 10.3, 5626, 8760)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registrar_kit import CONTACT, DEVICES, Desk, branches
from sip_network import ALICE, BOB, CAROL, Network, Phone

from engine.sip.endpoint import Endpoint
from engine.sip.events import DeviceChanged
from engine.sip.flow import Flow


def places(registrar: Phone, name: str = "desk") -> list[str]:
    return [str(each.contact) for each in registrar.endpoint.registrar.bindings(name)]


def test_several_phones_of_one_device(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT + ";q=0.5", expires="600")
    other = Desk(registrar, CAROL)
    other.now = 1.0
    response = other.register("<sip:desk@192.0.2.3>;expires=120;q=0.9", expires="600")
    assert response.headers.all("Contact") == [
        "<sip:desk@192.0.2.3>;q=0.9;expires=120",
        "<sip:desk@192.0.2.2:5060>;q=0.5;expires=599",
    ]
    book = registrar.endpoint.registrar
    assert places(registrar) == ["sip:desk@192.0.2.3", "sip:desk@192.0.2.2:5060"]
    assert book.binding("desk") == book.bindings("desk")[0]
    assert (book.bound_source(desk.flow), book.bound_source(other.flow)) == ("desk", "desk")
    assert len(book) == 1
    assert [event.contacts for event in registrar.of(DeviceChanged)] == [1, 2]
    registrar.endpoint.handle_timers(122.0)
    registrar.seen += registrar.endpoint.events()
    assert places(registrar) == ["sip:desk@192.0.2.2:5060"]
    last = registrar.last(DeviceChanged)
    assert (last.contact, last.contacts) == ("sip:desk@192.0.2.2:5060", 1)
    registrar.endpoint.handle_timers(700.0)
    registrar.seen += registrar.endpoint.events()
    assert registrar.last(DeviceChanged) == DeviceChanged("desk", None, None)
    assert places(registrar) == []
    assert registrar.endpoint.idle


def test_of_equal_ones_the_latest_is_first(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    other = Desk(registrar, CAROL)
    other.now = 1.0
    other.register("<sip:desk@192.0.2.3>")
    assert places(registrar) == ["sip:desk@192.0.2.3", "sip:desk@192.0.2.2:5060"]
    desk.now = 2.0
    desk.register(CONTACT)
    assert places(registrar) == ["sip:desk@192.0.2.2:5060", "sip:desk@192.0.2.3"]
    assert len(registrar.of(DeviceChanged)) == 2  # a refresh is no change


def test_one_place_of_several_is_left(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT, "<sip:desk@192.0.2.8>")
    assert len(places(registrar)) == 2
    desk.register(CONTACT + ";expires=0")
    assert places(registrar) == ["sip:desk@192.0.2.8"]
    assert registrar.last(DeviceChanged).contact == "sip:desk@192.0.2.8"
    assert registrar.endpoint.registrar.bound_source(desk.flow) == "desk"
    desk.register("*", expires="0")
    assert places(registrar) == []
    assert registrar.endpoint.registrar.bound_source(desk.flow) is None


def test_places_are_bounded(registrar: Phone, desk: Desk) -> None:
    for number in range(14):
        phone = Desk(registrar, ("192.0.2.2", 6000 + number))
        phone.call_id = f"call{number}"
        phone.now = float(number)
        assert phone.register(f"<sip:desk@192.0.2.2:{6000 + number}>").status == 200
    assert len(places(registrar)) == 10
    assert "sip:desk@192.0.2.2:6003" not in places(registrar)  # the oldest made room
    assert "sip:desk@192.0.2.2:6013" in places(registrar)
    many = [f"<sip:desk@192.0.2.9:{7000 + number}>" for number in range(11)]
    desk.now = 20.0
    assert desk.register(*many).status == 403
    assert len(places(registrar)) == 10
    registrar.endpoint.handle_timers(4000.0)
    assert registrar.endpoint.idle
    assert not registrar.endpoint.registrar._bindings._by_source


def test_all_or_nothing(registrar: Phone, desk: Desk) -> None:
    desk.register(CONTACT)
    assert desk.register("<sip:desk@192.0.2.8>", "<sip:desk@192.0.2.9>;expires=5").status == 423
    assert places(registrar) == ["sip:desk@192.0.2.2:5060"]


def test_phone_that_changes_its_mind_about_its_contact(registrar: Phone) -> None:
    """Behind NAT one place is one phone, whatever it calls itself: it must not ring twice."""
    desk = Desk(registrar, ("8.8.8.8", 40000))
    desk.register("<sip:desk@10.0.0.5:5060>")
    desk.register("<sip:desk@10.0.0.5:5070>")
    assert places(registrar) == ["sip:desk@10.0.0.5:5070"]
    assert len(registrar.of(DeviceChanged)) == 2


def test_one_contact_listed_twice(registrar: Phone, desk: Desk) -> None:
    response = desk.register(CONTACT + ";q=0.1", CONTACT + ";q=0.2")
    assert response.headers.all("Contact") == [f"{CONTACT};q=0.2;expires=3600"]
    registrar.endpoint.handle_timers(4000.0)
    assert registrar.endpoint.idle


def test_two_devices_at_one_place(registrar: Phone, desk: Desk) -> None:
    """A gateway with two lines."""
    desk.register(CONTACT)
    door = Desk(registrar, BOB, "door", "two")
    door.register("<sip:door@192.0.2.2:5060>")
    assert registrar.endpoint.registrar.bound_source(desk.flow) == "door"
    door.register("*", expires="0")
    assert registrar.endpoint.registrar.bound_source(desk.flow) == "desk"


def test_connection_with_several_lines_breaks(registrar: Phone) -> None:
    flow = Flow("tcp", ALICE, ("8.8.8.8", 40000), 5)
    for name, password in DEVICES.items():
        phone = Desk(registrar, flow.remote, name, password)
        phone.flow = flow
        phone.register(f"<sip:{name}@10.0.0.5;transport=tcp>")
    assert len(registrar.endpoint.registrar) == 2
    registrar.endpoint.connection_lost(flow, 1.0)
    assert len(registrar.endpoint.registrar) == 0
    assert registrar.endpoint.idle


# --- digest ---------------------------------------------------------------------------------------


def challenged_with(*algorithms: str) -> Phone:
    phone = Phone(Network(), ALICE)
    options = {"digest_algorithms": algorithms} if algorithms else {}
    phone.endpoint = Endpoint(
        random=Random(1), contact_host=lambda flow: flow.local, devices=DEVICES, realm="ivrea", **options
    )
    return phone


def test_both_algorithms_are_offered_the_better_one_first() -> None:
    registrar = challenged_with()
    response = Desk(registrar).once([CONTACT])
    assert response is not None
    challenges = response.headers.all("WWW-Authenticate")
    assert [("SHA-256" in each, 'qop="auth"' in each) for each in challenges] == [(True, True), (False, True)]
    desk = Desk(registrar)
    assert desk.register(CONTACT).status == 200
    assert "algorithm=SHA-256" in (desk.request.headers.get("Authorization") or "")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_either_algorithm_is_taken(algorithm: str) -> None:
    registrar = challenged_with()
    desk = Desk(registrar)
    response = desk.once([CONTACT])
    assert response is not None
    mine = [each for each in response.headers.all("WWW-Authenticate") if f"algorithm={algorithm}," in each]
    response.headers.remove("WWW-Authenticate")
    response.headers.add("WWW-Authenticate", mine[0])
    assert desk.digest.challenged(response, desk.request)
    assert desk.register(CONTACT).status == 200


def test_algorithm_that_was_not_offered() -> None:
    registrar = challenged_with("SHA-256")
    desk = Desk(registrar)
    response = desk.once([CONTACT])
    assert response is not None
    challenge = (response.headers.get("WWW-Authenticate") or "").replace("SHA-256", "MD5")
    response.headers.set("WWW-Authenticate", challenge)
    assert desk.digest.challenged(response, desk.request)
    assert desk.register(CONTACT).status == 403


def test_nonce_is_used_again_until_it_is_stale(registrar: Phone, desk: Desk) -> None:
    assert desk.register(CONTACT).status == 200
    for step in range(1, 4):
        desk.now = step * 60.0
        response = desk.once([CONTACT])
        assert response is not None
        assert response.status == 200
    desk.now = 400.0
    response = desk.once([CONTACT])
    assert response is not None
    assert response.status == 401
    assert "stale=true" in (response.headers.get("WWW-Authenticate") or "")
    assert desk.digest.challenged(response, desk.request)
    assert desk.register(CONTACT).status == 200
    assert registrar.endpoint.counters.unauthorised == 0


contact_values = st.builds(
    lambda host, port, params: f"<sip:desk@{host}:{port}>{params}",
    st.sampled_from(["192.0.2.2", "192.0.2.3", "10.0.0.1"]),
    st.integers(5060, 5063),
    st.sampled_from(
        ["", ";expires=0", ";expires=60", ";expires=x", ";q=0.3", ";q=nan", ';+sip.instance="<i>";reg-id=1', ";reg-id"]
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(contact_values, max_size=4), st.integers(0, 3), st.booleans()), max_size=12))
def test_any_registrations_leave_nothing_behind(steps: list[tuple[list[str], int, bool]]) -> None:
    registrar = challenged_with()
    now = 0.0
    for contacts, who, lost in steps:
        desk = Desk(registrar, ("192.0.2.2", 5060 + who))
        desk.call_id = f"c{next(branches)}" if who % 2 else f"c{who}"
        desk.now = now = now + 7.0
        desk.cseq = int(now)
        assert desk.register(*contacts).status in {200, 423, 500}
        registrar.endpoint.handle_timers(now)
        if lost:
            registrar.endpoint.connection_lost(desk.flow, now)
        book = registrar.endpoint.registrar
        assert len(book.bindings("desk")) <= 10
        assert (book.binding("desk") is None) == (len(book) == 0)
    registrar.endpoint.handle_timers(now + 3700.0)
    registrar.seen += registrar.endpoint.events()
    assert registrar.endpoint.idle
    assert not registrar.endpoint.registrar._bindings._by_source
    if registrar.of(DeviceChanged):
        assert registrar.last(DeviceChanged).contact is None


PROXY = "<sip:192.0.2.50:5080;lr;ob>"


def test_a_proxy_may_require_that_its_path_is_understood(registrar: Phone, desk: Desk) -> None:
    desk.more = [("Require", "path"), ("Path", "<sip:192.0.2.9;lr>")]
    assert desk.register(CONTACT).status == 200
    desk.more = [("Require", "path, gruu")]
    refused = desk.once([CONTACT])
    assert refused is not None
    assert (refused.status, refused.headers.get("Unsupported")) == (420, "gruu")


def test_a_device_behind_proxies_is_reached_by_their_path(registrar: Phone, desk: Desk) -> None:
    """RFC 3327 section 5.3: the path is kept, and told to who knows of it."""
    desk.more = [("Path", f"{PROXY}, <sip:192.0.2.60;lr>"), ("Supported", "path")]
    assert desk.register(CONTACT).headers.all("Path") == [PROXY, "<sip:192.0.2.60;lr>"]
    desk.more = desk.more[:1]
    assert desk.register(CONTACT).headers.all("Path") == []
    other = Desk(registrar, desk.flow.remote)
    other.call_id, other.more, other.now = "another", desk.more, 1.0
    other.register("<sip:desk@192.0.2.3>")
    assert places(registrar) == ["sip:desk@192.0.2.3", "sip:desk@192.0.2.2:5060"], "two behind one proxy are two"
    for each in registrar.endpoint.registrar.bindings("desk"):
        assert [str(proxy) for proxy in each.path] == [PROXY, "<sip:192.0.2.60;lr>"]
        assert (each.flow.remote, each.domain) == (("192.0.2.50", 5080), "ivrea")


@pytest.mark.parametrize("path", ["<sip:", "<mailto:a@b>", ", ".join([PROXY] * 9)])
def test_a_path_that_leads_nowhere_is_refused(registrar: Phone, desk: Desk, path: str) -> None:
    desk.more = [("Path", path)]
    assert desk.register(CONTACT).status == 400
    assert places(registrar) == []
