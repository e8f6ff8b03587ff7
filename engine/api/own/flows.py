"""``/api/v1/flows``: stored flows and their versions. What has errors is not stored: the answer has the findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from engine.accounts import audit, repository
from engine.accounts.entities import Flow, FlowVersion
from engine.api.answers import NUMBER, TEXT, WHOLE, YES_OR_NO, Responses, many, nothing, shape, told
from engine.api.documents import Dialect, text_of
from engine.api.guard import ERROR, ApiError, GuardedRoute, caller_of
from engine.api.own.bodies import Name
from engine.api.own.resources import checked, json_body, json_object, refusing
from engine.api.services import ApiServices
from engine.calls.flowbook import Document, FlowError


class FlowBody(BaseModel):
    """A flow: ``document`` is text (XML, JSON, words) or a JSON value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    document: Any
    dialect: Annotated[Dialect, Field(description="Empty: found out from the document.")] = ""

    def text(self) -> str:
        """The document as text."""
        return text_of(self.document)


def mount(services: ApiServices) -> APIRouter:
    """The endpoints."""
    flows = _Flows(services)
    api = APIRouter(prefix="/api/v1/flows", route_class=GuardedRoute, tags=["Ivrea: flows"])
    saved: Responses = {
        201: told(_VERSION, "Stored."),
        200: told(_VERSION, "It is that already."),
        422: told(ERROR, "Findings."),
    }
    api.add_api_route(
        "", flows.list, methods=["GET"], summary="List flows", responses={200: told(shape(flows=many(_FLOW)))}
    )
    api.add_api_route(
        "", flows.save, methods=["POST"], status_code=201, responses=saved,
        openapi_extra=json_body(FlowBody),
        summary="Store a flow: a new one, or a new version of the one of that name",
    )  # fmt: skip
    versions: Responses = {200: told(shape(versions=many(shape(number=WHOLE, created_at=NUMBER))))}
    one: Responses = {200: told(_VERSION)}
    for path, act, answers, summary in (
        ("/{flow}/versions", flows.versions, versions, "The versions of a flow"),
        ("/{flow}/versions/{number}", flows.one, one, "A version of a flow"),
        ("/{flow}", flows.newest, one, "A flow with its newest document"),
    ):
        api.add_api_route(path, act, methods=["GET"], summary=summary, responses=answers)
    api.add_api_route(
        "/{flow}", flows.remove, methods=["DELETE"], status_code=204, summary="Delete a flow",
        responses={204: nothing("Deleted.")},
    )  # fmt: skip
    return api


_FIELDS = {"id": TEXT, "name": TEXT, "dialect": TEXT, "version": WHOLE, "from_file": YES_OR_NO, "created_at": NUMBER}
_FLOW = shape(**_FIELDS)
_VERSION = shape(**_FIELDS, number=WHOLE, document=TEXT, saved_at=NUMBER)


@dataclass(frozen=True, slots=True)
class _Flows:
    services: ApiServices

    async def list(self, request: Request) -> dict[str, Any]:
        """All flows of the account, without their documents."""
        caller = await caller_of(request, self.services.store, "flows.read")
        async with self.services.store.reading() as connection:
            found = await repository.all_of(connection, Flow, caller.account_id)
        return {"flows": [_told(flow) for flow in found]}

    async def save(self, request: Request) -> Response:
        """Store a document: 201 for a new version, 200 when it is what the flow has already; 422 with findings."""
        caller = await caller_of(request, self.services.store, "flows.write")
        body = checked(FlowBody, await json_object(request))
        text = body.text()
        try:
            await self.services.flows.ready(
                Document(body.name, text, body.dialect, account=caller.account_id), render=False
            )
        except FlowError as error:
            findings = [{"code": each.code, "where": each.where, "message": each.message} for each in error.findings]
            raise ApiError(422, "bad_flow", str(error), field="document", findings=findings) from None
        async with self.services.store.writing() as connection:
            before = [f for f in await repository.all_of(connection, Flow, caller.account_id) if f.name == body.name]
            saving = repository.save_flow(connection, caller.account_id, body.name, text, dialect=body.dialect)
            saved = await refusing(saving)
            new = not before or before[0].version != saved.number
            if new:
                detail = {"name": body.name, "version": saved.number}
                await audit.note(connection, caller, "flow saved", saved.flow.id, detail)
        if new:
            await self.services.changed()
        headers = {"Location": f"/api/v1/flows/{saved.flow.id}"}
        return JSONResponse(_told(saved.flow, saved), status_code=201 if new else 200, headers=headers)

    async def newest(self, request: Request, flow: str) -> dict[str, Any]:
        """The flow with the document that calls get now."""
        return await self._version(request, flow, None)

    async def one(self, request: Request, flow: str, number: int) -> dict[str, Any]:
        """A version, or 404."""
        return await self._version(request, flow, number)

    async def _version(self, request: Request, flow: str, number: int | None) -> dict[str, Any]:
        caller = await caller_of(request, self.services.store, "flows.read")
        if number is not None and not 0 < number < 1 << 31:
            raise ApiError(404, "not_found", f"there is no version {number} of the flow {flow!r}")
        async with self.services.store.reading() as connection:
            found = await refusing(repository.flow_version(connection, caller.account_id, flow, number))
        return _told(found.flow, found)

    async def versions(self, request: Request, flow: str) -> dict[str, Any]:
        """All versions, the oldest first, without their documents."""
        caller = await caller_of(request, self.services.store, "flows.read")
        async with self.services.store.reading() as connection:
            found = await refusing(repository.flow_versions(connection, caller.account_id, flow))
        return {"versions": [{"number": each.number, "created_at": each.created_at} for each in found]}

    async def remove(self, request: Request, flow: str) -> Response:
        """Delete a flow, its versions, and the numbers and extensions that lead to it."""
        caller = await caller_of(request, self.services.store, "flows.write")
        async with self.services.store.writing() as connection:
            found = await refusing(repository.changeable(connection, Flow, caller.account_id, flow))
            await repository.remove(connection, Flow, caller.account_id, found.id)
            await audit.note(connection, caller, "flow deleted", found.id, {"name": found.name})
        await self.services.changed()
        return Response(status_code=204)


def _told(flow: Flow, version: FlowVersion | None = None) -> dict[str, Any]:
    told = {
        "id": flow.id,
        "name": flow.name,
        "dialect": flow.dialect,
        "version": flow.version,
        "from_file": flow.origin != "api",
        "created_at": flow.created_at,
    }
    if version is not None:
        told |= {"number": version.number, "document": version.document, "saved_at": version.created_at}
    return told
