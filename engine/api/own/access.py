"""``/api/v1/tokens`` and ``/api/v1/clients``: who may ask the APIs. Secrets are told once, when they are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import audit, clients, tokens
from engine.accounts.entities import Client
from engine.api.guard import GuardedRoute, caller_of
from engine.api.own.bodies import ClientBody, TokenBody
from engine.api.own.resources import checked, json_object, refusing
from engine.api.services import ApiServices

KINDS = ("bearer", "access_key")


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    access = _Access(services)
    api = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["Ivrea: access"])
    for path, body in (("tokens", TokenBody), ("clients", ClientBody)):
        one = path.removesuffix("s")
        schema: dict[str, Any] = {
            "required": True,
            "content": {"application/json": {"schema": body.model_json_schema()}},
        }
        make = access.make_token if body is TokenBody else access.make_client
        found = access.tokens if body is TokenBody else access.clients
        gone = access.remove_token if body is TokenBody else access.remove_client
        api.add_api_route(f"/{path}", found, methods=["GET"], summary=f"List {path}")
        api.add_api_route(
            f"/{path}", make, methods=["POST"], status_code=201, summary=f"Make a {one}",
            openapi_extra={"requestBody": schema},
        )  # fmt: skip
        api.add_api_route(f"/{path}/{{wanted}}", gone, methods=["DELETE"], status_code=204, summary=f"Delete a {one}")
    api.add_api_route(
        "/clients/{wanted}/secret", access.new_secret, methods=["POST"],
        summary="Give a client another secret; its tokens are none any more",
    )  # fmt: skip
    return api


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
