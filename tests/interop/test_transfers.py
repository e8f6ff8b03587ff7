"""Calls that telephones hand on, blind and attended: who talks with whom in the end, and who is told what."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import sipp, sound, trees
from kit.daemon import Daemon, poll
from kit.office import ALICE, BOB, CAROL, MUSIC, Office, office_daemon, staffed
from kit.phone import Phone
from kit.sip import digest, new_branch, transact


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with office_daemon(tmp_path_factory.mktemp("office")) as daemon:
        yield daemon


@pytest.fixture
def office(house: Daemon, tmp_path: Path) -> Iterator[Office]:
    with staffed(house, tmp_path) as made:
        yield made


def handed_on(office: Office, who: str, to: str) -> None:
    answer = office.phones[who].command("transfer", to)
    assert answer.get("ok"), answer


@pytest.mark.peer("baresip")
def test_a_telephone_hands_the_other_on_blindly(office: Office) -> None:
    """Bob, who was called, hands Alice on to Carol; then Alice, who called, hands Carol on to Bob, and is free."""
    call = office.talk("alice", "bob")
    time.sleep(1.0)  # they talk
    handed_on(office, "bob", office.house.uri("203"))
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    office.phones["bob"].wait_event("CALL_CLOSED")
    time.sleep(1.0)  # Alice and Carol
    office.phones["bob"].events.clear()
    handed_on(office, "alice", office.house.uri("202"))
    office.phones["bob"].wait_event("CALL_ESTABLISHED")
    office.phones["alice"].wait_event("CALL_CLOSED")
    time.sleep(1.5)  # Carol and Bob
    office.phones["bob"].hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    ended = office.api.wait(call, "ended")
    assert all(leg["ended_at"] for leg in ended["legs"])
    moves = [row["detail"] for row in office.timeline(call, "Transferred")]
    assert [(move["after"], move["kind"], move["by"]) for move in moves] == [
        (["alice", "carol"], "blind", "bob"),
        (["bob", "carol"], "blind", "alice"),
    ]
    assert office.heard("alice", CAROL) or office.heard("carol", ALICE)
    assert office.heard("carol", BOB)
    for phone in ("alice", "bob"):  # both were told how it went
        assert re.search(r"SIP/2.0 100 Trying.*SIP/2.0 200 OK", office.phones[phone].log(), re.DOTALL)


@pytest.mark.peer("baresip")
def test_who_consults_takes_it_back_by_key_and_completes_it_by_key(office: Office) -> None:
    """Alice hears music while Bob talks with Carol; `#` brings Bob back to her, `*` gives her Carol."""
    call = office.talk("alice", "bob")
    time.sleep(1.0)
    office.act(call, "transfer", {"to": "203", "attended": True})
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    status, refused = office.api.ask("POST", f"/calls/{call}/transfer", {"to": "203"})
    assert (status, refused["error"]["code"]) == (409, "under_way")
    time.sleep(1.5)  # Bob and Carol talk
    office.phones["bob"].press("#")
    office.phones["carol"].wait_event("CALL_CLOSED")
    time.sleep(1.5)  # Alice and Bob talk again
    office.phones["carol"].events.clear()
    office.act(call, "transfer", {"to": "carol", "attended": True})
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    time.sleep(1.0)
    office.phones["bob"].press("*")
    office.phones["bob"].wait_event("CALL_CLOSED")
    time.sleep(1.5)  # Alice and Carol talk
    office.phones["alice"].hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    office.api.wait(call, "ended")
    (moved,) = office.timeline(call, "Transferred")
    assert (moved["detail"]["kind"], moved["detail"]["after"]) == ("attended", ["alice", "carol"])
    music, bob, carol = (office.heard("alice", tone) for tone in (MUSIC, BOB, CAROL))
    assert bob[0][0] < music[0][0] < bob[-1][0] < music[-1][0] < carol[-1][1]
    assert office.heard("bob", CAROL)
    assert not [each for each in office.heard("bob", MUSIC) if each[1] - each[0] > 0.3]


def desk_phone(office: Office, line: Phone | None = None) -> Phone:
    """A telephone of Alice's on her desk that has registered, or another call on it."""
    phone = Phone(office.house.address, user="alice", password="geheim")
    if line is not None:
        phone.sip.close()
        phone.sip = line.sip
    else:
        assert phone.register().status == 200
    return phone


def ask(phone: Phone, method: str, *extra: str) -> int:
    """A request within the call; its status."""
    text = phone.request(method, extra=extra)
    return transact(phone.sip, text, phone._final(method), others=phone._serve).status


