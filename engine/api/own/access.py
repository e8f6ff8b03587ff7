"""``/api/v1/tokens`` and ``/api/v1/clients``: who may ask the APIs. Secrets are told once, when they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import audit, clients, tokens
from engine.accounts.entities import Client
from engine.api.answers import NUMBER, TEXT, many, nothing, or_null, schema_of_row, shape, told
from engine.api.guard import GuardedRoute, caller_of
from engine.api.own.bodies import ClientBody, TokenBody
from engine.api.own.resources import add_routes, checked, json_body, json_object, refusing
from engine.api.services import ApiServices

KINDS = ("bearer", "access_key")


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    access = _Access(services)
    api = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["Ivrea: access"])
    secret, found = shape(client_id=TEXT, client_secret=TEXT), shape(tokens=many(_TOKEN))
    made = {**_CLIENT["properties"], **secret["properties"]}
    add_routes(api, (
        ("/tokens", access.tokens, "GET", 200, told(found), None, "List tokens"),
        ("/tokens", access.make_token, "POST", 201, told(_MADE, "Made."), json_body(TokenBody), "Make a token"),
        ("/tokens/{wanted}", access.remove_token, "DELETE", 204, nothing("Deleted."), None, "Delete a token"),
        ("/clients", access.clients, "GET", 200, told(shape(clients=many(_CLIENT))), None, "List clients"),
        ("/clients", access.make_client, "POST", 201, told(shape(**made), "Made."), json_body(ClientBody),
         "Make a client"),
        ("/clients/{wanted}", access.remove_client, "DELETE", 204, nothing("Deleted."), None, "Delete a client"),
        ("/clients/{wanted}/secret", access.new_secret, "POST", 200, told(secret), None,
         "Give a client another secret; its tokens are none any more"),
    ))  # fmt: skip
    return api


_TOKEN = schema_of_row(tokens.Token)
_MADE = shape(**_TOKEN["properties"], token=TEXT)
_CLIENT = shape(id=TEXT, name=TEXT, user_id=or_null(TEXT), redirect_uris=many(TEXT), created_at=NUMBER)


@dataclass(frozen=True, slots=True)
class _Access:
    services: ApiServices

    async def tokens(self, request: Request) -> dict[str, Any]:
        """The tokens of the account that last, without what is secret."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.reading() as connection:
            return {"tokens": [asdict(each) for each in await tokens.all_of(connection, caller.account_id)]}

    async def make_token(self, request: Request) -> Response:
        """A token, told this once: 201."""
        caller = await caller_of(request, self.services.store, "account.write")
        body = checked(TokenBody, await json_object(request))
        async with self.services.store.writing() as connection:
            issuing = tokens.issue(
                connection, caller.account_id, body.user, name=body.name, lifetime=body.lifetime, kind=body.kind
            )
            token = await refusing(issuing)
            made = await tokens.known(connection, token)
            detail = {"name": body.name, "user": body.user, "kind": body.kind}
            await audit.note(connection, caller, "token made", made.id, detail)
        told = {**asdict(made), "token": token}
        return JSONResponse(told, status_code=201, headers={"Cache-Control": "no-store"})

    async def remove_token(self, request: Request, wanted: str) -> Response:
        """Take a token back, by its id."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.writing() as connection:
            await refusing(tokens.remove(connection, caller.account_id, wanted))
            await audit.note(connection, caller, "token deleted", wanted)
        return Response(status_code=204)

    async def clients(self, request: Request) -> dict[str, Any]:
        """The clients of the account."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.reading() as connection:
            return {"clients": [_told(each) for each in await clients.all_of(connection, caller.account_id)]}

    async def make_client(self, request: Request) -> Response:
        """A client with its secret, told this once: 201."""
        caller = await caller_of(request, self.services.store, "account.write")
        body = checked(ClientBody, await json_object(request))
        async with self.services.store.writing() as connection:
            adding = clients.add(
                connection, caller.account_id, body.name, user_id=body.user, redirect_uris=body.redirect_uris
            )
            client, secret = await refusing(adding)
            await audit.note(connection, caller, "client made", client.id, {"name": body.name})
        told = {**_told(client), "client_id": client.id, "client_secret": secret}
        return JSONResponse(told, status_code=201, headers={"Cache-Control": "no-store"})

    async def new_secret(self, request: Request, wanted: str) -> Response:
        """Another secret, told this once."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.writing() as connection:
            secret = await refusing(clients.new_secret(connection, caller.account_id, wanted))
            await audit.note(connection, caller, "client has a new secret", wanted)
        return JSONResponse({"client_id": wanted, "client_secret": secret}, headers={"Cache-Control": "no-store"})

    async def remove_client(self, request: Request, wanted: str) -> Response:
        """Delete a client and its tokens."""
        caller = await caller_of(request, self.services.store, "account.write")
        async with self.services.store.writing() as connection:
            await refusing(clients.remove(connection, caller.account_id, wanted))
            await audit.note(connection, caller, "client deleted", wanted)
        return Response(status_code=204)


def _told(client: Client) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "user_id": client.user_id,
        "redirect_uris": list(client.redirect_uris),
        "created_at": client.created_at,
    }
