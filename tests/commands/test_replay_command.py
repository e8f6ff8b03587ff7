"""``ivrea replay`` and the logs that it reads: out of the database, out of files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from engine import loop
from engine.callbacks import records
from engine.callbacks.rows import Batch
from engine.commands import calllogs
from engine.store import Store
from flows.call import Callback
from flows.dialects.brombler import compile_brombler
from flows.simulate import Scenario, simulate
from flows.tools.calllog import CallLog, log_of

MENU = {"$api http://a/": {"_": "Press one or two.", "1": {"_": "Once more?", "yes": "Good bye."}, "2": "Two."}}
CHANGED = {"$api http://a/": {"_": "Press one or two.", "1": "Good bye.", "2": "Two."}}
STARTED = 1_700_000_000.0

Run = Callable[..., Result]
Told = Callable[..., Any]


def a_call(script: str = "wait 0.5; press! 1; say yes") -> CallLog:
    graph = compile_brombler(MENU).graph
    assert graph is not None
    scenario = Scenario("c1", "+4021", "1000")
    return log_of(simulate(graph, script, scenario=scenario), scenario)


def store(folder: Path, log: CallLog, *, finished: bool = True) -> str:
    """The database after such a call, by way of the journal's records."""
    url = f"sqlite+aiosqlite:///{folder / 'ivrea.db'}"
    batch = Batch()
    batch.add(records.CallStarted(STARTED, call=log.call_id, caller=log.caller, callee=log.callee))
    batch.add(records.CallAnswered(STARTED + (log.answered_at or 0.0), call=log.call_id))
    for note, at in log.notes:
        batch.add(records.Noted(STARTED + at, call=log.call_id, note=records.note_to_data(note)))
    batch.add(records.UploadOwed(STARTED, call=log.call_id, path="a.wav", url="http://a/up", method="PUT"))
    batch.add(records.LegStarted(STARTED, call=log.call_id, leg="l1", to="sip:a@b"))
    if finished:
        batch.add(records.CallFinished(STARTED + log.ended_at, call=log.call_id, by=log.by, reason=log.reason))

    async def fill() -> None:
        database = Store(url)
        await database.migrate()
        async with database.writing() as connection:
            await batch.store(connection)
        await database.close()

    loop.run(fill())
    return url


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def same(one: CallLog, other: CallLog) -> None:
    """As far as the clock goes: the database has times of day, and callbacks in a table of their own."""
    for kind in (True, False):
        ours = [(note, at) for note, at in one.notes if isinstance(note, Callback) is kind]
        theirs = [(note, at) for note, at in other.notes if isinstance(note, Callback) is kind]
        assert [note for note, _ in ours] == [note for note, _ in theirs]
        assert [at for _, at in ours] == pytest.approx([at for _, at in theirs], abs=1e-4)
    assert (one.call_id, one.caller, one.callee, one.by, one.reason) == (
        other.call_id,
        other.caller,
        other.callee,
        other.by,
        other.reason,
    )
    assert one.ended_at == pytest.approx(other.ended_at, abs=1e-3)
    assert one.answered_at == other.answered_at


def test_a_log_comes_back_out_of_the_database(tmp_path: Path) -> None:
    log = a_call()
    told = Callback("http://a/x", {"content_type": "", "body": '{"n": 1}'}, "POST", "body")
    log = dataclasses.replace(log, notes=(*log.notes, (told, log.ended_at)))
    found = calllogs.stored(store(tmp_path, log), "c1")
    same(found, log)
    assert [note.params.get("e") for note, _ in found.notes if isinstance(note, Callback)] == [
        "open",
        "tree",
        "tree",
        "close",
        None,
    ]


@pytest.mark.parametrize("script", ["wait 0.5; press! 1; say yes", "wait 1; hangup", ""])
def test_a_log_comes_back_out_of_json(script: str) -> None:
    log = a_call(script)
    same(calllogs.from_json(json.loads(json.dumps(calllogs.to_json(log)))), log)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], 'no list "log"'),
        ({"log": 5}, 'no list "log"'),
        ({"log": [5]}, r"log\[0\] is no object"),
        ({"log": [{"is": "Heard"}]}, r"log\[0\].at: None is no number of seconds"),
        ({"log": [{"is": "Nothing", "at": 1}]}, r"log\[0\]: no note: 'Nothing'"),
        ({"log": [{"is": "Heard", "at": 1, "kind": "smell", "value": "x"}]}, r"log\[0\]: Invalid enum value"),
        ({"log": [], "call": 5}, '"call" and "end" are objects'),
        ({"log": [], "end": {"by": "nobody"}}, "end.by: 'nobody' is none of caller, flow"),
        ({"log": [], "call": {"answered_at": "x"}}, "call.answered_at: 'x' is no number"),
        ({"log": [{"is": "Heard", "at": -1}]}, r"log\[0\].at: -1 is no number of seconds"),
    ],
)
def test_what_is_wrong_with_a_log_is_named(data: object, message: str) -> None:
    with pytest.raises(calllogs.LogError, match=message):
        calllogs.from_json(data)