@pytest.mark.peer("baresip")
def test_a_transfer_that_fails_leaves_both_talking_and_strangers_reach_nobody_outside(
    office: Office, tmp_path: Path
) -> None:
    """486 and 404 are told, and Bob is heard again; a caller who is no telephone of ours gets 403, and Carol inside."""
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": "486 Busy Here"})
    outside = f"Refer-To: <sip:dave@127.0.0.1:{uas.port}>"
    desk = desk_phone(office)
    assert desk.call("202").status == 200
    office.phones["bob"].wait_event("CALL_ESTABLISHED")
    (call,) = office.live()
    office.until(call["id"], bridged=True)
    for target, status in ((outside, "486"), (f"Refer-To: <{office.house.uri('999')}>", "404")):
        assert ask(desk, "REFER", target) == 202
        assert notified(desk, status)
    uas.finish()
    desk.rtp.wait_for_sound(BOB, since=time.time())
    desk.hangup()
    office.phones["bob"].wait_event("CALL_CLOSED")
    office.api.wait(call["id"], "ended")
    assert office.timeline(call["id"], "Transferred") == []

    office.phones["bob"].events.clear()
    with Phone(office.house.address, user="+39055") as stranger:
        assert stranger.call("7000").status == 200
        office.phones["bob"].wait_event("CALL_ESTABLISHED")
        (call,) = office.live()
        office.until(call["id"], bridged=True)
        assert ask(stranger, "REFER", outside) == 202
        assert notified(stranger, "403")
        assert ask(stranger, "REFER", f"Refer-To: <{office.house.uri('203')}>") == 202
        assert notified(stranger, "200")
        stranger.wait_for_end()
    office.phones["bob"].hangup()
    office.api.wait(call["id"], "ended")
    desk.close()


@pytest.mark.peer("baresip")
def test_two_calls_of_a_telephone_become_one_and_somebody_else_takes_a_place(office: Office) -> None:
    """Alice talks with Bob and with Carol, and leaves them to each other; then she takes Carol's place.

    REFER with Replaces joins her two calls, an INVITE with Replaces puts her into theirs.
    """
    house, api = office.house, office.api
    desk = desk_phone(office)
    assert desk.call("202").status == 200
    desk.rtp.say(sound.tone(ALICE, 30.0))
    office.phones["bob"].wait_event("CALL_ESTABLISHED")
    (first,) = office.live()
    office.until(first["id"], bridged=True)
    desk.rtp.wait_for_sound(BOB)
    second = desk_phone(office, desk)
    assert second.call("203").status == 200
    office.phones["carol"].wait_event("CALL_ESTABLISHED")
    second.rtp.wait_for_sound(CAROL)
    other = next(each for each in office.live() if each["id"] != first["id"])

    unknown = f"<{house.uri('203')}?Replaces=nothing%3Bto-tag%3Da%3Bfrom-tag%3Db>"
    assert ask(desk, "REFER", f"Refer-To: {unknown}") == 202
    assert notified(desk, "481")
    dialog = f"{second.call_id}%3Bto-tag%3D{second.answer.tag if second.answer else ''}%3Bfrom-tag%3D{second.tag}"
    desk.requests.clear()
    assert ask(desk, "REFER", f"Refer-To: <{house.uri('203')}?Replaces={dialog.replace('@', '%40')}>") == 202
    assert notified(desk, "200")
    desk.serve(1.5)  # both calls of hers end, and Bob talks with Carol
    assert sum(request.method == "BYE" for request in desk.requests) == 2
    api.wait(other["id"], "ended")
    office.until(first["id"], bridged=True)
    (moved,) = office.timeline(first["id"], "Transferred")
    assert (moved["detail"]["kind"], moved["detail"]["after"]) == ("attended", ["carol", "bob"])

    invites = re.findall(r"\nINVITE sip:carol.*?\n\r?\n", office.phones["carol"].log(), re.DOTALL)
    call_id, ours = (re.search(rf"{name}[:=] *([^\s;>]+)\r?\n", invites[-1]) for name in ("Call-ID", "tag"))
    theirs = re.findall(r"\nTo: [^\n]*;tag=([0-9a-f]+)", office.phones["carol"].log().split("200 Answering")[-1])
    assert call_id
    assert ours
    third = desk_phone(office, desk)
    replaces = f"Replaces: {call_id[1]};from-tag={theirs[0]};to-tag={ours[1]}"
    third.number = "203"
    third._invite_branch = new_branch()
    text = third.request("INVITE", branch=third._invite_branch, body=third.offer(), extra=[replaces])
    answer = transact(third.sip, text, third._final("INVITE"), others=third._serve)
    third.acknowledge(answer)
    assert answer.status == 200
    third.established(answer)
    office.phones["carol"].wait_event("CALL_CLOSED")
    third.rtp.wait_for_sound(BOB)
    assert [row["detail"]["after"] for row in office.timeline(first["id"], "Transferred")][-1] == ["alice", "bob"]
    office.phones["bob"].hangup()
    third.wait_for_end()
    api.wait(first["id"], "ended")
    assert office.heard("bob", CAROL)
    assert office.heard("carol", BOB)
    assert all(lamp_is_off(office, entity) for entity in ("201", "202", "203"))
    for phone in (desk, second, third):
        phone.rtp.close()
    desk.sip.close()


