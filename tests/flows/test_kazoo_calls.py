"""Calls through callflows, on the real executor and a scripted caller."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kazoo_kit import graph_of, node, play, texts

from flows.call import Fetched, Performed, Reply
from flows.graph import Collect
from flows.simulate import Simulation
from flows.templates import time_facts

LAST = "http://pivot.example/next"


def told(simulation: Simulation) -> dict[str, str]:
    """What the last request for a flow told, the collections and recordings of it."""
    query = parse_qs(urlsplit(simulation.noted(Fetched)[-1][0].url).query)
    return {name: values[0] for name, values in query.items() if name.startswith(("Digits", "Recording"))}


def ask(**data: Any) -> dict[str, Any]:
    return node("pivot", {"voice_url": LAST, **data})


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        ("answer 20", []),
        ("busy", ["engaged"]),
        ("reject 603", ["refused"]),
        ("reject 404", ["otherwise"]),
        ("noanswer", ["nobody"]),
    ],
)
def test_exits_of_a_bridge(script: str, heard: list[str]) -> None:
    """§3.3: a child named by the hangup cause, then by SIP code, then `_`; §0.2: success ends the call."""
    children = {"USER_BUSY": "engaged", "sip:603": "refused", "NO_ANSWER": "nobody", "_": "otherwise"}
    for module in ("device", "user"):
        simulation = play(node(module, {"id": "x"}, **children), script)
        assert texts(simulation) == heard
        assert simulation.ending.by == "flow"


def test_a_cause_counts_more_than_a_status() -> None:
    """§3.3: … hangup cause, then by SIP code."""
    assert texts(play(node("device", {"id": "d"}, **{"sip:486": "status", "USER_BUSY": "cause"}), "busy")) == ["cause"]
    assert texts(play(node("device", {"id": "d"}, **{"sip:486": "status", "_": "usual"}), "busy")) == ["status"]


def test_a_bridge_after_its_end() -> None:
    simulation = play(node("device", {"id": "d"}, _="never"), "answer 20")
    assert simulation.ending.reason == "talked with d for 20 s"
    assert simulation.duration == 20.0


def test_ringing_takes_its_time() -> None:
    simulation = play(node("ring_group", {"endpoints": ["a", "b"], "timeout": 7}, _="nobody"), "noanswer")
    assert simulation.spoken[0].at == pytest.approx(7.1)


def test_resources_tell_the_caller_the_status() -> None:
    """§3.3: `resources` without a matching child answers the caller with the mapped SIP response and stops."""
    ending = play(node("resources", {"to_did": "+3531"}), "reject 404").ending
    assert (ending.by, ending.reason) == ("flow", "404")
    assert texts(play(node("resources", {"to_did": "+3531"}, _="failed"), "reject 404")) == ["failed"]


# --- keys ---------------------------------------------------------------------------------


def test_type_ahead_into_a_collection() -> None:
    """§3.3: DTMF during `tts/play` stops the prompt *and* lands in `default`; `collect_dtmf` consumes it first."""
    flow = node(
        "tts", {"text": "a long text that nobody hears out"}, _=node("collect_dtmf", {"max_digits": 4}, _=ask())
    )
    simulation = play(flow, "press! 12; wait 1; press! 34")
    assert not simulation.spoken[0].complete
    assert told(simulation) == {"Digits[default]": "1234"}


def test_a_key_that_stops_a_prompt_is_kept() -> None:
    """§3.3: lands in collection `default` (without a collect_dtmf)."""
    simulation = play(node("tts", {"text": "a long text that nobody hears out"}, _=ask()), "wait 1; press! 7")
    assert told(simulation) == {"Digits[default]": "7"}


def test_collect_takes_it_out_of_the_default_collection() -> None:
    """§3.3: `collect_dtmf` consumes it first, cut at a terminator."""
    collect = node("collect_dtmf", {"max_digits": 4, "collection_name": "pin"}, _=ask())
    flow = node("tts", {"text": "a long text that nobody hears out"}, _=collect)
    assert told(play(flow, "press! 12#34")) == {"Digits[pin]": "12"}


@pytest.mark.parametrize(
    ("script", "digits"),
    [
        ("press 1234", "1234"),
        ("press 12#", "12"),
        ("press 12", "12"),
        ("press 1; wait 1; press 2; wait 3; press 3", "12"),
        ("press #", None),
        ("", None),
        ("wait 4; press 1", "1"),
        ("wait 6; press 1", None),
        ("press *123", "*123"),
    ],
)
def test_collect_dtmf(script: str, digits: str | None) -> None:
    """§3.4 collect_dtmf: max_digits; timeout (first digit); interdigit_timeout; terminator; goes to `_` in any case."""
    flow = node("collect_dtmf", {"max_digits": 4, "interdigit_timeout": 2000}, _=ask())
    assert told(play(flow, script)) == ({} if digits is None else {"Digits[default]": digits})


def test_flushed_keys_are_gone() -> None:
    """§3.4 `flush_dtmf`."""
    flow = node("tts", {"text": "a long text that nobody hears"}, _=node("flush_dtmf", {}, _=ask()))
    assert told(play(flow, "wait 1; press! 7")) == {}


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        ("press 1", ["Which?", "one"]),
        ("press 12", ["Which?", "twelve"]),
        ("wait 0.2; press! 1", ["Which?", "one"]),
        ("press 9; wait 3; press 1", ["Which?", "Wrong.wav", "Which?", "one"]),
        ("press 9; wait 3; press 8; wait 3; press 7", ["Which?", "Wrong.wav"] * 3 + ["Out.wav", "enough"]),
        ("", ["Which?", "Which?", "Which?", "Out.wav", "enough"]),
        ("press #", ["Which?"] * 3 + ["Out.wav", "enough"]),
    ],
)
def test_menu(script: str, heard: list[str]) -> None:
    """§3.4 `menu`: retries, invalid_media, exit_media, `max_retries`."""
    media = {"invalid_media": "Wrong.wav", "exit_media": "Out.wav"}
    flow = node("menu", {"text": "Which?", "media": media}, **{"1": "one", "12": "twelve", "max_retries": "enough"})
    assert texts(play(flow, script)) == heard


def test_menu_timeout_and_usual_child() -> None:
    """§3.4 `menu`: the child `timeout`, `transfer_media` before `_`."""
    flow = node("menu", {"text": "Which?"}, **{"1": "one", "timeout": "slow"})
    assert texts(play(flow, "")) == ["Which?", "slow"]
    media = {"transfer_media": "moving.wav"}
    flow = node("menu", {"text": "Which?", "retries": 1, "media": media}, **{"1": "one", "_": "operator"})
    assert texts(play(flow, "press 9")) == ["Which?", "moving.wav", "operator"]
    assert play(node("menu", {"text": "?", "retries": 1}, **{"1": "x"})).ending.by == "flow"


# --- the rest -----------------------------------------------------------------------------


def test_variables_lead_on_and_are_told() -> None:
    """§3.4 `set_variable`, `branch_variable`; §3.2 Custom-Application-Vars."""
    branch = node("branch_variable", {"variable": "color"}, red=ask(), _="no color")
    flow = node("set_variables", {"custom_application_vars": {"color": "red"}}, _=branch)
    simulation = play(flow)
    query = parse_qs(urlsplit(simulation.noted(Fetched)[0][0].url).query)
    assert query["Custom-Application-Vars[color]"] == ["red"]
    assert simulation.path == "_/red"
    assert texts(play(branch)) == ["no color"]


def test_the_language_is_told() -> None:
    """§3.4 `language`; §3.1 Language."""
    simulation = play(node("language", {"language": "ro"}, _=ask()))
    assert parse_qs(urlsplit(simulation.noted(Fetched)[0][0].url).query)["Language"] == ["ro"]


def test_a_recording_of_the_caller_is_told() -> None:
    """§3.4 record_caller: any key ends; then Recording-* params go to the next pivot."""
    flow = node("say", {"text": "After the beep"}, _=node("record_caller", {"url": "http://h/r/"}, _=ask()))
    simulation = play(flow, "wait 1; say I am well; wait 2; press! 5")
    (recording,) = simulation.recordings
    facts = told(simulation)
    assert facts["Recording-Url"] == "http://h/r/call_recording_simulated.mp3"
    assert facts["Recording-Duration"] == str(int(recording.duration))
    assert facts["Recording-ID"] == recording.id
    assert "Digits[default]" not in facts


def test_a_recording_of_the_call_goes_on_beside_the_flow() -> None:
    """§3.1 `record_call` start/stop."""
    stop = node("record_call", {"action": "stop"}, _="after")
    flow = node("record_call", {"url": "http://h", "format": "wav"}, _=node("sleep", {"duration": 9}, _=stop))
    simulation = play(flow)
    (recording,) = simulation.recordings
    assert (recording.format, recording.duration, recording.reason) == ("wav", 9.0, "stopped")
    assert texts(simulation) == ["after"]


@pytest.mark.parametrize("module", ["conference", "voicemail", "park"])
def test_a_service_that_fails_goes_to_the_usual_child(module: str) -> None:
    flow = node(module, {"id": "x"} if module != "park" else {}, _="failed")
    assert texts(play(flow, "noanswer")) == ["failed"]
    assert texts(play(flow, "answer 5")) == (["failed"] if module == "voicemail" else [])


def test_orders_are_carried_out() -> None:
    flow = node("manual_presence", {"presence_id": "u"}, _=node("send_dtmf", {"digits": "1#", "duration_ms": 100}))
    simulation = play(flow, facts={"call.request_realm": "pbx.example"})
    stories = [note.story for note, _ in simulation.noted(Performed)]
    assert stories == ["u@pbx.example is idle", "sent the keys 1#"]


def test_response_before_the_answer() -> None:
    """§3.4 response: Unanswered: final SIP response after media as early media."""
    simulation = play(node("response", {"code": "486", "message": "User Busy", "media": "http://h/busy.wav"}))
    assert texts(simulation) == ["http://h/busy.wav"]
    assert simulation.ending.reason == "486 User Busy"
    assert simulation.duration == 0.0


def test_a_stored_flow_is_gone_on_with() -> None:
    """§3.4 `callflow`."""
    flows = {"main": graph_of(node("tts", {"text": "main"}))}
    assert texts(play(node("callflow", {"id": "main"}, _="none"), flows=flows)) == ["main"]
    assert texts(play(node("callflow", {"id": "gone"}, _="none"), flows=flows)) == ["none"]


def test_dead_air_lasts_until_the_caller_hangs_up() -> None:
    """§3.4 `dead_air`."""
    simulation = play(node("dead_air"), "wait 60; hangup")
    assert (simulation.ending.by, round(simulation.duration)) == ("caller", 60)


@pytest.mark.parametrize(
    ("hour", "heard"), [(8, "closed"), (9, "open"), (16, "open"), (18, "closed"), (None, "closed")]
)
def test_business_hours(hour: int | None, heard: str) -> None:
    """§3.4 `temporal_route`: the original's example, 9:00 to 17:00."""
    rule = {
        "id": "office",
        "cycle": "weekly",
        "wdays": ["tuesday"],
        "time_window_start": 32400,
        "time_window_stop": 61200,
    }
    flow = node("temporal_route", {"rules": [rule]}, office="open", _="closed")
    facts = time_facts(datetime(2026, 3, 31, hour, tzinfo=UTC)) if hour is not None else {}
    assert texts(play(flow, facts=facts)) == [heard]


def test_the_flow_of_the_original_guide() -> None:
    """§3.1: collecting DTMF, and speaking them back."""
    said = node("tts", {"text": "You typed 42"})
    first = node("tts", {"text": "Please enter up to four digits."})
    first["children"] = {"_": node("collect_dtmf", {"max_digits": 4, "collection_name": "custom_name"}, _=ask())}
    body = b'{"module": "tts", "data": {"text": "You typed 42"}, "children": {}}'
    simulation = play(first, "press 42#", fetch=lambda request: Reply(200, "application/json", body, request.url))
    assert texts(simulation) == ["Please enter up to four digits.", said["data"]["text"]]
    assert told(simulation) == {"Digits[custom_name]": "42"}
    assert isinstance(graph_of(first).steps["2.collect"], Collect)
