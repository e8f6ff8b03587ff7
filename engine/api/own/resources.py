"""Rows of an account over HTTP: listed, made, read, changed and deleted in the same way, whatever they are.

A kind of row is a :class:`Resource`: its path, the model of its body, and how a body becomes a row and a row a body.
``PATCH`` is a merge (RFC 7396 without nesting): what a body leaves out stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository
from engine.accounts.entities import Caller
from engine.accounts.repository import FromFile, Taken, Unknown
from engine.accounts.rights import NotAssigned
from engine.api.answers import NUMBER, TEXT, YES_OR_NO, Json, many, nothing, schema_of, shape, told
from engine.api.guard import ApiError, GuardedRoute, caller_of, problem_of
from engine.api.reading import Unreadable, as_json, octets
from engine.api.services import ApiServices
from engine.config import AccountsConfig

_Row = TypeVar("_Row")
_Body = TypeVar("_Body", bound=BaseModel)

Names = Mapping[str, str]
"""Names of the rows that others refer to, by id."""


_Judge = Callable[[AsyncConnection, str, _Body, AccountsConfig, _Row | None, frozenset[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Resource(Generic[_Row, _Body]):
    """One kind of row.

    ``body`` is what a row is made of; ``told`` makes it of a row, without secrets; ``add`` and ``edit`` store it:
    ``edit`` gets the names of the fields that the request had.
    """

    path: str
    one: str
    kind: type[_Row]
    body: type[_Body]
    told: Callable[[_Row, Names], dict[str, Any]]
    add: Callable[[AsyncConnection, str, _Body], Awaitable[_Row]]
    edit: Callable[[AsyncConnection, str, _Row, _Body, frozenset[str]], Awaitable[_Row]]
    all: Callable[[AsyncConnection, str], Awaitable[Sequence[_Row]]]
    refers_to: tuple[type[Any], ...] = ()
    routed: bool = True
    """Calls are routed by it: they see a change at once."""
    stretched: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]] | None = None
    """Makes of the fields that are given what takes its time; it takes their place before anything is stored."""
    judge: _Judge[_Body, _Row] | None = None
    """Raises for what the account may not have. It gets the row that is changed, if one is, and the fields given."""
    read, write = "account.read", "account.write"
    more: Mapping[str, Json] = field(default_factory=dict)
    """Schemas of what is told and in no body."""

    def shown(self) -> Json:
        """The schema of what is told of a row."""
        own = {"id": TEXT, "from_file": YES_OR_NO, "created_at": NUMBER}
        body = schema_of(self.body, mode="serialization")
        fields = {name: each for name, each in body["properties"].items() if name not in SECRETS}
        must = [name for name in ("name", "number") if name in fields]
        return {**body, "properties": {**own, **fields, **self.more}, "required": [*own, *must, *self.more]}


Route = tuple[str, Callable[..., Any], str, int, Json, Json | None, str]
"""Path, what answers, method, status and form of the answer, form of the body (``None``: there is none), summary."""


def add_routes(api: APIRouter, routes: Iterable[Route]) -> None:
    """Give ``api`` endpoints of one answer each, beside its refusals."""
    for path, act, method, status, answer, wish, summary in routes:
        api.add_api_route(
            path, act, methods=[method], status_code=status, summary=summary, responses={status: answer},
            openapi_extra=wish,
        )  # fmt: skip


def routes_of(resource: Resource[Any, Any], services: ApiServices) -> APIRouter:
    """The endpoints of a resource under ``/api/v1``."""
    rows = _Rows(resource, services)
    api = APIRouter(prefix=f"/api/v1/{resource.path}", route_class=GuardedRoute, tags=["Ivrea: accounts"])
    one, body, schema = resource.one, resource.body, resource.shown()
    add_routes(api, (
        ("", rows.list, "GET", 200, told(shape(**{resource.path: many(schema)})), None, f"List {resource.path}"),
        ("", rows.make, "POST", 201, told(schema, "Made."), json_body(body), f"Make a {one}"),
        ("/{wanted:path}", rows.one, "GET", 200, told(schema), None, f"A {one}, by id or name"),
        ("/{wanted:path}", rows.change, "PATCH", 200, told(schema), json_body(body, part=True), f"Change a {one}"),
        ("/{wanted:path}", rows.remove, "DELETE", 204, nothing("Deleted."), None, f"Delete a {one}"),
    ))  # fmt: skip
    return api


def json_body(body: type[BaseModel], *, part: bool = False, required: bool = True) -> Json:
    """What OpenAPI is told of a body; ``part``: all of its fields may be left out."""
    schema = schema_of(body)
    if part:
        schema.pop("required", None)
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


@dataclass(frozen=True, slots=True)
class _Rows:
    resource: Resource[Any, Any]
    services: ApiServices

    async def list(self, request: Request) -> dict[str, Any]:
        """All rows of the account, the oldest first."""
        caller = await caller_of(request, self.services.store, self.resource.read)
        async with self.services.store.reading() as connection:
            rows = await self.resource.all(connection, caller.account_id)
            names = await self._names(connection, caller.account_id)
        return {self.resource.path: [self._told(row, names) for row in rows]}

    async def one(self, request: Request, wanted: str) -> dict[str, Any]:
        """One row, or 404."""
        caller = await caller_of(request, self.services.store, self.resource.read)
        async with self.services.store.reading() as connection:
            row = await refusing(self._find(connection, caller.account_id, wanted))
            return self._told(row, await self._names(connection, caller.account_id))

    async def make(self, request: Request) -> Response:
        """Make a row: 201; 409 when its name is taken."""
        caller = await caller_of(request, self.services.store, self.resource.write)
        given = await json_object(request)
        body = checked(self.resource.body, given)
        body = body.model_copy(update=await self._stretched(given))
        async with self.services.store.writing() as connection:
            await self._judge(connection, caller, body, None, frozenset(given))
            row = await refusing(self.resource.add(connection, caller.account_id, body))
            told = self._told(row, await self._names(connection, caller.account_id))
            await self._note(connection, caller, "made", row)
        await self._seen()
        return JSONResponse(told, status_code=201, headers={"Location": f"/api/v1/{self.resource.path}/{row.id}"})

    async def change(self, request: Request, wanted: str) -> dict[str, Any]:
        """Change what the body names."""
        caller = await caller_of(request, self.services.store, self.resource.write)
        given = await json_object(request)
        stretched = await self._stretched(given)
        async with self.services.store.writing() as connection:
            row = await refusing(repository.changeable(connection, self.resource.kind, caller.account_id, wanted))
            row = await self._find(connection, caller.account_id, row.id)
            names = await self._names(connection, caller.account_id)
            before = {k: v for k, v in self.resource.told(row, names).items() if k in _fields_of(self.resource.body)}
            body = checked(self.resource.body, {**before, **given}, hidden=_hidden(self.resource.body, given))
            body = body.model_copy(update=stretched)
            await self._judge(connection, caller, body, row, frozenset(given))
            edited = self.resource.edit(connection, caller.account_id, row, body, frozenset(given))
            row = await refusing(edited)
            told = self._told(row, await self._names(connection, caller.account_id))
            await self._note(connection, caller, "changed", row, fields=sorted(given))
        await self._seen()
        return told

    async def remove(self, request: Request, wanted: str) -> Response:
        """Delete a row and what hangs on it."""
        caller = await caller_of(request, self.services.store, self.resource.write)
        async with self.services.store.writing() as connection:
            row = await refusing(repository.changeable(connection, self.resource.kind, caller.account_id, wanted))
            await refusing(repository.remove(connection, self.resource.kind, caller.account_id, row.id))
            await self._note(connection, caller, "deleted", row)
        await self._seen()
        return Response(status_code=204)

    async def _stretched(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Not within a transaction: all others that write would wait."""
        return await self.resource.stretched(given) if self.resource.stretched is not None else {}

    async def _judge(
        self, connection: AsyncConnection, caller: Caller, body: Any, row: Any, given: frozenset[str]
    ) -> None:
        if self.resource.judge is not None:
            free = self.services.config.accounts
            await refusing(self.resource.judge(connection, caller.account_id, body, free, row, given))

    async def _find(self, connection: AsyncConnection, account: str, wanted: str) -> Any:
        found: Any = await repository.get(connection, self.resource.kind, account, wanted)
        return next(row for row in await self.resource.all(connection, account) if row.id == found.id)

    def _told(self, row: Any, names: Names) -> dict[str, Any]:
        common = {"id": row.id, "from_file": row.origin != "api", "created_at": row.created_at}
        return {**common, **self.resource.told(row, names)}

    async def _names(self, connection: AsyncConnection, account: str) -> Names:
        names: dict[str, str] = {}
        for kind in self.resource.refers_to:
            names |= {row.id: row.name for row in await repository.all_of(connection, kind, account)}
        return names

    async def _note(self, connection: AsyncConnection, caller: Caller, what: str, row: Any, **more: Any) -> None:
        name = getattr(row, "name", None) or getattr(row, "number", "")
        await audit.note(connection, caller, f"{self.resource.one} {what}", row.id, {"name": name, **more})

    async def _seen(self) -> None:
        if self.resource.routed:
            await self.services.changed()