@pytest.mark.peer("baresip")
@pytest.mark.parametrize(("within", "waits"), [("call", True), ("menu", True), ("menu", False)])
def test_who_talks_with_a_telephone_takes_its_place_in_a_menu(office: Office, within: str, waits: bool) -> None:
    """Alice has gone into a menu, and talks with Bob: he goes on where she was, whichever call she asks in, also if she
    hangs up there in the same moment.
    """
    menu = desk_phone(office)
    assert menu.call("6000").status == 200
    menu.rtp.wait_for_sound(trees.ROOT_HZ)
    menu.info("1")
    menu.rtp.wait_for_sound(trees.ONE_HZ)
    (first,) = office.live()
    call = desk_phone(office, menu)
    assert call.call("202").status == 200
    office.phones["bob"].wait_event("CALL_ESTABLISHED")
    other = next(each["id"] for each in office.live() if each["id"] != first["id"])
    office.until(other, bridged=True)
    asks, named = (call, menu) if within == "call" else (menu, call)
    dialog = f"{named.call_id}%3Bto-tag%3D{named.answer.tag if named.answer else ''}%3Bfrom-tag%3D{named.tag}"
    refer_to = f"<{office.house.uri(named.number)}?Replaces={dialog.replace('@', '%40')}>"
    asks.requests.clear()
    asks.sip.send(asks.request("REFER", extra=[f"Refer-To: {refer_to}"]))
    if not waits:
        asks.sip.send(asks.request("BYE"))
    assert notified(asks, "200")
    over = {menu.call_id, call.call_id} if waits else {call.call_id}

    def hung_up_on() -> bool | None:
        asks.serve(0.1)
        return over <= {each.get("call-id") for each in asks.requests if each.method == "BYE"} or None

    poll(hung_up_on, 5, "not both got a BYE")
    assert office.api.wait(other, "ended")["end"]["by"] == "flow"
    office.phones["bob"].press("2")
    office.phones["bob"].wait_event("CALL_CLOSED")
    ended = office.api.wait(first["id"], "ended")
    assert (ended["end"]["by"], ended["path"]) == ("flow", trees.path("key:1", "key:2"))
    assert [bool(leg["ended_at"]) for leg in ended["legs"]] == [True, True]
    (moved,) = office.timeline(first["id"], "Transferred")
    assert (moved["detail"]["kind"], moved["detail"]["by"]) == ("attended", "alice")
    assert (moved["detail"]["before"], moved["detail"]["after"]) == (["alice", "6000"], ["bob", "6000"])
    assert office.heard("bob", trees.TWO_HZ)
    assert all(lamp_is_off(office, entity) for entity in ("201", "202"))
    for phone in (menu, call):
        phone.rtp.close()
    menu.sip.close()


def watch(phone: Phone, entity: str) -> None:
    """Have the lamp of ``entity`` on this telephone."""
    phone.number = entity
    extra = ["Event: dialog", "Expires: 600"]
    text = phone.request("SUBSCRIBE", uri=phone.uri, extra=extra)
    answer = transact(phone.sip, text, phone._final("SUBSCRIBE"), others=phone._serve)
    if answer.status == 401:
        proof = digest(answer.get("www-authenticate"), "SUBSCRIBE", phone.uri, phone.user, phone.password)
        text = phone.request("SUBSCRIBE", uri=phone.uri, extra=[*extra, f"Authorization: {proof}"])
        answer = transact(phone.sip, text, phone._final("SUBSCRIBE"), others=phone._serve)
    assert answer.status == 200


def lamp_is_off(office: Office, entity: str) -> bool:
    """Whether who begins to watch ``entity`` is told of no dialog."""
    with Phone(office.house.address, user="carol", password="geheim") as phone:
        watch(phone, entity)
        return "<dialog " not in phone.wait_for("NOTIFY").body


