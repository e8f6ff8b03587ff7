"""Modules that ask something of the call: the orders that their options come to (CONTRACTS §3.4, §0.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kazoo_kit import found, graph_of, node, order_of, verbs

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
from flows.templates import Template, Var, var

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
UPLOAD = Upload("http://h/r", "PUT", Template(("call_recording_", Var("call.id"), ".mp3")), numbered=True)
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
            ("media_name", "mine.mp3", {"upload": replace(UPLOAD, name="mine.mp3", numbered=False)}),
            ("label", "sales", {"label": "sales"}),
            ("record_on_answer", True, {"on": "answer"}),
            ("record_on_bridge", True, {"on": "bridge"}),
            ("record_min_sec", 3, {"least": 3.0}),
            ("record_sample_rate", 16000, {"sample_rate": 16000}),
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
        Park(action="park", timeout=60.0, keep=True),
    ),
]


@pytest.mark.parametrize(("module", "data", "order"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_orders(module: str, data: dict[str, Any], order: Order) -> None:
    document = node(module, data, _="other") if module == "resources" else node(module, data)
    assert order_of(document, type(order)) == order
    assert found(node(module, data)) == []


def test_a_parked_call_is_not_kept_where_something_follows() -> None:
    """§3.4 park | default_callback_timeout s, `_`."""
    order = order_of(node("park", {"default_callback_timeout": 60}, _="other"), Park)
    assert order == Park(action="park", timeout=60.0)


@pytest.mark.parametrize("scheme", ["ftp", "ftps"])
def test_a_recording_by_ftp_is_only_simulated(scheme: str) -> None:
    """§3.4 Recording upload: ftp/ftps/http/https."""
    document = node("record_call", {"url": f"{scheme}://h/r/"})
    assert order_of(document, StartRecording).upload == replace(UPLOAD, url=f"{scheme}://h/r")
    assert found(document) == [("unsupported", "warning", "/data/url")]


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
    assert order.final == 404
    nobody = filled(refuse.order, {})
    assert isinstance(nobody, Respond)
    assert nobody.final == 480
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
