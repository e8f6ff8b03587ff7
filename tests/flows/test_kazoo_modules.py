"""Every module of CONTRACTS §3.4: what its options come to, defaults and units, what is refused or ignored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kazoo_kit import found, graph_of, messages, node, order_of, step_of, verbs

from flows import graph as g
from flows.causes import CAUSES
from flows.orders import (
    Conference,
    Dial,
    Order,
    Park,
    Presence,
    Respond,
    SendDigits,
    StartRecording,
    StopRecording,
    Target,
    Upload,
    Voicemail,
    filled,
)
from flows.prompts import Prompt
from flows.templates import Condition, Template, Var, var

ALL_KEYS = "123456789*0#"
DEVICE = Dial(targets=(Target(kind="device", value="d"),), timeout=20.0)
USER = Dial(targets=(Target(kind="user", value="u"),), timeout=20.0)
GROUP = Dial(
    targets=(
        Target(kind="device", value="d", timeout=20.0),
        Target(kind="user", value="u", timeout=10.0, delay=5.0, weight=70),
        Target(kind="group", value="g", timeout=20.0),
        Target(kind="any", value="x"),
    ),
    timeout=20.0,
)
ENDPOINTS = [
    {"id": "d", "endpoint_type": "device"},
    {"id": "u", "endpoint_type": "user", "timeout": "10", "delay": 5, "weight": 70},
    {"id": "g", "endpoint_type": "group", "name": "all"},
    "x",
]
OUT = Dial(targets=(Target(kind="number", value="+3531"),), timeout=30.0, resources="local")
ROOM = Conference(room="r", stored=True)
AD_HOC = Conference(room="My room")
BOX = Voicemail(box="b")
UPLOAD = Upload("http://h/r", "PUT", Template(("call_recording_", Var("call.id"), ".mp3")))
RECORDING = StartRecording(format="mp3", limit=3600.0, upload=UPLOAD)

ORDERS: list[tuple[str, str, dict[str, Any], Order]] = [
    # device
    ("§3.4 device | id; timeout s (code default 20", "device", {"id": "d"}, DEVICE),
    ("§3.4 device | … schema says 0", "device", {"id": "d", "timeout": 0}, DEVICE),
    ("§0.4 Kazoo bridge `timeout` = s", "device", {"id": "d", "timeout": "5"}, replace(DEVICE, timeout=5.0)),
    ("§0.5 Numbers are strings", "device", {"id": 12}, replace(DEVICE, targets=(Target(kind="device", value="12"),))),
    (
        "§3.4 device | delay s (0)",
        "device",
        {"id": "d", "delay": 3},
        replace(DEVICE, targets=(Target(kind="device", value="d", delay=3.0),)),
    ),
    (
        "§3.4 device | dial_strategy simultaneous|single",
        "device",
        {"id": "d", "dial_strategy": "single"},
        replace(DEVICE, strategy="single"),
    ),
    (
        "§3.4 device | suppress_clid",
        "device",
        {"id": "d", "suppress_clid": True},
        replace(DEVICE, hide_caller_id=True),
    ),
    (
        "§3.4 device | custom_sip_headers",
        "device",
        {"id": "d", "custom_sip_headers": {"X-A": "1"}},
        replace(DEVICE, headers={"X-A": "1"}),
    ),
    (
        "§3.4 device | custom_sip_headers of one direction",
        "device",
        {"id": "d", "custom_sip_headers": {"out": {"X-A": "1"}, "in": {}}},
        replace(DEVICE, headers={"X-A": "1"}),
    ),
    # user
    ("§3.4 user | id; timeout (20); delay (0); strategy (simultaneous)", "user", {"id": "u"}, USER),
    ("§3.4 user | strategy single", "user", {"id": "u", "strategy": "single"}, replace(USER, strategy="single")),
    (
        "§3.4 user | fail_on_single_reject",
        "user",
        {"id": "u", "fail_on_single_reject": True},
        replace(USER, stop_on_reject=True),
    ),
    ("§3.4 user | suppress_clid", "user", {"id": "u", "suppress_clid": "true"}, replace(USER, hide_caller_id=True)),
    # ring_group
    (
        "§3.4 ring_group | R id, R endpoint_type device|user|group, timeout (20), delay (0), weight 1-100",
        "ring_group",
        {"endpoints": ENDPOINTS},
        GROUP,
    ),
    (
        "§3.4 ring_group | Ours: accept plain id strings (seed) and look the type up",
        "ring_group",
        {"endpoints": ["a", "b"]},
        replace(GROUP, targets=(Target(kind="any", value="a"), Target(kind="any", value="b"))),
    ),
    *(
        (
            f"§3.4 ring_group | {option}",
            "ring_group",
            {"endpoints": ENDPOINTS, option: value},
            replace(GROUP, **changed),
        )
        for option, value, changed in [
            ("strategy", "single", {"strategy": "single"}),
            ("strategy", "weighted_random", {"strategy": "weighted"}),
            ("timeout", 40, {"timeout": 40.0}),
            ("repeats", 3, {"repeats": 3}),
            ("ringback", "http://h/ring.wav", {"ringback": "http://h/ring.wav"}),
            ("ignore_forward", False, {"ignore_forwards": False}),
            ("fail_on_single_reject", True, {"stop_on_reject": True}),
        ]
    ),
    # resources
    ("§3.4 resources | to_did; use_local_resources (true)", "resources", {"to_did": "+353 1"}, OUT),
    (
        "§3.4 resources | No to_did = the dialled number",
        "resources",
        {},
        replace(OUT, targets=(Target(kind="number", value=var("call.request")),)),
    ),
    (
        "§0.5 to_did as a JSON number",
        "resources",
        {"to_did": 3531},
        replace(OUT, targets=(Target(kind="number", value="3531"),)),
    ),
    (
        "§3.4 resources | to_did may be a URI",
        "resources",
        {"to_did": "sip:a@b"},
        replace(OUT, targets=(Target(kind="uri", value="sip:a@b"),)),
    ),
    *(
        (f"§3.4 resources | {option}", "resources", {"to_did": "+3531", option: value}, replace(OUT, **changed))
        for option, value, changed in [
            ("use_local_resources", False, {"resources": "global"}),
            ("timeout", 12, {"timeout": 12.0}),
            ("ringback", "tone", {"ringback": "tone"}),
            ("ignore_early_media", True, {"ignore_early_media": True}),
            ("do_not_normalize", True, {"normalize": False}),
            ("bypass_e164", "true", {"normalize": False}),
            ("custom_sip_headers", {"X-A": "b"}, {"headers": {"X-A": "b"}}),
        ]
    ),
    # page_group
    (
        "§3.4 page_group",
        "page_group",
        {"endpoints": ["a"], "audio": "one-way"},
        Dial(targets=(Target(kind="any", value="a"),), strategy="page", timeout=5.0),
    ),
    # send_dtmf
    (
        "§3.4 send_dtmf | R digits; duration_ms (2000, int or string)",
        "send_dtmf",
        {"digits": "123ABC#"},
        SendDigits(digits="123ABC#", tone=2.0),
    ),
    (
        "§0.4 send_dtmf.duration_ms = ms",
        "send_dtmf",
        {"digits": "1a", "duration_ms": "150"},
        SendDigits(digits="1A", tone=0.15),
    ),
    ("§3.1 `send_dtmf` `0-9A-D*#`", "send_dtmf", {"digits": 12}, SendDigits(digits="12", tone=2.0)),
    # conference
    ("§3.4 conference | id", "conference", {"id": "r"}, ROOM),
    ("§3.4 conference | config; ad-hoc rooms unmuted", "conference", {"config": {"name": "My room"}}, AD_HOC),
    ("§3.4 conference | moderator", "conference", {"id": "r", "moderator": True}, replace(ROOM, moderator=True)),
    (
        "§3.4 conference | welcome_prompt.play (true)",
        "conference",
        {"id": "r", "welcome_prompt": {"play": False}},
        replace(ROOM, welcome=""),
    ),
    (
        "§3.4 conference | welcome_prompt.media_id",
        "conference",
        {"id": "r", "welcome_prompt": {"media_id": "m"}},
        replace(ROOM, welcome="m"),
    ),
    (
        "§3.4 conference | play_entry_tone / play_exit_tone bool or string",
        "conference",
        {"id": "r", "play_entry_tone": False, "play_exit_tone": "http://h/x.wav"},
        replace(ROOM, entry_tone="", exit_tone="http://h/x.wav"),
    ),
    (
        "§3.4 conference | tones of config count less",
        "conference",
        {"config": {"name": "My room", "play_entry_tone": False, "play_exit_tone": False}, "play_exit_tone": True},
        replace(AD_HOC, entry_tone="", exit_tone="default"),
    ),
    *(
        (
            f"§3.4 conference | config.{next(iter(config))}",
            "conference",
            {"config": {"name": "My room", **config}},
            order,
        )
        for config, order in [
            ({"max_participants": 5}, replace(AD_HOC, most=5)),
            ({"member": {"join_muted": True, "pins": ["1", 2]}}, replace(AD_HOC, muted=True, pins=("1", "2"))),
            ({"member": {"join_deaf": True}}, replace(AD_HOC, deaf=True)),
            ({"moderator": {"join_muted": True, "pins": ["9"]}}, replace(AD_HOC, moderator_pins=("9",))),
            ({"play_name": True}, replace(AD_HOC, announce_name=True)),
            ({"play_welcome": False}, replace(AD_HOC, welcome="")),
            ({"require_moderator": True}, replace(AD_HOC, wait_for_moderator=True)),
            ({"wait_for_moderator": True}, replace(AD_HOC, wait_for_moderator=True)),
        ]
    ),
    (
        "§3.4 conference | config.moderator of a moderator",
        "conference",
        {"moderator": True, "config": {"name": "My room", "moderator": {"join_muted": True}}},
        replace(AD_HOC, moderator=True, muted=True),
    ),
    # response
    ("§3.4 response | R code int (486)", "response", {}, Respond(code=486)),
    ('§3.4 response | Accept "486"', "response", {"code": "486"}, Respond(code=486)),
    (
        "§3.1 response code/message/media",
        "response",
        {"code": 503, "message": "Busy hour", "media": "http://h/a.wav"},
        Respond(code=503, reason="Busy hour", prompts=(Prompt(media="http://h/a.wav"),)),
    ),
    # manual_presence
    (
        "§3.4 manual_presence | status (idle); `@request_realm` added",
        "manual_presence",
        {"presence_id": "u"},
        Presence(entity=Template(("u@", Var("call.request_realm")))),
    ),
    (
        "§3.4 manual_presence | ringing",
        "manual_presence",
        {"presence_id": "u@h", "status": "ringing"},
        Presence(entity="u@h", state="ringing"),
    ),
    (
        "§3.4 manual_presence | busy",
        "manual_presence",
        {"presence_id": "u@h", "status": "busy"},
        Presence(entity="u@h", state="busy"),
    ),
    # record_call
    (
        "§3.4 record_call | R action (start); format (mp3); url; method (put)",
        "record_call",
        {"url": "http://h/r"},
        RECORDING,
    ),
    ("§3.4 record_call | URL right-trimmed of `/`", "record_call", {"url": "http://h/r//"}, RECORDING),
    ("§3.4 record_call | without url", "record_call", {}, replace(RECORDING, upload=None)),
    ("§3.4 record_call | stop", "record_call", {"action": "stop"}, StopRecording()),
    *(
        (
            f"§3.4 record_call | {option}",
            "record_call",
            {"url": "http://h/r", option: value},
            replace(RECORDING, **changed),
        )
        for option, value, changed in [
            (
                "format",
                "wav",
                {
                    "format": "wav",
                    "upload": replace(UPLOAD, name=Template(("call_recording_", Var("call.id"), ".wav"))),
                },
            ),
            ("method", "post", {"upload": replace(UPLOAD, method="POST")}),
            ("time_limit", 5, {"limit": 5.0}),
            ("time_limit", "1200", {"limit": 1200.0}),
            ("media_name", "mine.mp3", {"upload": replace(UPLOAD, name="mine.mp3")}),
            ("label", "sales", {"label": "sales"}),
            ("record_on_answer", True, {"on": "answer"}),
            ("record_on_bridge", True, {"on": "bridge"}),
            ("record_min_sec", 3, {"least": 3.0}),
            ("record_sample_rate", 16000, {"sample_rate": 16000}),
            ("url", "ftp://h/r", {"upload": replace(UPLOAD, url="ftp://h/r")}),
            ("url", "ftps://h/r", {"upload": replace(UPLOAD, url="ftps://h/r")}),
            ("url", "https://h/r", {"upload": replace(UPLOAD, url="https://h/r")}),
        ]
    ),
    # voicemail
    (
        "§3.4 voicemail | id; action (compose); max_message_length (500 s); interdigit_timeout (2000)",
        "voicemail",
        {"id": "b"},
        BOX,
    ),
    *(
        (f"§3.4 voicemail | {option}", "voicemail", {"id": "b", option: value}, replace(BOX, **changed))
        for option, value, changed in [
            ("action", "check", {"action": "check"}),
            ("max_message_length", 60, {"limit": 60.0}),
            ("interdigit_timeout", 500, {"between_keys": 0.5}),
            ("single_mailbox_login", True, {"single_login": True}),
            ("callerid_match_login", True, {"login_by_caller_id": True}),
        ]
    ),
    ("§3.4 voicemail | check needs no id", "voicemail", {"action": "check"}, Voicemail(box="", action="check")),
    # park
    ("§3.4 park", "park", {}, Park(action="park")),
    ("§3.4 park | slot", "park", {"slot": 71, "action": "auto"}, Park(slot="71", action="auto")),
    ("§3.4 park | direct_park", "park", {"action": "direct_park"}, Park(action="park")),
    ("§3.4 park | retrieve", "park", {"action": "retrieve", "slot": "7"}, Park(slot="7", action="retrieve")),
    (
        "§3.4 park | default_callback_timeout s",
        "park",
        {"default_callback_timeout": 60},
        Park(action="park", timeout=60.0),
    ),
]


@pytest.mark.parametrize(("module", "data", "order"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_orders(module: str, data: dict[str, Any], order: Order) -> None:
    document = node(module, data, _="other") if module == "resources" else node(module, data)
    assert order_of(document, type(order)) == order
    assert found(node(module, data)) == []


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


# --- bridging: what follows ---------------------------------------------------------------


@pytest.mark.parametrize("module", ["device", "user", "ring_group", "page_group", "resources"])
def test_success_of_a_bridge_ends_the_call(module: str) -> None:
    """§0.2: success *ends* the call when the bridge ends; `_` runs only on failure. §3.3: Bridge success: stop."""
    data = {"id": "d"} if module in ("device", "user") else {"endpoints": ["d"]} if "group" in module else {}
    flow = graph_of(node(module, data, _="failed", USER_BUSY="busy", **{"sip:503": "later"}))
    (dial,) = [step for step in flow.steps.values() if isinstance(step, g.Perform)]
    assert isinstance(flow.follow(dial), g.HangUp)
    assert set(dial.exits) == {g.NEXT, g.FAILED, "USER_BUSY", "sip:503"}
    assert dial.into == "dial"
    assert g.Answer not in {type(step) for step in flow.steps.values() if step.id.startswith("1.")}


def test_children_named_by_every_cause() -> None:
    """§3.3: a child named by the hangup cause (`USER_BUSY`, `NO_ANSWER`…), then by SIP code (`sip:486`), then `_`."""
    names = [cause.name for cause in CAUSES if cause.status != "completed"]
    document = node("device", {"id": "d"}, **dict.fromkeys(names, "x"))
    assert found(document) == []
    assert set(names) <= set(graph_of(document).steps["1.dial"].exits)
    wrong = node("device", {"id": "d"}, NORMAL_CLEARING="x", busy="y", **{"sip:200": "z"})
    assert [where for _, _, where in found(wrong)] == [f"/children/{k}" for k in ("NORMAL_CLEARING", "busy", "sip:200")]


def test_resources_without_a_child_answers_with_the_mapped_status() -> None:
    """§3.3: `resources` without a matching child answers the caller with the mapped SIP response and stops."""
    flow = graph_of(node("resources", {"to_did": "1"}, USER_BUSY="x"))
    dial = flow.steps["1.dial"]
    refuse = flow.steps[dial.exits[g.FAILED]]
    assert isinstance(refuse, g.Perform)
    order = filled(refuse.order, {"dial.sip": "404"})
    assert isinstance(order, Respond)
    assert order.code == 404
    nobody = filled(refuse.order, {})
    assert isinstance(nobody, Respond)
    assert nobody.code == 480
    assert isinstance(flow.follow(refuse), g.HangUp)


def test_nobody_to_ring() -> None:
    """§3.4 user: No devices -> `_`."""
    for document in (node("user", {}, _="x"), node("ring_group", {"endpoints": []}, _="x")):
        assert found(document) == [("missing-option", "warning", "/data")]
        assert "Perform" not in verbs(document)


@pytest.mark.parametrize(
    ("headers", "finding"),
    [
        ({"X-A": "a\r\nVia: b"}, ("bad-header", "error", "/data/custom_sip_headers/X-A")),
        ({"X A": "a"}, ("bad-header", "error", "/data/custom_sip_headers/X A")),
        ({"Via": "a"}, ("bad-header", "error", "/data/custom_sip_headers/Via")),
        ({"X-A": 1}, ("bad-header", "error", "/data/custom_sip_headers/X-A")),
        ({"out": {"call-id": "a"}}, ("bad-header", "error", "/data/custom_sip_headers/out/call-id")),
        ({"in": {"X-A": "a"}}, ("ignored-option", "warning", "/data/custom_sip_headers/in")),
    ],
)
def test_headers_that_cannot_be_sent(headers: dict[str, Any], finding: tuple[str, str, str]) -> None:
    assert found(node("device", {"id": "d", "custom_sip_headers": headers})) == [finding]


# --- recording ----------------------------------------------------------------------------


def test_record_caller() -> None:
    """§3.4 record_caller | format; url; method; time_limit; any key ends; blocks the flow."""
    document = node("record_caller", {"url": "http://h/r/", "format": "wav", "method": "post", "time_limit": 360})
    step = step_of(document, g.Record)
    name = Template(("call_recording_", Var("call.id"), ".wav"))
    assert step.upload == Upload("http://h/r", "POST", name)
    assert (step.format, step.limit, set(step.stop_keys), step.sides) == ("wav", 360.0, set("0123456789*#"), "caller")
    assert verbs(document) == ["Answer", "Pause", "Record", "SetVariables", "HangUp"]
    place = step_of(document, g.SetVariables).values
    assert place == (("recording.url", Template(("http://h/r/", *name.parts))),)


def test_record_caller_without_a_place_is_skipped() -> None:
    """§3.4 record_caller: without storable url it is skipped."""
    assert found(node("record_caller", {}, _="x")) == [("missing-option", "warning", "/data")]
    assert "Record" not in verbs(node("record_caller", {}, _="x"))


def test_recordings_of_a_call_have_names_of_their_own() -> None:
    """§3.4: Use the seed's, add `-2`, `-3` for later recordings of the same call."""
    record = {"url": "http://h"}
    flow = node("record_call", record, _=node("record_call", {"action": "stop"}, _=node("record_caller", record)))
    flow["children"]["_"]["children"]["_"]["children"] = {"_": node("record_call", record)}
    uploads = [step.upload for step in graph_of(flow).steps.values() if isinstance(step, g.Record)]
    uploads += [
        step.order.upload
        for step in graph_of(flow).steps.values()
        if isinstance(step, g.Perform) and isinstance(step.order, StartRecording)
    ]
    names = [upload.name.fill({"call.id": "ID"}) for upload in uploads if upload and isinstance(upload.name, Template)]
    assert sorted(names) == ["call_recording_ID-2.mp3", "call_recording_ID-3.mp3", "call_recording_ID.mp3"]


def test_time_limit_of_a_recording() -> None:
    """§3.1 `time_limit` capped by system limit; §3.4 time_limit 5..10800 (3600): use min(time_limit, maximum)."""
    assert found(node("record_call", {"time_limit": 7200})) == [("over-limit", "warning", "/data/time_limit")]
    assert order_of(node("record_call", {"time_limit": 7200}), StartRecording).limit == 3600.0
    assert found(node("record_call", {"time_limit": 4}))[0][:2] == ("bad-value", "error")
    assert found(node("record_call", {"time_limit": 10801}))[0][:2] == ("bad-value", "error")


def test_record_call_findings() -> None:
    assert found(node("record_call", {"should_follow_transfer": False}))[0][0] == "ignored-option"
    assert found(node("record_call", {"url": "mailto:x"}))[0][:2] == ("bad-url", "error")
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


DAY = {"call.date": "2026-03-31", "call.weekday": "tuesday", "call.clock": "36000"}  # 10:00


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
    assert "no calendar" not in messages(node("temporal_route", {"rules": [{"id": "a", "cycle": "date"}]}, a="x"))
