"""Modules of CONTRACTS §3.4: what its options come to, defaults and units, what is refused or ignored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from kazoo_kit import found, graph_of, messages, node, order_of, step_of, verbs

from flows import graph as g
from flows.orders import (
    StartRecording,
    Upload,
)
from flows.prompts import Prompt
from flows.templates import Condition, Template, Var, time_facts, var

ALL_KEYS = "123456789*0#"


# --- speaking -----------------------------------------------------------------------------

SAY_HI = g.Say(
    id="", origin="", prompts=(Prompt("hi", voice="female"),), times=1, stop_keys=ALL_KEYS, into="digits.default"
)
PLAY = replace(SAY_HI, prompts=(Prompt(media="http://h/a.wav"),))


@pytest.mark.parametrize(
    ("module", "data", "say"),
    [
        pytest.param(
            "tts", {"text": "hi"}, SAY_HI, id="§3.4 tts | R text 1..1000; voice (female); terminators (all 12)"
        ),
        pytest.param("say", {"text": "hi"}, SAY_HI, id="§3.3 say"),
        pytest.param(
            "tts",
            {"text": "hi", "voice": "male", "language": "ro"},
            replace(SAY_HI, prompts=(Prompt("hi", voice="male", language="ro"),)),
            id="§3.4 tts | voice, language",
        ),
        pytest.param(
            "tts",
            {"text": "hi", "terminators": ["#", 1, "1"]},
            replace(SAY_HI, stop_keys="#1"),
            id="§3.4 tts | terminators",
        ),
        pytest.param(
            "tts", {"text": "hi", "terminators": []}, replace(SAY_HI, stop_keys=""), id="§3.4 tts | no terminators"
        ),
        pytest.param(
            "tts", {"text": "hi", "endless_playback": True}, replace(SAY_HI, times=0), id="§3.4 tts | endless_playback"
        ),
        pytest.param("play", {"id": "http://h/a.wav"}, PLAY, id="§3.4 play | id (media id or URL)"),
        pytest.param(
            "play", {"id": "m"}, replace(PLAY, prompts=(Prompt(media="m"),)), id="§3.1 `play` by media id or URL"
        ),
        pytest.param(
            "play", {"id": "http://h/a.wav", "loop_count": 3}, replace(PLAY, times=3), id="§3.4 play | loop_count >=1"
        ),
        pytest.param(
            "play",
            {"id": "http://h/a.wav", "endless_playback": "true"},
            replace(PLAY, times=0),
            id="§3.4 play | endless_playback (false)",
        ),
        pytest.param(
            "play",
            {"id": "http://h/a.wav", "terminators": ["*"]},
            replace(PLAY, stop_keys="*"),
            id="§3.4 play | terminators (all)",
        ),
        pytest.param("play", {"id": "http://h/a.wav", "answer": False}, PLAY, id="§3.4 play | answer"),
        pytest.param(
            "audio_macro",
            {
                "language": "en",
                "terminators": ["1"],
                "macros": [
                    {"macro": "play", "id": "http://h/a.wav"},
                    {"macro": "prompt", "id": "vm-goodbye"},
                    {"macro": "say", "text": "12"},
                    {"macro": "tts", "text": "hi", "voice": "male", "language": "ro"},
                ],
            },
            replace(
                SAY_HI,
                stop_keys="1",
                prompts=(
                    Prompt(media="http://h/a.wav"),
                    Prompt(media="vm-goodbye"),
                    Prompt("12", language="en"),
                    Prompt("hi", voice="male", language="ro"),
                ),
            ),
            id="§3.4 audio_macro",
        ),
    ],
)
def test_speaking(module: str, data: dict[str, Any], say: g.Say) -> None:
    step = step_of(node(module, data), g.Say)
    assert replace(step, id="", origin="", exits={}) == say
    assert found(node(module, data)) == []


def test_what_cannot_be_heard_is_told() -> None:
    """§3.4 play: Bad id -> `_`."""
    assert found(node("play", {}, _="x")) == [("missing-option", "warning", "/data")]
    assert verbs(node("play", {})) == ["Answer", "Pause", "HangUp"]
    assert found(node("tts", {"text": "  "}, _="x")) == [("missing-option", "warning", "/data")]
    assert found(node("play", {"id": "tone_stream://%(1,2,3)"})) == [("bad-media", "warning", "/data/id")]
    macros = [{"macro": "play", "text": "hi"}, {"macro": "say", "text": "1", "method": "pronounced"}]
    assert found(node("audio_macro", {"macros": macros})) == [
        ("missing-option", "warning", "/data/macros/0"),
        ("ignored-option", "warning", "/data/macros/1/method"),
    ]


def test_language_holds_from_there_on() -> None:
    """§3.4 `language`."""
    flow = node(
        "language", {"language": "ro"}, _=node("tts", {"text": "a"}, _=node("tts", {"text": "b", "language": "en"}))
    )
    assert [prompt.language for prompt in graph_of(flow).prompts()] == ["ro", "en"]
    assert step_of(flow, g.SetVariables).values == (("call.language", "ro"),)


# --- keys ---------------------------------------------------------------------------------

COLLECT = g.Collect(id="", origin="", into="digits.default", most=1, finish="#", first=5.0, between=2.0)


@pytest.mark.parametrize(
    ("data", "collect"),
    [
        pytest.param(
            {}, COLLECT, id="§3.4 collect_dtmf | max_digits (1); timeout ms (5000); interdigit_timeout ms (2000); (`#`)"
        ),
        pytest.param({"max_digits": 4}, replace(COLLECT, most=4), id="§3.4 collect_dtmf | max_digits"),
        pytest.param({"max_digits": "4"}, replace(COLLECT, most=4), id="§3.4 collect_dtmf | max_digits as text"),
        pytest.param({"timeout": 1500}, replace(COLLECT, first=1.5), id="§0.4 Kazoo `collect_dtmf.*timeout` = ms"),
        pytest.param(
            {"interdigit_timeout": 300}, replace(COLLECT, between=0.3), id="§3.4 collect_dtmf | interdigit_timeout"
        ),
        pytest.param({"terminator": "*"}, replace(COLLECT, finish="*"), id="§3.4 collect_dtmf | terminator"),
        pytest.param(
            {"terminators": ["*", "#"]}, replace(COLLECT, finish="*#"), id="§3.4 collect_dtmf | terminators[]"
        ),
        pytest.param({"terminators": []}, replace(COLLECT, finish=""), id="§3.4 collect_dtmf | no terminators"),
        pytest.param(
            {"collection_name": "pin"},
            replace(COLLECT, into="digits.pin"),
            id="§3.4 collect_dtmf | collection_name (`default`)",
        ),
    ],
)
def test_collect_dtmf(data: dict[str, Any], collect: g.Collect) -> None:
    step = step_of(node("collect_dtmf", data), g.Collect)
    assert replace(step, id="", origin="", exits={}) == collect
    assert found(node("collect_dtmf", data)) == []


def test_collect_dtmf_empties_the_default_collection_first() -> None:
    """§3.3: … lands in collection `default`; `collect_dtmf` consumes it first."""
    step = step_of(node("collect_dtmf", {"collection_name": "pin"}), g.SetVariables)
    assert step.values == (("digits.default", ""), ("digits.pin", ""))
    both = node("collect_dtmf", {"terminator": "*", "terminators": ["#"]})
    assert found(both) == [("ignored-option", "warning", "/data/terminators")]
    assert step_of(both, g.Collect).finish == "*"


def test_flush_dtmf() -> None:
    """§3.4 `flush_dtmf`."""
    assert verbs(node("flush_dtmf")) == ["Flush", "SetVariables", "HangUp"]
    assert step_of(node("flush_dtmf", {"collection_name": "pin"}), g.SetVariables).values == (("digits.pin", ""),)
    assert "Flush" not in verbs(node("flush_dtmf", {"collection_name": "pin"}))


def test_menu() -> None:
    """§3.4 `menu`."""
    data = {
        "text": "Which?",
        "retries": 2,
        "timeout": 4000,
        "interdigit_timeout": 900,
        "media": {"invalid_media": "no"},
    }
    flow = graph_of(node("menu", data, **{"1": "one", "12": "twelve", "timeout": "slow", "_": "other"}))
    tries = [step for step in flow.steps.values() if isinstance(step, g.Collect)]
    assert [(t.most, t.first, t.between, t.finish, len(t.prompts)) for t in tries] == [(2, 4.0, 0.9, "#", 1)] * 2
    assert len({t.exits[g.NONE] for t in tries}) == 1  # the child `timeout`
    media = [prompt.media for prompt in flow.prompts() if prompt.media]
    assert media == ["no"]
    hashes = node("menu", {"text": "?"}, **{"#": "x"})
    assert {step.finish for step in graph_of(hashes).steps.values() if isinstance(step, g.Collect)} == {""}


def test_menu_findings() -> None:
    stored = node("menu", {"id": "m", "hunt": True, "media": {"other": 1}}, **{"1": "x", "1234567": "y", "word": "z"})
    assert found(stored) == [
        ("ignored-option", "warning", "/data/media/other"),
        ("missing-prompt", "warning", "/data"),
        ("ignored-option", "warning", "/data/id"),
        ("ignored-option", "warning", "/data/hunt"),
        ("unreachable", "warning", "/children/1234567"),
        ("unreachable", "warning", "/children/word"),
    ]


# --- recording ----------------------------------------------------------------------------


def test_record_caller() -> None:
    """§3.4 record_caller | format; url; method; time_limit; any key ends; blocks the flow."""
    document = node("record_caller", {"url": "http://h/r/", "format": "wav", "method": "post", "time_limit": 360})
    step = step_of(document, g.Record)
    name = Template(("call_recording_", Var("call.id"), ".wav"))
    assert step.upload == Upload("http://h/r", "POST", name, numbered=True)
    assert (step.format, step.limit, set(step.stop_keys), step.sides) == ("wav", 360.0, set("0123456789*#"), "caller")
    assert verbs(document) == ["Answer", "Pause", "Record", "HangUp"]


def test_record_caller_without_a_place_is_skipped() -> None:
    """§3.4 record_caller: without storable url it is skipped."""
    assert found(node("record_caller", {}, _="x")) == [("missing-option", "warning", "/data")]
    assert "Record" not in verbs(node("record_caller", {}, _="x"))


def test_time_limit_of_a_recording() -> None:
    """§3.1 `time_limit` capped by system limit; §3.4 time_limit 5..10800 (3600): use min(time_limit, maximum)."""
    assert found(node("record_call", {"time_limit": 7200})) == [("over-limit", "warning", "/data/time_limit")]
    assert order_of(node("record_call", {"time_limit": 7200}), StartRecording).limit == 3600.0
    assert found(node("record_call", {"time_limit": 4}))[0][:2] == ("bad-value", "error")
    assert found(node("record_call", {"time_limit": 10801}))[0][:2] == ("bad-value", "error")


def test_record_call_findings() -> None:
    assert found(node("record_call", {"should_follow_transfer": False}))[0][0] == "ignored-option"
    assert found(node("record_call", {"url": "mailto:x"}))[0][:2] == ("bad-url", "error")
    assert found(node("record_call", {"url": "ftp://:0/x"}))[0][:2] == ("bad-url", "error")
    assert found(node("record_call", {"url": "ftps://h/x"})) == [("unsupported", "warning", "/data/url")]
    assert found(node("record_call", {"media_name": "../x"}))[0][:2] == ("bad-value", "error")
    assert found(node("record_call", {"action": "stop", "format": "mp3"})) == [
        ("ignored-option", "warning", "/data/format")
    ]


# --- services -----------------------------------------------------------------------------


def test_a_conference_needs_a_name() -> None:
    assert found(node("conference")) == [("missing-option", "error", "/data")]
    assert found(node("conference", {"config": {}}))[0] == ("missing-option", "error", "/data/config")
    both = node("conference", {"id": "r", "config": {"name": "n", "profile": "p", "member": {"numbers": ["1"]}}})
    assert found(both) == [
        ("ignored-option", "warning", "/data/config/profile"),
        ("ignored-option", "warning", "/data/config/member/numbers"),
        ("ignored-option", "warning", "/data/config"),
    ]


@pytest.mark.parametrize("module", ["conference", "park"])
def test_what_follows_a_service(module: str) -> None:
    flow = graph_of(node(module, {"id": "r"} if module == "conference" else {}, _="failed"))
    (step,) = [step for step in flow.steps.values() if isinstance(step, g.Perform)]
    assert isinstance(flow.follow(step), g.HangUp)
    assert isinstance(flow.follow(step, g.FAILED), g.Enter)


def test_voicemail_settings_of_the_box() -> None:
    """§3.4 voicemail | Box: pin, require_pin, greeting, … oldest_message_first."""
    told = found(node("voicemail", {"id": "b", "pin": "1234", "transcribe": True}, _="x"))
    assert told == [("ignored-option", "warning", "/data/pin"), ("ignored-option", "warning", "/data/transcribe")]
    assert found(node("voicemail", {}, _="x")) == [("missing-option", "warning", "/data")]


def test_manual_presence_does_not_answer() -> None:
    """§3.4 manual_presence: Real one answers the call first: we do not."""
    assert "Answer" not in verbs(node("manual_presence", {"presence_id": "u"}))
    assert found(node("manual_presence", {"presence_id": "u", "status": "away"}))[0][:2] == ("bad-value", "error")


def test_response_does_not_answer_and_ends_the_call() -> None:
    """§3.4 response: Then stop. Unanswered: final SIP response after media as early media."""
    assert verbs(node("response", {"media": "http://h/a.wav"})) == ["Perform", "HangUp"]
    assert found(node("response", {}, _="never")) == [("unreachable", "warning", "/children/_")]


# --- the call itself ----------------------------------------------------------------------


def test_answer_hangup_dead_air() -> None:
    """§3.4 beyond the seed: `answer, hangup, … dead_air`."""
    assert verbs(node("answer", _=node("tts", {"text": "hi"}))) == ["Answer", "Say", "HangUp"]
    assert verbs(node("hangup")) == ["HangUp"]
    assert verbs(node("dead_air")) == ["Answer", "Pause", "Pause", "HangUp"]


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({"duration": 2}, 2.0),
        ({"duration": "1500", "unit": "ms"}, 1.5),
        ({"duration": 2, "unit": "m"}, 120.0),
        ({"duration": 2, "unit": "h"}, 7200.0),
        ({"duration": 99, "unit": "h"}, 86400.0),
    ],
)
def test_sleep(data: dict[str, Any], seconds: float) -> None:
    """§3.4 beyond the seed: `sleep`."""
    assert step_of(node("sleep", data), g.Pause).seconds == seconds


def test_no_sleep() -> None:
    assert verbs(node("sleep")) == ["HangUp"]


def test_transfer() -> None:
    """§3.4 beyond the seed: `transfer`."""
    flow = graph_of(node("transfer", {"target": "+39 01"}, _="failed"))
    (step,) = [step for step in flow.steps.values() if isinstance(step, g.Transfer)]
    assert step.target == "+3901"
    assert isinstance(flow.follow(step), g.HangUp)
    assert isinstance(flow.follow(step, g.FAILED), g.Enter)
    assert found(node("transfer", {"target": "nobody"})) == [("bad-target", "error", "/data/target")]
    told = found(node("transfer", {"target": "1", "transfer_type": "attended", "leg": "bleg"}))
    assert [code for code, _, _ in told] == ["ignored-option"] * 2


# --- deciding -----------------------------------------------------------------------------


def test_variables() -> None:
    """§3.4 beyond the seed: `set_variable(s)`."""
    one = node("set_variable", {"variable": "color", "value": "red"})
    assert step_of(one, g.SetVariables).values == (("var.color", "red"),)
    several = node("set_variables", {"custom_application_vars": {"a": 1, "b": True, "c": "x"}})
    assert step_of(several, g.SetVariables).values == (("var.a", "1"), ("var.b", "true"), ("var.c", "x"))
    assert found(node("set_variables", {"custom_application_vars": {"a": {}}}))[0][:2] == ("wrong-type", "error")
    both = node("set_variable", {"variable": "color", "value": "red", "channel": "both"})
    assert found(both) == [("ignored-option", "warning", "/data/channel")]


def test_branch_variable() -> None:
    """§3.4 beyond the seed: `branch_variable`."""
    flow = graph_of(node("branch_variable", {"variable": "n"}, **{"7": "seven", "07": "other", "_": "none"}))
    branch = flow.steps["1.branch"]
    assert isinstance(branch, g.Branch)
    assert [case.conditions for case in branch.cases] == [
        (Condition("var.n", "is", "7"),),
        (Condition("var.n", "is", "07"),),
    ]
    assert [case.exit for case in branch.cases if case.conditions[0].holds({"var.n": "07"})] == ["07"]
    told = found(node("branch_variable", {"variable": "n", "scope": "device"}, _="x"))
    assert told == [("ignored-option", "warning", "/data/scope")]


def test_callflow() -> None:
    """§3.4 beyond the seed: `callflow`."""
    flow = graph_of(node("callflow", {"id": "main"}, _="none"))
    jump = flow.steps["1.jump"]
    assert isinstance(jump, g.Jump)
    assert (jump.flow, jump.returns) == ("main", False)
    assert isinstance(flow.follow(jump, g.FAILED), g.Enter)
    assert step_of(node("callflow", {"var": "next"}), g.Jump).flow == var("var.next")
    assert found(node("callflow", {}, _="x")) == [("missing-option", "warning", "/data")]


DAY = time_facts(datetime(2026, 3, 31, 10, 0, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({"cycle": "daily"}, True),
        ({"cycle": "daily", "time_window_start": 32400, "time_window_stop": 61200}, True),
        ({"cycle": "daily", "time_window_start": 36001}, False),
        ({"cycle": "daily", "time_window_stop": "35999"}, False),
        ({"cycle": "weekly", "wdays": ["monday", "tuesday"]}, True),
        ({"cycle": "weekly", "wdays": ["wensday"]}, False),
        ({"cycle": "monthly", "days": [1, 31]}, True),
        ({"cycle": "monthly", "days": [1]}, False),
        ({"cycle": "yearly", "month": 3, "days": [31]}, True),
        ({"cycle": "yearly", "month": 4, "days": [31]}, False),
        ({"cycle": "date", "start_date": 63942134400}, True),  # 2026-03-31
        ({"cycle": "date", "start_date": 63942220800}, False),
        ({"cycle": "daily", "start_date": 63942134400}, True),
        ({"cycle": "daily", "start_date": 63942220800}, False),
        ({"cycle": "daily", "end_date": 63942048000}, False),
        ({"cycle": "daily", "end_date": 999999999999}, True),
        ({"cycle": "daily", "enabled": False}, False),
        ({"cycle": "weekly", "enabled": True}, True),
    ],
)
def test_temporal_route(rule: dict[str, Any], holds: bool) -> None:
    """§3.4 beyond the seed: `temporal_route`."""
    flow = graph_of(node("temporal_route", {"rules": [{"id": "open", **rule}]}, open="yes", _="no"))
    branches = [step for step in flow.steps.values() if isinstance(step, g.Branch)]
    cases = [case for branch in branches for case in branch.cases]
    assert any(all(condition.holds(DAY) for condition in case.conditions) for case in cases) == holds
    if rule.get("enabled") is None:
        assert not any(all(condition.holds({}) for condition in case.conditions) for case in cases)


def test_what_a_call_knows_of_the_time() -> None:
    assert DAY == {"call.date": "2026-03-31", "call.weekday": "tuesday", "call.clock": "36000"}


def test_temporal_route_findings() -> None:
    data = {
        "rules": ["stored", {"id": "a", "cycle": "weekly"}, {"id": "b", "cycle": "daily", "interval": 2}],
        "timezone": "UTC",
    }
    assert found(node("temporal_route", data, a="x", _="y")) == [
        ("unknown-rule", "warning", "/data/rules/0"),
        ("missing-option", "warning", "/data/rules/1"),
        ("ignored-option", "warning", "/data/rules/2/interval"),
        ("missing-child", "warning", "/data/rules/2"),
        ("ignored-option", "warning", "/data/timezone"),
    ]
    assert found(node("temporal_route", {"rules": [{"id": "a", "cycle": "hourly"}]}))[0][:2] == ("bad-value", "error")


@pytest.mark.parametrize(
    ("rule", "option"),
    [
        ({"cycle": "daily", "time_window_start": 79200, "time_window_stop": 21600}, "time_window_start"),
        ({"cycle": "daily", "time_window_start": 86400}, "time_window_start"),
        ({"cycle": "daily", "start_date": 63942220800, "end_date": 63942134400}, "end_date"),
        ({"cycle": "yearly", "month": 2, "days": [30, 31]}, "days"),
        ({"cycle": "daily", "time_window_start": 21600, "time_window_stop": 79200}, ""),
        ({"cycle": "daily", "time_window_start": 79200, "time_window_stop": 21600, "enabled": True}, ""),
        ({"cycle": "daily", "start_date": 63942134400, "end_date": 63942134400}, ""),
        ({"cycle": "yearly", "month": 2, "days": [29, 30]}, ""),
    ],
)
def test_a_rule_that_no_time_fits_is_told(rule: dict[str, Any], option: str) -> None:
    """§3.4 beyond the seed: `temporal_route`; as in the original no window goes over midnight."""
    told = found(node("temporal_route", {"rules": [{"id": "a", **rule}]}, a="x", _="y"))
    assert told == ([("never-holds", "warning", f"/data/rules/0/{option}")] if option else [])


def test_a_window_over_midnight_is_shown_as_two() -> None:
    rule = {"id": "night", "cycle": "daily", "time_window_start": 79200, "time_window_stop": 21600}
    told = messages(node("temporal_route", {"rules": [rule]}, night="x"))
    assert "two rules: from 79200 to 86400, and from 0 to 21600" in told
    assert "no calendar" not in messages(node("temporal_route", {"rules": [{"id": "a", "cycle": "date"}]}, a="x"))
