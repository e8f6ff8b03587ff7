"""``/api/channels``: the trunks of an account, with the flow of calls that name none and a switch for their queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository, rights
from engine.accounts.entities import Caller, Flow, Trunk
from engine.accounts.repository import FromFile, Taken, Unknown
from engine.accounts.rights import NotAssigned
from engine.api.answers import TEXT, Responses, many, nothing, told
from engine.api.own.kinds import settings_of
from engine.api.services import ApiServices
from engine.api.verboice import book, channels_book, shapes
from engine.api.verboice.channels_book import KIND, ChannelRow
from engine.api.verboice.door import TAGS, Refused, VerboiceRoute, login, not_found, problems
from engine.api.verboice.params import as_id, object_of, scalar
from engine.api.verboice.projects import name_in
from engine.campaigns import queue
from engine.config import TrunkConfig

KINDS = ("custom_sip", "sip", "custom", "template_based_sip")
DIRECTIONS = ("both", "inbound", "outbound")


def routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    channels = _Channels(services)
    api = APIRouter(prefix="/api/channels", route_class=VerboiceRoute, tags=TAGS)
    names: Responses = {200: told(many(TEXT))}
    every: Responses = {200: told(many(shapes.CHANNEL))}
    api.add_api_route("", channels.names, methods=["GET"], summary="Names of channels", responses=names)
    api.add_api_route(
        "", channels.create, methods=["POST"], summary="Make a channel",
        responses={200: shapes.saved(shapes.CHANNEL)}, openapi_extra=shapes.BODIES["new channel"],
    )  # fmt: skip
    api.add_api_route("/all", channels.all, methods=["GET"], summary="Channels", responses=every)
    done: dict[str, Any] = {"response_class": Response, "responses": {200: nothing()}}
    for action, endpoint in (("enable", channels.enable), ("disable", channels.disable)):
        for suffix in ("", ".json"):  # before what takes any name
            for method in ("GET", "POST"):
                api.add_api_route(
                    f"/{{channel_id}}/{action}{suffix}",
                    endpoint,
                    methods=[method],
                    summary=f"{action.capitalize()} a channel",
                    include_in_schema=not suffix,
                    **done,
                )
    api.add_api_route("/all.json", channels.all, methods=["GET"], include_in_schema=False)
    one = "/{name:path}"
    api.add_api_route(
        one, channels.show, methods=["GET"], summary="A channel by its name or id",
        responses={200: told(shapes.CHANNEL)},
    )  # fmt: skip
    api.add_api_route(
        one, channels.update, methods=["PUT"], summary="Change a channel",
        responses={200: shapes.saved(shapes.CHANNEL)}, openapi_extra=shapes.BODIES["channel"],
    )  # fmt: skip
    api.add_api_route(one, channels.destroy, methods=["DELETE"], summary="Delete a channel", **done)
    return api


@dataclass(frozen=True, slots=True)
class _Channels:
    services: ApiServices

    async def names(self, request: Request) -> Response:
        """``["carrier", …]``."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            return JSONResponse([each.name for each in await self._all(connection, caller)])

    async def all(self, request: Request) -> Response:
        """All that there is of each."""
        caller = await login(request, self.services, "calls.read")

        async def look(connection: AsyncConnection) -> list[dict[str, Any]]:
            found = await self._all(connection, caller)
            return [await self._told(connection, caller, each) for each in found]

        return JSONResponse(await self.services.store.looking(look))

    async def show(self, request: Request, name: str) -> Response:
        """One of them."""
        caller = await login(request, self.services, "calls.read")

        async def look(connection: AsyncConnection) -> dict[str, Any]:
            return await self._told(connection, caller, await self._find(connection, caller, name))

        return JSONResponse(await self.services.store.looking(look))

    async def create(self, request: Request) -> Response:
        """``kind``, ``name``, ``call_flow``, ``config`` (``domain``, ``username``, ``password``, ``number``, …)."""
        caller = await login(request, self.services, "account.write")
        given = await object_of(request)
        name = name_in(given, "creating", "Channel")
        config = _trunk(name, given, {}, "creating")
        async with self.services.store.writing() as connection:
            flow_id = await self._flow(connection, caller, given, "creating", None)
            await self._judge(connection, caller, config, "creating")
            try:
                trunk = await repository.add_trunk(connection, caller.account_id, name, settings_of(config))
            except Taken:
                raise problems("creating", "Channel", ("name", "has already been taken")) from None
            kind = given["kind"] if given.get("kind") in KINDS else KIND
            await channels_book.set_channel(connection, trunk.id, kind=kind, flow_id=flow_id, enabled=True)
            await audit.note(connection, caller, "trunk made", trunk.id, {"name": name})
            told = await self._told(connection, caller, await self._find(connection, caller, name))
        await self.services.changed()
        return JSONResponse(told)

    async def update(self, request: Request, name: str) -> Response:
        """What the body names."""
        caller = await login(request, self.services, "account.write")
        given = await object_of(request)
        async with self.services.store.writing() as connection:
            before = await self._own(connection, caller, name)
            named = name_in({"name": before.name, **given}, "updating", "Channel")
            flow_id = await self._flow(connection, caller, given, "updating", before)
            if not before.from_file:
                config = _trunk(named, given, before.settings, "updating")
                if any(config.model_dump(by_alias=True).get(key) != before.settings.get(key) for key in _OF_ORIGIN):
                    await self._judge(connection, caller, config, "updating", before.trunk_id)
                values = {"name": named, "settings": settings_of(config)}
                try:
                    await repository.change(connection, Trunk, caller.account_id, before.trunk_id, **values)
                except Taken:
                    raise problems("updating", "Channel", ("name", "has already been taken")) from None
            elif set(given) - {"call_flow"}:
                message = "stands in the configuration file, and is changed there"
                raise problems("updating", "Channel", ("base", message))
            kind = given["kind"] if given.get("kind") in KINDS else before.kind
            await channels_book.set_channel(
                connection, before.trunk_id, kind=kind, flow_id=flow_id, enabled=before.enabled
            )
            await audit.note(connection, caller, "trunk changed", before.trunk_id, {"fields": sorted(given)})
            told = await self._told(connection, caller, await self._find(connection, caller, before.trunk_id))
        await self.services.changed()
        return JSONResponse(told)

    async def destroy(self, request: Request, name: str) -> Response:
        """Its calls that wait are cancelled."""
        caller = await login(request, self.services, "account.write")
        async with self.services.store.writing() as connection:
            found = await self._own(connection, caller, name)
            try:
                await repository.changeable(connection, Trunk, caller.account_id, found.trunk_id)
            except (FromFile, Unknown) as error:
                raise Refused(400, str(error)) from None
            await queue.cancel_waiting(connection, caller.account_id, queue.on_trunk(found.name))
            await repository.remove(connection, Trunk, caller.account_id, found.trunk_id)
            await audit.note(connection, caller, "trunk deleted", found.trunk_id, {"name": found.name})
        await self.services.changed()
        return Response(status_code=200)

    async def enable(self, request: Request, channel_id: str) -> Response:
        """Calls may be put into its queue."""
        return await self._switch(request, channel_id, enabled=True)

    async def disable(self, request: Request, channel_id: str) -> Response:
        """They may not, and those that wait are cancelled."""
        return await self._switch(request, channel_id, enabled=False)

    async def _switch(self, request: Request, channel_id: str, *, enabled: bool) -> Response:
        caller = await login(request, self.services, "account.write")
        async with self.services.store.writing() as connection:
            found = await self._own(connection, caller, channel_id)
            await channels_book.set_channel(
                connection, found.trunk_id, kind=found.kind, flow_id=found.flow_id, enabled=enabled
            )
            if not enabled:
                await queue.cancel_waiting(connection, caller.account_id, queue.on_trunk(found.name))
            what = "trunk enabled" if enabled else "trunk disabled"
            await audit.note(connection, caller, what, found.trunk_id, {"name": found.name})
        return Response(status_code=200)

    # --- help ---------------------------------------------------------------------------

    async def _all(self, connection: AsyncConnection, caller: Caller) -> list[ChannelRow]:
        shared = [each for each in self.services.directory().trunks if each.shared]
        return await channels_book.channels(connection, caller.account_id, shared)

    async def _find(self, connection: AsyncConnection, caller: Caller, wanted: str) -> ChannelRow:
        """By its name, its integer, or its own id. Raises :class:`Refused` (404)."""
        found = await self._all(connection, caller)
        for text in (wanted, wanted.removesuffix(".json")):
            target = await book.target_of(connection, caller.account_id, "trunk", as_id(text)) if as_id(text) else ""
            for matches in (
                lambda each, text=text: each.name == text,
                lambda each, text=text, target=target: each.trunk_id in (target, text),
            ):
                if (channel := next(filter(matches, found), None)) is not None:
                    return channel
        raise not_found()

    async def _own(self, connection: AsyncConnection, caller: Caller, wanted: str) -> ChannelRow:
        found = await self._find(connection, caller, wanted)
        if not found.own:
            raise not_found()
        return found

    async def _flow(
        self,
        connection: AsyncConnection,
        caller: Caller,
        given: Mapping[str, Any],
        action: str,
        before: ChannelRow | None,
    ) -> str | None:
        wanted = given.get("call_flow")
        if wanted is None:
            return before.flow_id if before is not None else None
        try:
            return (await repository.get(connection, Flow, caller.account_id, scalar(wanted))).id
        except Unknown:
            raise problems(action, "Channel", ("call_flow", "is not there")) from None

    async def _judge(
        self, connection: AsyncConnection, caller: Caller, trunk: TrunkConfig, action: str, trunk_id: str = ""
    ) -> None:
        """Raises :class:`Refused` for a trunk that would bring calls of others."""
        free = self.services.config.accounts
        try:
            await rights.refuse_trunk(connection, caller.account_id, trunk, free, trunk_id=trunk_id)
        except Taken as error:
            raise problems(action, "Channel", ("username", str(error).partition(": ")[2])) from None
        except NotAssigned as error:
            field = {"host": "domain", "inbound": "direction"}.get(error.field, error.field)
            raise problems(action, "Channel", (field, error.message)) from None

    async def _told(self, connection: AsyncConnection, caller: Caller, channel: ChannelRow) -> dict[str, Any]:
        numbers = await book.numbers_of(connection, caller.account_id, "trunk", [channel.trunk_id])
        settings = channel.settings
        flow = None
        if channel.flow_id is not None:
            flow = (await repository.get(connection, Flow, caller.account_id, channel.flow_id)).name
        return {
            "id": numbers[channel.trunk_id],
            "name": channel.name,
            "kind": channel.kind,
            "enabled": channel.enabled,
            "call_flow": flow,
            "shared": not channel.own,
            "config": {
                "domain": settings.get("host", ""),
                "username": settings.get("username", ""),
                "number": settings.get("caller_id", ""),
                "register": bool(settings.get("register", False)),
                "direction": _direction(settings),
                "limit": settings.get("queue_calls") or None,
            }
            if channel.own
            else {},
        }


