"""Calls that meet without being dialled: bridges by id, places in queues, and parked calls that nobody takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.daemon import Daemon, poll
from kit.office import ALICE, BOB, CAROL, MUSIC, Office, office_daemon, staffed
from kit.phone import Phone
from kit.sip import digest, transact

PARK = {"module": "park", "data": {"default_callback_timeout": 2}, "children": {}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    flows = {"6100": '<Response><Enqueue announcePosition="1">support</Enqueue></Response>', "6200": PARK}
    with office_daemon(tmp_path_factory.mktemp("lots"), flows) as daemon:
        yield daemon


@pytest.fixture
def office(house: Daemon, tmp_path: Path) -> Iterator[Office]:
    with staffed(house, tmp_path) as made:
        yield made


def calls(office: Office, who: str, number: str) -> str:
    """Somebody calls a flow; the id of the call."""
    office.phones[who].dial(office.house.uri(number))
    office.phones[who].wait_event("CALL_ESTABLISHED")
    return str(office.live()[0]["id"])


def bridged(office: Office, call: str, other: str, more: str = "") -> None:
    document = f'<Response><Bridge session_id="{other}"/>{more}</Response>'
    office.act(call, "flow", {"flow": {"document": document, "dialect": "verboice"}})


@pytest.mark.peer("baresip")
def test_a_call_is_bridged_with_another_by_its_id(office: Office) -> None:
    """Carol's flow wants Alice, who is in a menu, and goes on when she hangs up; then Bob's takes Carol out of the
    queue that she waits in, and her flow goes on behind it.
    """
    alice = calls(office, "alice", "6000")
    carol = calls(office, "carol", "6000")
    bridged(office, carol, alice, "<Enqueue>after</Enqueue>")
    office.phones["alice"].wait_heard(CAROL)
    office.phones["carol"].wait_heard(ALICE)
    office.phones["alice"].hangup()
    waiting = {"name": "after", "position": 1, "size": 1}
    poll(lambda: waiting.items() <= (office.api.get(carol)["queue"] or {}).items() or None, 10, "no queue", every=0.1)
    bob = calls(office, "bob", "6000")
    bridged(office, bob, carol)
    office.phones["bob"].wait_heard(CAROL)
    office.phones["carol"].wait_heard(BOB)
    assert office.api.get(carol)["queue"] is None
    office.phones["bob"].hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    assert office.api.wait(carol, "ended")["end"]["by"] == "flow"


@pytest.mark.peer("baresip")
def test_who_waits_in_a_queue_is_told_the_position_and_the_api_knows_it(office: Office) -> None:
    """The music is interrupted for it."""
    first = calls(office, "alice", "6100")
    second = calls(office, "carol", "6100")
    places = [office.api.get(call)["queue"] for call in (first, second)]
    assert [(place["name"], place["position"], place["size"]) for place in places] == [
        ("support", 1, 2),
        ("support", 2, 2),
    ]
    carol = office.phones["carol"]
    carol.wait_heard(MUSIC, 1.2)
    for name in ("alice", "carol"):
        office.phones[name].hangup()
    office.api.wait(second, "ended")
    parts = [part for part in office.heard("carol", MUSIC) if part[1] - part[0] > 0.15]
    assert len(parts) > 1
    assert parts[1][0] - parts[0][1] > 0.8  # the words


def watcher(office: Office, entity: str) -> Phone:
    """A telephone of the account that watches ``entity``."""
    phone = Phone(office.house.address, user="carol", password="geheim")
    phone.number = entity
    extra = ["Event: dialog", "Expires: 600"]
    answer = transact(
        phone.sip,
        phone.request("SUBSCRIBE", uri=phone.uri, extra=extra),
        phone._final("SUBSCRIBE"),
        others=phone._serve,
    )
    proof = digest(answer.get("www-authenticate"), "SUBSCRIBE", phone.uri, phone.user, phone.password)
    text = phone.request("SUBSCRIBE", uri=phone.uri, extra=[*extra, f"Authorization: {proof}"])
    assert transact(phone.sip, text, phone._final("SUBSCRIBE"), others=phone._serve).status == 200
    return phone


def shown(phone: Phone, state: str) -> bool | None:
    phone.serve(0.1)
    return any(f"<state>{state}</state>" in each.body for each in phone.requests if each.method == "NOTIFY") or None


@pytest.mark.peer("baresip")
def test_who_has_parked_a_call_that_nobody_takes_is_called_back(office: Office) -> None:
    """Bob parks Alice by a blind transfer. The lamp of the slot shines until he is called back, and talks with her."""
    with watcher(office, "700") as lamp:
        call = office.talk("alice", "bob")
        alice, bob = office.phones["alice"], office.phones["bob"]
        alice.wait_heard(BOB)
        assert bob.command("transfer", office.house.uri("6200")).get("ok")
        bob.wait_event("CALL_CLOSED")
        bob.events.clear()
        poll(lambda: shown(lamp, "confirmed"), 5, "the slot is not shown busy")
        alice.wait_heard(MUSIC)
        before = alice.seconds_heard(BOB)
        bob.wait_event("CALL_ESTABLISHED")
        alice.wait_heard(BOB, before + 0.5)
        poll(lambda: shown(lamp, "terminated"), 5, "the slot is not shown idle")
    bob.hangup()
    alice.wait_event("CALL_CLOSED")
    ended = office.api.wait(call, "ended")
    assert [leg["to"] for leg in ended["legs"]] == ["bob", "bob"]


@pytest.mark.peer("baresip")
def test_who_parks_himself_hears_the_number_of_the_slot_before_the_music(office: Office) -> None:
    call = calls(office, "carol", "6200")
    office.phones["carol"].wait_heard(MUSIC)
    office.phones["carol"].hangup()
    office.api.wait(call, "ended")
    assert office.heard("carol", MUSIC)[0][0] > 1.5
