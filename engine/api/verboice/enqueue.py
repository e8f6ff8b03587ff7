"""``/api/call``: from parameters to a call in the queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository
from engine.accounts.entities import Caller, Flow
from engine.accounts.repository import Unknown
from engine.api.parties import party
from engine.api.services import ApiServices
from engine.api.verboice import book, calls_book, contacts_book
from engine.api.verboice.book import NamedSchedule, Project
from engine.api.verboice.calls_book import NumberedCall
from engine.api.verboice.channels_book import ChannelRow, channel_named, channel_numbered
from engine.api.verboice.contacts_book import LONGEST_ADDRESS
from engine.api.verboice.door import Refused, not_found
from engine.api.verboice.params import Params
from engine.calls.services import FlowError, Ready
from engine.campaigns import queue
from engine.campaigns.dialler import Wanted
from engine.campaigns.queue import Order
from engine.campaigns.schedule import first_slot
from engine.campaigns.zones import parse_moment, zone_named
from flows.targets import url_problem

DIALECT = "verboice"
MOST_VARIABLES = 100


@dataclass(frozen=True, slots=True)
class ChosenFlow:
    """What the call runs: a stored flow, or a document."""

    flow_id: str | None = None
    document: str | None = None


async def enqueue(services: ApiServices, caller: Caller, params: Params) -> NumberedCall:
    """Put a call into the queue. Raises :class:`Refused` (400)."""
    async with services.store.writing() as connection:
        try:
            order, more = await _order(connection, services, caller, params)
        except (ValueError, Unknown) as error:
            raise Refused(400, str(error)) from None
    try:
        if order.document is not None:
            await services.originator.inline(caller.account_id, order.document, order.dialect)
        else:
            await services.originator.stored(caller.account_id, order.flow_id or "")
    except FlowError as error:
        raise Refused(400, f"Invalid Flow: {error}") from None
    async with services.store.writing() as connection:
        contact = await contacts_book.known_as(connection, more["project_id"], order.address)
        entry = await queue.add(connection, order)
        call = await calls_book.add(connection, entry, contact_id=contact.id, **more)
        await audit.note(connection, caller, "call queued", str(entry.id), {"to": order.address, "number": call.id})
    services.dialler.wake()
    return call


async def _order(
    connection: AsyncConnection, services: ApiServices, caller: Caller, params: Params
) -> tuple[Order, dict[str, Any]]:
    """The call, and what is known of it beside. Raises ValueError and Unknown."""
    account = caller.account_id
    channel = await _channel(connection, services, account, params)
    project, chosen = await _flow(connection, account, channel, params)
    address = await _address(connection, project, params)
    schedule = await _schedule(connection, project, params)
    zone_name = params.text("time_zone") or project.time_zone
    zone = zone_named(zone_name)
    not_before, not_after = (
        parse_moment(params.text(name), zone) if params.text(name) else None for name in ("not_before", "not_after")
    )
    due = first_slot(schedule.schedule if schedule else None, zone, time.time(), not_before, not_after)
    status_url = params.text("status_callback_url")
    if status_url and (problem := url_problem(status_url)):
        raise ValueError(f"status_callback_url: {problem}")
    order = Order(
        account_id=account,
        address=address,
        trunk=channel.name,
        flow_id=chosen.flow_id,
        document=chosen.document,
        dialect=DIALECT if chosen.document is not None else "",
        wish=Wanted(success="finished", variables=_variables(params.table("vars"))).as_data(),
        schedule=schedule.schedule if schedule else None,
        zone=zone_name,
        not_before=not_before,
        not_after=not_after,
        due_at=due,
        source=caller.user,
    )
    return order, {
        "project_id": project.id,
        "flow_id": chosen.flow_id,
        "schedule_id": schedule.id if schedule else None,
        "status_url": status_url,
        "params": dict(params.table("callback_params")),
    }


async def _channel(connection: AsyncConnection, services: ApiServices, account: str, params: Params) -> ChannelRow:
    number, name = params.number("channel_id"), params.text("channel")
    if number is None and not name:
        raise ValueError("channel is missing")
    shared = [each for each in services.directory().trunks if each.shared]
    if number is not None:
        found = await channel_numbered(connection, account, shared, number)
    else:
        found = await channel_named(connection, account, shared, name)
    if found is None:
        raise ValueError(f"Channel not found: {name or number}")
    if not found.enabled:
        raise ValueError(f"Channel {found.name} is disabled")
    return found


async def _flow(
    connection: AsyncConnection, account: str, channel: ChannelRow, params: Params
) -> tuple[Project, ChosenFlow]:
    """In the order of precedence: ``call_flow_id``, ``call_flow``, the body, ``callback_url``, the channel's own."""
    wanted = params.number("project_id")
    project = await book.project(connection, account, wanted) if wanted is not None else None
    if wanted is not None and project is None:
        raise ValueError(f"Project not found: {params.text('project_id')}")
    flow_id: str | None = None
    number, name = params.number("call_flow_id"), params.text("call_flow")
    if number is not None:
        flow_id = await book.target_of(connection, account, "flow", number)
        if not flow_id:
            raise ValueError(f"Call flow not found: {params.text('call_flow_id')}")
    elif name:
        flow_id = (await repository.get(connection, Flow, account, name)).id
    document = None
    if flow_id is None:
        document = chosen_document(params)
    if flow_id is None and document is None:
        flow_id = channel.flow_id
        if flow_id is None:
            raise ValueError(f"no call flow: none is named, and the channel {channel.name} has none")
    if project is None:
        project = await book.project_of_flow(connection, account, flow_id or channel.flow_id)
    return project, ChosenFlow(flow_id, document)


