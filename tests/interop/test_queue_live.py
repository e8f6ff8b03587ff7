"""The queue of calls, with a trunk that is not ours and a daemon that is killed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kit import sipp
from kit.api import Api, add_account
from kit.daemon import Daemon, poll

DaemonFor = Callable[..., Daemon]
PAUSE = {"document": {"title": "p", "steps": [{"id": "p", "action": "pause", "options": {"length": 1}}]}}
RATE = 4.0


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, sipp.Sipp]]:
    folder = tmp_path_factory.mktemp("queue")
    carrier = sipp.start("uas_echo", folder / "carrier", calls=4)
    daemon = Daemon(
        folder / "daemon",
        {"5000": {"_": "hello"}},
        trunks=[{"name": "carrier", "host": f"127.0.0.1:{carrier.port}", "queue_rate": RATE, "queue_calls": 2}],
    )
    with daemon:
        yield daemon, carrier


def queued(api: Api, **wish: Any) -> dict[str, Any]:
    status, entry = api.ask("POST", "/queue", {"to": "+390115550100", "flow": PAUSE, **wish})
    assert status == 201, entry
    return dict(entry)


def wait(api: Api, entry: dict[str, Any], *states: str) -> dict[str, Any]:
    def there() -> dict[str, Any] | None:
        found = api.ask("GET", f"/queue/{entry['id']}")[1]
        return dict(found) if found["state"] in states else None

    return poll(there, 30.0, f"{entry} was not {states}", every=0.1)


def test_calls_go_out_at_the_rate_and_number_of_their_trunk(lines: tuple[Daemon, sipp.Sipp]) -> None:
    daemon, carrier = lines
    api = Api(daemon)
    entries = [queued(api, trunk="carrier", variables={"n": str(number)}) for number in range(4)]
    done = [wait(api, entry, "completed", "failed") for entry in entries]
    carrier.finish()
    assert {(each["state"], each["result"], each["attempts"]) for each in done} == {("completed", "completed", 1)}
    calls = sorted((api.get(each["call"]) for each in done), key=lambda call: str(call["started_at"]))
    begun = [seconds(call["started_at"]) for call in calls]
    ended = [seconds(call["ended_at"]) for call in calls]
    # what is exact in virtual time has the delays of a database and of a busy machine here
    assert min(later - earlier for earlier, later in pairwise(begun)) >= 0.5 / RATE
    assert all(sum(a < at < b for a, b in zip(begun, ended, strict=True)) <= 1 for at in begun)
    page = api.ask("GET", "/queue?state=completed&limit=3")[1]
    assert [each["id"] for each in page["calls"]] == [each["id"] for each in reversed(entries)][:3]
    assert page["next"] == page["calls"][-1]["id"]
    assert api.ask("DELETE", f"/queue/{entries[0]['id']}")[0] == 409


def seconds(text: str) -> float:
    minutes, rest = re.fullmatch(r".*T\d\d:(\d\d):(\d\d\.\d+)Z", text).groups()  # type: ignore[union-attr]
    return int(minutes) * 60 + float(rest)


def test_what_is_cancelled_rings_nobody(lines: tuple[Daemon, sipp.Sipp], tmp_path: Path) -> None:
    api = Api(lines[0])
    later = queued(api, not_before="2037-01-02 10:11:12", time_zone="Buenos Aires")
    assert (later["state"], later["due_at"]) == ("queued", "2037-01-02T13:11:12Z")
    status, entry = api.ask("DELETE", f"/queue/{later['id']}")
    assert (status, entry["state"]) == (200, "cancelled")
    ringing = sipp.start("uas_rings_on", tmp_path / "uas")
    live = queued(api, to=f"sip:x@127.0.0.1:{ringing.port}", schedule={"retries": "0m"})
    call = wait(api, live, "active")["call"]
    api.wait(call, "ringing")
    assert api.ask("DELETE", f"/queue/{live['id']}?hang_up=true")[0] == 202
    ringing.finish()
    assert wait(api, live, "cancelled")["attempts"] == 1


@pytest.mark.parametrize(
    ("wish", "status", "field"),
    [
        ({"flow": "nothing"}, 422, "flow"),
        ({"flow": {"document": {"title": "t", "steps": [{"action": "sing"}]}, "dialect": "messagebird"}}, 422, "flow"),
        ({"to": "a b;x"}, 400, "to"),
        ({"time_zone": "Atlantis"}, 400, "time_zone"),
        ({"not_before": "tomorrow"}, 400, "not_before"),
        ({"not_after": "2001-01-01"}, 400, "not_after"),
        ({"not_before": "2037-01-02", "not_after": "2036-01-02"}, 400, "not_after"),
        ({"schedule": {"from": "17:00", "to": "9:00"}}, 400, "schedule"),
        ({"schedule": {"from": "nine", "to": "17:00"}}, 400, "schedule"),
        ({"schedule": {"retries": "5w"}}, 400, "schedule.retries"),
        ({"schedule": {"days": [7]}}, 400, "schedule.days.0"),
        ({"schedules": {}}, 400, "schedules"),
    ],
)
def test_bad_wishes(lines: tuple[Daemon, sipp.Sipp], wish: dict[str, Any], status: int, field: str) -> None:
    found, answer = Api(lines[0]).ask("POST", "/queue", {"to": "+39011", "flow": PAUSE, **wish})
    assert (found, answer["error"]["field"]) == (status, field), answer


def test_another_account_sees_nothing(lines: tuple[Daemon, sipp.Sipp]) -> None:
    daemon, _ = lines
    mine = queued(Api(daemon), not_before="2037-01-01")
    other = Api(daemon, add_account(daemon, "other"))
    assert other.ask("GET", "/queue") == (200, {"calls": [], "next": None})
    assert other.ask("GET", f"/queue/{mine['id']}")[0] == 404
    assert other.ask("DELETE", f"/queue/{mine['id']}")[0] == 404
    assert other.ask("GET", "/queue/x")[0] == 404
    assert other.ask("GET", "/queue?limit=0")[1]["error"]["field"] == "limit"
    assert Api(daemon, "ivrea_wrong").ask("GET", "/queue")[0] == 401
    assert Api(daemon).ask("GET", f"/queue/{mine['id']}")[1]["state"] == "queued"


def test_a_kill_neither_loses_nor_doubles_a_call(daemon_for: DaemonFor, tmp_path: Path) -> None:
    rings = sipp.start("uas_rings_on", tmp_path / "rings")
    house = daemon_for({"5000": {"_": "hello"}}, settings={"queue": {"calls": 1, "rate": 0.0}})
    api = Api(house)
    first = queued(api, to=f"sip:x@127.0.0.1:{rings.port}")
    api.wait(wait(api, first, "active")["call"], "ringing")
    answers = sipp.start("uas_echo", tmp_path / "answers")
    second = queued(api, to=f"sip:x@127.0.0.1:{answers.port}")
    house.kill_everything()
    house.start()
    failed, done = wait(api, first, "failed"), wait(api, second, "completed")
    answers.finish()
    rings.stop()
    assert (failed["attempts"], failed["result"]) == (1, "failed"), failed["reason"]
    assert (done["attempts"], answers.messages().count("INVITE sip:")) == (1, 1)
    invites = set(re.findall(r"^Call-ID: (\S+)", rings.messages(), re.MULTILINE))
    assert len(invites) == 1, "nobody was called again"