# --- what resources share with others ---------------------------------------------------


async def refusing(work: Awaitable[_Row]) -> _Row:
    """The outcome of ``work`` on the repository. Raises :class:`ApiError`: 403, 404, 409."""
    try:
        return await work
    except Unknown as error:
        raise ApiError(404, "not_found", str(error)) from None
    except Taken as error:
        raise ApiError(409, "taken", str(error)) from None
    except FromFile as error:
        raise ApiError(409, "from_file", str(error)) from None
    except NotAssigned as error:
        raise ApiError(403, "not_assigned", str(error), field=error.field) from None


async def json_object(request: Request) -> dict[str, Any]:
    """The body, which is a JSON object. Raises :class:`ApiError`: 400, 413."""
    try:
        found = as_json(await octets(request))
    except Unreadable as error:
        code = "too_large" if error.status == 413 else "bad_request"
        raise ApiError(error.status, code, str(error)) from None
    if not isinstance(found, dict):
        raise ApiError(400, "bad_request", "the body must be a JSON object")
    return found


def checked(kind: type[_Body], given: Mapping[str, Any], *, hidden: Mapping[str, Any] | None = None) -> _Body:
    """``given`` as a body; ``hidden`` stands in for secrets that it leaves out. Raises :class:`ApiError` (400)."""
    try:
        return kind.model_validate_json(json.dumps({**(hidden or {}), **given}))
    except ValidationError as error:
        raise problem_of(error) from None


SECRETS = frozenset({"password"})
KEPT = "(kept as it is)"
"""Stands for a secret that a change leaves out, while the rest is looked at."""


def _fields_of(body: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in body.model_fields.items())


def _hidden(body: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: KEPT for name in SECRETS & _fields_of(body) if name not in given}
