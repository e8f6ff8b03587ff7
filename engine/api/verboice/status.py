"""What Verboice's projects want to be told of calls, and what they remember of them.

Both are done as the end of a call comes into the database (an announcer): the status callbacks that are owed, and the
variables of contacts that the flow has set.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.callbook import CallRow
from engine.api.verboice import book, calls_book, contacts_book
from engine.api.verboice.book import Project
from engine.api.verboice.details import FAIL_REASONS, CallFacts
from engine.callbacks import records
from engine.callbacks.announcing import Happening, owed_by_query
from engine.callbacks.rows import Row
from engine.callbacks.signing import SIGNERS
from engine.campaigns import queue
from engine.campaigns.dialler import Wanted
from engine.campaigns.queue import Entry
from engine.campaigns.settling import variables_of
from engine.store.models import Delivery

SIGNER = "basic"
PLAN = "short"
OWN = "var."

_STATUS: Mapping[str, str] = MappingProxyType(
    {"completed": "completed", "busy": "busy", "no-answer": "no-answer", "expired": "expired"}
)
"""``CallStatus`` by the result of an attempt; all others are ``failed``, but for what was cancelled."""

_INSERT = insert(Delivery)


def basic(_url: str, _body: bytes, secret: str, _now: float) -> Mapping[str, str]:
    """The header of HTTP's Basic authentication; ``secret`` is ``user:password``."""
    return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}


SIGNERS[SIGNER] = basic


@dataclass(frozen=True, slots=True)
class _Known:
    """A call of which somebody may want to be told."""

    facts: CallFacts
    project: Project

    @property
    def url(self) -> str:
        return self.facts.numbered.status_url or self.project.status_url


class Statuses:
    """The announcer."""

    def wants(self) -> bool:
        """Always: a project may be there at any time."""
        return True

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """Status callbacks; variables are kept."""
        told = [each for each in happenings if isinstance(each.record, _TOLD)]
        known = await _known(connection, {each.call.id: each.call for each in told})
        if not known:
            return ()
        ended = [each.call.id for each in told if isinstance(each.record, records.CallFinished)]
        for call_id, variables in (await variables_of(connection, ended)).items():
            if call_id in known:
                await _remember(connection, known[call_id], variables)
        rows: list[Row] = []
        for each in told:
            call = known.get(each.call.id)
            if call is not None and call.url and (status := _status(each.record, call.facts)):
                rows.append(_owed(call, each.call.id, each.record.at, status))
        return rows


_TOLD = (records.Rang, records.CallAnswered, records.CallFinished)


async def _known(connection: AsyncConnection, calls: Mapping[str, CallRow]) -> dict[str, _Known]:
    """Those of ``calls`` that belong to a project."""
    found: dict[str, _Known] = {}
    if not calls:
        return found
    entries = await queue.by_call(connection, calls)
    numbered = await calls_book.of_queue(connection, [entry.id for entry in entries.values()])
    projects: dict[str, list[Project]] = {}
    for call_id, call in calls.items():
        entry = entries.get(call_id)
        if call.account_id not in projects:
            projects[call.account_id] = await book.projects(connection, call.account_id)
        mine = {each.id: each for each in projects[call.account_id]}
        if not mine:
            continue
        own = numbered.get(entry.id) if entry is not None else None
        if own is None:
            if not await book.matter(connection, mine.values()):
                continue
            own = await calls_book.of_call(connection, call)
        if own.project_id in mine:
            found[call_id] = _Known(CallFacts(own, entry, call, live=False), mine[own.project_id])
    return found


async def _remember(connection: AsyncConnection, call: _Known, learned: Mapping[str, str]) -> None:
    """Variables of the project that the flow has set belong to the contact from now on."""
    declared = await book.variables(connection, call.project.id)
    values = {declared[name[len(OWN) :]]: value for name, value in learned.items() if name[len(OWN) :] in declared}
    if not values:
        return
    contact = await contacts_book.known_as(connection, call.project.id, call.facts.numbered.address_or_name)
    await contacts_book.set_values(connection, [contact.id], values)


def _status(record: records.Record, facts: CallFacts) -> dict[str, str]:
    """``CallStatus`` and why; empty for what nobody is told of."""
    match record:
        case records.Rang(leg=""):
            return {"CallStatus": "ringing"}
        case records.CallAnswered():
            return {"CallStatus": "in-progress", "CallDuration": "0"}
        case records.CallFinished(duration=duration):
            result = facts.result or "failed"
            if result == "canceled":
                return {}
            told = {**_over(result), "CallDuration": str(int(duration))}
            if result in FAIL_REASONS and record.sip_status >= 300:
                told["CallStatusCode"] = str(record.sip_status)
            return told
    return {}


def _over(result: str) -> dict[str, str]:
    """What is told of the end of an attempt, whether it was made or not."""
    reason = {"CallStatusReason": FAIL_REASONS[result]} if result in FAIL_REASONS else {}
    return {"CallStatus": _STATUS.get(result, "failed"), **reason}


def _owed(call: _Known, call_id: str, at: float, status: Mapping[str, str], account: str | None = None) -> Row:
    numbered, project = call.facts.numbered, call.project
    given = {str(name): str(value) for name, value in numbered.params.items()}
    params = {"CallSid": str(numbered.id), "From": numbered.address, **status, **given}
    signed = not numbered.status_url and bool(project.status_user)
    secret = f"{project.status_user}:{project.status_password}" if signed else None
    signer = SIGNER if signed else None
    return owed_by_query(call_id, at, call.url, params, signer=signer, secret=secret, plan=PLAN, account=account)


# --- what the dialler asks ----------------------------------------------------------------


async def prepared(connection: AsyncConnection, entry: Entry, wish: Wanted) -> Wanted:
    """What a contact has, and what flows and callbacks of Verboice call a call by."""
    numbered = (await calls_book.of_queue(connection, [entry.id])).get(entry.id)
    if numbered is None:
        return wish
    contact = await contacts_book.by_address(connection, numbered.project_id, entry.address)
    kept = contact.vars if contact is not None else {}
    facts = {
        "call.id": str(numbered.id),
        "call.caller": entry.address,
        **{f"param.{name}": str(value) for name, value in numbered.params.items()},
    }
    return replace(wish, variables={**kept, **(wish.variables or {})}, facts={**(wish.facts or {}), **facts})


async def unmade(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Calls of the queue are over and were never made, since they expired or may not be made: who wants it is told."""
    numbered = await calls_book.of_queue(connection, [entry.id for entry in entries])
    rows: list[Any] = []
    for entry in entries:
        own = numbered.get(entry.id)
        project = await book.project(connection, entry.account_id, own.project_id) if own is not None else None
        if own is None or project is None:
            continue
        call = _Known(CallFacts(own, entry, None, live=False), project)
        if call.url:
            at = entry.finished_at or time.time()
            rows.append(_owed(call, f"queued-{entry.id}", at, _over(entry.result or "failed"), entry.account_id))
    if rows:
        await connection.execute(_INSERT, rows)
