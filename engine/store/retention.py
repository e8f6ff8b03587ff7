"""What the operator lets go after a time: calls with all that was written of them, and recordings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, delete, exists, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.log import get_logger
from engine.store.database import Store
from engine.store.models import PENDING, Call, CallEvent, Delivery, Leg, Recording
from engine.store.projects import NumberedCall
from engine.store.queued import QueuedCall
from engine.store.transcriptions import TranscriptionRow
from engine.store.webhooks import WebhookRow

log = get_logger(__name__)

EVERY = 3600.0
AT_ONCE = 200
"""Calls or recordings in one transaction: others who write wait for it."""

_CALLS, _RECORDINGS = cast("Table", Call.__table__), cast("Table", Recording.__table__)
_DELIVERIES, _QUEUED = cast("Table", Delivery.__table__), cast("Table", QueuedCall.__table__)
_OF_CALLS = tuple(
    cast("Table", each.__table__)
    for each in (CallEvent, Leg, Recording, Delivery, TranscriptionRow, WebhookRow, NumberedCall)
)


class Retention:
    """Deletes what is older than ``calls`` and ``recordings`` seconds; 0: never.

    A call goes with its events, legs, recordings, transcriptions and settled callbacks, and as long as one of its
    callbacks or uploads is still owed it stays, with its recordings. Messages in mailboxes are their owners' and stay.
    """

    def __init__(self, store: Store, folder: Path, *, calls: float = 0.0, recordings: float = 0.0) -> None:
        """``folder``: where recordings are; no file outside of it is touched."""
        self._store = store
        self._folder = folder.resolve()
        self._calls = calls
        self._recordings = recordings

    async def run(self) -> None:
        """Sweep every hour until cancelled; at once again as long as there was as much as one sweep takes."""
        while self._calls or self._recordings:
            try:
                gone = await self.sweep(time.time())
            except (SQLAlchemyError, OSError) as error:
                log.error("old calls cannot be deleted", error=f"{type(error).__name__}: {error}")
                gone = 0
            await asyncio.sleep(0.1 if gone == AT_ONCE else EVERY)

    async def sweep(self, now: float) -> int:
        """Delete what is due at ``now``, :data:`AT_ONCE` of each kind at most; how many of the kind that had most.

        Raises SQLAlchemy's errors.
        """
        recordings = await self._sweep_recordings(now - self._recordings) if self._recordings else 0
        calls = await self._sweep_calls(now - self._calls) if self._calls else 0
        if recordings or calls:
            log.info("old calls deleted", calls=calls, recordings=recordings)
        return max(recordings, calls)

    async def _sweep_calls(self, before: float) -> int:
        due = (
            select(_CALLS.c.id)
            .where(_CALLS.c.started_at < before, _CALLS.c.finished_at < before, ~_owes(_CALLS.c.id))
            .order_by(_CALLS.c.started_at)
            .limit(AT_ONCE)
        )
        async with self._store.reading() as connection:
            calls = list(await connection.scalars(due))
            files = list(await connection.scalars(select(_RECORDINGS.c.path).where(_RECORDINGS.c.call_id.in_(calls))))
        if calls:
            await asyncio.to_thread(self._delete_files, files)
            async with self._store.writing() as connection:
                await _delete_calls(connection, calls)
        return len(calls)

    async def _sweep_recordings(self, before: float) -> int:
        due = (
            select(_RECORDINGS.c.id, _RECORDINGS.c.path)
            .join(_CALLS, _CALLS.c.id == _RECORDINGS.c.call_id)
            .where(_RECORDINGS.c.started_at < before, _CALLS.c.finished_at < before, ~_owes(_RECORDINGS.c.call_id))
            .order_by(_RECORDINGS.c.id)
            .limit(AT_ONCE)
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(due)).all()
        if rows:
            await asyncio.to_thread(self._delete_files, [row.path for row in rows])
            async with self._store.writing() as connection:
                await connection.execute(delete(_RECORDINGS).where(_RECORDINGS.c.id.in_([row.id for row in rows])))
        return len(rows)

    def _delete_files(self, paths: Sequence[str]) -> None:
        """Before their rows: a kill in between leaves rows for the next sweep, and no file that nobody knows of."""
        for each in paths:
            path = Path(each).resolve()
            if not path.is_relative_to(self._folder):
                continue
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # folders of days, months and years that are empty now
                for folder in path.parents:
                    if folder == self._folder:
                        break
                    folder.rmdir()


def _owes(call: Any) -> Any:
    """Whether something of a call is still to be delivered."""
    return exists().where(_DELIVERIES.c.call_id == call, _DELIVERIES.c.state == PENDING)


async def _delete_calls(connection: AsyncConnection, calls: Collection[str]) -> None:
    for table in _OF_CALLS:
        await connection.execute(delete(table).where(table.c.call_id.in_(calls)))
    await connection.execute(delete(_QUEUED).where(_QUEUED.c.call_id.in_(calls), _QUEUED.c.finished_at.is_not(None)))
    await connection.execute(delete(_CALLS).where(_CALLS.c.id.in_(calls)))
