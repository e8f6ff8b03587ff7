"""The Voice API of MessageBird, driven by their Python SDK, with real calls behind."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import sipp, sound, trees
from kit.api import Api
from kit.baresip import Baresip
from kit.bird import HANGUP, TOKEN, Bird, last, refuses
from kit.daemon import Daemon, poll
from kit.stores import on_both
from kit.voice import Voice

pytestmark = pytest.mark.peer("sipp", "curl", "messagebird")  # their Python SDK

PAUSE = {"title": "p", "steps": [{"id": "wait", "action": "pause", "options": {"length": 60}}]}
TALK = {"payload": "Hello, how are you?", "language": "en-GB", "voice": "male", "ifMachine": "continue"}


# --- the SDK ------------------------------------------------------------------------------


@on_both
def test_a_day_of_a_customer(bird: Bird, tmp_path: Path) -> None:
    """With the SDK alone: a webhook, a flow that answers a number, a call that comes in and one that is placed."""
    from messagebird.voice_webhook import VoiceCreateWebhookRequest

    client = bird.sdk()
    webhook = client.voice_create_webhook(VoiceCreateWebhookRequest(url=bird.listen("/day"), title="Day", token=TOKEN))
    received = _a_number_is_called(bird, client, tmp_path)
    placed = _a_call_is_placed(bird, client, tmp_path)
    assert [each.id for each in client.call_list().data] == [placed, received], "the newest first"
    client.voice_delete_webhook(webhook.id)


def _a_number_is_called(bird: Bird, client: Any, folder: Path) -> str:
    sound.write_wav(folder / "welcome.wav", sound.tone(trees.ONE_HZ, 1.0))
    bird.web.pages["/welcome.wav"] = (200, "audio/wav", (folder / "welcome.wav").read_bytes())
    steps = [
        {"action": "play", "options": {"media": bird.web.url("/welcome.wav")}},
        {"action": "pause", "options": {"length": 1}},
    ]
    flow = client.call_flow_create(steps, record=True, title="Number's own")
    assert uuid.UUID(flow.steps[0]["id"])
    assert (flow.default, flow.record, flow.title) == (False, True, "Number's own")
    (number,) = client.call_flow_numbers_add(flow.id, ["31201000100"]).data
    assert (number.number, number.callFlowId) == ("31201000100", flow.id)
    assert [each.id for each in client.call_flow_numbers_list(flow.id).data] == [number.id]

    uac = sipp.start(
        "uac_audio",
        folder / "uac",
        server=bird.daemon.address,
        number="31201000100",
        audio=sound.tone(trees.CALLER_HZ, 4.0),
    )
    uac.finish()
    told = bird.wait_told("/day", lambda told: last(told, "recordingUpdated").get("status") == "done")
    told = bird.wait_told("/day", lambda told: last(told, "callUpdated").get("status") == "ended")
    call = last(told, "callUpdated")
    assert (call["source"], call["destination"], call["numberId"]) == ("39011555", "31201000100", number.id)
    (leg,) = [payload for kind, payload in told if kind == "legCreated"]
    assert (leg["direction"], leg["callId"]) == ("incoming", call["id"])
    statuses = [payload["status"] for kind, payload in told if kind in ("callCreated", "callUpdated")]
    assert (statuses[0], statuses[-2:]) == ("starting", ["ongoing", "ended"])
    assert client.call(call["id"]).data.status == "ended"

    (recording,) = client.voice_recording_list_recordings(call["id"], leg["id"]).data
    assert recording.id == last(told, "recordingUpdated")["id"]
    caller, house = _downloaded(client, folder, call["id"], leg["id"], recording.id)
    for tone, here, elsewhere in ((trees.CALLER_HZ, caller, house), (trees.ONE_HZ, house, caller)):
        assert sound.find_tone(here, tone), f"no {tone:g} Hz where it belongs"
        assert not sound.find_tone(elsewhere, tone), f"{tone:g} Hz on the other channel, too"
    record = _record(bird, call["id"])
    own = record["call"]
    assert (own["direction"], own["caller"], own["callee"]) == ("inbound", "+39011555", "31201000100")
    assert (own["ended_by"], own["cause"]) == ("flow", "NORMAL_CLEARING")
    assert own["started_at"] <= own["answered_at"] < own["finished_at"]
    assert [each["status"] for each in record["recordings"]] == ["done"]

    changed = client.call_flow_update(flow.id, [{"action": "hangup"}], default=False, record=False, title="Other")
    assert (changed.title, changed.record, [step["action"] for step in changed.steps]) == ("Other", False, ["hangup"])
    assert client.call_flow(flow.id).title == "Other"
    assert flow.id in [each.id for each in client.call_flow_list().data]
    client.call_flow_delete(flow.id)
    refuses(13, lambda: client.call_flow(flow.id))
    return str(call["id"])


def _downloaded(client: Any, folder: Path, call: str, leg: str, recording: str) -> list[sound.Samples]:
    """The channels of a recording, as the SDK stores it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        client.voice_recording_download(call, leg, recording)
    rate, channels = sound.read_wav(folder / f"{recording}.wav")
    assert (rate, len(channels)) == (8000, 2)
    return channels


def _record(bird: Bird, call: str) -> dict[str, Any]:
    """What the own API has of a call."""
    return Api(bird.daemon).record(uuid.UUID(call).hex)


def _a_call_is_placed(bird: Bird, client: Any, folder: Path) -> str:
    uas = sipp.start("uas_echo", folder / "uas", arguments=["-rtp_echo"])
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

    (leg,) = bird.voice.data("GET", f"/calls/{call.id}/legs")
    assert (leg["status"], leg["direction"], leg["destination"]) == ("hangup", "outgoing", destination)
    assert (leg["sipResponseCode"], leg["callId"], leg["id"] != call.id) == (200, call.id, True)
    assert leg["duration"] >= 2
    whole, step = client.voice_recording_list_recordings(call.id, leg["id"]).data
    assert (whole.status, whole.type, whole.format, step.status, step.duration) == ("done", "call", "wav", "done", 1)
    assert client.voice_recording_view(call.id, leg["id"], whole.id).legId == leg["id"]

    callee, house = _downloaded(client, folder, call.id, leg["id"], whole.id)
    assert len(house) > 2 * 8000
    behind, likeness = sound.lag(house, callee)
    assert 0 <= behind < 0.5, "what was said comes back a little later"
    assert likeness > 0.9
    record = _record(bird, call.id)
    own = record["call"]
    assert (own["direction"], own["callee"]) == ("outbound", destination)
    assert (own["ended_by"], own["cause"]) == ("flow", "NORMAL_CLEARING")
    assert [each["status"] for each in record["recordings"]] == ["done", "done"]

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
    return str(call.id)


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
