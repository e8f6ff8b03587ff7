"""Flows of every dialect on real calls: SIPp and baresip call, a real web server answers and takes recordings."""

from __future__ import annotations

import itertools
import json
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import sipp, sound
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.web import Asked, WebServer

from flows.uuids import uuid_of

CALLER = 600.0


def module(name: str, child: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return {"module": name, "data": data, "children": {"_": child} if child else {}}


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    collected = module("play", module("response", code=486, message="Done"), id="collected.wav")

    def pivot(asked: Asked) -> tuple[int, str, str]:
        return 200, "application/json", json.dumps(collected)

    with WebServer({"/collected": pivot}) as server:
        yield server


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, web: WebServer) -> Iterator[Daemon]:
    action = web.url("/gathered")
    gather = f'<Response><Gather numDigits="2" action="{action}"><Play>prompt.wav</Play></Gather></Response>'
    flows: dict[str, object] = {
        "7000": module(
            "play",
            module(
                "collect_dtmf",
                module("pivot", voice_url=web.url("/collected"), method="post"),
                max_digits=4,
                collection_name="pin",
            ),
            id="prompt.wav",
        ),
        "7001": module("response", code=486, message="Nobody Home"),
        "7002": module("record_caller", module("response"), url=web.url("/kept"), format="mp3", time_limit=5),
        "7003": module("device", module("response", code=404), id="desk", timeout=8),
        "7004": module("ring_group", endpoints=["desk", "nobody"], timeout=8),
        "7005": {
            "title": "message",
            "steps": [
                {"action": "record", "id": "r", "options": {"maxLength": 2, "onFinish": web.url("/finished")}},
            ],
        },
        "7006": gather,
        "7007": {
            "workflow": [
                {"id": 1, "root": 1, "type": "external", "external_step_guid": "s", "next": 2},
                {"id": 2, "type": "hang_up"},
            ],
            "services": [{"guid": "v", "base_url": web.url("/")}],
            "steps": [
                {"guid": "s", "external_service_guid": "v", "kind": "callback", "callback_url": web.url("/verboice")}
            ],
        },
        "7010": {
            "title": "message of somebody who hangs up",
            "steps": [{"action": "record", "options": {"onFinish": web.url("/hungup")}}],
        },
        "7008": module("record_caller", module("pivot", voice_url=web.url("/more")), url=web.url("/kept")),
        "7011": module("record_caller", module("response"), url=web.url("/posted"), format="wav", method="post"),
        "7009": {
            "title": "recorded transfer",
            "steps": [{"action": "transfer", "options": {"destination": "2001", "record": "both"}}],
        },
    }
    daemon = Daemon(
        tmp_path_factory.mktemp("flows"),
        flows,
        sounds={"prompt.wav": sound.tone(700, 1.0), "collected.wav": sound.tone(1100, 1.0)},
        devices=[{"name": name, "password": "secret"} for name in ("desk", "nobody", "2001")],
    )
    with daemon:
        yield daemon


def test_a_kazoo_flow_collects_keys_and_pivots(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "4", "SECOND_MS": "300", "SECOND_KEY": "2"}
    sipp.start("uac_info", tmp_path, server=house.address, number="7000", fill=fill).finish()
    asked = web.wait_for("POST", "/collected")
    assert asked.form["Digits[pin]"] == "42"
    assert asked.form["From"] == "+39011555"
    assert asked.form["To"] == "7000"
    assert asked.form["Call-Status"] == "in-progress"
    (end,) = [house.wait_closed(call) for call in house.calls_to("7000")]
    assert (end["by"], end["reason"]) == ("flow", "486 Done")
    (ladder,) = house.stored_notes(house.calls_to("7000")[0], "Sip")
    lines = [(direction, line) for _, direction, _, line, _ in ladder["messages"]]
    assert lines[0][0] == "in"
    assert lines[0][1].startswith("INVITE sip:7000@")
    assert ("out", "SIP/2.0 200 OK") in lines
    assert lines[-1][1].startswith(("BYE", "SIP/2.0 200"))


def test_a_response_refuses_the_call_before_it_is_answered(house: Daemon, tmp_path: Path) -> None:
    sipp.start("uac_refused", tmp_path, server=house.address, number="7001", fill={"STATUS": "486"}).finish()
    (end,) = [house.wait_closed(call) for call in house.calls_to("7001")]
    assert end["reason"] == "486 Nobody Home"


