"""``/call-flows``: stored call flows and the numbers that they answer.

A flow is checked by the compiler that will run it. Running calls keep the version that they began with. Flows that the
configuration file names are seen here, and changed there.
"""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository, rights
from engine.accounts.entities import Caller, Flow, FlowVersion, Number
from engine.accounts.repository import Taken, Unknown
from engine.accounts.rights import NotAssigned
from engine.addresses import plain_number
from engine.api.messagebird import views
from engine.api.messagebird.answers import (
    BAD_VALUE,
    FORBIDDEN,
    VoiceError,
    bad_value,
    impossible,
    many,
    missing,
    not_found,
    nothing,
    one,
    page_of,
)
from engine.api.messagebird.door import caller_of, object_of, query_of, text_in
from engine.api.services import ApiServices
from engine.calls.flowbook import Document, FlowError, Ready
from engine.config import AccountsConfig
from engine.store.accounts import API
from flows.dialects.messagebird import errors
from flows.uuids import dashed, digits_of

DIALECT = "messagebird"
MOST_NUMBERS = 100
"""Numbers in one request."""

_GIVEN_BY_US = ("id", "createdAt", "updatedAt", "_links")
_NUMBER = re.compile(r"\+?[0-9]{2,32}\Z")


async def ready_flow(services: ApiServices, account: str, document: Mapping[str, Any], path: str = "") -> Ready:
    """A flow, compiled and checked. ``path`` goes before the parameters' names in errors.

    Raises :class:`VoiceError` (11, 12, 16) with every error in it.
    """
    kept = Document("inline", json.dumps(document), DIALECT, account=account)
    try:
        return await services.flows.ready(kept, render=False)
    except FlowError as error:
        refused = VoiceError(400, BAD_VALUE, str(error))
        found = errors(error.findings)
        if found:
            refused.errors = [(each["code"], each["message"].replace("The `", f"The `{path}")) for each in found]
        raise refused from None