def test_a_call_of_the_database_is_replayed_on_its_own_flow(tmp_path: Path, run: Run, told: Told) -> None:
    store(tmp_path, a_call())
    flow = write(tmp_path / "flow.json", MENU)
    assert told("replay", "c1", flow)["same"] is True
    result = run("replay", "c1", flow)
    assert result.stdout.splitlines()[-1] == "no difference"


def test_a_changed_flow_is_told_step_by_step(tmp_path: Path, run: Run, told: Told) -> None:
    store(tmp_path, a_call())
    flow = write(tmp_path / "flow.json", CHANGED)
    result = run("replay", "c1", flow, status=1).stdout
    assert "- " in result
    assert "the ways part" in result
    assert "the caller never got to: say yes" in result
    data = told("replay", "c1", flow, status=1)
    assert data["same_way"] is False
    assert data["not_made"] == ["say yes"]
    assert data["replay"]["log"]


def test_other_words_are_no_other_way(tmp_path: Path, run: Run) -> None:
    store(tmp_path, a_call())
    flow = write(tmp_path / "flow.json", {"$api http://a/": {**MENU["$api http://a/"], "_": "One or two?"}})
    assert run("replay", "c1", flow).stdout.splitlines()[-1] == "the same way; what differs is marked with ~"


def test_a_simulation_stands_in_for_a_call(tmp_path: Path, run: Run) -> None:
    flow = write(tmp_path / "flow.json", MENU)
    log = tmp_path / "log.json"
    log.write_text(run("simulate", flow, "-s", "press 1; say yes", "--json").stdout)
    assert "no difference" in run("replay", log, flow).stdout


def test_a_replay_asks_for_what_the_call_did_not(tmp_path: Path, told: Told) -> None:
    store(tmp_path, a_call())
    flow = tmp_path / "flow.xml"
    flow.write_text("<Response><Redirect>https://example.org/next</Redirect></Response>")
    (tmp_path / "replies.yaml").write_text("https://example.org/next: <Response><Say>Second.</Say></Response>\n")
    data = told("replay", "c1", flow, "--replies", "replies.yaml", status=1)
    assert any("Second." in step["new"]["said"] for step in data["steps"] if step["new"])


def test_calls_that_cannot_be_replayed_say_why(tmp_path: Path, run: Run) -> None:
    flow = write(tmp_path / "flow.json", MENU)
    assert "neither such a file nor the database" in run("replay", "c1", flow, status=2).stderr
    assert not (tmp_path / "ivrea.db").exists()
    store(tmp_path, a_call(), finished=False)
    assert "the call c1 is not over" in run("replay", "c1", flow, status=2).stderr
    assert "there is no call 'c2'" in run("replay", "c2", flow, status=2).stderr
    broken = tmp_path / "log.json"
    broken.write_text("{")
    assert "no JSON" in run("replay", broken, flow, status=2).stderr
    old = write(tmp_path / "old.json", {"log": [{"is": "Heard", "at": 1, "kind": "key", "value": "1"}]})
    assert "earlier version" in run("replay", old, flow, status=2).stderr


def test_a_flow_with_errors_is_not_replayed(tmp_path: Path, run: Run) -> None:
    store(tmp_path, a_call())
    flow = write(tmp_path / "flow.json", {"_": ["no"]})
    assert "wrong-type" in run("replay", "c1", flow, status=1).stderr


def test_a_damaged_database_is_told(tmp_path: Path, run: Run) -> None:
    (tmp_path / "ivrea.db").write_text("no database at all")
    flow = write(tmp_path / "flow.json", MENU)
    assert "the database cannot be read: " in run("replay", "c1", flow, status=2).stderr


def test_notes_of_other_versions_are_left_out(tmp_path: Path) -> None:
    log = a_call()
    batch_url = store(tmp_path, log)

    async def add() -> None:
        batch = Batch()
        batch.add(records.Noted(STARTED, call="c1", note={"is": "FromTheFuture", "x": 1}))
        batch.add(records.Noted(STARTED, call="c1", note={"is": "Heard", "kind": "thought"}))
        database = Store(batch_url)
        async with database.writing() as connection:
            await batch.store(connection)
        await database.close()

    loop.run(add())
    same(calllogs.stored(batch_url, "c1"), log)
