"""What has to be so after kills: judged by database, files, what a web server was told, and what SIPp logged."""

from __future__ import annotations

import json
import threading
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.hooks import Hit
from sqlalchemy import text

from benchmarks.long_run import length
from engine.api.kwebbl.callids import of_call, of_leg
from engine.calls.recovery import REASON
from engine.store import Store
from flows.uuids import dashed

TREE, VOICE, REALTIME = "/tree", "/voice", "/realtime"
"""Where callbacks of a tree, webhooks of the Voice API and events of the Realtime API go."""

LATE = 2.0
"""Seconds of sound that a kill may cost, or that a writer may go on after it: a second that was not told yet, and what
was under way.
"""

RING = 3.0
"""Seconds from the kill of a writer until the next one has surely taken what is in the ring: with the worker killed in
between, that is lost.
"""

SLACK = 0.5
MANY = 20
"""Problems of one kind that are told; the rest are counted."""

QUERIES = {
    "calls": "SELECT id, callee, sip_call_id, direction, started_at, answered_at, finished_at, ended_by, reason"
    " FROM calls",
    "legs": "SELECT id, call_id, answered_at, finished_at FROM legs",
    "recordings": "SELECT call_id, path, started_at, seconds, reason FROM recordings",
    "deliveries": "SELECT url, state, call_id FROM deliveries WHERE state <> 'delivered'",
    "subscribed": "SELECT DISTINCT call_id AS id FROM call_events WHERE kind = 'Subscribed'",
}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database has of calls."""

    calls: Sequence[Row]
    legs: Sequence[Row]
    recordings: Sequence[Row]
    deliveries: Sequence[Row]
    """Those that were not delivered."""

    subscribed: Sequence[Row]
    """The calls that came to the URL of their tree."""


async def read(url: str) -> Rows:
    store = Store(url)
    try:
        async with store.reading() as connection:
            found = {name: list((await connection.execute(text(sql))).mappings()) for name, sql in QUERIES.items()}
    finally:
        await store.close()
    return Rows(**found)


class Told(list[Hit]):
    """Hits of a web server: events by where they went and their call, each once; how often one came again."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        """Destination and call → id of each event → what it is, in the order in which they came first."""
        self.repeats: Counter[str] = Counter()
        self.count = 0
        self._lock = threading.Lock()

    def append(self, hit: Hit) -> None:
        with self._lock:
            self.count += 1
            for call, ident, what in _events(hit):
                known = self.events[hit.path, call]
                if ident in known:
                    self.repeats[hit.path] += 1
                else:
                    known[ident] = what


def _events(hit: Hit) -> Iterator[tuple[str, str, str]]:
    """Call, id of the event, and what it is."""
    if hit.path == TREE:
        yield hit.params["id"], hit.params["seq"], hit.params["e"]
    elif hit.path == VOICE:
        message = json.loads(hit.body)
        (item, *_) = message["items"]
        payload = item["payload"]
        call = payload["id"] if item["type"].startswith("call") else payload.get("callId") or payload.get("legId", "")
        kinds = " ".join(f"{each['type']}/{each['payload']['status']}" for each in message["items"])
        yield call, message["id"], kinds
    else:
        event = json.loads(hit.body)
        for line in event.get("calls", [event]):
            yield line["call_id"], event["id"], event["event_type"]


@dataclass(slots=True)
class Verdict:
    """Problems, those of one kind together; and how many things of each kind were looked at."""

    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    figures: Counter[str] = field(default_factory=Counter)

    def wrong(self, kind: str, what: object) -> None:
        self.found[kind].append(str(what))

    def problems(self) -> Iterable[str]:
        for kind, cases in self.found.items():
            more = f" and {len(cases) - MANY} more" if len(cases) > MANY else ""
            yield f"{kind} ({len(cases)}): {'; '.join(cases[:MANY])}{more}"


def judge(
    rows: Rows, told: Told, answered: Mapping[str, float], killed: Sequence[float], rings: Sequence[float]
) -> Verdict:
    """``answered``: SIP Call-ID → when SIPp got its 200. ``killed``: when control processes were, in order. ``rings``:
    when workers were less than :data:`RING` seconds after their writer.
    """
    verdict = Verdict()
    _ended(rows, answered, verdict)
    _told(rows, told, verdict)
    calls = {call["id"]: call for call in rows.calls}
    for row in rows.recordings:
        _recording(row, calls.get(row["call_id"]), killed, rings, verdict)
    for row in rows.deliveries:
        verdict.wrong("not delivered", f"{row['url']} of {row['call_id']}: {row['state']}")
    verdict.figures["requests taken"] = told.count
    return verdict


def _ended(rows: Rows, answered: Mapping[str, float], verdict: Verdict) -> None:
    for kind in ("calls", "legs"):
        for row in getattr(rows, kind):
            if row["finished_at"] is None:
                verdict.wrong(f"{kind} without an end", row["id"])
    by_sip = {row["sip_call_id"]: row for row in rows.calls}
    for call_id in answered:
        row = by_sip.get(call_id)
        if row is None:
            verdict.wrong("answered for the caller, and not in the database", call_id)
        elif row["answered_at"] is None:
            verdict.wrong("answered for the caller, and not for the database", call_id)
    verdict.figures["calls"] = len(rows.calls)
    verdict.figures["calls answered"] = len(answered)
    verdict.figures["calls cut off"] = sum(row["ended_by"] == "error" for row in rows.calls)
    verdict.figures["legs"] = len(rows.legs)


def _told(rows: Rows, told: Told, verdict: Verdict) -> None:
    trees = {row["id"] for row in rows.subscribed}
    ends = {
        TREE: dict.fromkeys(trees, "close"),
        VOICE: {dashed(row["id"]): "callUpdated/ended" for row in rows.calls},
        REALTIME: {of_call(row["id"]): "terminated" for row in rows.calls}
        | {of_leg(row["call_id"], row["id"]): "terminated" for row in rows.legs if row["answered_at"]},
    }
    for (path, call), events in told.events.items():
        verdict.figures[f"events at {path}"] += len(events)
        if path == TREE and call not in trees:
            verdict.wrong("told of a call that came to no URL", f"{call}: {events}")
        if path == TREE and sorted(map(int, events)) != list(range(1, len(events) + 1)):
            verdict.wrong("numbers of events", f"{call}: {events}")
    for path, wanted in ends.items():
        for call, end in wanted.items():
            events = told.events.get((path, call), {})
            count = sum(end in what.split() for what in events.values())
            if count != 1:
                verdict.wrong(f"{end} told {count} times at {path}", f"{call}: {list(events.values())}")
            verdict.figures[f"ends at {path}"] += 1
        verdict.figures[f"repeats at {path}"] = told.repeats[path]


def _recording(row: Row, call: Row | None, killed: Sequence[float], rings: Sequence[float], verdict: Verdict) -> None:
    path = Path(row["path"])
    if row["seconds"] is None:
        verdict.wrong("recordings without an end", path.name)
        return
    if call is None or call["finished_at"] is None:
        verdict.wrong("recordings of no call", path.name)
        return
    end = call["finished_at"]
    if call["reason"] == REASON:  # in the database it ends with the last that was known of it, seconds before the kill
        end = killed[min(bisect(killed, row["started_at"]), len(killed) - 1)]
    lasted = max(end - row["started_at"], 0.0)
    late = LATE
    if call["ended_by"] == "error" and any(abs(end - each) < 1.0 for each in rings):
        late += RING
        verdict.figures[f"recordings whose writer and worker were killed within {RING:g} s"] += 1
    if not row["seconds"] and row["reason"] and call["ended_by"] == "error" and lasted < late:
        verdict.figures[f"recordings that failed, for their call was killed within {LATE:g} s"] += 1
        return
    try:
        seconds = length(path)
    except (OSError, ValueError) as error:
        if lasted < SLACK and not row["seconds"]:
            verdict.figures[f"recordings without sound of calls of less than {SLACK:g} s"] += 1
            return
        verdict.wrong("recordings that do not open", f"{error}; lasted {lasted:.2f} s, {row['reason']}")
        return
    verdict.figures["recordings opened"] += 1
    verdict.figures["seconds recorded"] += seconds
    slack = late if call["ended_by"] == "error" else SLACK
    if abs(seconds - row["seconds"]) > SLACK / 5 or abs(seconds - lasted) > slack:
        verdict.wrong(
            "recordings of another length",
            f"{path.name}: {seconds:.2f} s, {row['seconds']:.2f} s in the database, call {lasted:.2f} s, "
            f"by {call['ended_by']}, {row['reason'] or call['reason']}",
        )


def answered_in(log: str) -> dict[str, float]:
    """SIP Call-ID → when it was answered (seconds since 1970), from the log of the scenario ``uac_steady``."""
    found = {}
    for line in log.splitlines():
        words = line.split()  # day, time, seconds since 1970, Call-ID
        if len(words) == 4:
            found[words[3]] = float(words[2])
    return found
