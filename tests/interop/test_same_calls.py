"""All APIs show the same calls: one that is made by one of them is seen by the others, and told of by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kit import sipp
from kit.api import Api
from kit.daemon import Daemon, poll
from kit.hooks import HookServer
from kit.keys import ask, keys_of

from engine.api.kwebbl.callids import of_call

pytestmark = pytest.mark.peer("sipp")

FLOW = {"title": "p", "record": False, "steps": [{"action": "pause", "options": {"length": 30}}]}


def test_a_call_of_messagebirds_api_is_in_bromblers_list_and_raises_kwebbls_events(tmp_path: Path) -> None:
    """It is hung up by the own API in the end, and the audit log has what the three have done."""
    carrier = sipp.start("uas_echo", tmp_path / "carrier", calls=1)
    told = HookServer().start()
    trunk = {"name": "carrier", "host": f"127.0.0.1:{carrier.port}", "inbound": "none"}
    settings = {"api": {"brombler_rate": 0}}
    with Daemon(tmp_path / "daemon", {"1000": "Hello!"}, settings=settings, trunks=[trunk]) as daemon:
        keys, api = keys_of(daemon, "default"), Api(daemon)
        wish = {"event_types": ["*"], "mode": "detailed", "callback_url": told.url("/events")}
        status, subscription = ask(daemon, "POST", "/v100/subscriptions", keys.of("/v100"), wish)
        assert status == 201, subscription
        body = {"source": "+390115550000", "destination": "+390115550100", "callFlow": FLOW}
        status, text = ask(daemon, "POST", "/v1/calls", keys.of("/v1"), body)
        assert status == 201, text
        bird = json.loads(text)["data"][0]["id"]
        call = api.ask("GET", "/calls")[1]["calls"][0]["id"]
        api.wait(call, "answered")

        status, text = ask(daemon, "GET", "/list.cas", keys.of(".cas"))
        listed = json.loads(text)["list"]
        assert (status, list(listed)) == (200, [call])
        status, text = ask(daemon, "GET", f"/v1/calls/{bird}", keys.of("/v1"))
        assert json.loads(text)["data"][0]["status"] == "ongoing"
        assert api.ask("DELETE", f"/calls/{call}")[0] == 202

        def events() -> list[dict[str, object]] | None:
            found = [json.loads(hit.body) for hit in list(told.hits) if hit.path == "/events"]
            return found if any(event["event_type"] == "terminated" for event in found) else None

        heard = poll(events, 15, f"the end was not told; of {[hit.body for hit in told.hits]}")
        assert "answered" in [event["event_type"] for event in heard]
        assert of_call(call) in json.dumps(heard)
        lines = api.ask("GET", "/audit")[1]["entries"]
        assert [line["action"] for line in reversed(lines)][-3:] == ["subscription made", "Make a call", "Hang up"]
        assert {line["subject"] for line in lines[:2]} <= {bird, call}
    told.stop()
    carrier.stop()
