"""Projects, their flows, schedules and variables, and the channels of an account, as the database has them.

Every function runs in the caller's transaction and sees the rows of the account or project that it is given. They raise
SQLAlchemy's errors when the database is out of reach.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import repository
from engine.accounts.entities import Flow
from engine.campaigns.schedule import Schedule
from engine.store import about_to_write
from engine.store import projects as t

PROJECTS, FLOWS = cast("Table", t.Project.__table__), cast("Table", t.ProjectFlow.__table__)
VARIABLES, SCHEDULES = cast("Table", t.ProjectVariable.__table__), cast("Table", t.ProjectSchedule.__table__)
NUMBERED = cast("Table", t.Numbered.__table__)

FIRST_PROJECT = "Default"


@dataclass(frozen=True, slots=True)
class Project:
    """A project of an account."""

    id: int
    account_id: str
    name: str
    time_zone: str
    status_url: str
    status_user: str
    status_password: str


@dataclass(frozen=True, slots=True)
class NamedSchedule:
    """A schedule of a project; ``retries`` and ``weekdays`` as they were given."""

    id: int
    name: str
    retries: str
    weekdays: str
    schedule: Schedule


# --- projects ---------------------------------------------------------------------------


async def projects(connection: AsyncConnection, account_id: str) -> list[Project]:
    """Those of an account, the oldest first."""
    return await _projects(connection, PROJECTS.c.account_id == account_id)


async def project(connection: AsyncConnection, account_id: str, project_id: int) -> Project | None:
    """One of the account's."""
    found = await _projects(connection, PROJECTS.c.account_id == account_id, PROJECTS.c.id == project_id)
    return found[0] if found else None


async def first_project(connection: AsyncConnection, account_id: str) -> Project:
    """The oldest of the account, to which flows belong that belong to no other; made if there is none."""
    found = await projects(connection, account_id)
    if not found:
        about_to_write(connection)
        try:
            async with connection.begin_nested():
                return await add_project(connection, account_id, FIRST_PROJECT)
        except IntegrityError:  # somebody else made it at the same time
            found = await projects(connection, account_id)
    return found[0]


async def add_project(connection: AsyncConnection, account_id: str, name: str, **values: str) -> Project:
    """A new one; its name must be free."""
    row = {"time_zone": "UTC", "status_url": "", "status_user": "", "status_password": "", **values}
    made = await connection.execute(
        insert(PROJECTS).returning(PROJECTS.c.id),
        {"account_id": account_id, "name": name, "created_at": time.time(), **row},
    )
    return Project(made.scalar_one(), account_id, name, **row)


async def change_project(connection: AsyncConnection, project_id: int, values: Mapping[str, str]) -> None:
    """Other settings, or another name, which must be free."""
    if values:
        await connection.execute(update(PROJECTS).where(PROJECTS.c.id == project_id).values(**values))


async def remove_project(connection: AsyncConnection, project_id: int) -> None:
    """With its schedules, variables and contacts; its flows belong to the oldest project then."""
    await connection.execute(delete(PROJECTS).where(PROJECTS.c.id == project_id))


async def _projects(connection: AsyncConnection, *where: ColumnElement[bool]) -> list[Project]:
    columns = [PROJECTS.c[name] for name in Project.__dataclass_fields__]
    query = select(*columns).where(*where).order_by(PROJECTS.c.id)
    return [Project(**cast("Any", dict(row))) for row in (await connection.execute(query)).mappings()]


async def matter(connection: AsyncConnection, some: Iterable[Project]) -> bool:
    """Whether any of an account's projects has something to do with calls that do not come out of the queue."""
    for each in some:
        if each.status_url or await variables(connection, each.id):
            return True
    return False


# --- flows ------------------------------------------------------------------------------


async def project_of_flow(connection: AsyncConnection, account_id: str, flow_id: str | None) -> Project:
    """The project of a flow; the account's oldest when nothing is said."""
    mine = PROJECTS.c.id == FLOWS.c.project_id, PROJECTS.c.account_id == account_id
    columns = [PROJECTS.c[name] for name in Project.__dataclass_fields__]
    query = select(*columns).where(FLOWS.c.flow_id == flow_id, *mine)
    row = (await connection.execute(query)).mappings().first() if flow_id else None
    return Project(**cast("Any", dict(row))) if row is not None else await first_project(connection, account_id)


async def flows_of(connection: AsyncConnection, owner: Project) -> list[Flow]:
    """The flows of a project."""
    elsewhere = (
        await connection.execute(
            select(FLOWS.c.flow_id, FLOWS.c.project_id)
            .join(PROJECTS, PROJECTS.c.id == FLOWS.c.project_id)
            .where(PROJECTS.c.account_id == owner.account_id)
        )
    ).all()
    place = {row.flow_id: row.project_id for row in elsewhere}
    oldest = (await projects(connection, owner.account_id))[0].id
    found = await repository.all_of(connection, Flow, owner.account_id)
    return [flow for flow in found if place.get(flow.id, oldest) == owner.id]