def written(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a flow: without what we give it, each step with an id."""
    kept = {name: value for name, value in document.items() if name not in _GIVEN_BY_US}
    steps = kept.get("steps")
    if isinstance(steps, list):
        kept["steps"] = [_with_id(step) for step in steps]
    return kept


def _with_id(step: Any) -> Any:
    if not isinstance(step, dict):
        return step
    ident = step.get("id")
    if ident in (None, ""):
        ident = str(uuid.uuid4())
    elif isinstance(ident, int) and not isinstance(ident, bool):
        ident = text_in(step, "id")
    return {"id": ident, **{name: value for name, value in step.items() if name != "id"}}


@dataclass(frozen=True, slots=True)
class CallFlows:
    """The endpoints."""

    services: ApiServices

    async def list(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "flows.read")
        page = page_of(query_of(request))
        async with self.services.store.reading() as connection:
            flows = [each for each in await repository.all_of(connection, Flow, caller.account_id) if _is_ours(each)]
            wanted = flows[page.offset : page.offset + page.size]
            versions = await repository.newest_versions(connection, [each.id for each in wanted])
        shown = [views.flow_view(versions[each.id]) for each in wanted if each.id in versions]
        return many("/call-flows", shown, page, len(flows))

    async def one(self, request: Request, flow_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.read")
        async with self.services.store.reading() as connection:
            flow = await _flow(connection, caller, flow_id)
            return one(views.flow_view(await repository.flow_version(connection, caller.account_id, flow.id)))

    async def make(self, request: Request) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        document = await self._checked(request, caller)
        async with _changing(self.services) as connection:
            name = await _free_name(connection, caller.account_id, document["title"])
            saved = await repository.save_flow(
                connection, caller.account_id, name, json.dumps(document), dialect=DIALECT
            )
            version = await self._settled(connection, caller, saved, document)
        await self.services.changed()
        return one(views.flow_view(version), 201)

    async def replace(self, request: Request, flow_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        async with self.services.store.reading() as connection:
            await _changeable(connection, caller, flow_id)
        document = await self._checked(request, caller)
        async with _changing(self.services) as connection:
            flow = await _changeable(connection, caller, flow_id)
            saved = await repository.save_flow(
                connection, caller.account_id, flow.name, json.dumps(document), dialect=DIALECT
            )
            if _title_of(flow.name) != document["title"][:_LONGEST_NAME]:
                name = await _free_name(connection, caller.account_id, document["title"])
                await repository.change(connection, Flow, caller.account_id, flow.id, name=name)
            version = await self._settled(connection, caller, saved, document)
        await self.services.changed()
        return one(views.flow_view(version))

    async def remove(self, request: Request, flow_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.write")
        async with _changing(self.services) as connection:
            flow = await _changeable(connection, caller, flow_id)
            await repository.remove(connection, Flow, caller.account_id, flow.id)
            await audit.note(connection, caller, "flow deleted", flow.id, {"name": flow.name})
        await self.services.changed()
        return nothing()

    # --- numbers --------------------------------------------------------------------------

    async def numbers(self, request: Request, flow_id: str) -> Response:
        caller = await caller_of(request, self.services.store, "flows.read")
        page = page_of(query_of(request))
        async with self.services.store.reading() as connection:
            flow = await _flow(connection, caller, flow_id)
            found = await _numbers_of(connection, flow)
        shown = [views.number_view(each) for each in found[page.offset : page.offset + page.size]]
        return many(f"/call-flows/{dashed(flow.id)}/numbers", shown, page, len(found))

    async def add_numbers(self, request: Request, flow_id: str) -> Response:
        return await self._set_numbers(request, flow_id, only=False)

    async def replace_numbers(self, request: Request, flow_id: str) -> Response:
        return await self._set_numbers(request, flow_id, only=True)

    async def _set_numbers(self, request: Request, flow_id: str, *, only: bool) -> Response:
        """Have the flow answer numbers; with ``only`` no others, which are the account's no more."""
        caller = await caller_of(request, self.services.store, "flows.write")
        wanted = _numbers_in(await object_of(request))
        async with _changing(self.services) as connection:
            flow = await _flow(connection, caller, flow_id)
            mine = await repository.all_of(connection, Number, caller.account_id)
            by_number = {views.plain(each.number): each for each in mine}
            for place, number in enumerate(wanted):
                known = by_number.get(views.plain(number))
                await _point(connection, caller, flow, known, number, place, self.services.config.accounts)
            if only:
                kept = {views.plain(number) for number in wanted}
                for each in await _numbers_of(connection, flow):
                    if views.plain(each.number) not in kept:
                        _refuse_role(caller)
                        _refuse_file(each, f"The number {each.number}")
                        await audit.note(connection, caller, "number deleted", each.id, {"number": each.number})
                        await repository.remove(connection, Number, caller.account_id, each.id)
            found = await _numbers_of(connection, flow)
        await self.services.changed()
        page = page_of({"perPage": str(min(max(len(found), 1), MOST_NUMBERS))})
        shown = [views.number_view(each) for each in found[: page.size]]
        return many(f"/call-flows/{dashed(flow.id)}/numbers", shown, page, len(found))

    # --- what changes have in common ------------------------------------------------------

    async def _checked(self, request: Request, caller: Caller) -> dict[str, Any]:
        document = written(await object_of(request))
        await ready_flow(self.services, caller.account_id, document)
        text_in(document, "title")
        return document

    async def _settled(
        self, connection: AsyncConnection, caller: Caller, saved: FlowVersion, document: Mapping[str, Any]
    ) -> FlowVersion:
        """Whether it is the one that answers what has no flow; the version as it is then."""
        flow = saved.flow
        detail = {"name": flow.name, "version": saved.number, "default": document.get("default") is True}
        await audit.note(connection, caller, "flow saved", flow.id, detail)
        if document.get("default") is True:
            await repository.set_fallback(connection, caller.account_id, flow.id)
        elif flow.fallback:
            await repository.set_fallback(connection, caller.account_id, None)
        return await repository.flow_version(connection, caller.account_id, flow.id)


@contextlib.asynccontextmanager
async def _changing(services: ApiServices) -> AsyncIterator[AsyncConnection]:
    """A transaction whose clash with another one is an error of the API, not of the server."""
    try:
        async with services.store.writing() as connection:
            yield connection
    except (IntegrityError, Taken) as clash:
        raise impossible("Somebody else is changing the same: try again.") from clash
    except Unknown:
        raise not_found("call flow") from None


_LONGEST_NAME = 200
_SUFFIX = re.compile(r" \([0-9a-f]{8}\)\Z")


def _title_of(name: str) -> str:
    return _SUFFIX.sub("", name)


async def _free_name(connection: AsyncConnection, account: str, title: str) -> str:
    """The name of a flow with this title: titles may be there twice, names may not."""
    name = title[:_LONGEST_NAME]
    try:
        await repository.get(connection, Flow, account, name)
    except Unknown:
        return name
    return f"{name} ({uuid.uuid4().hex[:8]})"


def _is_ours(flow: Flow) -> bool:
    return flow.dialect == DIALECT


async def _flow(connection: AsyncConnection, caller: Caller, flow_id: str) -> Flow:
    digits = digits_of(flow_id)
    try:
        flow = await repository.get(connection, Flow, caller.account_id, digits or "-")
    except Unknown:
        raise not_found("call flow") from None
    if flow.id != digits or not _is_ours(flow):
        raise not_found("call flow")
    return flow


async def _changeable(connection: AsyncConnection, caller: Caller, flow_id: str) -> Flow:
    flow = await _flow(connection, caller, flow_id)
    _refuse_file(flow, "The call flow")
    return flow


def _refuse_file(row: Flow | Number, what: str) -> None:
    if row.origin != API:
        raise impossible(f"{what} comes from the configuration file, and is changed there.")


def _refuse_role(caller: Caller) -> None:
    """Numbers come to an account, and go, by those who may change it."""
    if not caller.may("account.write"):
        raise VoiceError(403, FORBIDDEN, f"The role {caller.role} may neither add nor delete numbers.")


async def _numbers_of(connection: AsyncConnection, flow: Flow) -> list[Number]:
    mine = await repository.all_of(connection, Number, flow.account_id)
    return [each for each in mine if each.flow_id == flow.id]


def _numbers_in(body: Mapping[str, Any]) -> list[str]:
    given = body.get("numbers")
    if given is None:
        raise missing("numbers")
    if not isinstance(given, list) or len(given) > MOST_NUMBERS:
        raise bad_value("numbers", f"must be a list of at most {MOST_NUMBERS} telephone numbers")
    found = []
    for place, each in enumerate(given):
        text = text_in({"value": each}, "value", path="", most=64) if isinstance(each, str | int) and each else ""
        number = plain_number(text)
        if not _NUMBER.match(number):
            raise bad_value(f"numbers[{place}]", "must be a telephone number")
        found.append(number)
    return list(dict.fromkeys(found))


async def _point(
    connection: AsyncConnection,
    caller: Caller,
    flow: Flow,
    known: Number | None,
    number: str,
    place: int,
    free: AccountsConfig,
) -> None:
    """Have the flow answer a number: one of the account, or a new one."""
    if known is None:
        _refuse_role(caller)
        try:
            await rights.refuse_number(connection, caller.account_id, number, free)
            made = await repository.add_number(connection, caller.account_id, number, flow.id)
            await audit.note(connection, caller, "number added", made.id, {"number": number, "flow": flow.name})
        except (Taken, NotAssigned):
            raise bad_value(f"numbers[{place}]", f"is {number}, which cannot be had") from None
    elif known.flow_id != flow.id:
        _refuse_file(known, f"The number {known.number}")
        await repository.change(connection, Number, caller.account_id, known.id, flow_id=flow.id)
