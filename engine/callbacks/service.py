"""Journal, database and outbox, running together as the daemon wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from engine import tasks
from engine.callbacks.announcing import Announcements
from engine.callbacks.fetch import Fetcher
from engine.callbacks.journal import Journal
from engine.callbacks.outbox import Outbox, Outcome, Parcel, http_sender
from engine.callbacks.writer import Writer
from engine.config import CallbackConfig
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

FLUSH_PATIENCE = 3.0
DELIVER_PATIENCE = 6.0
"""Seconds that the last callbacks get when the daemon stops; what is left goes out after the next start."""


class StoreError(Exception):
    """The database cannot be used; the text says why."""


class CallbackService:
    """The way of everything that happened: journal → database → the customer's web server."""

    def __init__(
        self, journal: Journal, store_url: str, config: CallbackConfig, fetcher: Fetcher, *, most_refused: int = 0
    ) -> None:
        """``most_refused``: octets of records that the database does not take, 0 for any number."""
        self._journal = journal
        try:
            self._store = Store(store_url)
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(f"store.url: {error}") from error
        self._outbox = Outbox(
            self._store,
            http_sender(fetcher, config.timeout),
            keep=config.keep,
            keep_delivered=config.keep_delivered,
        )
        self.announcements = Announcements()
        self._writer = Writer(
            journal,
            self._store,
            announcements=self.announcements,
            on_deliveries=self._outbox.wake,
            most_refused=most_refused,
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def store(self) -> Store:
        """The database; its tables are there once :meth:`start` is done."""
        return self._store

    def wake(self) -> None:
        """Somebody put deliveries into the database: they are due now."""
        self._outbox.wake()

    def on_settled(self, told: Callable[[Parcel, Outcome], None]) -> None:
        """Have ``told`` called with every attempt at a delivery and how it went, once that is in the database."""
        self._outbox.observers.append(told)

    async def start(self) -> None:
        """Bring the tables up to date. Raises :class:`StoreError`."""
        try:
            await self._store.migrate()
        except Exception as error:
            await self._store.close()
            raise StoreError(f"store.url {self._store.url.render_as_string()}: {error}") from error

    def begin(self) -> None:
        """Carry the journal into the database, and deliver what is owed.

        Whoever announces what is in the journal of an earlier life must have been added before.
        """
        self._tasks = [
            asyncio.create_task(self._writer.run(), name="journal writer"),
            asyncio.create_task(self._outbox.run(), name="outbox"),
        ]

    async def flush(self, patience: float) -> bool:
        """Wait until the database has everything that was appended; ``False``: not within ``patience`` seconds."""
        return await self._writer.flush(patience)

    async def close(self) -> None:
        """Store what was appended, send what is due, and leave the rest to the next start."""
        if self._tasks:
            if await self._writer.flush(FLUSH_PATIENCE):
                await self._outbox.close(DELIVER_PATIENCE)
            await tasks.end(self._tasks)
        await self._store.close()

    def health(self) -> dict[str, Any]:
        """For ``/healthz``."""
        return {"callbacks_under_way": self._outbox.under_way}

    def gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what goes up and down."""
        yield "ivrea_callbacks_under_way", "Requests that wait for their answer.", {}, self._outbox.under_way
        yield "ivrea_callback_hosts_down", "Web servers that are left alone.", {}, self._outbox.hosts_down

    def counts(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what only grows."""
        outbox, writer = self._outbox.counters, self._writer.counters
        yield "ivrea_callbacks_delivered", "Callbacks that were taken.", {}, outbox.delivered
        yield "ivrea_callbacks_failed_attempts", "Attempts that failed.", {}, outbox.failed_attempts
        yield "ivrea_callbacks_dead", "Callbacks given up.", {}, outbox.dead
        yield "ivrea_callback_pauses", "Times that a web server was left alone.", {}, outbox.pauses
        yield "ivrea_callbacks_forgotten", "Delivered callbacks deleted after a while.", {}, outbox.forgotten
        yield "ivrea_store_records", "Journal records stored.", {}, writer.records
        yield "ivrea_store_refused", "Records that the database does not take, kept in a file.", {}, writer.refused
        yield "ivrea_store_torn", "Journal lines cut short by a kill.", {}, writer.torn
        yield "ivrea_journal_dropped", "Records lost for good.", {}, self._journal.counters.dropped
        yield "ivrea_store_failures", "Attempts to store that failed.", {}, writer.failures