async def put_flow(connection: AsyncConnection, flow_id: str, project_id: int) -> None:
    """Have a flow belong to a project."""
    await connection.execute(delete(FLOWS).where(FLOWS.c.flow_id == flow_id))
    await connection.execute(insert(FLOWS), {"flow_id": flow_id, "project_id": project_id})


# --- variables and schedules ------------------------------------------------------------


async def variables(connection: AsyncConnection, project_id: int) -> dict[str, int]:
    """The variables of a project: their ids by name, in the order in which they were made."""
    query = select(VARIABLES.c.name, VARIABLES.c.id).where(VARIABLES.c.project_id == project_id)
    return {row.name: row.id for row in await connection.execute(query.order_by(VARIABLES.c.id))}


async def add_variable(connection: AsyncConnection, project_id: int, name: str) -> int:
    """A new one; its name must be free."""
    made = await connection.execute(
        insert(VARIABLES).returning(VARIABLES.c.id), {"project_id": project_id, "name": name}
    )
    return int(made.scalar_one())


async def remove_variable(connection: AsyncConnection, project_id: int, variable_id: int) -> bool:
    """With its values; whether there was one."""
    mine = VARIABLES.c.project_id == project_id, VARIABLES.c.id == variable_id
    return (await connection.execute(delete(VARIABLES).where(*mine))).rowcount == 1


async def schedules(connection: AsyncConnection, project_id: int) -> list[NamedSchedule]:
    """Those of a project."""
    query = select(SCHEDULES).where(SCHEDULES.c.project_id == project_id).order_by(SCHEDULES.c.id)
    return [
        NamedSchedule(row["id"], row["name"], row["retries"], row["weekdays"], Schedule.of(row["data"]))
        for row in (await connection.execute(query)).mappings()
    ]


async def save_schedule(connection: AsyncConnection, project_id: int, wanted: NamedSchedule) -> NamedSchedule:
    """A new one when its id is 0; its name must be free."""
    row = {
        "project_id": project_id,
        "name": wanted.name,
        "folded": wanted.name.casefold(),
        "retries": wanted.retries,
        "weekdays": wanted.weekdays,
        "data": wanted.schedule.as_data(),
    }
    if wanted.id:
        await connection.execute(update(SCHEDULES).where(SCHEDULES.c.id == wanted.id).values(**row))
        return wanted
    made = await connection.execute(insert(SCHEDULES).returning(SCHEDULES.c.id), row)
    return NamedSchedule(made.scalar_one(), wanted.name, wanted.retries, wanted.weekdays, wanted.schedule)


async def remove_schedule(connection: AsyncConnection, schedule_id: int) -> None:
    """It is there no more; calls that wait keep what they were given."""
    await connection.execute(delete(SCHEDULES).where(SCHEDULES.c.id == schedule_id))


# --- integers ---------------------------------------------------------------------------


async def numbers_of(
    connection: AsyncConnection, account_id: str, kind: str, targets: Collection[str]
) -> dict[str, int]:
    """The integers by which rows of an account go; those that have none get one."""
    query = select(NUMBERED.c.target, NUMBERED.c.number).where(NUMBERED.c.kind == kind, NUMBERED.c.target.in_(targets))
    found = {row.target: row.number for row in await connection.execute(query)}
    for target in targets:
        if target not in found:
            about_to_write(connection)
            row = {"account_id": account_id, "kind": kind, "target": target}
            try:
                async with connection.begin_nested():
                    made = await connection.execute(insert(NUMBERED).returning(NUMBERED.c.number), row)
                    found[target] = made.scalar_one()
            except IntegrityError:  # it got one at the same time
                mine = NUMBERED.c.kind == kind, NUMBERED.c.target == target
                found[target] = (await connection.execute(select(NUMBERED.c.number).where(*mine))).scalar_one()
    return found


async def target_of(connection: AsyncConnection, account_id: str, kind: str, number: int) -> str:
    """The id of the row that goes by ``number``; empty for none. Of flows it is one of the account's own; a trunk may
    be one that all use, and has its number from whoever asked first: the caller knows which they may.
    """
    mine = [NUMBERED.c.kind == kind, NUMBERED.c.number == number]
    if kind != "trunk":
        mine.append(NUMBERED.c.account_id == account_id)
    return await connection.scalar(select(NUMBERED.c.target).where(*mine)) or ""
