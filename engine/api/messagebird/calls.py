"""``/calls``: make calls, see those of the account whoever made them, control and hang them up."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from engine.accounts import callbook
from engine.accounts.entities import Caller
from engine.api.messagebird import views
from engine.api.messagebird.answers import (
    FORBIDDEN,
    IMPOSSIBLE,
    VoiceError,
    bad_value,
    impossible,
    many,
    missing,
    nothing,
    one,
    page_of,
)
from engine.api.messagebird.controlling import controlled
from engine.api.messagebird.door import caller_of, object_of, query_of, text_in
from engine.api.messagebird.events import Events
from engine.api.messagebird.finding import Finder, Found, live_row, overlaid
from engine.api.messagebird.flows import ready_flow
from engine.api.messagebird.webhooks import url_in
from engine.api.parties import party
from engine.api.services import ApiServices
from engine.calls.allowance import NotAllowed
from engine.calls.flowbook import FlowError, Ready
from engine.calls.identity import Caller as Shown
from engine.calls.media import MediaError
from engine.calls.outbound import Wish
from engine.store import webhooks

LIST_PATIENCE = 0.5
"""Seconds that a list waits for the database to have what happened; where much happens it may never have it all."""


def party_in(record: Mapping[str, Any], name: str) -> str:
    """A number, a user, a device or a SIP URI. Raises :class:`VoiceError` (11, 12)."""
    try:
        return party(text_in(record, name, most=1024).strip())
    except ValueError as error:
        raise bad_value(name, str(error) if str(error).startswith("must") else f"is no SIP URI: {error}") from None


@dataclass(frozen=True, slots=True)
class Calls:
    """The endpoints."""

    services: ApiServices
    events: Events
    finder: Finder

    async def make(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        body = await object_of(request)
        source, destination = party_in(body, "source"), party_in(body, "destination")
        flow = await self._flow(caller, body)
        if flow is None:
            raise missing("callFlow")
        hook = _webhook_in(body)
        call_id = uuid.uuid4().hex
        if hook is not None:  # before the call is there: it is told of everything
            await self._listen(caller, call_id, *hook)
        wish = Wish(to=destination, caller=Shown(source), source=caller.user, id=call_id)
        try:
            call = self.services.originator.call(caller.account_id, wish, flow)
        except NotAllowed as error:
            await self._listen_no_more(caller, call_id)
            raise VoiceError(error.status, FORBIDDEN, f"The call is not allowed: {error}.") from None
        except (MediaError, FlowError) as error:
            await self._listen_no_more(caller, call_id)
            if isinstance(error, FlowError):  # the account went a moment ago
                raise VoiceError(403, FORBIDDEN, "The account may make no calls.") from None
            raise VoiceError(503, IMPOSSIBLE, f"There is no room for the call: {error}.", Retry_After="5") from None
        return one(views.call_view(live_row(call)), 201)

    async def list(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        page = page_of(query_of(request))
        await self.services.callbacks.flush(LIST_PATIENCE)  # a call that was over at once is in the list, too
        live = {call.id: call for call in self.services.switch.calls_of(caller.account_id)}
        async with self.services.store.reading() as connection:
            stored = await callbook.calls_by_id(connection, live)
            new = [live_row(call) for call in live.values() if call.id not in stored]
            new.sort(key=lambda row: (row.started_at, row.id), reverse=True)
            total = await callbook.count(connection, caller.account_id) + len(new)
            rows = new[page.offset : page.offset + page.size]
            if len(rows) < page.size:
                rows += await callbook.calls(
                    connection,
                    caller.account_id,
                    offset=max(page.offset - len(new), 0),
                    limit=page.size - len(rows),
                )
            numbers = await callbook.number_ids(connection, rows)
        rows = [overlaid(row, live[row.id]) if row.id in live else row for row in rows]
        return many("/calls", [views.call_view(row, numbers.get(row.id)) for row in rows], page, total)

    async def one(self, request: Request, call_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.read")
        return await self._shown(await self.finder.call(caller.account_id, call_id))

    async def hang_up(self, request: Request, call_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "calls.write")
        found = await self.finder.call(caller.account_id, call_id)
        await controlled(found, lambda control: control.hang_up(by=caller.user))
        return nothing()

    async def change(self, request: Request, call_id: str) -> Response:
        """Another flow takes the place of the call's, another webhook that of its own."""
        caller = await caller_of(request, self.services.store, "calls.write")
        found = await self.finder.call(caller.account_id, call_id)
        body = await object_of(request)
        flow, hook = await self._flow(caller, body), _webhook_in(body)
        if flow is None and hook is None:
            raise missing("callFlow")
        if flow is not None:
            await controlled(found, lambda control: control.replace_flow(flow, by=caller.user))
        elif found.live is None:
            raise impossible("The call has ended already.")
        if hook is not None:
            await self._listen_no_more(caller, found.row.id)
            await self._listen(caller, found.row.id, *hook)
        return await self._shown(found)

    async def transfer(self, request: Request, call_id: str, destination: str) -> Response:
        """Who is on the call's own leg is connected with somebody else."""
        caller = await caller_of(request, self.services.store, "calls.write")
        if destination == "legs":
            raise VoiceError(405, IMPOSSIBLE, "The method POST is not allowed here; GET may be used.", Allow="GET")
        found = await self.finder.call(caller.account_id, call_id)
        target = party_in({"destination": destination}, "destination")
        await controlled(found, lambda control: control.transfer(target, by=caller.user, leaves="peer"))
        return await self._shown(found)

    # --- what these have in common --------------------------------------------------------

    async def _shown(self, found: Found) -> Response:
        async with self.services.store.reading() as connection:
            numbers = await callbook.number_ids(connection, [found.row])
        return one(views.call_view(found.row, numbers.get(found.row.id)))

    async def _flow(self, caller: Caller, body: Mapping[str, Any]) -> Ready | None:
        """The flow in a body, also as the Go library spells it."""
        name = "callFlow" if "callFlow" in body else "callflow"
        flow = body.get(name)
        if flow is None:
            return None
        if not isinstance(flow, dict):
            raise bad_value(name, "must be an object")
        return await ready_flow(self.services, caller.account_id, flow, f"{name}.")

    async def _listen(self, caller: Caller, call_id: str, url: str, token: str) -> None:
        async with self.services.store.writing() as connection:
            await webhooks.add(connection, caller.account_id, url, token, call_id=call_id)
        self.events.added()

    async def _listen_no_more(self, caller: Caller, call_id: str) -> None:
        async with self.services.store.writing() as connection:
            await webhooks.remove_of_call(connection, caller.account_id, call_id)


def _webhook_in(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """URL and token of the webhook in a body."""
    hook = body.get("webhook")
    if hook is None:
        return None
    if not isinstance(hook, dict):
        raise bad_value("webhook", "must be an object")
    if not hook.get("url") and not hook.get("token"):  # what client libraries write for none
        return None
    return url_in(hook, path="webhook."), text_in(hook, "token", path="webhook.", most=512, required=False)
