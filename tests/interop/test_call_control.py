"""Calls that live, in the hands of the API: hold, recording, transfer, another flow, heard by other people's phones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import sound
from kit.daemon import Daemon
from kit.office import ALICE, BOB, CAROL, MUSIC, Office, office_daemon, staffed

LONG_PAUSE = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 30}}]}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with office_daemon(tmp_path_factory.mktemp("office")) as daemon:
        yield daemon


@pytest.fixture
def office(house: Daemon, tmp_path: Path) -> Iterator[Office]:
    with staffed(house, tmp_path) as made:
        yield made


@pytest.mark.peer("baresip")
def test_held_recorded_and_handed_on(office: Office) -> None:
    """Alice called Bob. She hears music on hold, is recorded, and talks with Carol in the end; Bob is free."""
    call = office.talk("alice", "bob")
    assert office.act(call, "record")["recording"]
    office.act(call, "record")
    time.sleep(1.0)  # they talk
    assert office.act(call, "hold")["held"] == ["line"]
    office.act(call, "hold")  # once more changes nothing
    time.sleep(1.5)  # Alice hears music
    assert office.act(call, "resume", {"party": ""})["held"] == []
    time.sleep(1.0)
    office.act(call, "transfer", {"to": "203"})
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    office.phones["bob"].wait_event("CALL_CLOSED")
    time.sleep(1.0)  # Alice and Carol talk
    office.act(call, "stop-record")
    office.until(call, recording=False)
    office.phones["carol"].hangup()
    office.phones["alice"].wait_event("CALL_CLOSED")
    ended = office.api.wait(call, "ended")
    assert ended["end"]["by"] == "flow"
    assert office.api.ask("POST", f"/calls/{call}/hold")[1]["error"]["code"] == "ended"
    told = [row["kind"] for row in office.timeline(call, "Held", "Resumed", "Transferred", "Bridged")]
    assert told == ["Bridged", "Held", "Resumed", "Bridged", "Transferred"]
    (moved,) = office.timeline(call, "Transferred")
    assert (moved["detail"]["before"], moved["detail"]["after"]) == (["alice", "bob"], ["alice", "carol"])
    assert (moved["detail"]["kind"], moved["detail"]["by"]) == ("blind", "owner")
    assert office.heard("carol", ALICE)
    assert not office.heard("carol", BOB)
    assert not office.heard("bob", CAROL)
    (recording,) = office.recordings(call)
    _, (left, right) = sound.read_wav(recording)  # what Alice says, and what is sent to her
    assert sound.find_tone(left, ALICE)
    before, music, after = (sound.find_tone(right, tone) for tone in (BOB, MUSIC, CAROL))
    assert before[0][0] < music[0][0] < music[-1][1] < before[-1][1] < after[-1][1]


@pytest.mark.peer("baresip")
def test_the_caller_hands_the_other_on_and_the_record_goes_on(office: Office) -> None:
    """Alice leaves: Bob, whom she called, is on the line from then on, talks with Carol, and is recorded."""
    call = office.talk("alice", "bob")
    office.act(call, "record")
    time.sleep(1.0)
    office.act(call, "transfer", {"to": "carol", "leaves": "line"})
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    office.phones["alice"].wait_event("CALL_CLOSED")
    time.sleep(1.5)  # Bob and Carol talk
    assert office.api.get(call)["recording"]
    office.phones["bob"].hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    ended = office.api.wait(call, "ended")
    assert ended["end"]["by"] == "caller"
    assert all(leg["ended_at"] for leg in ended["legs"])
    assert sorted(leg["to"] for leg in ended["legs"]) == ["alice", "bob", "carol"]
    (moved,) = office.timeline(call, "Transferred")
    assert (moved["detail"]["before"], moved["detail"]["after"]) == (["alice", "bob"], ["carol", "bob"])
    assert office.heard("bob", CAROL)
    assert office.heard("carol", BOB)
    assert not office.heard("alice", CAROL)
    first, second = office.recordings(call)
    assert sound.find_tone(sound.read_wav(first)[1][0], ALICE)
    assert sound.find_tone(sound.read_wav(second)[1][0], BOB)
    assert sound.find_tone(sound.read_wav(second)[1][1], CAROL)


@pytest.mark.peer("baresip")
def test_a_flow_takes_over_and_is_handed_on_itself(office: Office) -> None:
    """Of two who talk the caller gets another flow, and from there somebody else; what cannot be is refused."""
    call = office.talk("alice", "bob")
    api = office.api
    status, refused = api.ask("POST", f"/calls/{call}/transfer", {"to": "+39999"})
    assert (status, refused["error"]["code"], refused["error"]["field"]) == (422, "no_target", "to")
    status, refused = api.ask("POST", f"/calls/{call}/flow", {"flow": "nothing"})
    assert (status, refused["error"]["code"]) == (422, "bad_flow")
    status, refused = api.ask("POST", f"/calls/{call}/hold", {"party": "everybody"})
    assert (status, refused["error"]["field"]) == (400, "party")
    assert api.ask("POST", "/calls/nothing/hold")[0] == 404
    office.act(call, "flow", {"flow": LONG_PAUSE})
    office.phones["bob"].wait_event("CALL_CLOSED")
    office.until(call, bridged=False, path="p")
    status, refused = api.ask("POST", f"/calls/{call}/transfer", {"to": "203", "attended": True})
    assert (status, refused["error"]["code"]) == (409, "unsupported")
    office.act(call, "transfer", {"to": "203"})
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    time.sleep(1.0)
    office.phones["alice"].hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    api.wait(call, "ended")
    assert [row["detail"].get("after") for row in office.timeline(call, "FlowReplaced", "Transferred")] == [
        None,
        ["alice", "carol"],
    ]
    assert office.heard("alice", CAROL)
    assert office.heard("carol", ALICE)
