"""Makes the calls of the queue: claims what is due within the limits, and begins it.

Their ends are taken elsewhere (:mod:`engine.campaigns.settling`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.calls.allowance import NotAllowed
from engine.calls.identity import Caller
from engine.calls.media import MediaError
from engine.calls.origination import IfMachine, Originator
from engine.calls.outbound import RING_SECONDS, OutgoingCall, Wish
from engine.calls.services import FlowError, Ready
from engine.calls.spending import next_day
from engine.campaigns import queue
from engine.campaigns.outcome import Result
from engine.campaigns.pacing import Lane, Limits, Pace
from engine.campaigns.queue import Entry
from engine.campaigns.settling import settle
from engine.campaigns.zones import zone_named
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

PER_LANE = 50
"""Calls of a lane that are looked at together."""
NO_ROOM_PAUSE = 5.0
"""Seconds that a lane waits when there was no room for a call."""
LONGEST_WAIT = 60.0
"""The wall clock is looked at again after this many seconds, should it have been set."""
FLUSH_PATIENCE = 30.0
ABANDONED = 60.0
"""Seconds after which an attempt is looked for of which nothing was heard."""
PAUSE_AFTER_FAILURE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a queued call is to be like. ``success``: when it counts as done (:data:`engine.campaigns.outcome.Success`).

    The other fields are as in :class:`engine.calls.outbound.Wish` and
    :meth:`engine.calls.origination.Originator.call`.
    """

    caller: str = ""
    caller_name: str = ""
    timeout: float = RING_SECONDS
    machine_detection: IfMachine = ""
    record: bool = False
    success: str = "answered"
    variables: Mapping[str, str] | None = None
    facts: Mapping[str, str] | None = None

    def as_data(self) -> dict[str, Any]:
        """As the queue keeps it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Preparing(Protocol):
    """Adds to a call what is known only when it is made, such as the variables of a contact."""

    async def __call__(self, connection: AsyncConnection, entry: Entry, wish: Wanted) -> Wanted: ...


class Dialler:
    """Makes calls out of the queue. :meth:`run` is its task."""

    def __init__(
        self,
        store: Store,
        originator: Originator,
        limits: Callable[[Lane], Limits],
        *,
        flush: Callable[[float], Awaitable[bool]],
        is_live: Callable[[str], bool],
        is_open: Callable[[], bool],
    ) -> None:
        """``flush`` waits until the database has what happened; ``is_live``: whether a call (its id) is running here;
        ``is_open``: whether new calls may begin at all.
        """
        self._store = store
        self._originator = originator
        self._flush = flush
        self._is_live = is_live
        self._is_open = is_open
        self._pace = Pace(limits)
        self._wake = asyncio.Event()
        self._under_way: dict[str, Lane] = {}
        """Calls that take room in a lane, by id."""
        self.preparing: list[Preparing] = []
        self.on_unmade: Callable[[AsyncConnection, Sequence[Entry]], Awaitable[None]] | None = None
        """Told of calls that are over and were never made (expired, refused), in the transaction that ends them."""
        self.after_unmade: Callable[[], None] = lambda: None
        """Called once that transaction is done."""

    def wake(self) -> None:
        """Something changed: look at the queue."""
        self._wake.set()

    def ended(self, call_id: str) -> None:
        """A call is settled: its room is free."""
        lane = self._under_way.pop(call_id, None)
        if lane is not None:
            self._pace.ended(lane)
        self._wake.set()

    async def run(self) -> None:
        """Make calls until cancelled."""
        looked = time.time()
        first = True
        while True:
            self._wake.clear()
            try:
                now = time.time()
                if first or now - looked > ABANDONED:
                    await self._take_up(now if first else now - ABANDONED)
                    first, looked = False, now
                until = await self._step()
            except (SQLAlchemyError, OSError) as error:
                log.warning("queue has no database", error=f"{type(error).__name__}: {error}")
                until = time.time() + PAUSE_AFTER_FAILURE
            except Exception:
                log.exception("queue broke")
                until = time.time() + PAUSE_AFTER_FAILURE
            seconds = LONGEST_WAIT if until is None else min(max(until - time.time(), 0.0), LONGEST_WAIT)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may forget that it was cancelled
                    await self._wake.wait()

    # --- what an earlier life has left --------------------------------------------------

    async def _take_up(self, before: float) -> None:
        """Put back what was claimed and never made, settle what nobody has; count what is running."""
        if not await self._flush(FLUSH_PATIENCE):
            return
        async with self._store.writing() as connection:
            for entry in await queue.unmade(connection, before):
                call_id = str(entry.call_id)
                if not self._is_live(call_id):
                    await queue.give_back(connection, entry.id, call_id, time.time())
                    log.info("queued_call_put_back", queued=entry.id, call_id=call_id)
            for entry, call in await queue.overlooked(connection):
                await settle(connection, entry, call, "")
            active = {str(entry.call_id): entry.lane for entry in await queue.active(connection)}
        for call_id in self._under_way.keys() - active.keys():
            self.ended(call_id)
        for call_id, lane in active.items():
            if call_id not in self._under_way:
                self._under_way[call_id] = lane
                self._pace.found(lane)

    # --- what is due --------------------------------------------------------------------

    async def _step(self) -> float | None:
        """Make what can be made now; when to look again, ``None``: when something changes."""
        if not self._is_open():
            return time.time() + PAUSE_AFTER_FAILURE
        now = time.time()
        async with self._store.reading() as connection:
            waiting = await queue.due(connection, now, PER_LANE, self._pace.blocked(now))
            coming = await queue.next_due(connection, now)
        entries = {entry.id: entry for entry in waiting}
        plan = self._pace.plan([entry.waiting() for entry in waiting], now)
        calls = {each.id: uuid.uuid4().hex for each in plan.place}
        claimed: set[int] = set()
        try:
            if calls or plan.expired or plan.postponed or (coming is not None and coming < now):
                async with self._store.writing() as connection:
                    late = await self._expire(connection, [each.id for each in plan.expired], now)
                    await queue.postpone(connection, {each.id: opens for each, opens in plan.postponed})
                    claimed = await queue.claim(connection, calls, now)
                if late:
                    self.after_unmade()
        finally:
            for each in plan.place:
                if each.id not in claimed:
                    self._pace.ended(each.lane)
        for entry_id in claimed:
            entry = entries[entry_id]
            self._under_way[calls[entry_id]] = entry.lane
        await asyncio.gather(*(self._make(entries[entry_id], calls[entry_id]) for entry_id in claimed))
        times = [moment for moment in (plan.wake, coming, self._pace.next_free(now)) if moment is not None]
        if claimed and len(waiting) >= PER_LANE:
            return now  # there may be more of a lane
        return min(times, default=None)  # with none, what waits has to wait for room

    async def _expire(self, connection: AsyncConnection, ids: Sequence[int], now: float) -> list[Entry]:
        late = await queue.expire(connection, now)
        known = {entry.id for entry in late}
        more = [entry_id for entry_id in ids if entry_id not in known]
        if more:
            late += await queue.end_these(connection, more, now)
        if late:
            log.info("queued_calls_expired", queued=[entry.id for entry in late])
            if self.on_unmade is not None:
                await self.on_unmade(connection, late)
        return late

    async def _make(self, entry: Entry, call_id: str) -> None:
        """Begin one claimed call; whatever is wrong, it does not stay claimed."""
        try:
            await self._begin(entry, call_id)
        except FlowError as error:
            await self._refuse(entry, call_id, "no-flow", str(error))
        except NotAllowed as error:
            if error.code == "daily_limit":
                await self._put_off(entry, call_id, str(error))
            else:
                await self._refuse(entry, call_id, "refused", str(error))
        except MediaError as error:
            log.warning("queued_call_without_room", queued=entry.id, error=str(error))
            until = time.time() + NO_ROOM_PAUSE
            self._pace.hold(entry.lane, until)
            await self._undo(call_id, lambda connection: queue.give_back(connection, entry.id, call_id, until))
        except Exception:
            log.exception("queued_call_not_made", queued=entry.id)
            until = time.time() + NO_ROOM_PAUSE
            await self._undo(call_id, lambda connection: queue.give_back(connection, entry.id, call_id, until))

    async def _refuse(self, entry: Entry, call_id: str, result: Result, why: str) -> None:
        log.warning("queued_call_refused", queued=entry.id, result=result, error=why)

        async def refused(connection: AsyncConnection) -> None:
            over = await queue.refuse(connection, entry.id, call_id, result, why)
            if over and self.on_unmade is not None:
                await self.on_unmade(connection, over)

        await self._undo(call_id, refused)
        self.after_unmade()

    async def _put_off(self, entry: Entry, call_id: str, why: str) -> None:
        """The account has spent what it may today: the call waits for the next day (UTC) on which it may be made."""
        opens = next_day(time.time())
        schedule = entry.waiting().schedule
        if schedule is not None:
            opens = schedule.next(opens, zone_named(entry.zone)) or opens
        log.info("queued_call_put_off", queued=entry.id, until=opens, error=why)
        await self._undo(call_id, lambda connection: queue.give_back(connection, entry.id, call_id, opens, why))

    async def _undo(self, call_id: str, how: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """The claim of a call that was not made ends. Without a database it is put back later (:meth:`_take_up`)."""
        try:
            async with self._store.writing() as connection:
                await how(connection)
        except (SQLAlchemyError, OSError) as error:
            log.warning("queued_call_not_put_back", call_id=call_id, error=f"{type(error).__name__}: {error}")
        finally:
            self.ended(call_id)

    async def _begin(self, entry: Entry, call_id: str) -> OutgoingCall:
        wanted = Wanted(**entry.wish)
        flow = await self._flow(entry)
        if self.preparing:
            async with self._store.writing() as connection:
                for prepare in self.preparing:
                    wanted = await prepare(connection, entry, wanted)
        wish = Wish(
            to=entry.address,
            caller=Caller(wanted.caller, wanted.caller_name),
            trunk=entry.trunk,
            timeout=wanted.timeout,
            variables=dict(wanted.variables or {}),
            source=entry.source,
            id=call_id,
            facts=dict(wanted.facts or {}),
        )
        call = self._originator.call(entry.account_id, wish, flow, wanted.machine_detection, record=wanted.record)
        log.info("queued_call_begun", queued=entry.id, call_id=call_id, attempt=entry.attempts + 1)
        return call

    async def _flow(self, entry: Entry) -> Ready:
        if entry.document is not None:
            return await self._originator.inline(entry.account_id, entry.document, entry.dialect)
        return await self._originator.stored(entry.account_id, entry.flow_id or "")
