"""The judgement after kills sees what is missing, told twice, left open or cannot be played."""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

import pytest
from kit.hooks import Hit

from benchmarks.kills_judge import REALTIME, TREE, VOICE, Rows, Told, answered_in, judge
from engine.api.kwebbl.callids import of_call
from engine.calls.recovery import REASON
from flows.uuids import dashed

CALL = "0123456789abcdef0123456789abcdef"
SIP = "1-22@127.0.0.1"
KILLED = [9.0, 14.0, 30.0]


def hit(path: str, body: object = None, **params: str) -> Hit:
    return Hit(0.0, "POST", path, "", params, "", json.dumps(body).encode())


def hits() -> list[Hit]:
    item = {"type": "callUpdated", "payload": {"id": dashed(CALL), "status": "ended"}}
    return [
        hit(TREE, id=CALL, seq="1", e="open"),
        hit(TREE, id=CALL, seq="2", e="close"),
        hit(VOICE, {"id": "m1", "items": [item]}),
        hit(REALTIME, {"id": "e1", "call_id": of_call(CALL), "event_type": "terminated"}),
    ]


def rows(folder: Path, **more: Any) -> Rows:
    """A call of four seconds that was killed, all of it recorded; ``more``: columns that are otherwise."""
    path = folder / f"{CALL}.wav"
    if not path.exists():
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(4 * 8000 * 3))
    call = {
        "id": CALL,
        "sip_call_id": SIP,
        "answered_at": 10.0,
        "finished_at": 11.0,
        "ended_by": "error",
        "reason": REASON,
    }
    recording = {"call_id": CALL, "path": str(path), "started_at": 10.0, "seconds": 3.0, "reason": None}
    return Rows(
        [{name: more.get(name, value) for name, value in call.items()}],
        [],
        [{name: more.get(f"recording_{name}", value) for name, value in recording.items()}],
        more.get("deliveries", []),
        [{"id": CALL}],
    )


def problems(folder: Path, heard: list[Hit], rings: Sequence[float] = (), **more: Any) -> str:
    told = Told()
    for each in heard:
        told.append(each)
    return "\n".join(judge(rows(folder, **more), told, {SIP: 10.0}, KILLED, rings).problems())


def test_all_is_well(tmp_path: Path) -> None:
    assert problems(tmp_path, hits()) == ""


def test_a_repeat_is_counted_and_no_second_end(tmp_path: Path) -> None:
    told = Told()
    for each in [*hits(), *hits()]:
        told.append(each)
    verdict = judge(rows(tmp_path), told, {}, KILLED, ())
    assert list(verdict.problems()) == []
    assert [verdict.figures[f"repeats at {path}"] for path in (TREE, VOICE, REALTIME)] == [2, 1, 1]


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        (1, "close told 0 times at /tree"),
        (2, "callUpdated/ended told 0 times at /voice"),
        (3, "terminated told 0 times at /realtime"),
        (0, "numbers of events"),
    ],
)
def test_what_was_not_told_is_missed(tmp_path: Path, missing: int, complaint: str) -> None:
    heard = hits()
    del heard[missing]
    assert problems(tmp_path, heard).startswith(complaint)


def test_an_end_by_another_id_is_a_second_end(tmp_path: Path) -> None:
    again = hit(REALTIME, {"id": "e2", "call_id": of_call(CALL), "event_type": "terminated"})
    assert problems(tmp_path, [*hits(), again]).startswith("terminated told 2 times at /realtime")
    assert problems(tmp_path, [*hits(), hit(TREE, id=CALL, seq="3", e="close")]).startswith("close told 2 times")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"finished_at": None}, "calls without an end"),
        ({"sip_call_id": "another"}, "answered for the caller, and not in the database"),
        ({"answered_at": None}, "answered for the caller, and not for the database"),
        ({"deliveries": [{"url": "u", "state": "pending", "call_id": CALL}]}, "not delivered"),
        ({"recording_seconds": None}, "recordings without an end"),
        ({"recording_path": "/nowhere.wav"}, "recordings that do not open"),
        ({"recording_seconds": 2.0}, "recordings of another length"),
        ({"recording_started_at": 8.5}, "recordings of another length"),
        ({"recording_started_at": 14.5}, "recordings of another length"),
        ({"ended_by": "caller", "reason": "", "finished_at": 14.0}, "recordings of another length"),
        ({"recording_seconds": 0.0, "recording_reason": "nothing"}, "recordings of another length"),
    ],
)
def test_what_is_wrong_in_the_database_is_seen(tmp_path: Path, more: dict[str, Any], complaint: str) -> None:
    assert problems(tmp_path, hits(), **more).startswith(complaint)


def test_a_worker_killed_right_after_its_writer_may_cost_what_was_in_the_ring(tmp_path: Path) -> None:
    at = KILLED[0]
    early = {"recording_started_at": at - 5.5}
    assert problems(tmp_path, hits(), [at - 10], **early).startswith("recordings of another length")
    assert problems(tmp_path, hits(), [at], **early) == ""
    assert problems(tmp_path, hits(), [at], recording_started_at=at - 8.5).startswith("recordings of another length")


def test_answers_are_read_from_what_sipp_logs() -> None:
    log = f"2026-11-27\t02:39:50.532651\t1795747190.532651 {SIP}\n2026-11-27\t02:39:5"
    assert answered_in(log) == {SIP: 1795747190.532651}
