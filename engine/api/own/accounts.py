"""``/api/v1/accounts``, for owners of the account ``default``, who run the daemon; ``/api/v1/account``, for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import audit, repository, tokens
from engine.accounts.entities import Account, Caller
from engine.api.answers import NUMBER, TEXT, WHOLE, many, nothing, schema_of, shape, told
from engine.api.guard import ApiError, GuardedRoute, caller_of
from engine.api.own.bodies import AccountBody
from engine.api.own.resources import add_routes, checked, json_body, json_object, refusing
from engine.api.services import ApiServices
from engine.store.accounts import DEFAULT_ACCOUNT


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    accounts = _Accounts(services)
    api = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["Ivrea: accounts"])
    add_routes(api, (
        ("/account", accounts.own, "GET", 200, told(_OWN), None, "The account that the token is of"),
        ("/accounts", accounts.list, "GET", 200, told(shape(accounts=many(_ACCOUNT))), None, "List accounts"),
        ("/accounts", accounts.make, "POST", 201, told(_MADE, "Made."), json_body(AccountBody),
         "Make an account, with a token of its owner"),
        ("/accounts/{wanted}", accounts.one, "GET", 200, told(_ACCOUNT), None, "An account, by id or name"),
        ("/accounts/{wanted}", accounts.change, "PATCH", 200, told(_ACCOUNT), json_body(AccountBody, part=True),
         "Change an account"),
        ("/accounts/{wanted}", accounts.remove, "DELETE", 204, nothing("Deleted."), None,
         "Delete an account and all that it has; its calls end"),
    ))  # fmt: skip
    return api


_FIELDS = {"id": TEXT, **schema_of(AccountBody)["properties"], "created_at": NUMBER}
_ACCOUNT = shape(**_FIELDS)
_OWN = shape(**_FIELDS, live_calls=WHOLE, user=TEXT, role=TEXT)
_MADE = shape(**_FIELDS, user=TEXT, token=TEXT)


@dataclass(frozen=True, slots=True)
class _Accounts:
    services: ApiServices

    async def _operator(self, request: Request) -> Caller:
        caller = await caller_of(request, self.services.store, "account.write")
        if caller.account_id != DEFAULT_ACCOUNT:
            raise ApiError(403, "forbidden", "only owners of the account default may do this")
        return caller

    async def own(self, request: Request) -> dict[str, Any]:
        """The account, and whom the token speaks for."""
        caller = await caller_of(request, self.services.store, "calls.read")
        async with self.services.store.reading() as connection:
            account = await refusing(repository.account(connection, caller.account_id))
        live = len(self.services.switch.calls_of(caller.account_id))
        return {**_told(account), "live_calls": live, "user": caller.user, "role": caller.role}

    async def list(self, request: Request) -> dict[str, Any]:
        """All accounts, the oldest first."""
        await self._operator(request)
        async with self.services.store.reading() as connection:
            return {"accounts": [_told(each) for each in await repository.accounts(connection)]}

    async def one(self, request: Request, wanted: str) -> dict[str, Any]:
        """An account."""
        await self._operator(request)
        async with self.services.store.reading() as connection:
            return _told(await refusing(repository.account(connection, wanted)))

    async def make(self, request: Request) -> Response:
        """An account with an owner, whose token is told this once: 201."""
        caller = await self._operator(request)
        body = checked(AccountBody, await json_object(request))
        async with self.services.store.writing() as connection:
            account = await refusing(repository.add_account(connection, body.name, **body.values()))
            owner = await tokens.owner_of(connection, account.id)
            token = await tokens.issue(connection, account.id, owner.id, name="first")
            await audit.note(connection, caller, "account made", account.id, {"name": body.name})
        await self.services.changed()
        told = {**_told(account), "user": owner.name, "token": token}
        return JSONResponse(told, status_code=201, headers={"Cache-Control": "no-store"})

    async def change(self, request: Request, wanted: str) -> dict[str, Any]:
        """Change name or limits."""
        caller = await self._operator(request)
        given = await json_object(request)
        async with self.services.store.writing() as connection:
            before = await refusing(repository.account(connection, wanted))
            known = {key: value for key, value in _told(before).items() if key in AccountBody.model_fields}
            body = checked(AccountBody, {**known, **given})
            changing = repository.change_account(connection, before.id, name=body.name, **body.values())
            account = await refusing(changing)
            await audit.note(connection, caller, "account changed", account.id, {"fields": sorted(given)})
        await self.services.changed()
        return _told(account)

    async def remove(self, request: Request, wanted: str) -> Response:
        """Delete an account; that of the configuration stays."""
        caller = await self._operator(request)
        async with self.services.store.writing() as connection:
            account = await refusing(repository.account(connection, wanted))
            if account.id == DEFAULT_ACCOUNT:
                raise ApiError(409, "from_file", "the account default is that of the configuration")
            await repository.remove_account(connection, account.id)
            await audit.note(connection, caller, "account deleted", account.id, {"name": account.name})
        await self.services.changed()
        for call in self.services.switch.calls_of(account.id):
            call.call.end("limit", "the account was deleted")
        return Response(status_code=204)


def _told(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "max_calls": account.max_calls,
        "allowed": list(account.allowed),
        "calls_per_day": account.calls_per_day,
        "minutes_per_day": account.minutes_per_day,
        "relay": account.relay,
        "assigned_numbers": list(account.assigned_numbers),
        "assigned_addresses": list(account.assigned_addresses),
        "created_at": account.created_at,
    }
