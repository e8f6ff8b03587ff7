"""Delivers what is owed to web servers: at least once, in order per call and URL, for as long as it takes.

What is owed stands in the table ``deliveries``; a restart goes on where it was. A lane (one call,
one URL) has one request under way at a time, a host a few, so that a server that hangs delays
nobody else's deliveries; one that fails again and again is left alone (:mod:`engine.callbacks.breaker`).
A repeat is recognisable by the call's ``id`` and ``seq``. What was delivered is deleted after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlencode

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Table, bindparam, delete, exists, func, literal_column, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased

from engine.callbacks.breaker import Breakers
from engine.callbacks.fetch import Fetcher, FetchFailed, retry_after
from engine.callbacks.signing import SIGNERS
from engine.callbacks.urls import Refused, with_query
from engine.log import get_logger, mask_text
from engine.store import Store
from engine.store.models import DEAD, DELIVERED, PENDING, Delivery

log = get_logger(__name__)

RETRIES = (1.0, 5.0, 30.0, 120.0, 600.0)
THEN_EVERY = 3600.0
PLANS: dict[str, tuple[float, ...]] = {"short": (1.0, 5.0, 30.0)}
"""Other retries than the usual, by the name that a delivery has as its ``plan``: these, and no more."""

PER_HOST = 16
IN_ALL = 256
PAUSE_AFTER_FAILURE = 1.0
UPLOAD_TIMES = 60
LONGEST_RETRY_AFTER = 3600.0
"""Seconds; a server that wants to be left alone for longer is asked after these."""

TIDY_EVERY, TIDY_AT_ONCE, TIDY_PAUSE = 3600.0, 1000, 1.0
"""Seconds between looks for what is to be deleted, rows in one transaction, seconds between two of those."""

_KINDS = {".wav": "audio/wav", ".mp3": "audio/mpeg"}
LONGEST_WAIT = 60.0
"""The wall clock is looked at again after this many seconds, should it have been set."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One attempt at one delivery. ``attempts``: how many there were before."""

    id: int
    call_id: str
    seq: int | None
    lane: str
    host: str
    method: str
    url: str
    params: tuple[tuple[str, str], ...]
    encoding: str
    file: str | None
    created_at: float
    attempts: int
    body: str | None = None
    content_type: str | None = None
    signer: str | None = None
    secret: str | None = None
    subscription: str | None = None
    plan: str = ""
    any_certificate: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: an HTTP ``status``, or an ``error``; ``hopeless`` when no other attempt is worthwhile.

    ``retry_after``: seconds that the server wants to be left alone.
    """

    status: int | None = None
    error: str = ""
    hopeless: bool = False
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the server took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def server_is_down(self) -> bool:
        """Whether it says something of the whole server: no answer, too much asked, an error of its own."""
        if self.status is None:
            return not self.hopeless
        return self.status == 429 or self.status >= 500


Sender = Callable[[Parcel], Awaitable[Outcome]]


class Clock(Protocol):
    """Wall-clock time, and waiting for it."""

    def now(self) -> float:
        """Seconds since the epoch."""

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        """Return when ``event`` is set, or when it is ``until``."""


class WallClock:
    """The real one."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        """Return when ``event`` is set, or when it is ``until``, or now and then."""
        seconds = LONGEST_WAIT if until is None else min(max(until - self.now(), 0.0), LONGEST_WAIT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


def http_sender(fetcher: Fetcher, timeout: float) -> Sender:
    """Sends a parcel as GET with a query, as POST with a form or JSON, or its body, or the content of a file.

    ``timeout`` is in seconds; a file has :data:`UPLOAD_TIMES` as long.
    """

    async def send(parcel: Parcel) -> Outcome:
        method, url, data, headers = _request(parcel)
        try:
            answer = await fetcher.fetch(
                method,
                url,
                timeout=timeout if parcel.file is None else timeout * UPLOAD_TIMES,
                data=data,
                headers=headers,
                any_certificate=parcel.any_certificate,
                insist=True,
            )
        except Refused as error:
            return Outcome(error=str(error), hopeless=True)
        except FetchFailed as error:
            gone = parcel.file is not None and not await asyncio.to_thread(Path(parcel.file).exists)
            return Outcome(error=f"{parcel.file} is gone" if gone else str(error), hopeless=gone)
        return Outcome(status=answer.status, retry_after=retry_after(answer, time.time()))

    return send


def _request(parcel: Parcel) -> tuple[str, str, bytes | Path | None, dict[str, str]]:
    """Method, URL, what is sent, and headers."""
    if parcel.file is not None:
        path = Path(parcel.file)
        kind = _KINDS.get(path.suffix, "application/octet-stream")
        return parcel.method, with_query(parcel.url, ()), path, {"Content-Type": kind}
    if parcel.body is not None:
        url, body = with_query(parcel.url, ()), parcel.body.encode("utf-8", "replace")
        headers = {"Content-Type": parcel.content_type} if parcel.content_type else {}
        return parcel.method, url, body, headers | _signed(parcel, url, body)
    if parcel.method == "POST":
        data, kind = _body(parcel)
        return "POST", with_query(parcel.url, ()), data, {"Content-Type": kind}
    url = with_query(parcel.url, parcel.params)
    return "GET", url, None, _signed(parcel, url, b"")


def _signed(parcel: Parcel, url: str, body: bytes) -> dict[str, str]:
    if parcel.signer is None:
        return {}
    return dict(SIGNERS[parcel.signer](url, body, parcel.secret or "", time.time()))


def _body(parcel: Parcel) -> tuple[bytes, str]:
    if parcel.encoding == "json":
        return msgspec.json.encode(dict(parcel.params)), "application/json"
    return urlencode(parcel.params, errors="replace").encode(), "application/x-www-form-urlencoded"


@dataclass(slots=True)
class OutboxCounters:
    """Since the process started."""

    delivered: int = 0
    failed_attempts: int = 0
    dead: int = 0
    database_failures: int = 0
    pauses: int = 0
    forgotten: int = 0


class Outbox:
    """The one deliverer of a database. :meth:`run` is its task."""

    def __init__(
        self,
        store: Store,
        send: Sender,
        *,
        keep: float,
        keep_delivered: float = 7 * 86400.0,
        clock: Clock | None = None,
    ) -> None:
        """``keep``: seconds for which what fails is tried; ``keep_delivered``: for which what was taken stays."""
        self.counters = OutboxCounters()
        self.observers: list[Callable[[Parcel, Outcome], None]] = []
        """Told of every attempt and how it went, once that is in the database."""
        self._store = store
        self._send = send
        self._keep = keep
        self._keep_delivered = keep_delivered
        self._clock = clock or WallClock()
        self._breakers = Breakers()
        self._tidy_at = self._clock.now()
        self._wake = asyncio.Event()
        self._under_way: dict[int, tuple[Parcel, asyncio.Task[Outcome]]] = {}  # until the outcome is in the database
        self._closing = False
        self._ended = asyncio.Event()

    def wake(self) -> None:
        """There may be new deliveries."""
        self._wake.set()

    @property
    def under_way(self) -> int:
        """Attempts that wait for their answer."""
        return len(self._under_way)

    @property
    def hosts_down(self) -> int:
        """Servers that are left alone, or asked with one request at a time."""
        return sum(1 for _ in self._breakers.open())

    async def run(self) -> None:
        """Deliver until :meth:`close`, or until cancelled; what is broken off then is sent again by the next life."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._settle()
                    due = await self._launch()
                    if not self._closing:
                        due = min(due, await self._tidy())
                except (SQLAlchemyError, OSError) as error:
                    await self._failed(error)
                    continue
                except Exception as error:  # a defect of ours: what is owed stays owed
                    log.exception("outbox broke")
                    await self._failed(error)
                    continue
                if self._closing and not self._under_way:
                    return
                await self._clock.wait(self._wake, due)
        finally:
            for _, task in self._under_way.values():
                task.cancel()
            self._ended.set()

    async def close(self, patience: float) -> bool:
        """Send what is due now, wait for the answers and end :meth:`run`.

        ``False`` when ``patience`` seconds were not enough; cancel :meth:`run` then.
        """
        self._closing = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._ended.wait()
        return self._ended.is_set()

    async def _failed(self, error: Exception) -> None:
        self.counters.database_failures += 1
        log.warning("outbox has no database", error=f"{type(error).__name__}: {error}")
        await self._clock.wait(asyncio.Event(), self._clock.now() + PAUSE_AFTER_FAILURE)

    # --- out ----------------------------------------------------------------------------

    async def _launch(self) -> float:
        """Start what is due; say when the next will be."""
        now = self._clock.now()
        busy = Counter(parcel.host for parcel, _ in self._under_way.values())
        paused = self._breakers.paused(now)
        full = [host for host, count in busy.items() if count >= self._breakers.room(host, PER_HOST)]
        room = IN_ALL - len(self._under_way)
        if room > 0:
            for parcel in await self._due(now, room, list({*full, *paused})):
                if busy[parcel.host] < self._breakers.room(parcel.host, PER_HOST):
                    busy[parcel.host] += 1
                    task = asyncio.create_task(self._attempt(parcel), name=f"delivery {parcel.id}")
                    task.add_done_callback(lambda _: self._wake.set())
                    self._under_way[parcel.id] = (parcel, task)
        async with self._store.reading() as connection:
            next_due: float | None = await connection.scalar(
                select(func.min(Delivery.due_at)).where(_IS_PENDING, Delivery.due_at > now)
            )
        return min([*paused.values(), math.inf if next_due is None else next_due])

    async def _tidy(self) -> float:
        """Delete some of what was delivered long ago; say when to look again."""
        now = self._clock.now()
        if now >= self._tidy_at:
            old = select(_TABLE.c.id).where(_IS_DELIVERED, _TABLE.c.settled_at < now - self._keep_delivered)
            some = old.order_by(_TABLE.c.settled_at).limit(TIDY_AT_ONCE)
            async with self._store.writing() as connection:
                gone = (await connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(some)))).rowcount
            self.counters.forgotten += gone
            self._tidy_at = now + (TIDY_PAUSE if gone >= TIDY_AT_ONCE else TIDY_EVERY)
        return self._tidy_at

    async def _due(self, now: float, limit: int, busy: list[str]) -> list[Parcel]:
        """Heads of lanes whose time has come, hosts taken in turn, at most ``limit``."""
        earlier = aliased(Delivery)
        turn = func.row_number().over(partition_by=Delivery.host, order_by=(Delivery.due_at, Delivery.id))
        heads = (
            select(Delivery.__table__, turn.label("turn"))
            .where(
                _IS_PENDING,
                Delivery.due_at <= now,
                Delivery.id.not_in(list(self._under_way)),
                Delivery.host.not_in(busy),
                ~exists().where(
                    earlier.lane == Delivery.lane, earlier.state == _PENDING_TEXT, earlier.id < Delivery.id
                ),
            )
            .subquery()
        )
        query = select(heads).where(heads.c.turn <= PER_HOST).order_by(heads.c.turn, heads.c.due_at).limit(limit)
        async with self._store.reading() as connection:
            return [_parcel(row) for row in (await connection.execute(query)).mappings()]

    async def _attempt(self, parcel: Parcel) -> Outcome:
        try:
            return await self._send(parcel)
        except Exception as error:  # a defect of ours must not stop the other deliveries
            log.exception("delivery attempt broke", call_id=parcel.call_id, url=parcel.url)
            return Outcome(error=f"internal error: {type(error).__name__}")

    # --- back ---------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Put down how attempts went. Raises SQLAlchemy's errors; nothing is forgotten then."""
        settled = [(parcel, task.result()) for parcel, task in self._under_way.values() if task.done()]
        if not settled:
            return
        now = self._clock.now()
        updates, delays = [], []
        for parcel, outcome in settled:
            again = None if outcome.delivered or outcome.hopeless else self._next_attempt(parcel, outcome, now)
            updates.append(_update(parcel, outcome, now, again))
            if again is not None:
                delays.append({"of_lane": parcel.lane, "after": parcel.id, "until": again})
        async with self._store.writing() as connection:
            await connection.execute(_SETTLE, updates)
            if delays:
                await connection.execute(_HOLD_LANE, delays)
        for (parcel, outcome), row in zip(settled, updates, strict=True):
            del self._under_way[parcel.id]
            self._count(parcel, outcome, row)
            self._judge(parcel.host, outcome, now)
            for observer in self.observers:
                observer(parcel, outcome)

    def _next_attempt(self, parcel: Parcel, outcome: Outcome, now: float) -> float | None:
        """When to try again after a failure; ``None`` when its time is over.

        A server that wants to be left alone for longer is, but not beyond the last attempt's time.
        """
        asked = now + min(outcome.retry_after, LONGEST_RETRY_AFTER)
        if parcel.plan in PLANS:
            plan = PLANS[parcel.plan]
            return max(now + plan[parcel.attempts], asked) if parcel.attempts < len(plan) else None
        again = now + (RETRIES[parcel.attempts] if parcel.attempts < len(RETRIES) else THEN_EVERY)
        last = parcel.created_at + self._keep
        return max(again, min(asked, last)) if again <= last else None

    def _judge(self, host: str, outcome: Outcome, now: float) -> None:
        """Leave a server alone that fails again and again; see that it is back."""
        if outcome.status is None and outcome.hopeless:  # it was not asked
            return
        if not outcome.server_is_down:
            if self._breakers.answered(host):
                log.info("callback host is back", host=host)
            return
        seconds = self._breakers.failed(host, now, min(outcome.retry_after, LONGEST_RETRY_AFTER))
        if seconds is not None:
            self.counters.pauses += 1
            failures = self._breakers.failures(host)
            log.warning("callback host is left alone", host=host, failures=failures, seconds=round(seconds, 1))

    def _count(self, parcel: Parcel, outcome: Outcome, row: dict[str, Any]) -> None:
        about = {
            "call_id": parcel.call_id,
            "seq": parcel.seq,
            "url": mask_text(parcel.url),
            "attempt": parcel.attempts + 1,
            "why": row["why"],
        }
        if outcome.delivered:
            self.counters.delivered += 1
            log.debug("callback delivered", **about)
            return
        self.counters.failed_attempts += 1
        if row["into"] == DEAD:
            self.counters.dead += 1
            log.error("callback given up", **about)
        else:
            log.warning("callback not delivered", retry_at=round(row["due"], 1), **about)


