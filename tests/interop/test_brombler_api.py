"""A day of a customer of Brombler: a token, calls by curl and by the Python client, what is told and refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import checks, sipp, sound, trees
from kit.api import Api, first_token
from kit.baresip import Baresip
from kit.curl import curl_json as curl
from kit.daemon import Daemon, poll
from kit.hooks import HookServer
from kit.stores import on_both

from engine.api.brombler.client import Brombler, BromblerError

pytestmark = pytest.mark.peer("sipp", "curl", "baresip")

TREE = {"_": "Hello! Do you want to talk?", "yes | sure | want -not": "Hooray!", "no": "Me neither!"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, store: dict[str, object]) -> Iterator[Daemon]:
    """Without a rate, so that tests need not wait; the rate has a test of its own."""
    folder = tmp_path_factory.mktemp("brombler")
    with Daemon(folder, {"1000": "Hello!"}, settings={"api": {"brombler_rate": 0}, "store": store}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def client(house: Daemon) -> dict[str, str]:
    status, made = Api(house).ask("POST", "/clients", {"name": "shop"})
    assert status == 201
    return {"client_id": made["client_id"], "client_secret": made["client_secret"]}


@pytest.fixture(scope="module")
def url(house: Daemon) -> str:
    return f"http://127.0.0.1:{house.http_port}"


@pytest.fixture(scope="module")
def token(url: str, client: dict[str, str]) -> str:
    return Brombler.api_key(url, client["client_id"], client["client_secret"], 86_400)


def phone(folder: Path, **fill: str) -> sipp.Sipp:
    return sipp.start("uas_echo", folder, fill=fill)


@on_both
def test_a_day(house: Daemon, url: str, token: str, hooks: HookServer, tmp_path: Path) -> None:
    """A number is called, somebody is called, with the same tree: keys, callbacks, the list, the end by ``close.cas``.

    Brombler's API has no numbers, media, recordings and records: those are had by ours.
    """
    hooks.hits.clear()
    api, brombler, number = Api(house), Brombler(token, url), "7400"
    sounds = {"root.wav": trees.SOUNDS["root.wav"], "one.wav": trees.SOUNDS["one.wav"]}
    for name, samples in (sounds | {"stay.wav": sound.tone(trees.TWO_HZ, 60.0)}).items():
        wav = sound.write_wav(tmp_path / name, samples)
        bearer = ["-H", f"Authorization: Bearer {first_token(house)}", "-H", "Content-Type: audio/wav"]
        assert curl(*bearer, "-T", str(wav), f"{url}/api/v1/media/{name}")[0] == 201

    def tree(name: str) -> trees.Tree:
        return {f"$api {hooks.url(f'/{name}')}": {"_": "root.wav", "key:1": {"_": "one.wav", "key:2": "stay.wav"}}}

    def told_at_the_leaf() -> str | None:
        leaf = trees.path("key:1", "key:2")
        return next((call for call, row in brombler.list().items() if row["path"] == leaf), None)

    assert api.ask("POST", "/flows", {"name": "day", "document": tree(number)})[0] == 201
    assert api.ask("POST", "/numbers", {"number": number, "flow": "day", "record": True})[0] == 201
    fill = {"FIRST_MS": "1500", "FIRST_KEY": "1", "SECOND_MS": "1000", "SECOND_KEY": "2"}
    audio = sound.tone(trees.CALLER_HZ, 20.0)
    caller = sipp.start("uac_info", tmp_path / "uac", server=house.address, number=number, fill=fill, audio=audio)
    came = poll(told_at_the_leaf, 20, "nobody came to the leaf")
    row = brombler.list()[came]
    assert (row["isInvite"], row["from"], row["to"]) == (0, "+39011555", number)
    brombler.close(came)
    caller.finish()
    checks.two_levels_were_told(hooks, number, caller="+39011555")
    recording = tmp_path / "came.wav"
    recording.write_bytes(api.sound(came))
    checks.prompts_right_and_caller_left(recording, caller_hz=trees.CALLER_HZ)

    with Baresip(tmp_path / "agent", user="agent", audio=audio, keep=True, answers=True) as agent:
        went = brombler.call(agent.uri, tree("agent"))
        agent.wait_heard(trees.ROOT_HZ)
        agent.press("1")
        agent.wait_heard(trees.ONE_HZ)
        agent.press("2")
        assert poll(told_at_the_leaf, 10, "nobody came to the leaf") == went
        brombler.close(went)
        agent.wait_event("CALL_CLOSED")
    hooks.wait_for("close", "/agent")
    events = hooks.events("/agent")
    assert [(each["e"], each["path"]) for each in events] == [
        ("open", ""),
        ("tree", trees.path("key:1")),
        ("tree", trees.path("key:1", "key:2")),
        ("close", trees.path("key:1", "key:2")),
    ]
    assert {(each["id"], each["to"], each["answered"]) for each in events} == {(went, agent.uri, "true")}

    for call, direction, flow, kept in ((came, "inbound", "day", 1), (went, "outbound", "inline", 0)):
        record = api.record(call)
        told = record["call"]
        assert (told["direction"], told["flow"], told["path"]) == (direction, flow, trees.path("key:1", "key:2"))
        assert (told["ended_by"], told["cause"], len(record["recordings"])) == ("flow", "NORMAL_CLEARING", kept)
        assert record["timeline"][0]["kind"] == "Began"
        assert told["duration"] > 1.0
        assert call not in brombler.list()


def test_the_documented_samples_work_with_curl(house: Daemon, url: str, client: dict[str, str], tmp_path: Path) -> None:
    form = [f"-dclient_id={client['client_id']}", f"-dclient_secret={client['client_secret']}"]
    status, given = curl(*form, "-dexp=86400", f"{url}/auth.cas")
    assert (status, given["expires_in"], given["token_type"]) == (200, 86400, "Bearer")
    status, web = curl(*form, "-dwebrtc=1", "-dexp=86400", f"{url}/auth.cas")
    assert (status, sorted(web)) == (200, ["access_token", "expires_in", "token_type"])
    bearer = ["-H", f"Authorization: Bearer {given['access_token']}"]
    uas = phone(tmp_path / "uas")
    who = f"sip:agent@127.0.0.1:{uas.port}"
    said = {"response": 200, "responseText": "OK"}
    status, answer = curl(*bearer, f"{url}/call.cas?who={who}&tree=Hello")
    assert (status, {key: answer[key] for key in said}) == (200, said)
    status, listing = curl(*bearer, f"{url}/list.cas")
    assert status == 200
    assert set(listing["list"][answer["id"]]) == {"account", "isInvite", "from", "to", "callDuration", "path"}
    assert listing["list"][answer["id"]]["to"] == who
    uas.stop()
    body = json.dumps({"who": "+390115550199", "tree": "Hello!"})
    status, answer = curl(*bearer, "-H", "Content-Type: application/json", f"{url}/call.cas", "-d", body)
    assert (status, answer["response"]) == (200, 200)
    in_query = f"{url}/call.cas?who=1&tree=%7B%22_%22%3A%22Hello!+Do+you%3F%22%2C%22no%22%3A%22Okay+then!+Bye!%22%7D"
    assert curl(*bearer, in_query)[0] == 200
    assert curl(*bearer, "-dwho=1", "--data-urlencode", f"tree={json.dumps(TREE)}", f"{url}/call.cas")[0] == 200
    web_token = ["-H", f"Authorization: Bearer {web['access_token']}"]
    assert curl(*web_token, f"{url}/list.cas")[0] == 401, "a token for a browser is for a browser"


def test_a_call_is_told_listed_and_closed(
    house: Daemon, url: str, token: str, hooks: HookServer, tmp_path: Path
) -> None:
    brombler = Brombler(token, url)
    uas = phone(tmp_path / "uas")
    tree = {f"$api {hooks.url('/brombler?session=d00de')}": {"_": "Hello. " * 40, "key:1": "One."}}
    call = brombler.call(f"sip:agent@127.0.0.1:{uas.port}", tree)
    hooks.wait_for("open", "/brombler")
    listed = brombler.list()[call]
    assert (listed["isInvite"], listed["path"]) == (0, "")
    assert 0 <= listed["callDuration"] < 10_000
    brombler.close(call)
    hooks.wait_for("close", "/brombler")
    events = hooks.events("/brombler")
    assert [event["e"] for event in events] == ["open", "close"]
    assert {(event["id"], event["answered"], event["session"]) for event in events} == {(call, "true", "d00de")}
    house.wait_closed(call)
    assert call not in brombler.list()
    with pytest.raises(BromblerError, match=r"404.*no live call"):
        brombler.close(call)
    ended = Api(house).wait(call, "ended")
    assert ended["end"]["by"] == "flow"


def test_a_call_lasts_no_longer_than_was_wished(house: Daemon, url: str, token: str, tmp_path: Path) -> None:
    uas = phone(tmp_path / "uas")
    call = Brombler(token, url).call(f"sip:agent@127.0.0.1:{uas.port}", "Hello. " * 100, timeout=1.0)
    ended = Api(house).wait(call, "ended")
    assert ended["end"]["by"] == "limit"
    assert 0.9 < ended["duration"] < 3.0


def test_the_list_is_forwarded_every_second(
    house: Daemon, url: str, token: str, hooks: HookServer, tmp_path: Path
) -> None:
    uas = phone(tmp_path / "uas")
    brombler = Brombler(token, url)
    tree = {f"$forward {hooks.url('/lists')}": {"_": "Hello. " * 60}}
    call = brombler.call(f"sip:agent@127.0.0.1:{uas.port}", tree)
    lists = poll(lambda: found if len(found := posted(hooks)) >= 3 else None, 15, "no three lists came")
    assert all(call in each["list"] for each in lists)
    assert lists[-1]["list"][call]["isInvite"] == 0
    brombler.close(call)
    house.wait_closed(call)


def test_a_call_is_sent_to_an_agent(house: Daemon, url: str, token: str, tmp_path: Path) -> None:
    api, brombler = Api(house), Brombler(token, url)
    for path, body in (
        ("devices", {"name": "desk", "password": "pw"}),
        ("users", {"name": "ana", "devices": ["desk"]}),
    ):
        assert api.ask("POST", f"/{path}", body)[0] == 201
    caller = phone(tmp_path / "uas")
    with Baresip(
        tmp_path / "desk", user="desk", server=f"127.0.0.1:{house.sip_port}", password="pw", answers=True
    ) as agent:
        house.wait_log("device_registered")
        call = brombler.call(f"sip:someone@127.0.0.1:{caller.port}", "Hello. " * 60)
        poll(lambda: brombler.list()[call]["isInvite"] == 0 or None, 10, "not answered")
        with pytest.raises(BromblerError, match="404"):
            brombler.refer(call, "nobody-here")
        brombler.refer(call, "ana")
        agent.wait_event("CALL_ESTABLISHED")
        agent.hangup()
        caller.finish()
    house.wait_closed(call)
    ended = api.wait(call, "ended")
    assert [leg["to"] for leg in ended["legs"]][-1] == "desk"


def posted(hooks: HookServer) -> list[Any]:
    return [json.loads(hit.body) for hit in hooks.hits if hit.path == "/lists" and hit.method == "POST"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "who: is missing"),
        ({"who": "1"}, 400, "tree: is missing"),
        ({"who": "1", "tree": 5}, 400, "tree: must be text or an object"),
        ({"who": ["1"], "tree": "x"}, 400, "who: must be text"),
        ({"who": "a b c", "tree": "x"}, 400, "who: "),
        ({"who": "sip:", "tree": "x"}, 400, "who: "),
        ({"who": "1", "tree": "x", "timeout": "soon"}, 400, "timeout: must be seconds"),
        ({"who": "1", "tree": "x", "timeout": -1}, 400, "timeout: must be seconds"),
        ({"who": "1", "tree": {"_": ["x"]}}, 400, "tree: "),
    ],
)
def test_a_bad_call_is_refused_with_its_reason(url: str, token: str, body: Any, status: int, says: str) -> None:
    given = ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    found, answer = curl(*given, "-d", json.dumps(body), f"{url}/call.cas")
    assert (found, answer["response"]) == (status, status)
    assert says in answer["responseText"]


def test_what_is_not_a_call_at_all(url: str, token: str, client: dict[str, str]) -> None:
    bearer = ["-H", f"Authorization: Bearer {token}"]
    kinds = {"application/json": ("{", 400), "text/xml": ("<a/>", 415), "application/json; charset=utf-8": ("[]", 400)}
    for kind, (body, status) in kinds.items():
        assert curl(*bearer, "-H", f"Content-Type: {kind}", "-d", body, f"{url}/call.cas")[0] == status
    assert curl("-dwho=1", "-dtree=x", f"{url}/call.cas")[0] == 401
    assert curl("-H", "Authorization: Bearer nonsense", f"{url}/list.cas")[0] == 401
    assert curl("-dclient_id=x", "-dclient_secret=y", f"{url}/auth.cas")[0] == 401
    assert curl(f"-dclient_id={client['client_id']}", "-dclient_secret=y", f"{url}/auth.cas")[0] == 401
    assert curl(*bearer, "-X", "DELETE", f"{url}/call.cas")[0] == 405


def test_an_account_sees_and_closes_its_own_calls_only(house: Daemon, url: str, token: str, tmp_path: Path) -> None:
    _, account = Api(house).ask("POST", "/accounts", {"name": "neighbour"})
    status, other = Api(house, account["token"]).ask("POST", "/clients", {"name": "theirs"})
    assert status == 201
    theirs = Brombler.api_key(url, other["client_id"], other["client_secret"])
    uas = phone(tmp_path / "uas")
    call = Brombler(token, url).call(f"sip:agent@127.0.0.1:{uas.port}", "Hello. " * 60)
    assert Brombler(theirs, url).list() == {}
    with pytest.raises(BromblerError, match="404"):
        Brombler(theirs, url).close(call)
    Brombler(token, url).close(call)
    house.wait_closed(call)


def test_one_request_a_second(daemon_for: Callable[..., Daemon]) -> None:
    house = daemon_for({"1000": "Hello!"})
    url = f"http://127.0.0.1:{house.http_port}"
    _, made = Api(house).ask("POST", "/clients", {"name": "shop"})
    token = Brombler.api_key(url, made["client_id"], made["client_secret"])
    assert curl("-H", f"Authorization: Bearer {token}", f"{url}/list.cas")[0] == 200
    limited = subprocess.run(
        ["curl", "-sS", "-i", "-H", f"Authorization: Bearer {token}", f"{url}/list.cas"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert limited.startswith("HTTP/1.1 429")
    assert "retry-after: 1" in limited.lower()
    assert Brombler(token, url).list() == {}, "the client waits as long as it is told"