_OF_ORIGIN = ("host", "outbound_proxy", "inbound", "register", "username", "numbers")


def _direction(settings: Mapping[str, Any]) -> str:
    if settings.get("inbound") == "none":
        return "outbound"
    return "both" if settings.get("outbound", True) else "inbound"


def _ways(direction: str, before: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Whether calls go out by a trunk and come in, as settings. Raises :class:`Refused`."""
    if direction not in DIRECTIONS:
        raise problems(action, "Channel", ("direction", f"is none of {', '.join(DIRECTIONS)}"))
    known_by = before.get("inbound", "address")
    comes = "none" if direction == "outbound" else "address" if known_by == "none" else known_by
    return {"outbound": direction != "inbound", "inbound": comes}


def _trunk(name: str, given: Mapping[str, Any], before: Mapping[str, Any], action: str) -> TrunkConfig:
    """A trunk out of a channel's ``config``. Raises :class:`Refused` that names the property."""
    config = given.get("config") or {}
    if not isinstance(config, dict):
        raise problems(action, "Channel", ("config", "is no object"))
    config = {**{key: given[key] for key in ("username", "password") if key in given}, **config}
    settings: dict[str, Any] = dict(before)
    for key, ours in (("domain", "host"), ("username", "username"), ("password", "password"), ("number", "caller_id")):
        if key in config:
            settings[ours] = scalar(config[key]) if config[key] is not None else ""
    if "register" in config:
        settings["register"] = scalar(config["register"]).lower() in ("true", "1")
    if "direction" in config:
        settings |= _ways(scalar(config["direction"]), settings, action)
    if "limit" in config:
        limit = scalar(config["limit"]).strip() if config["limit"] is not None else ""
        if limit and (not as_id(limit) or as_id(limit) > 1_000_000):
            raise problems(action, "Channel", ("limit", "is not a number"))
        settings["queue_calls"] = as_id(limit)
    if not settings.get("host"):
        raise problems(action, "Channel", ("domain", "can't be blank"))
    try:
        return TrunkConfig.model_validate({**settings, "name": name, "shared": False})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = {"host": "domain", "caller_id": "number"}.get(str(problem["loc"][0]) if problem["loc"] else "base")
        message = problem["msg"].removeprefix("Value error, ")
        raise problems(action, "Channel", (field or str((problem["loc"] or ("base",))[0]), message)) from None
