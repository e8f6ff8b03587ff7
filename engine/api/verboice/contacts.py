"""``/api/projects/:id/contacts``: whom a project has called, and what it knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit
from engine.api.answers import Responses, many, told
from engine.api.services import ApiServices
from engine.api.verboice import book, contacts_book, shapes
from engine.api.verboice.contacts_book import LONGEST_ADDRESS
from engine.api.verboice.door import TAGS, Refused, VerboiceRoute, in_words, login, not_found
from engine.api.verboice.params import Params, params_of
from engine.api.verboice.projects import project_of

MOST_ADDRESSES = 100
LONGEST_VALUE = 4096


def routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    contacts = _Contacts(services)
    api = APIRouter(prefix="/api/projects/{project_id}/contacts", route_class=VerboiceRoute, tags=TAGS)
    every: Responses = {200: told(many(shapes.CONTACT))}
    answer: Responses = {200: told(shapes.CONTACT)}
    wrong = shapes.CONTACT_PROBLEMS
    api.add_api_route(".json", contacts.index, methods=["GET"], summary="Contacts", responses=every)
    api.add_api_route("", contacts.index, methods=["GET"], include_in_schema=False)
    api.add_api_route(
        "", contacts.create, methods=["POST"], summary="Make a contact", responses=answer | wrong,
        openapi_extra=shapes.BODIES["contact"],
    )  # fmt: skip
    api.add_api_route(
        "/all.json", contacts.update_all, methods=["PUT"], summary="Set variables of all contacts",
        responses=every | wrong, openapi_extra=shapes.BODIES["values"],
    )  # fmt: skip
    api.add_api_route("/all", contacts.update_all, methods=["PUT"], include_in_schema=False)
    by_address = "/by_address/{address:path}"
    api.add_api_route(by_address, contacts.show, methods=["GET"], summary="A contact by an address", responses=answer)
    api.add_api_route(
        by_address, contacts.update, methods=["PUT"], summary="Set variables of a contact", responses=answer | wrong,
        openapi_extra=shapes.BODIES["values"],
    )  # fmt: skip
    return api


@dataclass(frozen=True, slots=True)
class _Contacts:
    services: ApiServices

    async def index(self, request: Request, project_id: str) -> Response:
        """``[{"id", "addresses", "vars"}]``."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            found = await contacts_book.contacts(connection, project.id)
        return JSONResponse([each.as_json() for each in found])

    async def create(self, request: Request, project_id: str) -> Response:
        """``address`` or ``addresses[]``, ``vars[name]``."""
        caller = await login(request, self.services, "flows.write")
        params = await params_of(request)
        addresses = _addresses(params)
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            values = await _values(connection, project.id, params.table("vars"))
            for address in addresses:
                if await contacts_book.by_address(connection, project.id, address) is not None:
                    message = {"addresses.address": ["has already been taken"]}
                    raise Refused(400, response=JSONResponse(message, status_code=400))
            made = await contacts_book.add(connection, project.id, addresses)
            await contacts_book.set_values(connection, [made.id], values)
            await audit.note(connection, caller, "contact made", str(made.id), {"addresses": addresses})
            found = await contacts_book.by_id(connection, project.id, made.id)
        assert found is not None
        return JSONResponse(found.as_json())

    async def show(self, request: Request, project_id: str, address: str) -> Response:
        """``{"id", "addresses", "vars"}``."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            found = await contacts_book.by_address(connection, project.id, address.removesuffix(".json"))
        if found is None:
            raise not_found()
        return JSONResponse(found.as_json())

    async def update(self, request: Request, project_id: str, address: str) -> Response:
        """``vars[name]=value``: the contact, with them."""
        caller = await login(request, self.services, "flows.write")
        params = await params_of(request)
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            contact = await contacts_book.by_address(connection, project.id, address.removesuffix(".json"))
            if contact is None:
                raise not_found()
            values = await _values(connection, project.id, params.table("vars"))
            await contacts_book.set_values(connection, [contact.id], values)
            detail = {"variables": sorted(params.table("vars"))}
            await audit.note(connection, caller, "contact changed", str(contact.id), detail)
            found = await contacts_book.by_id(connection, project.id, contact.id)
        assert found is not None
        return JSONResponse(found.as_json())

    async def update_all(self, request: Request, project_id: str) -> Response:
        """``vars[name]=value``: all contacts, with them."""
        caller = await login(request, self.services, "flows.write")
        params = await params_of(request)
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            values = await _values(connection, project.id, params.table("vars"))
            ids = [each.id for each in await contacts_book.contacts(connection, project.id)]
            await contacts_book.set_values(connection, ids, values)
            detail = {"variables": sorted(params.table("vars")), "contacts": len(ids)}
            await audit.note(connection, caller, "all contacts changed", str(project.id), detail)
            found = await contacts_book.contacts(connection, project.id)
        return JSONResponse([each.as_json() for each in found])


def _addresses(params: Params) -> list[str]:
    given = (params.text("address"), *params.lists.get("addresses", ()), *params.tables.get("addresses", {}).values())
    addresses = list(dict.fromkeys(address.strip() for address in given if address.strip()))
    wrong = [each for each in addresses if len(each) > LONGEST_ADDRESS]
    if not addresses or wrong or len(addresses) > MOST_ADDRESSES:
        message = {"addresses": ["can't be blank" if not addresses else "are too long, or too many"]}
        raise Refused(400, response=JSONResponse(message, status_code=400))
    return addresses


async def _values(connection: AsyncConnection, project_id: int, given: Mapping[str, str]) -> dict[int, str]:
    """Values by the ids of the project's variables. Raises :class:`Refused` for a variable that was not declared."""
    known = await book.variables(connection, project_id)
    values: dict[int, str] = {}
    for name, value in given.items():
        if name not in known:
            raise in_words(400, f"No such variable: {name}")
        if len(value) > LONGEST_VALUE:
            raise in_words(400, f"The value of {name} is longer than {LONGEST_VALUE} characters")
        values[known[name]] = value
    return values