def blinking(phone: Phone) -> dict[str, str]:
    """The dialog that rings, as the last NOTIFY tells it."""

    def found() -> dict[str, str] | None:
        phone.serve(0.1)
        for notify in reversed([each for each in phone.requests if each.method == "NOTIFY"]):
            if "<state>early</state>" in notify.body:
                return dict(re.findall(r'([a-z-]+)="([^"]*)"', notify.body.partition("<dialog ")[2].partition(">")[0]))
        return None

    return poll(found, 10, "no lamp blinks")


@pytest.mark.peer("baresip")
def test_a_telephone_picks_up_what_rings_at_another(office: Office) -> None:
    """Carol calls Alice, whose telephone rings; Bob's lamp blinks, and he takes the call: Alice's rings no more."""
    watcher = Phone(office.house.address, user="bob", password="geheim")
    assert watcher.register().status == 200
    watch(watcher, "201")
    office.phones["carol"].dial(office.house.uri("201"))
    dialog = blinking(watcher)
    assert dialog["direction"] == "recipient"
    desk = Phone(office.house.address, user="bob", password="geheim")
    desk.sip.close()
    desk.sip = watcher.sip
    desk.number = "201"
    desk._invite_branch = new_branch()
    replaces = f"{dialog['call-id']};to-tag={dialog['remote-tag']};from-tag={dialog['local-tag']};early-only"
    text = desk.request("INVITE", branch=desk._invite_branch, body=desk.offer(), extra=[f"Replaces: {replaces}"])
    answer = transact(desk.sip, text, desk._final("INVITE"), others=desk._serve)
    desk.acknowledge(answer)
    assert answer.status == 200
    desk.established(answer)
    office.phones["alice"].wait_event("CALL_CLOSED")
    assert "Call completed elsewhere" in office.phones["alice"].log()
    desk.rtp.wait_for_sound(CAROL)
    (call,) = office.live()
    desk.hangup()
    office.phones["carol"].wait_event("CALL_CLOSED")
    ended = office.api.wait(call["id"], "ended")
    # Alice may have telephones left from before; none of them answered.
    assert {(leg["to"], leg["answered_at"] is None) for leg in ended["legs"]} == {("alice", True), ("bob", False)}
    assert all(leg["ended_at"] for leg in ended["legs"])
    documents = [each.body for each in desk.requests if each.method == "NOTIFY"]
    assert "<state>terminated</state>" in documents[-1]  # the lamp is off
    watcher.rtp.close()
    desk.close()


@pytest.mark.peer("baresip")
def test_a_telephone_that_is_held_hears_music_and_talks_again(office: Office) -> None:
    """Whoever is on the line, and a peer: the one whom the API puts on hold hears music until it is resumed."""
    desk = desk_phone(office)
    assert desk.call("202").status == 200
    office.phones["bob"].wait_event("CALL_ESTABLISHED")
    (call,) = office.live()
    office.until(call["id"], bridged=True)
    for party, tone in (("line", MUSIC), ("line", BOB)):
        began = desk.rtp.wait_for_sound(BOB)
        what = "hold" if tone == MUSIC else "resume"
        with desk.serving():
            office.act(call["id"], what, {"party": party})
        desk.rtp.wait_for_sound(tone, since=began)
    desk.hangup()
    desk.close()
    office.api.wait(call["id"], "ended")


@pytest.mark.peer("baresip")
def test_a_kill_after_a_transfer_ends_those_who_talk(tmp_path: Path) -> None:
    """Alice has left: the dialogs of Bob and Carol are in the journal, and both get their BYE after the restart."""
    with office_daemon(tmp_path / "house") as house, staffed(house, tmp_path) as office:
        call = office.talk("alice", "bob")
        office.act(call, "transfer", {"to": "203", "leaves": "line"})
        office.phones["carol"].wait_event("CALL_ESTABLISHED")
        office.phones["alice"].wait_event("CALL_CLOSED")
        poll(lambda: office.timeline(call, "Transferred") or None, 5, "no transfer was put down")
        house.kill_everything()
        house.start()
        for name in ("bob", "carol"):
            office.phones[name].wait_event("CALL_CLOSED")
        ended = office.api.wait(call, "ended")
        assert all(leg["ended_at"] for leg in ended["legs"])


def notified(phone: Phone, status: str) -> bool:
    """Whether a NOTIFY tells this final status of a transfer."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        if any(each.method == "NOTIFY" and f"SIP/2.0 {status}" in each.body for each in phone.requests):
            return True
        phone.serve(0.1)
    return False
