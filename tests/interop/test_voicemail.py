"""Messages left and checked by a phone that is not ours: what it hears, what is stored, who is told."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import capture, sound
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.hooks import HookServer

VOICE, BEEP, GREETING = 600.0, 1000.0, 1700.0
PIN = "4711"
LONGEST = 4.0
"""Seconds of a message in the boxes of these tests."""


def voicemail(**data: object) -> dict[str, object]:
    """A callflow."""
    return {"flow": {"module": "voicemail", "data": data, "children": {}}}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, hooks: HookServer) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("office")
    sound.write_wav(folder / "greeting.wav", sound.tone(GREETING, 1.0))
    box = {
        "pin": PIN,
        "greeting": str(folder / "greeting.wav"),
        "skip_instructions": True,
        "max_message_length": LONGEST,
        "time_zone": "Europe/Rome",
    }
    daemon = Daemon(
        folder,
        {"7100": voicemail(id="100"), "7101": voicemail(id="101"), "7000": voicemail(action="check")},
        mailboxes=[
            {"id": "100", "format": "mp3", "notify_url": hooks.url("/voicemail"), **box},
            {"id": "101", "format": "wav", **box},
        ],
    )
    with daemon:
        yield daemon


def rows(office: Daemon, query: str) -> list[tuple[Any, ...]]:
    database = f"file:{office.folder / 'ivrea.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(database, uri=True, timeout=5)) as connection:
        return list(connection.execute(query))


def messages(office: Daemon, box: str, count: int) -> list[tuple[Any, ...]]:
    """(state, path, seconds, caller) of so many messages of a box, once the database has them."""
    query = f"SELECT state, path, seconds, caller FROM messages WHERE box = '{box}' ORDER BY created_at"
    return poll(lambda: found if len(found := rows(office, query)) == count else None, 5, f"not {count} messages")


def said(office: Daemon, call: str) -> str:
    """The story of the voicemail step of a call."""
    (note,) = office.stored_notes(call, "Performed")
    return str(note["story"])


def press(phone: Baresip, keys: str) -> None:
    for key in keys:
        phone.press(key)
        time.sleep(0.25)


@pytest.mark.peer("baresip")
def test_a_message_is_left_announced_heard_and_deleted(office: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    """Leaves a message to its limit and keeps it by the menu; then its owner hears it by PIN, saves and deletes it."""
    with Baresip(tmp_path / "caller", user="caller", audio=sound.tone(VOICE, 60), keep=True) as caller:
        caller.dial(office.uri("7100"))
        caller.wait_event("CALL_ESTABLISHED")
        time.sleep(1.4 + LONGEST + 1.0)  # the greeting, the beep, the message
        press(caller, "2")
        caller.wait_event("CALL_CLOSED")
    _, heard = caller.heard()
    assert sound.find_tone(heard, GREETING)
    assert sound.find_tone(heard, BEEP)
    ((state, path, seconds, who),) = messages(office, "100", 1)
    assert (state, who) == ("new", "caller")
    assert seconds == pytest.approx(LONGEST, abs=0.1)
    assert Path(path).is_relative_to(office.folder / "recordings" / "voicemail")
    assert Path(path).suffix == ".mp3"
    (call,) = office.calls_to("7100")
    assert said(office, call) == "left a message of 4 s in 100"
    hit = poll(lambda: next((hit for hit in hooks.hits if hit.path == "/voicemail"), None), 5, "nobody was told")
    told = json.loads(hit.body)
    assert (hit.method, told["mailbox"], told["from"], told["to"]) == ("POST", "100", "caller", "7100")
    assert (told["event"], told["call"], told["message"]) == ("voicemail", call, Path(path).stem)

    with Baresip(tmp_path / "owner", user="owner", keep=True) as owner:
        owner.dial(office.uri("7000"))
        owner.wait_event("CALL_ESTABLISHED")
        time.sleep(0.3)
        press(owner, f"100#{PIN}#")
        office.wait_log("mailbox_checked")
        press(owner, "11")  # the new messages; of the first one the sound alone
        time.sleep(LONGEST + 1.0)
        press(owner, "7")
        time.sleep(1.0)
        owner.hangup()
        office.wait_closed(office.calls_to("7000")[-1])
    _, heard = owner.heard()
    assert sum(end - start for start, end in sound.find_tone(heard, VOICE, above=-40.0)) > LONGEST - 1.0
    assert messages(office, "100", 1)[0][0] == "deleted"
    poll(lambda: not Path(path).exists() or None, 10, "the file of the deleted message stayed")


@pytest.mark.peer("baresip")
def test_who_hangs_up_has_left_a_message(office: Daemon, tmp_path: Path) -> None:
    with Baresip(tmp_path / "caller", user="caller", audio=sound.tone(VOICE, 60)) as caller:
        caller.dial(office.uri("7101"))
        caller.wait_event("CALL_ESTABLISHED")
        time.sleep(1.4 + 2.5)
        caller.hangup()
        (call,) = office.calls_to("7101")
        assert office.wait_closed(call)["by"] == "caller"
    ((state, path, seconds, _),) = messages(office, "101", 1)
    assert state == "new"
    assert 1.5 < seconds < 3.5
    _, (samples, *_) = sound.read_wav(Path(path))
    assert sum(end - start for start, end in sound.find_tone(samples, VOICE)) > seconds - 0.5


@pytest.mark.peer("baresip")
def test_a_kill_leaves_what_there_is_of_a_message(
    daemon_for: Callable[..., Daemon], hooks: HookServer, tmp_path: Path
) -> None:
    """The daemon is killed while somebody speaks: the restart leaves the message, and tells the customer's server."""
    box = {"format": "wav", "skip_greeting": True, "skip_instructions": True, "notify_url": hooks.url("/killed")}
    office = daemon_for({"7102": voicemail(id="102")}, mailboxes=[{"id": "102", **box}])
    with Baresip(tmp_path / "caller", user="caller", audio=sound.tone(VOICE, 60)) as caller:
        caller.dial(office.uri("7102"))
        caller.wait_event("CALL_ESTABLISHED")
        poll(lambda: any(each.stat().st_size > 40_000 for each in office.recordings()) or None, 20, "no recording")
        office.kill_everything()
        office.start()
        ((state, path, seconds, who),) = messages(office, "102", 1)
    assert (state, who) == ("new", "caller")
    assert seconds > 1.5
    _, (samples, *_) = sound.read_wav(Path(path))
    assert sum(end - start for start, end in sound.find_tone(samples, VOICE)) > seconds - 1.0
    hit = poll(lambda: next((hit for hit in hooks.hits if hit.path == "/killed"), None), 10, "nobody was told")
    assert json.loads(hit.body)["message"] == Path(path).stem


