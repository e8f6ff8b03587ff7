"""``/api/projects``: projects with their variables and flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import audit, repository
from engine.accounts.entities import Caller, Flow
from engine.accounts.repository import FromFile, Taken, Unknown
from engine.api.answers import many, nothing, told
from engine.api.services import ApiServices
from engine.api.verboice import book, shapes
from engine.api.verboice.book import Project
from engine.api.verboice.door import TAGS, Refused, VerboiceRoute, login, not_found, problems
from engine.api.verboice.enqueue import DIALECT, chosen_document
from engine.api.verboice.params import Params, as_id, object_of, params_of, scalar
from engine.calls.flowbook import Document
from engine.calls.services import FlowError
from engine.campaigns.zones import zone_named
from flows.targets import url_problem

LONGEST_NAME = 128
_SETTINGS = {
    "time_zone": "time_zone",
    "status_callback_url": "status_url",
    "status_callback_user": "status_user",
    "status_callback_password": "status_password",
}
"""Keys of a project in JSON, and columns."""


def routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    projects = _Projects(services)
    api = APIRouter(prefix="/api/projects", route_class=VerboiceRoute, tags=TAGS)
    one, variables, flows = "/{project_id}", "/{project_id}/project_variables", "/{project_id}/call_flows"
    project, every = shapes.PROJECT, told(many(shapes.PROJECT))
    flow_saved, flows_told, variables_told = shapes.saved(shapes.FLOW), many(shapes.FLOW), many(shapes.VARIABLE)
    for path, endpoint, method, summary, answer, wish in (
        ("", projects.index, "GET", "Projects", every, ""),
        ("", projects.create, "POST", "Make a project", shapes.saved(project), "new project"),
        (one, projects.show, "GET", "A project", told(project), ""),
        (one, projects.update, "PUT", "Change a project", shapes.saved(project), "project"),
        (one, projects.destroy, "DELETE", "Delete a project", nothing(), ""),
        (variables, projects.variables, "GET", "Variables of a project", told(variables_told), ""),
        (variables, projects.add_variable, "POST", "Declare a variable", shapes.saved(shapes.VARIABLE), "variable"),
        (f"{variables}/{{variable_id}}", projects.remove_variable, "DELETE", "Delete a variable", nothing(), ""),
        (flows, projects.flows, "GET", "Call flows of a project", told(flows_told), ""),
        (flows, projects.add_flow, "POST", "Make a call flow", flow_saved, "flow"),
        (f"{flows}/{{flow_id}}", projects.flow, "GET", "A call flow", told(shapes.FLOW), ""),
        (f"{flows}/{{flow_id}}", projects.change_flow, "PUT", "Change a call flow", flow_saved, "flow"),
        (f"{flows}/{{flow_id}}", projects.remove_flow, "DELETE", "Delete a call flow", nothing(), ""),
    ):
        api.add_api_route(
            path, endpoint, methods=[method], summary=summary, responses={200: answer}, response_class=Response,
            openapi_extra=shapes.BODIES.get(wish),
        )  # fmt: skip
    return api


async def project_of(connection: AsyncConnection, caller: Caller, project_id: str) -> Project:
    """A project of the caller's account. Raises :class:`Refused` (404)."""
    found = await book.project(connection, caller.account_id, as_id(project_id.removesuffix(".json")))
    if found is None:
        raise not_found()
    return found