def chosen_document(params: Params) -> str | None:
    """A flow that was posted, or one that asks ``callback_url`` for itself. Raises ValueError."""
    if params.body.strip():
        return params.body
    url = params.text("callback_url")
    if not url:
        return None
    if problem := url_problem(url):
        raise ValueError(f"callback_url: {problem}")
    return f"<Response><Redirect>{escape(url)}</Redirect></Response>"


async def chosen_flow(services: ApiServices, caller: Caller, params: Params) -> Ready:
    """The flow that a call is to go on with. Raises :class:`Refused`: 404 for one that is not there, 400."""
    account = caller.account_id
    async with services.store.reading() as connection:
        project = params.number("project_id")
        if project is not None and await book.project(connection, account, project) is None:
            raise not_found()
        number, wanted = params.number("call_flow_id"), params.text("call_flow")
        if number is not None:
            wanted = await book.target_of(connection, account, "flow", number)
        if wanted:
            try:
                wanted = (await repository.get(connection, Flow, account, wanted)).id
            except Unknown:
                raise not_found() from None
        elif number is not None:
            raise not_found()
    try:
        if wanted:
            return await services.originator.stored(account, wanted)
        document = chosen_document(params)
        if document is None:
            raise ValueError("no call flow is named")
        return await services.originator.inline(account, document, DIALECT)
    except FlowError as error:
        raise Refused(400, f"Invalid Flow: {error}") from None
    except ValueError as error:
        raise Refused(400, str(error)) from None


async def _address(connection: AsyncConnection, project: Project, params: Params) -> str:
    address = params.text("address")
    if not address and (wanted := params.number("contact_id")) is not None:
        contact = await contacts_book.by_id(connection, project.id, wanted)
        if contact is None or not contact.addresses:
            raise ValueError(f"Contact not found: {params.text('contact_id')}")
        address = contact.addresses[0]
    if not address:
        raise ValueError("address is missing")
    if len(address) > LONGEST_ADDRESS:
        raise ValueError(f"address is longer than {LONGEST_ADDRESS} characters")
    try:
        return party(address)
    except ValueError as error:
        raise ValueError(f"address {error}") from None


async def _schedule(connection: AsyncConnection, project: Project, params: Params) -> NamedSchedule | None:
    number, name = params.number("schedule_id"), params.text("schedule")
    if number is None and not name:
        return None
    for each in await book.schedules(connection, project.id):
        if each.id == number or (number is None and each.name == name):
            return each
    raise ValueError(f"Schedule not found: {name or params.text('schedule_id')}")


def _variables(given: Mapping[str, str]) -> dict[str, str]:
    if len(given) > MOST_VARIABLES:
        raise ValueError(f"more than {MOST_VARIABLES} vars")
    return dict(given)
