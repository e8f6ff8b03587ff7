"""What a project knows of whoever calls: variables of the contact, before the flow begins.

Only accounts whose projects have variables, or want to be told of calls, are looked at. A database that is slow costs a
caller no more than :data:`PATIENCE`, and nothing while an account that had no use for this is looked at again. There is
one look for all callers of an account, however many come meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from sqlalchemy.exc import SQLAlchemyError

from engine.api.verboice import book, calls_book, contacts_book
from engine.api.verboice.enqueue import DIALECT
from engine.calls.plans import CallPlan, Parties
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

PATIENCE = 1.0
LOOK_AGAIN = 5.0
"""Seconds after which an account is looked at again."""

TOO_OLD = 15.0
"""Seconds after which what was found counts no longer: the next caller waits for the look."""


class Remembering:
    """Asked by the switch for every call that comes in."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[bool, float]] = {}
        """By account: whether it has a use for this, and when that was found."""
        self._looks: dict[str, asyncio.Task[bool]] = {}

    async def __call__(self, call_id: str, plan: CallPlan, parties: Parties) -> Mapping[str, str]:
        """Facts for the flow, by the names of :mod:`flows.templates`. Never raises."""
        has_use, found_at = self._known.get(plan.account, (False, -TOO_OLD))
        age = self._clock() - found_at
        if age >= LOOK_AGAIN:
            self._look(plan.account)
        if age < TOO_OLD and not has_use:
            return {}
        try:
            async with asyncio.timeout(PATIENCE):
                if age < TOO_OLD or await asyncio.shield(self._look(plan.account)):
                    return await self._facts(call_id, plan, parties)
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            log.warning("contact_not_looked_up", call_id=call_id, error=f"{type(error).__name__}: {error}")
        return {}

    def _look(self, account: str) -> asyncio.Task[bool]:
        """The look at ``account`` that is under way; whether it has a use for this comes of it."""
        look = self._looks.get(account)
        if look is None:
            look = self._looks[account] = asyncio.create_task(self._has_use(account))
            look.add_done_callback(lambda done: self._looked(account, done))
        return look

    def _looked(self, account: str, look: asyncio.Task[bool]) -> None:
        del self._looks[account]
        if not look.cancelled() and look.exception() is None:
            self._known[account] = look.result(), self._clock()

    async def _has_use(self, account: str) -> bool:
        async with self._store.reading() as connection:
            return await book.matter(connection, await book.projects(connection, account))

    async def _facts(self, call_id: str, plan: CallPlan, parties: Parties) -> dict[str, str]:
        async with self._store.writing() as connection:
            flow = await calls_book.flow_called(connection, plan.account, plan.flow_name)
            owner = await book.project_of_flow(connection, plan.account, flow[0] if flow else None)
            numbered = await calls_book.add_call(
                connection,
                account_id=plan.account,
                call_id=call_id,
                project_id=owner.id,
                address=parties.caller,
                trunk=parties.source,
                flow_id=flow[0] if flow else None,
            )
            contact = await contacts_book.known_as(connection, owner.id, numbered.address_or_name)
        facts = {f"var.{name}": value for name, value in contact.vars.items()}
        if flow is not None and flow[1] == DIALECT:  # its requests have the integer as CallSid
            facts["call.id"] = str(numbered.id)
        return facts
