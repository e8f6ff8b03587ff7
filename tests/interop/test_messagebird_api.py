"""The Voice API of MessageBird, driven by their Python SDK and by curl, with real calls behind."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
import urllib.request
import uuid
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import sipp
from kit.api import Api, add_account, first_token
from kit.baresip import Baresip
from kit.daemon import ROOT, Daemon, poll
from kit.voice import Voice
from kit.web import Asked, WebServer

pytestmark = pytest.mark.peer("sipp", "curl", "messagebird")  # their Python SDK

HANGUP = {"title": "h", "steps": [{"action": "hangup"}]}
PAUSE = {"title": "p", "steps": [{"id": "wait", "action": "pause", "options": {"length": 60}}]}
TALK = {"payload": "Hello, how are you?", "language": "en-GB", "voice": "male", "ifMachine": "continue"}
SEEDS_FLOW = """{ "title": "Example Call Flow", "steps": [ { "id": "foo", "action": "transfer", "options":
 { "destination": "31612345678" } }, { "id": "bar", "action": "hangup" } ] }"""
SEEDS_BROKEN_FLOW = """{ "id": "de3ed163-d5fc-45f4-b8c4-7eea7458c635", "title": "Forward call to 31612345678",
 "record": true, "steps": [ { "id": "3538a6b8-5a2e-4537-8745-f72def6bd393", "action": "transfer", "options":
 { "destination": "31612345678" }, } ], "createdAt": "2017-03-06T13:34:14Z", "updatedAt": "2017-03-06T13:34:14Z" }"""
TOKEN = "a token of at least thirty-two octets"
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Bird:
    daemon: Daemon
    voice: Voice
    web: WebServer

    def sdk(self) -> Any:
        """A client of the SDK. Where it asks is a global of the SDK."""
        from messagebird import client

        client.VOICE_API_ROOT = self.voice.root
        return client.Client(self.voice.key)

    def listen(self, path: str) -> str:
        """The URL of a webhook that takes only what is signed."""
        url = self.web.url(path)

        def take(asked: Asked) -> tuple[int, str, str]:
            check_signatures(asked, url)
            return 204, "text/plain", ""

        self.web.pages[path] = take
        return url

    def told(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """Type and object of each thing that a webhook was told, in order; of repeats the first."""
        found = []
        asked_before: set[str] = set()
        for asked in [each for each in list(self.web.requests) if each.path == path]:
            ident = json.loads(asked.body)["id"]
            if ident in asked_before:  # a repeat
                continue
            asked_before.add(ident)
            found += [(item["type"], item["payload"]) for item in json.loads(asked.body)["items"]]
        return found

    def wait_told(self, path: str, wanted: Callable[[list[tuple[str, dict[str, Any]]]], bool]) -> Any:
        return poll(lambda: told if wanted(told := self.told(path)) else None, 20, f"{path} was not told", every=0.1)


def refuses(code: int, ask: Callable[[], object]) -> None:
    """The SDK raises an error of the API with this code."""
    from messagebird.client import ErrorException

    with pytest.raises(ErrorException) as refused:
        ask()
    assert refused.value.errors[0].code == code


def check_signatures(asked: Asked, url: str) -> None:
    from messagebird.request_validator import RequestValidator

    RequestValidator(TOKEN).validate_signature(asked.headers["messagebird-signature-jwt"], url, asked.body)
    expected = hmac.new(TOKEN.encode(), asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["x-messagebird-signature"] == expected
    assert asked.headers["content-type"] == "application/json"


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bird]:
    daemon = Daemon(
        tmp_path_factory.mktemp("bird"),
        {"7000": HANGUP},
        devices=[{"name": "bob", "password": "geheim"}],
    )
    with WebServer() as web, daemon:
        yield Bird(daemon, Voice.of(daemon), web)


@pytest.fixture
def hook(bird: Bird, request: pytest.FixtureRequest) -> Iterator[str]:
    """A webhook for all calls: the path under which it is told."""
    path = f"/{request.node.name.partition('[')[0]}"
    (made,) = bird.voice.data("POST", "/webhooks", {"url": bird.listen(path), "token": TOKEN}, status=201)
    yield path
    bird.voice.data("DELETE", f"/webhooks/{made['id']}", status=204)


def last(told: list[tuple[str, dict[str, Any]]], kind: str) -> dict[str, Any]:
    return next((payload for each, payload in reversed(told) if each == kind), {})


# --- the SDK ------------------------------------------------------------------------------


def test_the_sdk_makes_a_call_and_fetches_its_recording_and_its_words(bird: Bird, tmp_path: Path) -> None:
    client = bird.sdk()
    uas = sipp.start("uas_echo", tmp_path / "uas")
    flow = {
        "title": "Recorded",
        "record": True,
        "steps": [
            {"id": "talk", "action": "say", "options": TALK},
            {"action": "record", "options": {"maxLength": 1, "transcribe": True, "transcribeLanguage": "nl-NL"}},
        ],
    }
    destination = f"sip:echo@127.0.0.1:{uas.port}"
    told_to = {"url": bird.listen("/of-the-call"), "token": TOKEN}
    call = client.call_create("31644556677", destination, flow, told_to).data
    assert (call.status, call.source, call.destination) == ("starting", "31644556677", destination)
    uas.finish()
    bird.voice.wait(f"/calls/{call.id}", lambda found: found["status"] == "ended")
    ended = client.call(call.id).data
    assert ended.endedAt >= ended.createdAt
    assert call.id in [each.id for each in client.call_list().data]

    (leg,) = bird.voice.data("GET", f"/calls/{call.id}/legs")
    assert (leg["status"], leg["direction"], leg["destination"]) == ("hangup", "outgoing", destination)
    assert (leg["sipResponseCode"], leg["callId"], leg["id"] != call.id) == (200, call.id, True)
    assert leg["duration"] >= 2
    whole, step = client.voice_recording_list_recordings(call.id, leg["id"]).data
    assert (whole.status, whole.type, whole.format, step.status, step.duration) == ("done", "call", "wav", "done", 1)
    assert client.voice_recording_view(call.id, leg["id"], whole.id).legId == leg["id"]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        client.voice_recording_download(call.id, leg["id"], whole.id)
    with wave.open(str(tmp_path / f"{whole.id}.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 2)
        assert file.getnframes() > 2 * 8000

    made = client.voice_transcription_create(call.id, leg["id"], whole.id, "en-US").data[0]
    assert made.status == "created"
    path = f"/calls/{call.id}/legs/{leg['id']}/recordings/{whole.id}/transcriptions"
    done = bird.voice.wait(f"{path}/{made.id}", lambda found: found["status"] in ("done", "failed"), 60)
    assert (done["status"], done["error"], done["recordingId"]) == ("done", None, whole.id)
    assert [each.id for each in client.voice_transcription_list(call.id, leg["id"], whole.id).data] == [made.id]
    assert client.voice_transcription_view(call.id, leg["id"], whole.id, made.id).data[0].status == "done"
    status, words = bird.voice.curl("GET", f"{path}/{made.id}.txt")
    assert status == 200
    assert re.fullmatch(r"[a-z' ]+", words), words  # what a machine says at 8 kHz is not heard well, but is words

    (asked_by_flow,) = client.voice_transcription_list(call.id, leg["id"], step.id).data
    failed = bird.voice.wait(f"/transcriptions/{asked_by_flow.id}", lambda found: found["status"] == "failed", 60)
    assert failed["error"] == "the language 'nl-nl' is not installed"
    assert bird.voice.curl("GET", f"/transcriptions/{asked_by_flow.id}.txt")[0] == 404

    client.voice_recording_delete(call.id, leg["id"], whole.id)
    assert [each.id for each in client.voice_recording_list_recordings(call.id, leg["id"]).data] == [step.id]
    refuses(13, lambda: client.voice_recording_view(call.id, leg["id"], whole.id))
    assert not list(bird.daemon.folder.rglob(f"{uuid.UUID(call.id).hex}-1.wav"))

    ends = {(made.id, "done"), (asked_by_flow.id, "failed")}
    told = bird.wait_told(
        "/of-the-call", lambda told: ends <= {(payload["id"], payload["status"]) for _, payload in told}
    )
    assert [kind for kind, _ in told[:2]] == ["callCreated", "legCreated"]
    calls = [payload["status"] for kind, payload in told if kind.startswith("call")]
    assert calls == ["starting", "ongoing", "ended"]
    assert [payload["status"] for kind, payload in told if kind.startswith("leg")] == ["starting", "ongoing", "hangup"]
    recordings = [(payload["id"], payload["status"]) for kind, payload in told if kind.startswith("recording")]
    assert sorted(recordings) == sorted((each.id, s) for each in (whole, step) for s in ("recording", "done"))
    texts = [(payload["id"], payload["status"]) for kind, payload in told if kind.startswith("transcription")]
    assert [status for each, status in texts if each == made.id] == ["created", "transcribing", "done"]
    assert [status for each, status in texts if each == asked_by_flow.id] == ["created", "transcribing", "failed"]


def test_the_sdk_stores_a_flow_that_answers_a_number(bird: Bird, tmp_path: Path, hook: str) -> None:
    client = bird.sdk()
    flow = client.call_flow_create([{"action": "pause", "options": {"length": 1}}], title="Number's own")
    assert uuid.UUID(flow.steps[0]["id"])
    assert (flow.default, flow.record, flow.title) == (False, False, "Number's own")
    (number,) = client.call_flow_numbers_add(flow.id, ["31201000100"]).data
    assert (number.number, number.callFlowId) == ("31201000100", flow.id)
    assert [each.id for each in client.call_flow_numbers_list(flow.id).data] == [number.id]
    sipp.start("uac_audio", tmp_path / "uac", server=bird.daemon.address, number="31201000100").finish()
    told = bird.wait_told(hook, lambda told: last(told, "callUpdated").get("status") == "ended")
    call = last(told, "callUpdated")
    assert (call["source"], call["destination"], call["numberId"]) == ("39011555", "31201000100", number.id)
    assert [payload["direction"] for kind, payload in told if kind == "legCreated"] == ["incoming"]
    assert client.call(call["id"]).data.status == "ended"
    changed = client.call_flow_update(flow.id, [{"action": "hangup"}], default=False, record=True, title="Other")
    assert (changed.title, changed.record, [step["action"] for step in changed.steps]) == ("Other", True, ["hangup"])
    assert client.call_flow(flow.id).title == "Other"
    assert flow.id in [each.id for each in client.call_flow_list().data]
    client.call_flow_delete(flow.id)
    refuses(13, lambda: client.call_flow(flow.id))
    assert bird.sdk().call_list(page=1).totalCount >= 1


def test_the_sdk_keeps_webhooks(bird: Bird) -> None:
    from messagebird.voice_webhook import VoiceCreateWebhookRequest, VoiceUpdateWebhookRequest

    client = bird.sdk()
    made = client.voice_create_webhook(VoiceCreateWebhookRequest(url="https://example.com/a", title="A", token="t"))
    assert client.voice_read_webhook(made.id).url == "https://example.com/a"
    assert client.voice_update_webhook(made.id, VoiceUpdateWebhookRequest(title="B", token="u")).token == "u"
    others = [
        bird.voice.data("POST", "/v1/webhooks", {"url": f"https://example.com/{n}"}, status=201) for n in range(4)
    ]
    assert len(client.voice_list_webhooks().data) == 5
    assert [each.id for each in client.voice_list_webhooks(limit=2, offset=4).data] == [others[3][0]["id"]]
    status, errors = bird.voice.refused("POST", "/webhooks", {"url": "https://example.com/6"})
    assert (status, errors[0][0]) == (400, 25)
    for (other,) in others:
        client.voice_delete_webhook(other["id"])
    client.voice_delete_webhook(made.id)
    assert client.voice_list_webhooks().data == []


# --- calls under way ----------------------------------------------------------------------


@pytest.mark.peer("baresip")
def test_a_leg_is_held_taken_back_and_hung_up(bird: Bird, tmp_path: Path) -> None:
    voice = bird.voice
    with Baresip(
        tmp_path / "bob", user="bob", server=f"127.0.0.1:{bird.daemon.sip_port}", password="geheim", answers=True
    ) as bob:
        bird.daemon.wait_log("device_registered")
        (call,) = voice.data("POST", "/calls", {"source": "3120", "destination": "bob", "callflow": PAUSE}, status=201)
        bob.wait_event("CALL_ESTABLISHED")
        (leg,) = voice.data("GET", f"/v1/calls/{call['id']}/legs/")
        assert voice.wait(f"/legs/{leg['id']}", lambda found: found["status"] == "ongoing")["answeredAt"]
        assert voice.data("POST", f"/legs/{leg['id']}/hold")[0]["id"] == leg["id"]
        assert voice.data("POST", f"/legs/{leg['id']}/unhold")[0]["status"] == "ongoing"
        voice.data("DELETE", f"/legs/{leg['id']}", status=204)
        bob.wait_event("CALL_CLOSED")
    ended = voice.wait(f"/calls/{call['id']}", lambda found: found["status"] == "ended")
    assert ended["endedAt"] is not None
    for method, path in (("POST", f"/legs/{leg['id']}/hold"), ("DELETE", f"/calls/{call['id']}")):
        status, ((code, _),) = voice.refused(method, path)
        assert (status, code) == (400, 25)


@pytest.mark.peer("baresip")
def test_a_call_is_transferred_and_its_new_leg_controlled(bird: Bird, tmp_path: Path, hook: str) -> None:
    voice = bird.voice
    uas = sipp.start("uas_echo", tmp_path / "uas")
    before = bird.daemon.log().count("device_registered")
    with Baresip(
        tmp_path / "bob", user="bob", server=f"127.0.0.1:{bird.daemon.sip_port}", password="geheim", answers=True
    ) as bob:
        bird.daemon.wait_log("device_registered", count=before + 1)
        wish = {"source": "3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": PAUSE}
        (call,) = voice.data("POST", "/calls", wish, status=201)
        own = voice.wait(f"/calls/{call['id']}/legs", lambda found: found["status"] == "ongoing")
        status, ((code, says),) = voice.refused("POST", f"/calls/{call['id']}/nobody-there")
        assert (status, code) == (400, 12)
        assert "`destination`" in says
        assert voice.refused("POST", f"/calls/{call['id']}/legs")[0] == 405
        assert voice.data("POST", f"/v1/calls/{call['id']}/bob")[0]["status"] == "ongoing"
        bob.wait_event("CALL_ESTABLISHED")

        def both() -> Any:
            legs = voice.data("GET", f"/calls/{call['id']}/legs")
            return legs if [leg["status"] for leg in legs] == ["ongoing", "ongoing"] else None

        legs = poll(both, 10, "there were not two legs")
        assert (legs[0]["id"], legs[1]["destination"]) == (own["id"], "bob")
        new = legs[1]["id"]
        assert voice.data("POST", f"/legs/{new}/hold")[0]["id"] == new
        assert voice.data("POST", f"/legs/{new}/unhold")[0]["status"] == "ongoing"
        voice.data("DELETE", f"/legs/{new}", status=204)
        bob.wait_event("CALL_CLOSED")
    uas.finish()
    bird.wait_told(hook, lambda told: last(told, "callUpdated").get("status") == "ended")
    assert [leg["status"] for leg in voice.data("GET", f"/calls/{call['id']}/legs")] == ["hangup", "hangup"]


def test_another_flow_takes_the_place_of_a_calls(bird: Bird, tmp_path: Path) -> None:
    voice = bird.voice
    uas = sipp.start("uas_echo", tmp_path / "uas")
    wish = {"source": "3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": PAUSE}
    (call,) = voice.data("POST", "/calls", wish, status=201)
    path = f"/calls/{call['id']}"
    voice.wait(path, lambda found: found["status"] == "ongoing")
    assert voice.refused("PUT", path, {})[1][0][0] == 11
    assert voice.refused("PUT", path, {"callFlow": {"title": "x", "steps": [{"action": "fly"}]}})[1][0][0] == 12
    change = {"callFlow": HANGUP, "webhook": {"url": bird.listen("/changed"), "token": TOKEN}}
    assert voice.data("PUT", path, change)[0]["id"] == call["id"]
    uas.finish()
    told = bird.wait_told("/changed", lambda told: last(told, "callUpdated").get("status") == "ended")
    assert not [kind for kind, _ in told if kind.endswith("Created")]
    assert voice.refused("PUT", path, {"callFlow": HANGUP})[1][0][0] == 25
    assert voice.refused("POST", f"{path}/bob")[1][0][0] == 25


def test_a_call_that_rings_is_hung_up(bird: Bird, tmp_path: Path, hook: str) -> None:
    uas = sipp.start("uas_rings_on", tmp_path / "uas")
    wish = {"source": "+3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": PAUSE}
    (call,) = bird.voice.data("POST", "/v1/calls/", wish, status=201)
    leg = bird.voice.wait(f"/calls/{call['id']}/legs", lambda found: found["status"] == "ringing")
    assert leg["direction"] == "outgoing"
    assert bird.voice.ask("POST", f"/calls/{call['id']}?_method=DELETE") == (204, None)
    uas.finish()
    leg = bird.voice.wait(f"/calls/{call['id']}/legs", lambda found: found["endedAt"] is not None)
    assert (leg["status"], leg["duration"], leg["answeredAt"]) == ("hangup", 0, None)
    told = bird.wait_told(hook, lambda told: last(told, "callUpdated").get("status") == "ended")
    assert [payload["status"] for kind, payload in told if kind.startswith("leg")] == ["starting", "ringing", "hangup"]


@pytest.mark.parametrize(("status", "seen"), [("486 Busy Here", "busy"), ("404 Not Found", "failed")])
def test_a_destination_that_refuses(bird: Bird, tmp_path: Path, status: str, seen: str) -> None:
    uas = sipp.start("uas_refuse", tmp_path / "uas", fill={"STATUS": status})
    wish = {"source": "3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": PAUSE}
    (call,) = bird.voice.data("POST", "/calls", wish, status=201)
    uas.finish()
    leg = bird.voice.wait(f"/calls/{call['id']}/legs", lambda found: found["endedAt"] is not None)
    assert (leg["status"], leg["sipResponseCode"]) == (seen, int(status[:3]))


def test_transfers_are_legs_each_with_an_id_of_its_own(bird: Bird, tmp_path: Path, hook: str) -> None:
    """Two of them in one flow, in a call that came in: three legs; and the flow tells its own in onFinish."""
    busy = sipp.start("uas_refuse", tmp_path / "busy", fill={"STATUS": "486 Busy Here"})
    also = sipp.start("uas_refuse", tmp_path / "also", fill={"STATUS": "480 Not Here"})
    bird.web.pages["/finished"] = (200, "application/json", json.dumps(HANGUP))
    steps = [
        {"action": "record", "options": {"maxLength": 1}},
        *({"action": "transfer", "options": {"destination": f"sip:x@127.0.0.1:{uas.port}"}} for uas in (busy, also)),
        {"action": "record", "options": {"maxLength": 1, "onFinish": bird.web.url("/finished")}},
    ]
    (flow,) = bird.voice.data("POST", "/call-flows", {"title": "Transfers", "steps": steps}, status=201)
    bird.voice.data("POST", f"/call-flows/{flow['id']}/numbers", {"numbers": ["+31 20 2000100"]})
    sipp.start("uac_waits", tmp_path / "uac", server=bird.daemon.address, number="+31202000100").finish()
    told = bird.wait_told(hook, lambda told: last(told, "callUpdated").get("status") == "ended")
    call = last(told, "callUpdated")
    legs = bird.voice.data("GET", f"/calls/{call['id']}/legs")
    assert [leg["direction"] for leg in legs] == ["incoming", "outgoing", "outgoing"]
    assert [leg["status"] for leg in legs] == ["hangup", "busy", "no_answer"]
    assert len({leg["id"] for leg in legs} | {call["id"]}) == 4
    for leg in legs:
        assert bird.voice.data("GET", f"/calls/{call['id']}/legs/{leg['id']}") == [leg]
        assert bird.voice.data("GET", f"/legs/{leg['id']}") == [leg]
    assert [payload["id"] for kind, payload in told if kind == "legCreated"] == [leg["id"] for leg in legs]
    finished = bird.web.wait_for("POST", "/finished")
    recording = json.loads(finished.body)
    assert (finished.query["callID"], recording["legId"]) == ([call["id"]], legs[0]["id"])
    assert bird.voice.data("GET", f"/recordings/{recording['id']}")[0]["duration"] == recording["duration"]
    assert bird.voice.data("GET", f"/calls/{call['id']}/legs/{legs[1]['id']}/recordings") == []
    bird.voice.data("DELETE", f"/call-flows/{flow['id']}", status=204)


def test_calls_of_other_apis_are_seen_and_their_end_is_told_after_a_kill(
    bird: Bird, daemon_for: Callable[..., Daemon], tmp_path: Path
) -> None:
    house = daemon_for({"7000": HANGUP})
    voice, path = Voice.of(house), "/killed"
    voice.data("POST", "/webhooks", {"url": bird.listen(path), "token": TOKEN}, status=201)
    uas = sipp.start("uas_echo", tmp_path / "uas")
    Api(house).call(f"sip:x@127.0.0.1:{uas.port}", {"document": PAUSE, "dialect": "messagebird"})
    call = voice.wait("/calls", lambda found: found["status"] == "ongoing")
    bird.wait_told(path, lambda told: last(told, "callUpdated").get("status") == "ongoing")
    house.kill_control()
    house.start()
    told = bird.wait_told(path, lambda told: last(told, "callUpdated").get("status") == "ended")
    uas.finish()
    assert [payload["status"] for kind, payload in told if kind.startswith("call")] == ["starting", "ongoing", "ended"]
    assert {payload["id"] for kind, payload in told if kind.startswith("call")} == {call["id"]}
    assert voice.data("GET", f"/calls/{call['id']}/legs")[0]["status"] == "hangup"


def test_the_default_flow_answers_what_no_number_has(bird: Bird, tmp_path: Path) -> None:
    steps = [{"action": "pause", "options": {"length": 1}}]
    (first,) = bird.voice.data("POST", "/call-flows", {"title": "D", "steps": steps, "default": True}, status=201)
    (second,) = bird.voice.data("POST", "/call-flows", {"title": "D", "steps": steps, "default": True}, status=201)
    assert second["default"] is True
    assert bird.voice.data("GET", f"/call-flows/{first['id']}")[0]["default"] is False
    sipp.start("uac_audio", tmp_path / "uac", server=bird.daemon.address, number="nobody-has-this").finish()
    (call,) = bird.voice.data("GET", "/calls?perPage=1")
    assert (call["destination"], call["numberId"]) == ("nobody-has-this", None)
    for flow in (first, second):
        bird.voice.data("DELETE", f"/call-flows/{flow['id']}", status=204)


# --- curl ---------------------------------------------------------------------------------


def test_the_samples_of_the_documentation_by_curl(bird: Bird, tmp_path: Path) -> None:
    """All 17 endpoints of the seed, and its two documents: one is no JSON."""
    voice = bird.voice
    version = (f"Authorization: AccessKey {voice.key}", "X-MessageBird-Version: 20170314")
    status, answer = voice.ask("POST", "/call-flows/", SEEDS_FLOW, *version)
    assert status == 201
    (flow,) = answer["data"]
    assert [step["id"] for step in flow["steps"]] == ["foo", "bar"]
    status, errors = voice.refused("POST", "/call-flows/", SEEDS_BROKEN_FLOW)
    assert (status, errors[0][0]) == (400, 16)
    assert voice.data("GET", f"/call-flows/{flow['id']}") == [flow]
    (changed,) = voice.data("PUT", f"/call-flows/{flow['id']}", SEEDS_BROKEN_FLOW.replace("}, } ]", "} } ]"))
    assert (changed["title"], changed["id"]) == ("Forward call to 31612345678", flow["id"])
    assert voice.data("GET", "/call-flows/") == [changed]
    voice.data("DELETE", f"/call-flows/{flow['id']}", status=204)

    uas = sipp.start("uas_echo", tmp_path / "uas")
    steps = [{"action": "record", "options": {"maxLength": 1}}]
    wish = {"source": "3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": {"title": "r", "steps": steps}}
    (call,) = voice.data("POST", "/calls/", wish, status=201)
    uas.finish()
    call = voice.wait(f"/calls/{call['id']}", lambda found: found["status"] == "ended")
    status, page = voice.ask("GET", "/calls/?page=1&perPage=1")
    assert (status, page["data"]) == (200, [call])
    assert page["pagination"] | {"totalCount": 1, "pageCount": 1} == {
        "totalCount": 1, "pageCount": 1, "currentPage": 1, "perPage": 1,
    }  # fmt: skip
    of_call = f"/calls/{call['id']}/legs"
    (leg,) = voice.data("GET", of_call)
    assert voice.data("GET", f"{of_call}/{leg['id']}") == [leg]
    of_leg = f"{of_call}/{leg['id']}/recordings"
    (recording,) = voice.data("GET", of_leg)
    status, single = voice.ask("GET", f"{of_leg}/{recording['id']}")
    assert (status, single["data"], single["_links"]) == (200, [recording], recording["_links"])
    for prefix in ("", "/v1"):
        url = f"{voice.root}{prefix}{recording['_links']['file']}"
        asking = urllib.request.Request(url, headers={"Authorization": f"AccessKey {voice.key}"})
        with urllib.request.urlopen(asking, timeout=10) as answer:
            assert (answer.status, answer.headers["Content-Type"], answer.read(4)) == (200, "audio/wav", b"RIFF")
    assert recording["_links"]["file"].endswith(f"{recording['id']}.wav")
    texts = f"{of_leg}/{recording['id']}/transcriptions"
    (text,) = voice.data("POST", texts, status=201)
    assert (text["status"], text["language"]) == ("created", "en-US")
    text = voice.wait(f"{texts}/{text['id']}", lambda found: found["status"] == "done", 60)
    assert voice.data("GET", texts) == [text]
    status, words = voice.curl("GET", f"{texts}/{text['id']}.txt")
    assert (status, words) == voice.curl("GET", f"/v1/transcriptions/{text['id']}.txt")
    voice.data("DELETE", f"/recordings/{recording['id']}", status=204)
    assert voice.data("GET", of_leg) == []


def test_the_samples_of_our_own_page_run(bird: Bird) -> None:
    page = (ROOT / "docs" / "api" / "messagebird.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    script = re.sub(r"^ROOT=.*", "set -e", block, flags=re.MULTILINE)
    script = script.replace("curl ", "curl -sS --fail-with-body ")
    known = {"ROOT": bird.voice.root, "TOKEN": first_token(bird.daemon), "KEY": bird.voice.key}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, env={**os.environ, **known}
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count('"data":[{') == 2, done.stdout


def test_every_error_of_the_documentation(bird: Bird) -> None:
    voice = bird.voice
    say = {"payload": "x", "language": "en-GB", "voice": "robot"}
    bad_step = {"title": "t", "steps": [{"action": "hangup"}, {"action": "say", "options": say}]}
    call = {"source": "31", "destination": "32", "callFlow": HANGUP}
    key = f"Authorization: AccessKey {voice.key}"
    cases: list[tuple[int, int, str, tuple[Any, ...]]] = [
        (400, 11, "The `title` parameter is required.", ("POST", "/call-flows", {"steps": []})),
        (400, 12, "`steps[1].options.voice`", ("POST", "/v1/call-flows", bad_step)),
        (400, 12, "`callFlow.steps[1].options.voice`", ("POST", "/calls", {**call, "callFlow": bad_step})),
        (400, 11, "`callFlow.title`", ("POST", "/calls", {**call, "callFlow": {"steps": []}})),
        (400, 11, "`callFlow`", ("POST", "/calls", {**call, "callFlow": None})),
        (400, 11, "`destination`", ("POST", "/calls", {**call, "destination": ""})),
        (400, 12, "`source`", ("POST", "/calls", {**call, "source": "a b"})),
        (400, 12, "`webhook.url`", ("POST", "/calls", {**call, "webhook": {"url": "ftp://x"}})),
        (400, 11, "`webhook.url`", ("POST", "/calls", {**call, "webhook": {"token": "x"}})),
        (400, 12, "`url`", ("POST", "/webhooks", {"url": "nowhere"})),
        (400, 11, "`numbers`", ("POST", f"/call-flows/{NOBODY}/numbers", {})),
        (404, 13, "call flow", ("GET", f"/call-flows/{NOBODY}")),
        (404, 13, "call", ("GET", "/calls/not-a-uuid")),
        (404, 13, "recording", ("GET", f"/recordings/{NOBODY}.wav")),
        (404, 13, "resource", ("GET", f"/v1/calls/{NOBODY}/non/sense")),
        (401, 15, "Authorization", ("GET", "/calls", None, "Authorization: Bearer x")),
        (401, 14, "access key", ("GET", "/calls", None, "Authorization: AccessKey wrong")),
        (400, 16, "JSON", ("POST", "/call-flows", "{")),
        (400, 16, "object", ("POST", "/call-flows", "[]")),
        (413, 16, "larger", ("POST", "/call-flows", " " * (1 << 20) + "{}")),
        (400, 17, "X-MessageBird-Version", ("GET", "/calls", None, key, "X-MessageBird-Version: 2017-03-14")),
        (400, 18, "`page`", ("GET", "/calls?page=0")),
        (400, 18, "`perPage`", ("GET", "/call-flows?perPage=many")),
        (400, 18, "`offset`", ("GET", "/webhooks?offset=-1")),
        (405, 25, "PATCH", ("PATCH", "/v1/calls")),
        (405, 25, "DELETE", ("DELETE", "/call-flows/")),
    ]
    for status, code, says, request in cases:
        there, errors = voice.refused(*request)
        assert (there, errors[0][0]) == (status, code), (request, errors)
        assert says in errors[0][1], (request, errors)
    twice = {"title": "t", "steps": [{"id": "a", "action": "say"}, {"id": "a", "action": "fly"}]}
    _, errors = voice.refused("POST", "/call-flows", twice)
    assert len(errors) >= 2  # all at once


def test_what_the_file_has_is_seen_and_not_changed(bird: Bird) -> None:
    """The number 7000 is in the configuration: a flow of the API cannot take it."""
    (flow,) = bird.voice.data("POST", "/call-flows", HANGUP, status=201)
    status, ((code, says),) = bird.voice.refused("POST", f"/call-flows/{flow['id']}/numbers", {"numbers": ["7000"]})
    assert (status, code) == (400, 25)
    assert "configuration file" in says
    bird.voice.data("PUT", f"/call-flows/{flow['id']}/numbers", {"numbers": ["31203"]})
    (number,) = bird.voice.data("PUT", f"/call-flows/{flow['id']}/numbers", {"numbers": [31204]})
    assert number["number"] == "31204"
    bird.voice.data("DELETE", f"/call-flows/{flow['id']}", status=204)


def test_the_reference_has_every_endpoint(bird: Bird) -> None:
    status, text = bird.voice.curl("GET", "/openapi.json")
    assert status == 200
    document = json.loads(text)
    ours = {
        (method, path): each
        for path, item in document["paths"].items()
        for method, each in item.items()
        if each.get("tags") == ["MessageBird Voice"]
    }
    recording = "/calls/{}/legs/{}/recordings/{}"
    seed = {
        *(("get", path) for path in ("/call-flows", "/call-flows/{}", "/calls", "/calls/{}", "/calls/{}/legs")),
        *(("get", path) for path in ("/calls/{}/legs/{}", "/calls/{}/legs/{}/recordings", recording)),
        *(("get", f"{recording}{rest}") for rest in (".wav", "/transcriptions", "/transcriptions/{}")),
        ("get", f"{recording}/transcriptions/{{}}.txt"),
        *(("post", path) for path in ("/call-flows", "/calls", f"{recording}/transcriptions")),
        *((method, "/call-flows/{}") for method in ("put", "delete")),
    }
    assert len(seed) == 17
    assert seed <= {(method, re.sub(r"{\w+}", "{}", path.removeprefix("/v1"))) for method, path in ours}
    assert all(path.startswith("/v1/") for _, path in ours)
    for (method, path), operation in ours.items():
        assert operation["summary"], path
        assert "404" in operation["responses"]
        assert operation["security"] == [{"AccessKey": []}]
        assert ("requestBody" in operation) == (
            method in ("post", "put") and not path.endswith(("hold", "destination}"))
        ), path
    assert document["components"]["securitySchemes"]["AccessKey"]["in"] == "header"


def test_pages_of_flows(bird: Bird) -> None:
    made = [bird.voice.data("POST", "/call-flows", {**HANGUP, "title": f"{n}"}, status=201)[0] for n in range(3)]
    ids = [flow["id"] for flow in made]
    status, page = bird.voice.ask("GET", "/call-flows?page=2&perPage=2")
    assert (status, [flow["id"] for flow in page["data"]]) == (200, ids[2:])
    assert page["pagination"] == {"totalCount": 3, "pageCount": 2, "currentPage": 2, "perPage": 2}
    assert page["_links"] == {
        "self": "/call-flows?page=2&perPage=2", "previous": "/call-flows?page=1&perPage=2",
    }  # fmt: skip
    assert [flow["id"] for flow in bird.voice.data("GET", "/v1/call-flows?offset=1&limit=1")] == ids[1:2]
    assert bird.voice.data("GET", "/call-flows?page=9") == []
    for ident in ids:
        bird.voice.data("DELETE", f"/call-flows/{ident}", status=204)


# --- others -------------------------------------------------------------------------------


def test_another_account_finds_nothing_and_changes_nothing(bird: Bird, tmp_path: Path) -> None:
    other = Voice.of(bird.daemon, add_account(bird.daemon, "other"))
    mine = bird.voice
    uas = sipp.start("uas_echo", tmp_path / "uas")
    steps = [{"action": "record", "options": {"maxLength": 1}}, {"action": "pause", "options": {"length": 60}}]
    wish = {"source": "3120", "destination": f"sip:x@127.0.0.1:{uas.port}", "callFlow": {"title": "r", "steps": steps}}
    (call,) = mine.data("POST", "/calls", wish, status=201)
    (flow,) = mine.data("POST", "/call-flows", HANGUP, status=201)
    mine.data("POST", f"/call-flows/{flow['id']}/numbers", {"numbers": ["31205"]})
    (hook,) = mine.data("POST", "/webhooks", {"url": "https://example.com/x", "token": TOKEN}, status=201)
    leg = mine.wait(f"/calls/{call['id']}/legs", lambda found: found["status"] == "ongoing")
    of_leg = f"/calls/{call['id']}/legs/{leg['id']}/recordings"
    recording = mine.wait(of_leg, lambda found: found["status"] == "done")
    (text,) = mine.data("POST", f"{of_leg}/{recording['id']}/transcriptions", {"language": "xx"}, status=201)
    of_text = f"{of_leg}/{recording['id']}/transcriptions/{text['id']}"
    asked = [
        ("GET", f"/call-flows/{flow['id']}", None),
        ("PUT", f"/call-flows/{flow['id']}", HANGUP),
        ("DELETE", f"/call-flows/{flow['id']}", None),
        *((method, f"/call-flows/{flow['id']}/numbers", {"numbers": ["1234"]}) for method in ("GET", "POST", "PUT")),
        ("GET", f"/calls/{call['id']}", None),
        ("DELETE", f"/calls/{call['id']}", None),
        ("PUT", f"/calls/{call['id']}", {"callFlow": HANGUP}),
        ("POST", f"/calls/{call['id']}/bob", None),
        ("GET", f"/calls/{call['id']}/legs", None),
        ("GET", f"/calls/{call['id']}/legs/{leg['id']}", None),
        ("GET", f"/legs/{leg['id']}", None),
        ("DELETE", f"/legs/{leg['id']}", None),
        ("POST", f"/legs/{leg['id']}/hold", None),
        ("POST", f"/legs/{leg['id']}/unhold", None),
        ("GET", of_leg, None),
        *((method, f"{of_leg}/{recording['id']}", None) for method in ("GET", "DELETE")),
        *((method, f"/recordings/{recording['id']}", None) for method in ("GET", "DELETE")),
        ("GET", f"{of_leg}/{recording['id']}.wav", None),
        ("GET", f"/recordings/{recording['id']}.wav", None),
        *((method, f"{of_leg}/{recording['id']}/transcriptions", None) for method in ("GET", "POST")),
        *((method, f"/recordings/{recording['id']}/transcriptions", None) for method in ("GET", "POST")),
        ("GET", of_text, None),
        ("GET", f"{of_text}.txt", None),
        ("GET", f"/transcriptions/{text['id']}", None),
        ("GET", f"/transcriptions/{text['id']}.txt", None),
        ("GET", f"/webhooks/{hook['id']}", None),
        ("PUT", f"/webhooks/{hook['id']}", {"url": "https://example.com/y"}),
        ("DELETE", f"/webhooks/{hook['id']}", None),
    ]
    for method, path, body in asked:
        status, errors = other.refused(method, path, body)
        nobody = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", NOBODY, path)
        assert (status, errors) == other.refused(method, nobody, body), (method, path)
        assert (status, errors[0][0]) == (404, 13), (method, path, errors)
    for path in ("/calls", "/call-flows", "/webhooks"):
        assert other.data("GET", path) == []
    (theirs,) = other.data("POST", "/call-flows", HANGUP, status=201)
    status, ((code, _),) = other.refused("POST", f"/call-flows/{theirs['id']}/numbers", {"numbers": ["31205"]})
    assert (status, code) == (400, 12)
    assert mine.data("GET", f"/calls/{call['id']}")[0]["status"] == "ongoing"
    assert mine.data("GET", f"/webhooks/{hook['id']}") == [hook]
    mine.data("DELETE", f"/calls/{call['id']}", status=204)
    uas.finish()
    mine.data("DELETE", f"/webhooks/{hook['id']}", status=204)
    mine.data("DELETE", f"/call-flows/{flow['id']}", status=204)


def test_roles(bird: Bird) -> None:
    api = Api(bird.daemon)
    for name, role in (("vera", "viewer"), ("art", "agent"), ("ada", "admin")):
        assert api.ask("POST", "/users", {"name": name, "role": role})[0] == 201
    viewer, agent, admin = (Voice.of(bird.daemon, user=name) for name in ("vera", "art", "ada"))
    call = {"source": "31", "destination": "none", "callFlow": HANGUP}
    assert viewer.ask("GET", "/calls")[0] == 200
    assert viewer.refused("POST", "/calls", call)[0] == 403
    assert agent.ask("POST", "/calls", call)[0] == 201
    status, ((code, _),) = agent.refused("POST", "/call-flows", HANGUP)
    assert (status, code) == (403, 14)
    assert agent.refused("GET", "/webhooks")[0] == 403
    (flow,) = admin.data("POST", "/call-flows", HANGUP, status=201)
    assert admin.refused("POST", f"/call-flows/{flow['id']}/numbers", {"numbers": ["31206"]})[0] == 403
    admin.data("DELETE", f"/call-flows/{flow['id']}", status=204)


# --- anything -----------------------------------------------------------------------------

_IDS = st.one_of(st.just(NOBODY), st.uuids().map(str), st.text(max_size=40))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(
    [
        *("title", "steps", "record", "default", "id", "numbers", "source", "destination", "callFlow", "callflow"),
        *("webhook", "url", "token", "language"),
    ]
)
_STEPS = st.lists(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["say", "play", "pause", "record", "transfer", "hangup"])},
        optional={"id": _VALUES, "options": _VALUES, "conditions": _VALUES},
    ),
    max_size=3,
)
_BODIES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(_NAMES, _VALUES | _STEPS, max_size=6).map(json.dumps).map(str.encode),
)
_OF_LEG = "/calls/{}/legs/{}/recordings"
_PATHS = st.sampled_from(
    [
        *("/call-flows", "/call-flows/{}", "/call-flows/{}/numbers", "/calls", "/calls/{}", "/calls/{}/legs"),
        *(
            "/calls/{}/{}",
            "/calls/{}/legs/{}",
            _OF_LEG,
            f"{_OF_LEG}/{{}}",
            f"{_OF_LEG}/{{}}.wav",
            f"{_OF_LEG}/{{}}/transcriptions",
        ),
        *("/legs/{}", "/legs/{}/hold", "/recordings/{}", "/recordings/{}.wav", "/recordings/{}/transcriptions"),
        *("/transcriptions/{}", "/transcriptions/{}.txt", "/webhooks", "/webhooks/{}"),
    ]
)
_QUERY = st.dictionaries(
    st.sampled_from(["page", "perPage", "limit", "offset", "_method", "x"]),
    st.text(max_size=12) | st.integers().map(str),
    max_size=3,
)


def test_nothing_that_is_sent_breaks_the_server(bird: Bird) -> None:
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"AccessKey {bird.voice.key}"

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
        prefix=st.sampled_from(["", "/v1"]),
        path=_PATHS,
        ids=st.lists(_IDS, min_size=4, max_size=4),
        query=_QUERY,
        body=_BODIES,
    )
    def check(method: str, prefix: str, path: str, ids: list[str], query: dict[str, str], body: bytes) -> None:
        quoted = [requests.utils.quote(each, safe="", errors="replace") or "x" for each in ids]
        url = f"{bird.voice.root}{prefix}{path.format(*quoted)}"
        answer = session.request(method, url, params=query, data=body, timeout=20)
        assert answer.status_code < 500, (method, url, body, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["errors"][0]["code"] in (11, 12, 13, 14, 15, 16, 17, 18, 25)

    check()
    for (hook,) in [[each] for each in bird.voice.data("GET", "/webhooks")]:
        bird.voice.data("DELETE", f"/webhooks/{hook['id']}", status=204)
    for flow in bird.voice.data("GET", "/call-flows?perPage=100"):
        bird.voice.data("DELETE", f"/call-flows/{flow['id']}", status=204)