def test_a_recording_of_the_caller_is_uploaded(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    caller = sipp.start("uac_waits", tmp_path, server=house.address, number="7002", audio=sound.tone(CALLER, 10.0))
    caller.finish()
    (call,) = house.calls_to("7002")
    asked = web.wait_for("PUT", f"/kept/call_recording_{call}.mp3")
    assert asked.headers["content-type"] == "audio/mpeg"
    assert asked.body[:2] == b"\xff\xe3"
    assert 4.5 < len(asked.body) * 8 / 16_000 < 6.0  # seconds at 16 kbit/s


def test_a_recording_is_posted_until_the_web_server_takes_it(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    """Twice it has no time: the same octets come again after one and after five seconds, and not once more."""
    answers = iter([503, 503, 200])
    tried: list[float] = []

    def busy(asked: Asked) -> tuple[int, str, str]:
        tried.append(time.monotonic())
        return next(answers), "text/plain", ""

    begun = len(house.calls_to("7011"))
    fill = {"FIRST_MS": "1200", "FIRST_KEY": "5", "SECOND_MS": "1", "SECOND_KEY": "5"}
    caller = sipp.start(
        "uac_info", tmp_path, server=house.address, number="7011", audio=sound.tone(CALLER, 10.0), fill=fill
    )
    poll(lambda: len(house.calls_to("7011")) > begun or None, 10, "no call")
    call = house.calls_to("7011")[begun]
    path = f"/posted/call_recording_{call}.wav"
    web.pages[path] = busy
    caller.finish()
    poll(lambda: len(tried) == 3 or None, 15, "not three attempts")
    bodies = [each.body for each in web.requests if (each.method, each.path) == ("POST", path)]
    assert bodies == [bodies[0]] * 3
    assert [later - before for before, later in itertools.pairwise(tried)] == pytest.approx([1.0, 5.0], abs=0.9)
    (tmp_path / "posted.wav").write_bytes(bodies[-1])
    rate, channels = sound.read_wav(tmp_path / "posted.wav")
    assert rate == sound.RATE
    ((start, end),) = sound.find_tone(channels[0], CALLER)
    assert 0.3 < end - start < 1.5, "from the beep to the key"
    house.wait_log("callback not delivered", count=2)


@pytest.mark.peer("baresip")
@pytest.mark.parametrize("number", ["7003", "7004"])
def test_a_registered_phone_is_rung_by_a_flow(house: Daemon, tmp_path: Path, number: str) -> None:
    registrar = f"127.0.0.1:{house.sip_port}"
    before = house.log().count("device_registered")
    with Baresip(
        tmp_path / "desk", user="desk", server=registrar, password="secret", audio=sound.tone(900, 20), answers=True
    ) as desk:
        house.wait_log("device_registered", count=before + 1)
        caller = sipp.start(
            "uac_hangup",
            tmp_path / "caller",
            server=house.address,
            number=number,
            audio=sound.tone(CALLER, 10.0),
            fill={"TALK_MS": "1500"},
        )
        desk.wait_event("CALL_ESTABLISHED")
        caller.finish()
        desk.wait_event("CALL_CLOSED")
    (end,) = [house.wait_closed(call) for call in house.calls_to(number)]
    assert end["by"] == "caller"


def test_a_messagebird_recording_is_told_when_it_is_finished(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    web.pages["/finished"] = (200, "application/json", '{"title": "t", "steps": [{"action": "hangup"}]}')
    caller = sipp.start("uac_waits", tmp_path, server=house.address, number="7005", audio=sound.tone(CALLER, 10.0))
    caller.finish()
    asked = web.wait_for("POST", "/finished")
    assert "content-type" not in asked.headers
    told = json.loads(asked.body)
    assert told["duration"] == 2
    (call,) = house.calls_to("7005")
    house.wait_closed(call)
    assert sound.find_tone(mono(house, f"{call}-1"), CALLER)


def test_a_caller_who_hangs_up_has_finished_his_message(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    web.pages["/hungup"] = (200, "text/plain", "nobody reads this")
    fill = {"TALK_MS": "1500"}
    sipp.start(
        "uac_hangup", tmp_path, server=house.address, number="7010", audio=sound.tone(CALLER, 10.0), fill=fill
    ).finish()
    asked = web.wait_for("POST", "/hungup")
    assert "content-type" not in asked.headers
    (call,) = house.calls_to("7010")
    told = json.loads(asked.body)
    assert (told["id"], told["status"], told["duration"]) == (uuid_of(f"{call}-1"), "done", 1)
    assert house.wait_closed(call)["by"] == "caller"


def test_later_recordings_of_a_call_have_numbers(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    more = module("record_caller", module("response", code=486), url=web.url("/kept"))
    web.pages["/more"] = (200, "application/json", json.dumps(more))
    fill = {"FIRST_MS": "1200", "FIRST_KEY": "4", "SECOND_MS": "1200", "SECOND_KEY": "2"}
    sipp.start("uac_info", tmp_path, server=house.address, number="7008", fill=fill).finish()
    (call,) = house.calls_to("7008")
    web.wait_for("PUT", f"/kept/call_recording_{call}.mp3")
    web.wait_for("PUT", f"/kept/call_recording_{call}-2.mp3")
    assert web.wait_for("GET", "/more").form["Recording-Url"] == web.url(f"/kept/call_recording_{call}.mp3")


@pytest.mark.peer("baresip")
def test_both_voices_of_a_transfer_are_recorded_apart(house: Daemon, tmp_path: Path) -> None:
    registrar = f"127.0.0.1:{house.sip_port}"
    before = house.log().count("device_registered")
    with Baresip(
        tmp_path / "desk", user="2001", server=registrar, password="secret", audio=sound.tone(900, 20), answers=True
    ):
        house.wait_log("device_registered", count=before + 1)
        sipp.start(
            "uac_hangup",
            tmp_path / "caller",
            server=house.address,
            number="7009",
            audio=sound.tone(CALLER, 10.0),
            fill={"TALK_MS": "1500"},
        ).finish()
    (call,) = house.calls_to("7009")
    house.wait_closed(call)
    heard = [mono(house, f"{call}-{number}") for number in (1, 2)]
    assert [[bool(sound.find_tone(voice, tone)) for tone in (CALLER, 900.0)] for voice in heard] == [
        [True, False],
        [False, True],
    ]


def mono(house: Daemon, name: str) -> sound.Samples:
    """The sound of a recording of one voice."""
    path = poll(lambda: next(iter(house.folder.glob(f"recordings/**/{name}.wav")), None), 5, "no recording")
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 1
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def test_a_twiml_gather_posts_its_digits(house: Daemon, web: WebServer, tmp_path: Path) -> None:
    web.pages["/gathered"] = (200, "text/xml", "<Response><Hangup/></Response>")
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "1", "SECOND_MS": "300", "SECOND_KEY": "9"}
    sipp.start("uac_info", tmp_path, server=house.address, number="7006", fill=fill).finish()
    asked = web.wait_for("POST", "/gathered")
    assert asked.form["Digits"] == "19"
    assert asked.form["CallSid"] == house.calls_to("7006")[0]


def test_what_an_action_answers_comes_back_to_the_flow_in_verboice(
    house: Daemon, web: WebServer, tmp_path: Path
) -> None:
    """Through both flows that wait: the document with the Gather, and the one of the editor that asked for it."""
    verbs = '<Gather numDigits="2" action="/digits"/><Redirect>/again</Redirect><Pause/>'
    web.pages["/verboice"] = (200, "text/xml", f"<Response>{verbs}</Response>")
    web.pages["/digits"] = (200, "text/xml", "<Response><Pause/></Response>")
    web.pages["/again"] = (200, "text/xml", "<Response/>")
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "1", "SECOND_MS": "300", "SECOND_KEY": "9"}
    sipp.start("uac_info", tmp_path, server=house.address, number="7007", fill=fill).finish()
    (call,) = house.calls_to("7007")
    end = house.wait_closed(call)
    asked = [each for each in web.requests if each.form.get("CallSid") == call]
    assert [each.path for each in asked] == ["/verboice", "/digits", "/again"]
    assert asked[1].form["Digits"] == "19"
    assert (end["by"], end["path"]) == ("flow", "hang_up.2")
