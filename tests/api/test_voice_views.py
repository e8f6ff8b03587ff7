"""What the Voice API of MessageBird shows of rows, page by page, and how it signs."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import replace
from typing import Any

import pytest

from engine.accounts.callbook import CallRow, LegRow, RecordingRow
from engine.api.messagebird import views
from engine.api.messagebird.answers import Page, VoiceError, many, page_of
from engine.api.messagebird.door import VoiceRoute
from engine.api.messagebird.signing import sign
from flows.uuids import leg_uuid, recording_uuid

ID = uuid.uuid4().hex
CALL = CallRow(
    **dict.fromkeys(CallRow.__dataclass_fields__)
    | {"id": ID, "account_id": "a", "direction": "outbound", "caller": "+3110", "callee": "+3120", "started_at": 10.0}
)  # type: ignore[arg-type]


def leg(number: int, started: float, **more: Any) -> LegRow:
    row: dict[str, Any] = dict.fromkeys(LegRow.__dataclass_fields__)
    return LegRow(
        **row | {"id": f"{ID}-leg{number}", "call_id": ID, "callee": "x", "trunk": "", "started_at": started} | more
    )


def test_the_telephones_that_rang_for_a_destination_are_one_leg() -> None:
    """Two devices of a user are rung, one answers; then the flow transfers: two legs, not four."""
    answered = replace(CALL, answered_at=12.0)
    dialled = [leg(1, 10.5), leg(2, 10.6, answered_at=12.0), leg(3, 15.0, callee="39 via out", trunk="out")]
    shown = views.legs_of(answered, dialled)
    assert [each["id"] for each in shown] == [leg_uuid(ID), leg_uuid(ID, 3)]
    assert [(each["source"], each["destination"]) for each in shown] == [("3110", "3120"), ("3110", "39")]
    assert [each["status"] for each in shown] == ["ongoing", "starting"]
    came_in = replace(CALL, direction="inbound")
    assert len(views.legs_of(came_in, dialled)) == 4
    assert views.legs_of(CALL, dialled, ringing=True)[0]["status"] == "ringing"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"cause": "USER_BUSY"}, "busy"),
        ({"cause": "NO_ANSWER"}, "no_answer"),
        ({"cause": "ORIGINATOR_CANCEL"}, "hangup"),
        ({"cause": "NO_ROUTE_DESTINATION"}, "failed"),
        ({"sip_status": 486}, "busy"),
        ({"answered_at": 11.0, "cause": "NORMAL_TEMPORARY_FAILURE", "duration": 3.9}, "hangup"),
    ],
)
def test_how_a_call_ended_is_the_status_of_its_leg(more: dict[str, Any], status: str) -> None:
    ended = replace(CALL, finished_at=15.0, **more)
    shown = views.own_leg(ended)
    assert (shown["status"], shown["duration"]) == (status, 3 if "duration" in more else 0)
    assert views.call_view(ended)["status"] == "ended"
    before = views.as_of(ended, 10.0)
    assert (views.call_view(before)["status"], views.own_leg(before)["status"]) == ("starting", "starting")


def test_files_that_are_no_recordings_of_the_call_are_not_shown() -> None:
    assert views.number_of_recording(ID, f"/r/{ID}.wav") == 0
    assert views.number_of_recording(ID, f"/r/{ID}-7.mp3") == 7
    for path in (f"/r/{uuid.uuid4().hex}.wav", f"/r/{ID}-x.wav", "/r/message.wav", ""):
        assert views.number_of_recording(ID, path) is None
    row = RecordingRow(1, ID, f"/r/{ID}-7.mp3", 10.0, 2.5, 0, None)
    shown = views.recording_view(row, ended=True)
    assert (shown["id"], shown["format"], shown["status"], shown["duration"]) == (
        recording_uuid(ID, 7),
        "mp3",
        "done",
        2,
    )
    assert shown["_links"]["file"].endswith(f"{shown['id']}.mp3")
    lost = replace(row, seconds=None)
    assert [views.recording_view(lost, ended=ended)["status"] for ended in (False, True)] == ["recording", "failed"]
    assert "file" not in views.recording_view(lost, ended=True)["_links"]
    assert views.recording_view(replace(row, reason="disk full"), ended=True)["status"] == "failed"


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({}, Page(0, 10)),
        ({"page": "3", "perPage": "25"}, Page(50, 25)),
        ({"offset": "20", "limit": "5"}, Page(20, 5)),
        ({"page": "", "perPage": ""}, Page(0, 10)),
    ],
)
def test_pages(query: dict[str, str], page: Page) -> None:
    assert page_of(query) == page


@pytest.mark.parametrize(
    ("query", "number", "links"),
    [
        ({"offset": "20", "limit": "10"}, 3, {"self": "page=3&perPage=10", "previous": "page=2&perPage=10"}),
        (
            {"offset": "15", "limit": "10"},
            2,
            {"self": "offset=15&limit=10", "previous": "offset=5&limit=10", "next": "offset=25&limit=10"},
        ),
        ({"offset": "5", "limit": "25"}, 1, {"self": "offset=5&limit=25", "previous": "offset=0&limit=5"}),
        ({"offset": "28", "limit": "5"}, 6, {"self": "offset=28&limit=5", "previous": "offset=23&limit=5"}),
    ],
)
def test_pages_that_begin_anywhere(query: dict[str, str], number: int, links: dict[str, str]) -> None:
    """Nothing is on two of them, and nothing is left out."""
    answer = json.loads(bytes(many("/calls", [], page_of(query), 30).body))
    assert answer["pagination"]["currentPage"] == number
    assert answer["_links"] == {name: f"/calls?{each}" for name, each in links.items()}


@pytest.mark.parametrize(
    "query", [{"page": "0"}, {"page": "-1"}, {"page": "١"}, {"perPage": "101"}, {"limit": "1e3"}, {"offset": "x"}]
)
def test_bad_pages(query: dict[str, str]) -> None:
    with pytest.raises(VoiceError) as refused:
        page_of(query)
    assert (refused.value.status, refused.value.errors[0][0]) == (400, 18)
    assert next(iter(query)) in refused.value.errors[0][1]


async def nothing() -> None:
    """An endpoint."""


@pytest.mark.parametrize(
    ("method", "query", "served"),
    [
        ("POST", b"_method=put", "PUT"),
        ("POST", b"x=1&_method=PUT", "PUT"),
        ("POST", b"_method=TRACE", ""),
        ("POST", b"", ""),
        ("GET", b"_method=PUT", ""),
        ("PUT", b"", "PUT"),
    ],
)
def test_the_method_in_a_query(method: str, query: bytes, served: str) -> None:
    route = VoiceRoute("/x", nothing, methods=["PUT"])
    scope = {"type": "http", "method": method, "path": "/x", "query_string": query, "root_path": "", "headers": []}
    match, more = route.matches(scope)
    assert (match.name == "FULL") == bool(served)
    if served:
        assert {**scope, **more}["method"] == served


def test_what_is_signed_is_the_url_as_it_is_asked_for() -> None:
    jwt = pytest.importorskip("jwt")
    headers = sign("https://example.com/ä?x=1 2", b"{}", "s" * 32, 1_000_000_000.0)
    claims = jwt.decode(
        headers["MessageBird-Signature-JWT"], "s" * 32, algorithms=["HS256"], options={"verify_exp": False}
    )
    asked = "https://example.com/%C3%A4?x=1%202"
    assert claims["url_hash"] == hashlib.sha256(asked.encode()).hexdigest()
    assert claims["payload_hash"] == hashlib.sha256(b"{}").hexdigest()
    assert (claims["iss"], claims["nbf"], claims["exp"]) == ("MessageBird", 1_000_000_000, 1_000_000_060)
    assert "payload_hash" not in jwt.decode(
        sign("https://example.com/", b"", "s" * 32, 0.0)["MessageBird-Signature-JWT"],
        "s" * 32,
        algorithms=["HS256"],
        options={"verify_exp": False},
    )
    assert sign("https://example.com/", b"{}", "", 0.0) == {}