_PENDING_TEXT: ColumnElement[str] = literal_column(
    f"'{PENDING}'"
)  # as text: a partial index is not used for a parameter
_IS_PENDING = Delivery.state == _PENDING_TEXT
_IS_DELIVERED = Delivery.state == literal_column(f"'{DELIVERED}'")

_TABLE = cast("Table", Delivery.__table__)
_SETTLE = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("of"))
    .values(
        state=bindparam("into"),
        attempts=bindparam("tried"),
        status=bindparam("answer"),
        error=bindparam("why"),
        due_at=bindparam("due"),
        settled_at=bindparam("end"),
    )
)
_HOLD_LANE = (
    update(_TABLE)
    .where(
        _TABLE.c.lane == bindparam("of_lane"),
        _TABLE.c.state == _PENDING_TEXT,
        _TABLE.c.id > bindparam("after"),
        _TABLE.c.due_at < bindparam("until"),
    )
    .values(due_at=bindparam("until"))
)


def _update(parcel: Parcel, outcome: Outcome, now: float, again: float | None) -> dict[str, Any]:
    why = outcome.error or ("" if outcome.delivered else f"HTTP status {outcome.status}")
    return {
        "of": parcel.id,
        "into": DELIVERED if outcome.delivered else DEAD if again is None else PENDING,
        "tried": parcel.attempts + 1,
        "answer": outcome.status,
        "why": why[:500] or None,
        "due": now if again is None else again,
        "end": now if again is None else None,
    }


def _parcel(row: RowMapping) -> Parcel:
    return Parcel(
        id=row["id"],
        call_id=row["call_id"],
        seq=row["seq"],
        lane=row["lane"],
        host=row["host"],
        method=row["method"],
        url=row["url"],
        params=tuple((name, value) for name, value in row["params"]),
        encoding=row["encoding"],
        file=row["file"],
        created_at=row["created_at"],
        attempts=row["attempts"],
        body=row["body"],
        content_type=row["content_type"],
        signer=row["signer"],
        secret=row["secret"],
        subscription=row["subscription"],
        plan=row["plan"],
        any_certificate=row["any_certificate"],
    )
