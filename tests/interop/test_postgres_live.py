"""The whole daemon on PostgreSQL, and what becomes of calls when it is gone for a while."""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from database_server import DatabaseServer
from kit import checks, sound, trees
from kit.api import Api, first_token
from kit.daemon import Daemon, poll
from kit.hooks import HookServer
from kit.phone import Phone
from kit.trees import CALLER_HZ, ONE_HZ, ROOT_HZ, TWO_HZ

pytestmark = pytest.mark.peer("initdb", "pg_ctl", "postgres", "psql")

GONE = 3.0
"""Seconds, at least, for which the database is away."""

APIS = {
    "own": ("/api/v1/calls", "Bearer {token}"),
    "Brombler": ("/list.cas", "Bearer ivrea_x"),
    "MessageBird": ("/v1/calls", "AccessKey ivrea_x"),
    "Kwebbl": ("/v100/extensions", "Bearer ivrea_x"),
    "Verboice": ("/api/projects.json", "Basic " + base64.b64encode(b"a@b:c").decode()),
}


@pytest.fixture
def database() -> Iterator[DatabaseServer]:
    with DatabaseServer() as server:
        yield server


@pytest.fixture
def own_hooks() -> Iterator[HookServer]:
    server = HookServer().start()
    yield server
    server.stop()


def walk(daemon: Daemon, number: str, user: str) -> str:
    """A caller goes down to the leaf; the SIP Call-ID."""
    with Phone(daemon.address, user=user) as phone:
        assert phone.call(number).status == 200
        phone.rtp.say(sound.tone(CALLER_HZ, 0.8))
        phone.rtp.wait_for_sound(ROOT_HZ, 5)
        phone.rtp.press("1", off=0.3)
        phone.rtp.wait_for_sound(ONE_HZ, 5)
        phone.rtp.press("2", off=0.3)
        phone.rtp.wait_for_sound(TWO_HZ, 5)
        phone.wait_for_end()
    return phone.call_id


def nothing_is_owed(api: Api) -> bool | None:
    status, found = api.ask("GET", "/outbox?state=pending")
    return (status == 200 and found["deliveries"] == []) or None


def refusals(daemon: Daemon) -> dict[str, tuple[int, str | None]]:
    """Status and Retry-After of each API."""
    found = {}
    for name, (path, authorization) in APIS.items():
        request = urllib.request.Request(f"http://127.0.0.1:{daemon.http_port}{path}")
        request.add_header("Authorization", authorization.format(token=first_token(daemon)))
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                found[name] = answer.status, answer.headers["Retry-After"]
        except urllib.error.HTTPError as error:
            found[name] = error.code, error.headers["Retry-After"]
    return found


def test_calls_and_apis_on_postgresql_and_while_it_is_gone(
    database: DatabaseServer, own_hooks: HookServer, daemon_for: Callable[..., Daemon]
) -> None:
    daemon = daemon_for(
        {
            "1000": trees.two_levels(own_hooks.url("/1000")),
            "2000": trees.two_levels(own_hooks.url("/2000"), root="long.wav"),
            "3000": trees.two_levels(own_hooks.url("/3000")),
        },
        record=["1000", "3000"],
        settings={"store": {"url": database.url}},
    )
    api = Api(daemon)

    first = daemon.call_id(walk(daemon, "1000", "+39011"))
    checks.two_levels_were_told(own_hooks, "1000", caller="+39011")
    checks.prompts_right_and_caller_left(daemon.recording(first), caller_hz=CALLER_HZ)
    ended = api.wait(first, "ended")
    assert (ended["direction"], ended["result"]) == ("inbound", "completed")
    poll(lambda: nothing_is_owed(api), 5, "the outbox is not empty")

    with Phone(daemon.address, user="+39012") as held:
        assert held.call("2000").status == 200
        held.rtp.wait_for_sound(ROOT_HZ, 5)
        own_hooks.wait_for("open", "/2000")
        database.stop()
        gone = time.monotonic()
        second = daemon.call_id(walk(daemon, "3000", "+39013"))
        assert refusals(daemon) == dict.fromkeys(APIS, (503, "5"))
        daemon.wait_log("journal cannot be stored", 10)
        held.serve(max(gone + GONE - time.monotonic(), 0.1))
        assert not held.ended_by_far_end, "a call was dropped"
        held.rtp.press("1", off=0.3)
        held.rtp.wait_for_sound(ONE_HZ, 5)
        assert own_hooks.events("/3000") == [], "there is no database that they could come from"
        database.start()
        held.rtp.press("2", off=0.3)
        held.wait_for_end()
    for number, caller in (("2000", "+39012"), ("3000", "+39013")):
        own_hooks.wait_for("close", f"/{number}", patience=20)
        checks.two_levels_were_told(own_hooks, number, caller=caller)
    checks.prompts_right_and_caller_left(daemon.recording(second), caller_hz=CALLER_HZ)
    assert api.wait(second, "ended")["result"] == "completed"
    poll(lambda: nothing_is_owed(api), 5, "the outbox is not empty")
    assert database.ask("SELECT count(*) FROM calls WHERE finished_at IS NULL") == [["0"]]
    daemon.wait_log("journal is stored again")
    assert "Traceback" not in daemon.log()
