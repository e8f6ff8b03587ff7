"""``/api/projects/:id/schedules``: when calls may be made, and after what delays again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from engine.accounts import audit
from engine.api.answers import Responses, many, nothing, told
from engine.api.services import ApiServices
from engine.api.verboice import book, shapes
from engine.api.verboice.book import NamedSchedule
from engine.api.verboice.door import TAGS, VerboiceRoute, login, not_found, problems
from engine.api.verboice.params import object_of, scalar
from engine.api.verboice.projects import name_in, project_of
from engine.api.verboice.scheduled import cancel_with_schedule
from engine.campaigns.schedule import Schedule, clock_text, parse_clock, parse_days, parse_retries

LONGEST = 1000


def routes(services: ApiServices) -> APIRouter:
    """The endpoints."""
    schedules = _Schedules(services)
    api = APIRouter(prefix="/api/projects/{project_id}/schedules", route_class=VerboiceRoute, tags=TAGS)
    one = "/{name:path}"
    answer: Responses = {200: told(shapes.SCHEDULE)}
    saved: Responses = {200: shapes.saved(shapes.SCHEDULE)}
    every: Responses = {200: told(many(shapes.SCHEDULE))}
    api.add_api_route("", schedules.index, methods=["GET"], summary="Schedules", responses=every)
    api.add_api_route(
        "", schedules.create, methods=["POST"], summary="Make a schedule", responses=saved,
        openapi_extra=shapes.BODIES["new schedule"],
    )  # fmt: skip
    api.add_api_route(one, schedules.show, methods=["GET"], summary="A schedule by its name", responses=answer)
    api.add_api_route(
        one, schedules.update, methods=["PUT"], summary="Change a schedule", responses=saved,
        openapi_extra=shapes.BODIES["schedule"],
    )  # fmt: skip
    api.add_api_route(
        one, schedules.destroy, methods=["DELETE"], summary="Delete a schedule", response_class=Response,
        responses={200: nothing()},
    )  # fmt: skip
    return api


@dataclass(frozen=True, slots=True)
class _Schedules:
    services: ApiServices

    async def index(self, request: Request, project_id: str) -> Response:
        """``[{"id", "name", "retries", "weekdays", "time_from_str", "time_to_str"}]``."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            found = await book.schedules(connection, project.id)
        return JSONResponse([_told(each) for each in found])

    async def show(self, request: Request, project_id: str, name: str) -> Response:
        """One of them."""
        caller = await login(request, self.services, "calls.read")
        async with self.services.store.reading() as connection:
            project = await project_of(connection, caller, project_id)
            return JSONResponse(_told(_named(await book.schedules(connection, project.id), name)))

    async def create(self, request: Request, project_id: str) -> Response:
        """``name``, ``time_from_str``, ``time_to_str``, ``weekdays``, ``retries``."""
        caller = await login(request, self.services, "flows.write")
        given = await object_of(request)
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            wanted = _read(given, None, "creating")
            _refuse_taken(await book.schedules(connection, project.id), wanted, "creating")
            made = await book.save_schedule(connection, project.id, wanted)
            await audit.note(connection, caller, "schedule made", str(made.id), {"name": made.name})
            return JSONResponse(_told(made))

    async def update(self, request: Request, project_id: str, name: str) -> Response:
        """The same; calls that wait keep what they were given."""
        caller = await login(request, self.services, "flows.write")
        given = await object_of(request)
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            known = await book.schedules(connection, project.id)
            wanted = _read(given, _named(known, name), "updating")
            _refuse_taken(known, wanted, "updating")
            saved = await book.save_schedule(connection, project.id, wanted)
            await audit.note(connection, caller, "schedule changed", str(saved.id), {"fields": sorted(given)})
            return JSONResponse(_told(saved))

    async def destroy(self, request: Request, project_id: str, name: str) -> Response:
        """Calls that wait by it are cancelled."""
        caller = await login(request, self.services, "flows.write")
        async with self.services.store.writing() as connection:
            project = await project_of(connection, caller, project_id)
            found = _named(await book.schedules(connection, project.id), name)
            await cancel_with_schedule(connection, caller.account_id, found.id)
            await book.remove_schedule(connection, found.id)
            await audit.note(connection, caller, "schedule deleted", str(found.id), {"name": found.name})
        return Response(status_code=200)


def _named(known: list[NamedSchedule], name: str) -> NamedSchedule:
    """By its name, with or without ``.json``. Raises :class:`Refused` (404)."""
    for wanted in (name, name.removesuffix(".json")):
        for each in known:
            if each.name == wanted:
                return each
    raise not_found()


def _refuse_taken(known: list[NamedSchedule], wanted: NamedSchedule, action: str) -> None:
    if any(each.name.casefold() == wanted.name.casefold() and each.id != wanted.id for each in known):
        raise problems(action, "Schedule", ("name", "has already been taken"))


def _read(given: dict[str, Any], before: NamedSchedule | None, action: str) -> NamedSchedule:
    """A schedule out of JSON. Raises :class:`Refused` that names all properties that are wrong."""
    merged = {**(_told(before) if before is not None else {}), **given}
    wrong: list[tuple[str, str]] = []
    name = name_in(merged, action, "Schedule")
    values = {key: _text(merged.get(key)) for key in ("time_from_str", "time_to_str", "weekdays", "retries")}
    times: dict[str, int] = {}
    for key, column in (("time_from_str", "time_from"), ("time_to_str", "time_to")):
        if not values[key]:
            wrong.append((column, "can't be blank"))
            continue
        try:
            times[column] = parse_clock(values[key])
        except ValueError as error:
            wrong.append((column, str(error)))
    if len(times) == 2 and times["time_from"] >= times["time_to"]:
        wrong.append(("base", "End time must be greater than the start time."))
    days, retries = frozenset[int](), tuple[float, ...]()
    try:
        days = parse_days(values["weekdays"])
    except ValueError:
        wrong.append(("weekdays", "is invalid"))
    try:
        retries = parse_retries(values["retries"])
    except ValueError as error:
        wrong.append(("retries", str(error)))
    if wrong:
        raise problems(action, "Schedule", *wrong)
    schedule = Schedule(days, times["time_from"], times["time_to"], retries)
    return NamedSchedule(before.id if before is not None else 0, name, values["retries"], values["weekdays"], schedule)


def _text(value: Any) -> str:
    """Lists of days and numbers of hours are taken, too."""
    if isinstance(value, list):
        return ",".join(scalar(each) for each in value)[:LONGEST]
    return "" if value is None else scalar(value).strip()[:LONGEST]


def _told(schedule: NamedSchedule) -> dict[str, Any]:
    return {
        "id": schedule.id,
        "name": schedule.name,
        "retries": schedule.retries,
        "weekdays": schedule.weekdays,
        "time_from_str": clock_text(schedule.schedule.start),
        "time_to_str": clock_text(schedule.schedule.end),
    }
