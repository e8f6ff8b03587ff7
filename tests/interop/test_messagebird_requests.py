"""The Voice API of MessageBird by curl: every request of its documentation, every error, other accounts, anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import sipp
from kit.api import Api, add_account, first_token
from kit.bird import HANGUP, TOKEN, Bird
from kit.daemon import ROOT
from kit.voice import Voice

pytestmark = pytest.mark.peer("sipp", "curl")

SEEDS_FLOW = """{ "title": "Example Call Flow", "steps": [ { "id": "foo", "action": "transfer", "options":
 { "destination": "31612345678" } }, { "id": "bar", "action": "hangup" } ] }"""
SEEDS_BROKEN_FLOW = """{ "id": "de3ed163-d5fc-45f4-b8c4-7eea7458c635", "title": "Forward call to 31612345678",
 "record": true, "steps": [ { "id": "3538a6b8-5a2e-4537-8745-f72def6bd393", "action": "transfer", "options":
 { "destination": "31612345678" }, } ], "createdAt": "2017-03-06T13:34:14Z", "updatedAt": "2017-03-06T13:34:14Z" }"""
NOBODY = "00000000-0000-4000-8000-000000000000"


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
