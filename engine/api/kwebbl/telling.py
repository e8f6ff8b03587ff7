"""Events for those who subscribed, as what happened is stored; and what becomes of those who never listen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import RowMapping, Table, exists, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.api.kwebbl.agents import Agents, read_agents
from engine.api.kwebbl.events import Event, event_of
from engine.api.kwebbl.scopes import REACHES, grantable
from engine.callbacks.announcing import Happening, owed
from engine.callbacks.outbox import PLANS, Outcome, Parcel
from engine.callbacks.rows import Row
from engine.log import get_logger
from engine.store import Store
from engine.store import accounts as t
from engine.store.realtime import DELIVERED_AS, EventSubscription, delivered_as

log = get_logger(__name__)

PLAN = "short"
"""Three more attempts after 1, 5 and 30 s."""

LOOK_AGAIN = 5.0
"""Seconds after which it is asked anew whether anybody has subscribed, should another process have taken one."""

_TABLE, _USERS = cast("Table", EventSubscription.__table__), cast("Table", t.User.__table__)


@dataclass(slots=True)
class Teller:
    """The announcer of the Realtime API (:class:`engine.callbacks.announcing.Announcer`)."""

    hyphens: bool
    _looked_at: float = -LOOK_AGAIN
    _anybody: bool = True

    def wants(self) -> bool:
        """Whether anybody has subscribed, as far as is known."""
        return self._anybody or time.monotonic() - self._looked_at >= LOOK_AGAIN

    def changed(self) -> None:
        """There are others than before."""
        self._looked_at = -LOOK_AGAIN

    async def announce(self, connection: AsyncConnection, happenings: Sequence[Happening]) -> Iterable[Row]:
        """The events of ``happenings`` for each who subscribed to them."""
        if time.monotonic() - self._looked_at >= LOOK_AGAIN:
            self._looked_at = time.monotonic()
            self._anybody = bool(await connection.scalar(select(exists().where(_TABLE.c.suspended_at.is_(None)))))
        if not self._anybody:
            return []
        rows: list[Row] = []
        of_account: dict[str, list[Happening]] = {}
        for happening in happenings:
            of_account.setdefault(happening.call.account_id, []).append(happening)
        for account, told in of_account.items():
            subscriptions = await _subscriptions(connection, account)
            if subscriptions:
                agents = await read_agents(connection, account)
                rows += [row for each in told for row in self._rows(each, agents, subscriptions)]
        return rows

    def _rows(self, happening: Happening, agents: Agents, subscriptions: Sequence[RowMapping]) -> list[Row]:
        try:
            event = event_of(happening, agents)
            if event is None:
                return []
            return [self._row(event, each) for each in subscriptions if wanted(event, each)]
        except Exception:  # a defect of ours must not keep the call out of the database
            log.exception("event_not_told", call_id=happening.call.id)
            return []

    def _row(self, event: Event, subscription: RowMapping) -> Row:
        body = json.dumps(event.body(subscription["mode"], hyphens=self.hyphens), ensure_ascii=False)
        url = subscription["callback_url"]
        about = delivered_as(subscription["id"])
        return owed(event.call, event.at, url, body, subscription=about, plan=PLAN, any_certificate=True)


async def _subscriptions(connection: AsyncConnection, account: str) -> Sequence[RowMapping]:
    query = (
        select(_TABLE, _USERS.c.role)
        .join(_USERS, _USERS.c.id == _TABLE.c.user_id)
        .where(_TABLE.c.account_id == account, _TABLE.c.suspended_at.is_(None))
        .order_by(_TABLE.c.created_at, _TABLE.c.id)
    )
    return (await connection.execute(query)).mappings().all()


def wanted(event: Event, subscription: RowMapping | dict[str, Any]) -> bool:
    """Whether a subscription asks for ``event``, and still may. It has the ``role`` of its user."""
    kinds = subscription["event_types"]
    if "*" not in kinds and event.kind not in kinds:
        return False
    if not grantable((REACHES[subscription["reach"]],), subscription["role"]):
        return False
    if subscription["reach"] == "personal":
        own = subscription["user_id"]
        if not any(each.extension is not None and each.extension.user_id == own for each in event.parties("*")):
            return False
    return any(_is_in(event, each) for each in subscription["agents"])


def _is_in(event: Event, agent: dict[str, str]) -> bool:
    if agent["extension_id"] != "*":
        wanted_id = agent["extension_id"]
        parties = event.parties(agent["field"])
        return any(each.extension is not None and each.extension.id == wanted_id for each in parties)
    if agent["number"] != "*":
        return any(each.is_at(agent["number"]) for each in event.parties(agent["field"]))
    return True


@dataclass(slots=True)
class Patience:
    """Counts the events in a row that a subscription could not be told, and suspends it after ``most``.

    :meth:`settled` is told how each attempt went; :meth:`run` is the task that puts it down.
    """

    store: Store
    most: int
    _ailing: set[str] = field(default_factory=set)
    """Those that have failed; nothing is written for the others."""
    _heard: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)

    def settled(self, parcel: Parcel, outcome: Outcome) -> None:
        """An attempt is over."""
        about = parcel.subscription or ""
        if not about.startswith(DELIVERED_AS):
            return
        subscription = about.removeprefix(DELIVERED_AS)
        if outcome.delivered:
            if subscription in self._ailing:
                self._heard.put_nowait((subscription, ""))
        elif outcome.hopeless or parcel.attempts >= len(PLANS[PLAN]):
            self._ailing.add(subscription)
            self._heard.put_nowait((subscription, outcome.error or f"HTTP status {outcome.status}"))

    async def run(self) -> None:
        """Until cancelled."""
        async with self.store.reading() as connection:
            query = select(_TABLE.c.id).where(_TABLE.c.failures > 0)
            self._ailing |= set((await connection.execute(query)).scalars())
        while True:
            subscription, error = await self._heard.get()
            try:
                await self._put_down(subscription, error)
            except (SQLAlchemyError, OSError) as problem:
                log.warning("subscription_not_counted", subscription=subscription, error=str(problem))
            finally:
                self._heard.task_done()

    async def _put_down(self, subscription: str, error: str) -> None:
        which = _TABLE.c.id == subscription
        if not error:
            self._ailing.discard(subscription)
            async with self.store.writing() as connection:
                await connection.execute(update(_TABLE).where(which).values(failures=0, error=None))
            return
        async with self.store.writing() as connection:
            changed = update(_TABLE).where(which).values(failures=_TABLE.c.failures + 1, error=error[:500])
            await connection.execute(changed)
            enough = (which, _TABLE.c.failures >= self.most, _TABLE.c.suspended_at.is_(None))
            suspended = await connection.execute(update(_TABLE).where(*enough).values(suspended_at=time.time()))
        if suspended.rowcount == 1:
            log.warning("subscription_suspended", subscription=subscription, error=error[:200])
