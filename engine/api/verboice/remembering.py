"""What a project knows of whoever calls: variables of the contact, before the flow begins.

Only accounts whose projects have variables, or want to be told of calls, are looked at; a database that is slow costs a
caller no more than :data:`PATIENCE`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from engine.api.verboice import book, calls_book, contacts_book
from engine.api.verboice.enqueue import DIALECT
from engine.calls.supervisor import CallPlan, Parties
from engine.log import get_logger
from engine.store import Store

log = get_logger(__name__)

PATIENCE = 1.0
LOOK_AGAIN = 5.0
"""Seconds after which an account that had no use for this is looked at again."""


class Remembering:
    """Asked by the switch for every call that comes in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nothing_until: dict[str, float] = {}

    async def __call__(self, call_id: str, plan: CallPlan, parties: Parties) -> Mapping[str, str]:
        """Facts for the flow, by the names of :mod:`flows.templates`. Never raises."""
        if self._nothing_until.get(plan.account, 0.0) > time.monotonic():
            return {}
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._facts(call_id, plan, parties)
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            log.warning("contact_not_looked_up", call_id=call_id, error=f"{type(error).__name__}: {error}")
            return {}

    async def _facts(self, call_id: str, plan: CallPlan, parties: Parties) -> dict[str, str]:
        async with self._store.reading() as connection:
            projects = await book.projects(connection, plan.account)
            useful = await book.matter(connection, projects)
        if not useful:
            self._nothing_until[plan.account] = time.monotonic() + LOOK_AGAIN
            return {}
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
