"""``/webhooks``: who is told of all calls of the account; five at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit
from engine.api.messagebird import views
from engine.api.messagebird.answers import bad_value, impossible, many, not_found, nothing, one, page_of
from engine.api.messagebird.door import caller_of, object_of, query_of, text_in
from engine.api.messagebird.events import Events
from engine.api.services import ApiServices
from engine.callbacks.rows import host_of
from engine.callbacks.urls import Refused, target
from engine.store import webhooks
from engine.store.webhooks import Webhook
from flows.uuids import digits_of

MOST = 5
"""Webhooks of an account, those of single calls aside."""


def url_in(record: Mapping[str, Any], *, path: str = "") -> str:
    """The URL in a webhook. Raises :class:`VoiceError` (11, 12)."""
    url = text_in(record, "url", path=path).strip()
    try:
        target(url)
    except Refused as error:
        raise bad_value(f"{path}url", f"must be a URL: {error}") from None
    return url


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The endpoints."""

    services: ApiServices
    events: Events

    async def list(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        page = page_of(query_of(request))
        async with self.services.store.reading() as connection:
            found = await webhooks.all_of(connection, caller.account_id)
        shown = [views.webhook_view(each) for each in found[page.offset : page.offset + page.size]]
        return many("/webhooks", shown, page, len(found))

    async def one(self, request: Request, webhook_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        async with self.services.store.reading() as connection:
            return one(views.webhook_view(await _webhook(connection, caller.account_id, webhook_id)))

    async def make(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        body = await object_of(request)
        url = url_in(body)
        token = text_in(body, "token", most=512, required=False)
        title = text_in(body, "title", most=200, required=False)
        async with self.services.store.writing() as connection:
            if len(await webhooks.all_of(connection, caller.account_id)) >= MOST:
                raise impossible(f"There are {MOST} webhooks already, and no more are possible.")
            made = await webhooks.add(connection, caller.account_id, url, token, title=title)
            await audit.note(connection, caller, "webhook added", made.id, {"host": host_of(url)})
        self.events.added()
        return one(views.webhook_view(made), 201)

    async def change(self, request: Request, webhook_id: str) -> Response:
        """What is not in the body stays."""
        caller = await caller_of(request, self.services.store, "flows.write")
        body = await object_of(request)
        async with self.services.store.writing() as connection:
            hook = await _webhook(connection, caller.account_id, webhook_id)
            await webhooks.change(
                connection,
                hook,
                url=url_in(body) if body.get("url") else hook.url,
                token=hook.token if body.get("token") is None else text_in(body, "token", most=512, required=False),
                title=hook.title if body.get("title") is None else text_in(body, "title", most=200, required=False),
            )
            hook = await _webhook(connection, caller.account_id, webhook_id)
            await audit.note(connection, caller, "webhook changed", hook.id, {"host": host_of(hook.url)})
        return one(views.webhook_view(hook))

    async def remove(self, request: Request, webhook_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        async with self.services.store.writing() as connection:
            hook = await _webhook(connection, caller.account_id, webhook_id)
            await webhooks.remove(connection, hook)
            await audit.note(connection, caller, "webhook deleted", hook.id, {"host": host_of(hook.url)})
        return nothing()


async def _webhook(connection: AsyncConnection, account: str, wanted: str) -> Webhook:
    found = await webhooks.get(connection, account, digits_of(wanted) or "-")
    if found is None:
        raise not_found("webhook")
    return found
