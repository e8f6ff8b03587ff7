"""Events of calls for those who asked for them: webhooks, subscriptions, status callbacks.

What happened to calls is in the journal; as it is carried into the database, announcers say who is to be told, and what
they are owed becomes rows of the outbox in the same transaction. So an event is owed exactly once, whatever is killed
in between, also the end of a call that a kill interrupted, and none is owed for what the database does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import callbook
from engine.accounts.callbook import CallRow, LegRow
from engine.callbacks import records
from engine.callbacks.rows import Row, clean, pending_row
from engine.store.models import Delivery

_INSERT = insert(Delivery)


@dataclass(frozen=True, slots=True)
class Happening:
    """A record of the journal with the call as it is after the batch that has it, and the leg if it is about one."""

    record: records.Record
    call: CallRow
    leg: LegRow | None = None


class Announcer(Protocol):
    """Knows who wants to be told what. One for each API that has subscriptions."""

    def wants(self) -> bool:
        """Whether anybody wants anything; nothing is read for nobody."""

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """What is owed: rows made by :func:`owed`. In the transaction that stores the records; it must not fail."""


def owed(
    call_id: str,
    at: float,
    url: str,
    body: str,
    *,
    content_type: str = "application/json",
    method: str = "POST",
    subscription: str | None = None,
    signer: str | None = None,
    secret: str | None = None,
    plan: str = "",
    any_certificate: bool = False,
) -> Row:
    """A delivery: ``body`` to ``url``. In order with the others of the same call and subscription (or URL).

    The other arguments are as in :class:`engine.store.models.Delivery`.
    """
    row: Row = clean(
        pending_row(
            call_id,
            at,
            url,
            lane=subscription or url,
            method=method,
            encoding="body",
            body=body,
            content_type=content_type or None,
            subscription=subscription,
            signer=signer,
            secret=secret,
            plan=plan,
            any_certificate=any_certificate,
        )
    )
    return row


def owed_by_query(
    call_id: str,
    at: float,
    url: str,
    params: Mapping[str, str],
    *,
    signer: str | None = None,
    secret: str | None = None,
    plan: str = "",
    account: str | None = None,
) -> Row:
    """A GET of ``url`` with ``params`` behind its own query. In order with the others of the same call and URL.

    ``account``: whose it is, when ``call_id`` is the name of a call that was never made.
    """
    pairs = [[name, value] for name, value in params.items()]
    row: Row = clean(
        pending_row(call_id, at, url, params=pairs, signer=signer, secret=secret, plan=plan, account_id=account)
    )
    return row


class Announcements:
    """All announcers, and the way from records to rows of the outbox."""

    def __init__(self) -> None:
        self._announcers: list[Announcer] = []
        self._after: list[Callable[[], None]] = []

    def add(self, announcer: Announcer, after: Callable[[], None] | None = None) -> None:
        """From now on it is asked. ``after`` is called when what it did is in the database for all to see."""
        self._announcers.append(announcer)
        if after is not None:
            self._after.append(after)

    def committed(self) -> None:
        """The transaction of :meth:`store` is done."""
        for after in self._after:
            after()

    async def store(self, connection: AsyncConnection, batch: Sequence[records.Record]) -> int:
        """Have the outbox owe what the announcers say of ``batch``, whose rows are stored; how much that is.

        Raises SQLAlchemy's errors.
        """
        asked = [each for each in self._announcers if each.wants()]
        told = [record for record in batch if isinstance(record, _TOLD)] if asked else []
        if not told:
            return 0
        happenings = await _happenings(connection, told)
        rows = [row for each in asked for row in await each.announce(connection, happenings)]
        if rows:
            await connection.execute(_INSERT, rows)
        return len(rows)


_TOLD = (
    records.CallStarted,
    records.Rang,
    records.CallAnswered,
    records.CallFinished,
    records.LegStarted,
    records.LegAnswered,
    records.LegFinished,
    records.RecordingStarted,
    records.RecordingFinished,
    records.Held,
    records.Resumed,
    records.Bridged,
    records.Transferred,
)
"""Records that somebody may want to be told of. All have ``call``."""


async def _happenings(connection: AsyncConnection, told: Sequence[records.Record]) -> list[Happening]:
    ids = {str(getattr(record, "call", "")) for record in told}
    calls = await callbook.calls_by_id(connection, ids)
    about_legs = {str(leg) for record in told if (leg := getattr(record, "leg", ""))}
    legs = await callbook.legs_by_id(connection, about_legs) if about_legs else {}
    found = []
    for record in told:
        call = calls.get(str(getattr(record, "call", "")))
        leg = legs.get(str(getattr(record, "leg", "")))
        if call is not None and _is_news(record, call, leg):
            found.append(Happening(record, call, leg))
    return found


def _is_news(record: records.Record, call: CallRow, leg: LegRow | None) -> bool:
    """A call and a leg have one end, and are answered once: what is said again has been told. A leg that nobody dialled
    is no news: the transfer is.
    """
    match record:
        case records.CallFinished():
            return call.finished_at == record.at
        case records.LegStarted():
            return not record.was
        case records.LegAnswered():
            return leg is not None and leg.answered_at == record.at and leg.answered_at != leg.started_at
        case records.LegFinished():
            return leg is not None and leg.finished_at == record.at and leg.answered_at != leg.started_at
    return True