@dataclass(frozen=True, slots=True)
class _Projects:
    services: ApiServices

    async def index(self, request: Request) -> Response:
        """``[{"id", "name", "call_flows", "schedules", …}]``."""
        caller = await login(request, self.services, "calls.read")

        async def look(connection: AsyncConnection) -> list[dict[str, Any]]:
            await book.first_project(connection, caller.account_id)
            found = await book.projects(connection, caller.account_id)
            return [await _told(connection, each) for each in found]

        return JSONResponse(await self.services.store.looking(look))

    async def show(self, request: Request, project_id: str) -> Response:
        """One of them."""
        caller = await login(request, self.services, "calls.read")

        async def look(connection: AsyncConnection) -> dict[str, Any]:
            return await _told(connection, await project_of(connection, caller, project_id))

        return JSONResponse(await self.services.store.looking(look))

    async def create(self, request: Request) -> Response:
        """``name``, ``time_zone``, ``status_callback_url``, ``…_user``, ``…_password``."""
        caller = await login(request, self.services, "flows.write")
        given = await object_of(request)
        values = _settings(given, "creating")
        async with self.services.store.writing() as connection:
            await book.first_project(connection, caller.account_id)  # to which flows of no project belong
            name = await self._free_name(connection, caller, given, "creating", None)
            made = await book.add_project(connection, caller.account_id, name, **values)
            await audit.note(connection, caller, "project made", str(made.id), {"name": name})
            return JSONResponse(await _told(connection, made))

    async def update(self, request: Request, project_id: str) -> Response:
        """The same."""
        caller = await login(request, self.services, "flows.write")
        given = await object_of(request)
        values = _settings(given, "updating")
        async with self.services.store.writing() as connection:
            before = await project_of(connection, caller, project_id)
            if "name" in given:
                values["name"] = await self._free_name(connection, caller, given, "updating", before)
            await book.change_project(connection, before.id, values)
            await audit.note(connection, caller, "project changed", str(before.id), {"fields": sorted(given)})
            return JSONResponse(await _told(connection, await project_of(connection, caller, project_id)))

    async def destroy(self, request: Request, project_id: str) -> Response:
        """200; 400 for the last one."""
        caller = await login(request, self.services, "flows.write")
        async with self.services.store.writing() as connection:
            found = await project_of(connection, caller, project_id)
            if len(await book.projects(connection, caller.account_id)) == 1:
                raise Refused(400, "the last project of an account cannot be deleted")
            await book.remove_project(connection, found.id)
            await audit.note(connection, caller, "project deleted", str(found.id), {"name": found.name})
        return Response(status_code=200)

    async def _free_name(
        self, connection: AsyncConnection, caller: Caller, given: dict[str, Any], action: str, own: Project | None
    ) -> str:
        name = name_in(given, action, "Project")
        others = [each.name for each in await book.projects(connection, caller.account_id) if each != own]
        if name in others:
            raise problems(action, "Project", ("name", "has already been taken"))
        return name

    # --- variables ----------------------------------------------------------------------

    async def variables(self, request: Request, project_id: str) -> Response:
        """``[{"id", "name"}]``."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            found = await book.variables(connection, project.id)
        return JSONResponse([{"id": number, "name": name} for name, number in found.items()])

    async def add_variable(self, request: Request, project_id: str) -> Response:
        """``name``: contacts may have it from now on."""
        caller = await login(request, self.services, "flows.write")
        name = name_in(await object_of(request), "creating", "Project variable")
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            if name in await book.variables(connection, project.id):
                raise problems("creating", "Project variable", ("name", "has already been taken"))
            number = await book.add_variable(connection, project.id, name)
            await audit.note(connection, caller, "variable made", str(number), {"name": name})
        return JSONResponse({"id": number, "name": name})

    async def remove_variable(self, request: Request, project_id: str, variable_id: str) -> Response:
        """With its values."""
        caller = await login(request, self.services, "flows.write")
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            number = as_id(variable_id.removesuffix(".json"))
            if not await book.remove_variable(connection, project.id, number):
                raise not_found()
            await audit.note(connection, caller, "variable deleted", str(number))
        return Response(status_code=200)

    # --- flows --------------------------------------------------------------------------

    async def flows(self, request: Request, project_id: str) -> Response:
        """``[{"id", "name"}]``."""
        caller = await login(request, self.services, "flows.read")

        async def look(connection: AsyncConnection) -> list[dict[str, Any]]:
            return await _flows(connection, await project_of(connection, caller, project_id))

        return JSONResponse(await self.services.store.looking(look))

    async def flow(self, request: Request, project_id: str, flow_id: str) -> Response:
        """``{"id", "name"}``."""
        caller = await login(request, self.services, "flows.read")

        async def look(connection: AsyncConnection) -> dict[str, Any]:
            project = await project_of(connection, caller, project_id)
            return await _one_flow(connection, await _flow(connection, project, flow_id))

        return JSONResponse(await self.services.store.looking(look))

    async def add_flow(self, request: Request, project_id: str) -> Response:
        """``name``, and ``flow`` (TwiML, or an export of Verboice as JSON) or ``callback_url``."""
        caller = await login(request, self.services, "flows.write")
        given = await self._given(request)
        name = name_in(given, "creating", "Call flow")
        document = await self._document(caller, name, given, "creating")
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            taken = {flow.name for flow in await repository.all_of(connection, Flow, caller.account_id)}
            if name in taken:
                raise problems("creating", "Call flow", ("name", "has already been taken"))
            saved = await repository.save_flow(connection, caller.account_id, name, document, dialect=DIALECT)
            await book.put_flow(connection, saved.flow.id, project.id)
            await audit.note(connection, caller, "flow saved", saved.flow.id, {"name": name, "version": saved.number})
            told = await _one_flow(connection, saved.flow)
        await self.services.changed()
        return JSONResponse(told)

    async def change_flow(self, request: Request, project_id: str, flow_id: str) -> Response:
        """``flow`` or ``callback_url``; calls that run keep what they began with."""
        caller = await login(request, self.services, "flows.write")
        given = await self._given(request)
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            found = await _flow(connection, project, flow_id)
        document = await self._document(caller, found.name, given, "updating")
        async with self.services.store.writing() as connection:
            try:
                saved = await repository.save_flow(connection, caller.account_id, found.name, document, dialect=DIALECT)
            except Taken as error:
                raise problems("updating", "Call flow", ("flow", str(error))) from None
            detail = {"name": found.name, "version": saved.number}
            await audit.note(connection, caller, "flow saved", saved.flow.id, detail)
            told = await _one_flow(connection, saved.flow)
        await self.services.changed()
        return JSONResponse(told)

    async def remove_flow(self, request: Request, project_id: str, flow_id: str) -> Response:
        """With the numbers that lead to it."""
        caller = await login(request, self.services, "flows.write")
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            found = await _flow(connection, project, flow_id)
            try:
                await repository.changeable(connection, Flow, caller.account_id, found.id)
            except (Unknown, FromFile) as error:
                raise Refused(400, str(error)) from None
            await repository.remove(connection, Flow, caller.account_id, found.id)
            await audit.note(connection, caller, "flow deleted", found.id, {"name": found.name})
        await self.services.changed()
        return Response(status_code=200)

    async def _given(self, request: Request) -> dict[str, Any]:
        """JSON, or TwiML as the body with the rest in the query."""
        params = await params_of(request)
        return {**params.values, **({"flow": params.body} if params.body.strip() else {})}

    async def _document(self, caller: Caller, name: str, given: dict[str, Any], action: str) -> str:
        """The document that is given, looked at. Raises :class:`Refused`."""
        try:
            wanted = Params({"callback_url": scalar(given.get("callback_url", ""))}, body=scalar(given.get("flow", "")))
            document = chosen_document(wanted)
            if document is None:
                raise ValueError("is missing")
            checked = Document(name, document, DIALECT, account=caller.account_id)
            await self.services.flows.ready(checked, render=False)
        except (ValueError, FlowError) as error:
            raise problems(action, "Call flow", ("flow", str(error))) from None
        return document


def name_in(given: dict[str, Any], action: str, what: str) -> str:
    """The ``name`` of something. Raises :class:`Refused`."""
    name = given.get("name")
    if not isinstance(name, str) or not name.strip():
        raise problems(action, what, ("name", "can't be blank"))
    if len(name) > LONGEST_NAME:
        raise problems(action, what, ("name", f"is too long (maximum is {LONGEST_NAME} characters)"))
    return name.strip()


def _settings(given: dict[str, Any], action: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, column in _SETTINGS.items():
        if key not in given:
            continue
        value = given[key] if given[key] is not None else ""
        if not isinstance(value, str) or len(value) > 2000:
            raise problems(action, "Project", (key, "is not a text of 2000 characters at most"))
        try:
            if key == "time_zone":
                zone_named(value)
            elif key == "status_callback_url" and value and (problem := url_problem(value)):
                raise ValueError(problem)
        except ValueError as error:
            raise problems(action, "Project", (key, str(error))) from None
        values[column] = value
    return values


async def _told(connection: AsyncConnection, project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "time_zone": project.time_zone,
        "status_callback_url": project.status_url or None,
        "call_flows": await _flows(connection, project),
        "schedules": [each.name for each in await book.schedules(connection, project.id)],
        "contact_vars": list(await book.variables(connection, project.id)),
    }


async def _flows(connection: AsyncConnection, project: Project) -> list[dict[str, Any]]:
    found = await book.flows_of(connection, project)
    numbers = await book.numbers_of(connection, project.account_id, "flow", [flow.id for flow in found])
    return [{"id": numbers[flow.id], "name": flow.name} for flow in found]


async def _one_flow(connection: AsyncConnection, flow: Flow) -> dict[str, Any]:
    numbers = await book.numbers_of(connection, flow.account_id, "flow", [flow.id])
    return {"id": numbers[flow.id], "name": flow.name}


async def _flow(connection: AsyncConnection, project: Project, flow_id: str) -> Flow:
    """A flow of a project. Raises :class:`Refused` (404)."""
    target = await book.target_of(connection, project.account_id, "flow", as_id(flow_id.removesuffix(".json")))
    found = [flow for flow in await book.flows_of(connection, project) if flow.id == target]
    if not found:
        raise not_found()
    return found[0]
