"""Takes the ends of the calls that the queue has made.

It is done where the journal is carried into the database, in the same transaction: an end is taken once, also that
which the next start gives to a call whose process was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.callbook import CallRow
from engine.callbacks import records
from engine.callbacks.announcing import Happening
from engine.callbacks.rows import Row
from engine.calls import recovery
from engine.campaigns import queue
from engine.campaigns.outcome import Ended
from engine.campaigns.queue import Entry
from engine.log import get_logger
from engine.store.models import CallEvent, Leg

log = get_logger(__name__)

_EVENTS, _LEGS = cast("Table", CallEvent.__table__), cast("Table", Leg.__table__)


class Settler:
    """Takes the ends of the queue's calls as they come into the database (an announcer)."""

    def __init__(self, on_settled: Callable[[str], None]) -> None:
        """``on_settled`` is told the id of a call whose end was taken, once everybody can see that."""
        self._on_settled = on_settled
        self._taken: list[str] = []

    def wants(self) -> bool:
        """Always: a queue may be filled at any time."""
        return True

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """Settle those that have ended; nobody is owed anything."""
        self._taken.clear()  # of an attempt to store them that came to nothing
        ends = {
            each.call.id: each.call
            for each in happenings
            if isinstance(each.record, records.CallFinished) and each.call.direction == "outbound"
        }
        if ends:
            entries = await queue.by_call(connection, ends)
            marks = await marked(connection, entries)
            for call_id, entry in entries.items():
                await settle(connection, entry, ends[call_id], marks.get(call_id, ""))
                self._taken.append(call_id)
        return ()

    def committed(self) -> None:
        """The transaction is done."""
        taken, self._taken = self._taken, []
        for call_id in taken:
            self._on_settled(call_id)


async def settle(connection: AsyncConnection, entry: Entry, call: CallRow, mark: str) -> None:
    """Take the end of an attempt, unless it was taken. ``mark``: as :func:`marked` has it."""
    if entry.state != queue.ACTIVE:
        return
    try:
        if call.reason == recovery.REASON and not await _was_dialled(connection, call.id):
            await queue.give_back(connection, entry.id, call.id, time.time())  # killed before anybody was called
            return
        end = Ended(
            answered=call.answered_at is not None,
            by=call.ended_by or "error",
            reason=call.reason or "",
            cause=call.cause or "",
            sip_status=call.sip_status,
            q850=call.q850,
            sip_reason=call.sip_reason,
            marked=mark,
        )
        await queue.settle(connection, entry, end, time.time())
    except (KeyError, TypeError, ValueError) as error:  # a row that nobody can read must not stop the journal
        log.exception("queued_call_not_readable", queued=entry.id)
        await queue.refuse(connection, entry.id, call.id, "failed", f"{type(error).__name__}: {error}")


async def marked(connection: AsyncConnection, call_ids: Iterable[str]) -> dict[str, str]:
    """What flows have marked their calls as: ``successful`` or ``failed``."""
    return {
        call_id: str(values["flow.result"])
        for call_id, values in (await variables_of(connection, call_ids)).items()
        if values.get("flow.result")
    }


async def variables_of(connection: AsyncConnection, call_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """The variables that flows have set on calls, by the id of the call (:class:`flows.call.Learned`)."""
    ids = list(call_ids)
    if not ids:
        return {}
    query = select(_EVENTS.c.call_id, _EVENTS.c.detail).where(_EVENTS.c.call_id.in_(ids), _EVENTS.c.kind == "Learned")
    found: dict[str, dict[str, str]] = {}
    for call_id, detail in await connection.execute(query.order_by(_EVENTS.c.id)):
        found.setdefault(call_id, {}).update({str(k): str(v) for k, v in detail.get("variables", {}).items()})
    return found


async def _was_dialled(connection: AsyncConnection, call_id: str) -> bool:
    query = select(_LEGS.c.id).where(_LEGS.c.call_id == call_id).limit(1)
    return (await connection.execute(query)).first() is not None