@pytest.mark.peer("baresip")
def test_a_wrong_pin_opens_nothing(office: Daemon, tmp_path: Path) -> None:
    with Baresip(tmp_path / "thief", user="thief") as thief:
        thief.dial(office.uri("7000"))
        thief.wait_event("CALL_ESTABLISHED")
        time.sleep(0.3)
        for _ in range(3):
            press(thief, "101#0000#")
            time.sleep(1.5)
        thief.wait_event("CALL_CLOSED")
    assert said(office, office.calls_to("7000")[-1]) == "nobody logged in"


@pytest.mark.peer("baresip")
def test_a_capture_has_both_ways_of_the_sound_but_not_the_pin(office: Daemon, tmp_path: Path) -> None:
    """The owner of a box names it, enters the PIN at one go, and presses another key: all but the PIN is captured."""
    with Baresip(tmp_path / "owner", user="owner", audio=sound.tone(VOICE, 60), keep=True) as owner:
        owner.dial(office.uri("7000"))
        owner.wait_event("CALL_ESTABLISHED")
        call = office.calls_to("7000")[-1]
        assert Api(office).ask("POST", f"/calls/{call}/capture")[0] == 202
        press(owner, "100")
        time.sleep(1.1)  # what led to a secret is hidden with it
        checked = office.log().count("mailbox_checked")
        press(owner, f"#{PIN}#")
        office.wait_log("mailbox_checked", count=checked + 1)
        press(owner, "5")  # the settings
        time.sleep(3.0)
        live = capture.fetch(office, call)
        owner.hangup()
        office.wait_closed(call)
    found = capture.fetch(office, call)
    for text in (b"INVITE sip:7000@", b"SIP/2.0 200 OK", b"BYE sip:"):
        assert found.says(text), text
    (stream,) = found.about["streams"]
    assert stream["ended"] == "closed"
    assert {way["kind"] for way in stream["ways"]} == {"rtp", "rtcp"}, "the last report of each call says BYE"
    (port,) = found.ports()
    received, sent = found.rtp(to=port), found.rtp(source=port)
    assert len(live.rtp(to=port)) > 100, "as far as it has got"

    # What the telephone said: its tone, in the order of its numbers, before and after the PIN, which is nowhere.
    (secret,) = found.about["secret"]
    numbers = np.diff([each.sequence for each in received]) & 0xFFFF
    assert (numbers == 1).mean() > 0.98
    assert sound.find_tone(capture.heard(received, 0.0, secret["from"] - 1.1), VOICE)[0][1] > 0.5
    assert sound.find_tone(capture.heard(received, secret["to"] + 2.1), VOICE)
    silent = capture.heard(received, secret["from"], secret["to"] + 1.9)
    assert len(silent) > sound.RATE
    assert sound.level(silent) < -60.0
    pressed = capture.keys(received)
    assert [key for key in pressed if key != 255] in ([1, 0, 0, 5], [1, 0, 0, 11, 5]), pressed
    assert pressed.count(255) in (5, 6)

    # What it was told: what it heard.
    _, heard = owner.heard()
    told = capture.heard(sent, secret["to"])
    begin, _ = sound.find_sound(told)[0]
    piece = told[round(begin * sound.RATE) :][: sound.RATE]
    assert sound.lag(piece, heard)[1] > 0.9


def test_pins_are_not_kept_as_they_are(office: Daemon) -> None:
    kept = rows(office, "SELECT pin FROM mailboxes")
    assert len({pin for (pin,) in kept}) == 2  # salted
    assert PIN not in json.dumps(kept)
